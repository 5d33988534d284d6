"""Questions to a witness over real sockets: answered, silent, forged, late; never more than one time limit."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from avance.adapters.witness import WitnessClient
from avance.config import WitnessSite
from avance.core.model import NodeId, Outcome
from avance.core.register import Known, Register, Word
from avance.core.results import WitnessAsked, WitnessTaught
from avance.wire.derived import of_witness
from avance.wire.rejected import Rejected
from avance.wire.witness import Reply, decode_question, encode, keys
from avance.witness import WitnessLife, serve
from tests.playbook import A, B
from tests.unit.avance.site import SECRET, config

KEYS = keys(of_witness(bytes.fromhex(SECRET), "w1"))
TRY_S = 0.3  # the time limit is reached only where the test wants it


def free_port() -> int:
    """Return a UDP port on which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def client(port: int, *, node: str = "a", try_s: float = 10.0, boot: str = "boot") -> WitnessClient:
    """Return the client of a node whose site has the witness w1 at this port."""
    one, here = config(node), WitnessSite("w1", IPv4Address("127.0.0.1"), port)
    return WitnessClient(
        replace(one, witnesses=(here,), timers=replace(one.timers, witness_try_s=try_s)), f"{node}-{boot}"
    )


def witness(known: Known = Known()) -> WitnessLife:  # noqa: B008 - a frozen value
    """Return one life of a witness that forgets what it saves."""
    return WitnessLife(KEYS, Register(known), lambda _known: None, lambda _text: None)


@asynccontextmanager
async def listening(answer: WitnessLife | Callable[[bytes], list[bytes]], port: int = 0) -> AsyncIterator[int]:
    """Let a witness, or something that sends what it likes, listen; gives the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(("127.0.0.1", port))
        stop = asyncio.Event()
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            tasks.create_task(
                serve(answer, sock, stop) if isinstance(answer, WitnessLife) else _invent(answer, sock, stop)
            )
            try:
                yield sock.getsockname()[1]
            finally:
                stop.set()


async def _invent(answer: Callable[[bytes], list[bytes]], sock: socket.socket, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def readable() -> None:
        question, sender = sock.recvfrom(4096)
        for raw in answer(question):
            sock.sendto(raw, sender)

    loop.add_reader(sock, readable)
    await stop.wait()
    loop.remove_reader(sock)


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story."""

    async def whole() -> None:
        await story()

    asyncio.run(whole())


def test_both_nodes_teach_and_one_gets_the_epoch() -> None:
    """The details are the fixed words, with the known epoch and its owner; the first question learns the life."""

    async def story() -> None:
        async with listening(witness()) as port:
            a, b = client(port), client(port, node="b")
            assert await a.ask("w1", 5, "n") == WitnessAsked(Outcome.OK, "untaught 0 -", Word.UNTAUGHT)
            assert await a.teach("w1", 4, A, paired=True) == WitnessTaught(Outcome.OK, "untaught 4 a", taught=False)
            assert await b.teach("w1", 4, A, paired=True) == WitnessTaught(Outcome.OK, "taught 4 a", taught=True)
            assert await b.ask("w1", 5, "n") == WitnessAsked(Outcome.OK, "granted 5 b", Word.GRANTED)
            lone = await b.teach("w1", 5, B, paired=False, alone=True)
            assert lone == WitnessTaught(Outcome.OK, "taught 5 b", taught=True)
            assert await a.ask("w1", 5, "n") == WitnessAsked(Outcome.OK, "refused 5 b", Word.REFUSED)
            assert a.rejected == {}

    run(story)


def test_a_witness_that_was_started_again_is_found() -> None:
    """A new life is learned within the question; it is untaught."""

    async def story() -> None:
        async with listening(witness(Known(4, A))) as port:
            a = client(port)
            assert (await a.ask("w1", 5, "n")).detail == "untaught 4 a"
        async with listening(witness(Known(4, A)), port):
            assert (await a.teach("w1", 4, A, paired=True)).detail == "untaught 4 a"

    run(story)


@pytest.mark.parametrize("listens", [True, False], ids=["silent", "nobody there"])
def test_silence_is_unknown_after_one_time_limit(listens: bool) -> None:
    """Neither a refused port nor a silent one is an answer, and the loop runs on meanwhile."""

    async def story() -> None:
        async with listening(lambda _question: []) as silent:
            port = silent if listens else free_port()
            begun_s = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                asked = tasks.create_task(client(port, try_s=TRY_S).ask("w1", 5, "n"))
                turns = 0
                while not asked.done():
                    await asyncio.sleep(0.01)
                    turns += 1
            assert asked.result().outcome is Outcome.UNKNOWN
            assert "w1 (127.0.0.1:" in asked.result().detail
            assert time.monotonic() - begun_s >= TRY_S
            assert turns > 3

    run(story)


def test_no_way_to_the_witness_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without a route learns nothing at once, so it does not ask without a pause."""

    def refuse(_sock: socket.socket, _address: object) -> None:
        raise OSError(101, "Network is unreachable")

    async def story() -> None:
        a = client(free_port(), try_s=TRY_S)
        monkeypatch.setattr(socket.socket, "connect", refuse)
        begun_s = time.monotonic()
        assert (await a.teach("w1", 4, NodeId("a"), paired=False)).outcome is Outcome.UNKNOWN
        assert time.monotonic() - begun_s >= TRY_S

    run(story)


def reply_to(question: bytes, word: str, **changes: object) -> Reply:
    """Return an answer to a question, changed as the test wants it."""
    read = decode_question(KEYS, question)
    assert not isinstance(read, Rejected)
    reply = Reply(word, 5, A, "life", read.sender.boot, read.sender.number)
    return replace(reply, **changes)  # type: ignore[arg-type]  # the names of its fields


def test_forged_and_foreign_answers_are_counted_and_not_believed() -> None:
    """An answer of another site, to another question or to another run of the daemon says nothing."""

    def lie(question: bytes) -> list[bytes]:
        granted = reply_to(question, "granted")
        return [
            b"noise",
            encode(keys(b"t" * 32), granted),
            encode(KEYS, granted)[:-1],
            encode(KEYS, replace(granted, number=granted.number - 1)),
            encode(KEYS, replace(granted, boot="a-earlier")),
            encode(KEYS, replace(granted, word="refused")),
        ]

    async def story() -> None:
        async with listening(lie) as port:
            a = client(port)
            assert await a.ask("w1", 5, "n") == WitnessAsked(Outcome.OK, "refused 5 a", Word.REFUSED)
            assert sum(a.rejected.values()) == 5
            assert a.rejected["an answer to another question"] == 2

    run(story)


def test_a_witness_that_is_always_new_is_silent() -> None:
    """The question is put a few times within one time limit, and not for ever."""
    questions = []

    def again(question: bytes) -> list[bytes]:
        questions.append(question)
        return [encode(KEYS, reply_to(question, "again", life=f"life-{len(questions)}"))]

    async def story() -> None:
        async with listening(again) as port:
            assert (await client(port, try_s=TRY_S).ask("w1", 5, "n")).outcome is Outcome.UNKNOWN

    run(story)
    assert len(questions) == 3


def test_two_questions_at_once_each_get_their_answer() -> None:
    """Each has a socket and a number of its own."""

    async def story() -> None:
        async with listening(witness(Known(4, B))) as port:
            a = client(port)
            async with asyncio.TaskGroup() as tasks:
                asked = tasks.create_task(a.ask("w1", 5, "n"))
                taught = tasks.create_task(a.teach("w1", 7, B, paired=False))
            assert asked.result().detail.startswith("untaught")
            assert taught.result().detail == "untaught 7 b"

    run(story)
