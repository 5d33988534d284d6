"""The control socket answers every request with one line, and a bad one changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from pathlib import Path
from typing import Any

import pytest

from avance.adapters.control import serve
from avance.client import ask
from tests.unit.avance.adapters.tools import beside, until


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    """Answer with the request itself."""
    return {"asked": request}


def talk(path: Path, raw: bytes) -> bytes:
    """Send raw bytes to the served socket and return the answer."""
    answers: list[bytes] = []

    async def story() -> None:
        await until(path.is_socket)
        reader, writer = await asyncio.open_unix_connection(path)
        with contextlib.suppress(ConnectionError):  # the server may close before it has read everything
            writer.write(raw)
            await writer.drain()
            writer.write_eof()
            answers.append(await reader.read())
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    beside(serve(path, echo), story)
    return answers[0] if answers else b""


def test_request_is_answered(tmp_path: Path) -> None:
    """The command line's own client gets the handler's answer."""
    path, answers = tmp_path / "run" / "sock", []

    async def story() -> None:
        await until(path.is_socket)
        answers.append(await asyncio.to_thread(ask, {"op": "status"}, str(path)))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    beside(serve(path, echo), story)
    assert answers == [{"asked": {"op": "status"}}]


@pytest.mark.parametrize(
    ("raw", "word"),
    [(b"nonsense\n", b"not one line of JSON"), (b"[]\n", b"needs an `op`"), (b'{"op": 1}\n', b"needs an `op`"),
     (b"\n", b"not one line"), (b"", b"not one line"), (b"\xff\n", b"not one line")],
)  # fmt: skip
def test_bad_request_gets_an_error(tmp_path: Path, raw: bytes, word: bytes) -> None:
    """What is no request is told so."""
    assert word in talk(tmp_path / "sock", raw)


def test_endless_line_is_cut_off(tmp_path: Path) -> None:
    """A line without end takes no memory and gets no answer."""
    assert talk(tmp_path / "sock", b"x" * (3 << 20)) == b""


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A daemon that died leaves a socket file behind; the next one starts all the same."""
    path = tmp_path / "sock"
    path.write_text("stale")
    assert b"asked" in talk(path, b'{"op": "status"}\n')
