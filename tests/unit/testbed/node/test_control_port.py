"""The control port's client on a real socket: each question gets its own answer or an error in time, never a wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.errors import GuestCommandError
from testbed.node import control_port as module
from testbed.node.control_port import ControlPort

Respond = Callable[[str], Awaitable[str]]


def play(directory: Path, respond: Respond, story: Callable[[ControlPort], Awaitable[None]]) -> list[str]:
    """Run a story against a node that answers each line so; returns the lines that came."""
    came: list[str] = []

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.readline()).decode():
                if line.strip():
                    came.append(line.strip())
                    writer.write((await respond(line.strip())).encode())
        finally:
            writer.close()

    async def both() -> None:
        server = await asyncio.start_unix_server(node, directory / "port")
        async with asyncio.timeout(10.0), ControlPort(directory / "port", node="a") as port:
            await story(port)
        server.close()

    asyncio.run(both())
    return came


async def echo(line: str) -> str:
    """Answer with the question."""
    number, _, question = line.split(" ", 2)
    return f'{number} {{"asked": "{question}"}}\n'


def test_a_question_has_its_answer(tmp_path: Path) -> None:
    """The line carries a number and the time that the node has; several who ask at once each get their own."""

    async def story(port: ControlPort) -> None:
        answers = await asyncio.gather(*(port.ask(f"q{number}", timeout_s=5.0) for number in range(5)))
        assert [answer["asked"] for answer in answers] == [f"q{number}" for number in range(5)]

    came = play(tmp_path, echo, story)
    assert [line.split(" ")[1] for line in came] == ["4"] * 5
    assert len({line.split(" ")[0] for line in came}) == 5


def test_a_late_answer_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    """An abandoned question is answered to nobody."""
    slow = asyncio.Event()

    async def late(line: str) -> str:
        if "first" in line:
            await slow.wait()
        return await echo(line)

    async def story(port: ControlPort) -> None:
        began = time.monotonic()
        with pytest.raises(GuestCommandError, match=r"Nothing answered .* node a within 0\.2 s"):
            await port.ask("first", timeout_s=0.2)
        assert time.monotonic() - began < 2.0
        slow.set()
        assert await port.ask("second", timeout_s=5.0) == {"asked": "second"}

    play(tmp_path, late, story)


def test_a_lost_question_is_put_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is reset over a question answers it when it is back; a late answer to a try counts."""
    monkeypatch.setattr(module, "AGAIN_S", 0.1)
    seen: list[str] = []

    async def lossy(line: str) -> str:
        seen.append(line)
        return await echo(seen[0]) if len(seen) == 3 else ""

    async def story(port: ControlPort) -> None:
        assert await port.ask("status", timeout_s=5.0) == {"asked": "status"}

    assert len(play(tmp_path, lossy, story)) == 3


def test_the_nodes_reason_is_passed_on(tmp_path: Path) -> None:
    """A node that says why it cannot answer is quoted."""

    async def refuse(line: str) -> str:
        return f'{line.partition(" ")[0]} {{"error": "the daemon does not listen"}}\n'

    async def story(port: ControlPort) -> None:
        with pytest.raises(GuestCommandError, match="Node a did not answer status: the daemon does not listen"):
            await port.ask("status", timeout_s=5.0)

    play(tmp_path, refuse, story)


@pytest.mark.parametrize("text", ["nonsense", "[1]", '"text"', "", "x" * 5_000_000], ids=lambda text: text[:8])
def test_words_that_are_no_document_are_an_error(tmp_path: Path, text: str) -> None:
    """Another answer than a document is never taken for a status, and the next question is put on a new connection."""
    answers = [text, '{"fine": 1}']

    async def once(line: str) -> str:
        return f"{line.partition(' ')[0]} {answers.pop(0)}\n"

    async def story(port: ControlPort) -> None:
        with pytest.raises(GuestCommandError, match="control port of node a failed"):
            await port.ask("status", timeout_s=5.0)
        assert await port.ask("status", timeout_s=5.0) == {"fine": 1}

    play(tmp_path, once, story)


def test_nobody_on_the_socket_is_an_error(tmp_path: Path) -> None:
    """A machine that is gone is said at once."""

    async def ask() -> None:
        with pytest.raises(GuestCommandError, match="control port of node a failed"):
            await ControlPort(tmp_path / "none", node="a").ask("status", timeout_s=5.0)

    asyncio.run(ask())
