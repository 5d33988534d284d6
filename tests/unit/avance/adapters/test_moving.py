"""Moves between two adapters over loopback, with a stand-in for xl: each end is what was seen, and nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from avance.adapters import moving as module
from avance.adapters.hypercall import Hypercalls
from avance.adapters.process import run
from avance.adapters.xen import XenHypervisor
from avance.core.model import Outcome
from avance.wire import derived, moving
from avance.wire.moving import Side
from tests.playbook import DB, WEB
from tests.unit.avance.adapters.moving_pair import ADDRESSES, MOVE, PORT, MovingPair, site_of
from tests.unit.avance.adapters.tools import descriptors, until

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingPair:
    """Two nodes that have short times."""
    for name, value in (
        ("_CONNECT_AGAIN_S", 0.02), ("_WORD_S", 0.3), ("_WATCH_S", 0.02), ("_STALL_S", 20.0), ("_GRACE_S", 1.0),
        ("_SETTLED_S", 0.05), ("_GONE_S", 0.2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    return MovingPair(tmp_path, monkeypatch)


def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for an xl that hangs."""
    for name, value in (("_STALL_S", 0.3), ("_GRACE_S", 0.3), ("_CLOSED_S", 0.5)):
        monkeypatch.setattr(module, name, value)


def plays(pair: MovingPair, story: Callable[[], Awaitable[None]]) -> None:
    """Run a story, after which nothing is left."""

    async def play() -> None:
        async with asyncio.timeout(30.0):
            before = descriptors()
            await story()
            await until(lambda: not pair.left_over())
            await until(lambda: descriptors() == before)

    asyncio.run(play())


# ---------------------------------------------------------------- both sides


def test_domain_moves(pair: MovingPair) -> None:
    """It is gone from the one node and stands still on the other, complete; both sides say so."""

    async def story() -> None:
        sent, received = await pair.both()
        assert (sent.outcome, received.outcome) == (OK, OK), (sent, received)

    plays(pair, story)
    assert pair.numbers("a") == []
    assert pair.place.domains("b") == [{"number": 7, "state": "p", "vm": WEB, "ran": False}]


def test_domains_move_one_after_the_other(pair: MovingPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """xl takes in one at a time, and each may be slow: as long as bytes move, nobody gives up, and who waits waits."""
    monkeypatch.setattr(module, "_ACCEPT_S", 2.0)
    monkeypatch.setattr(module, "_STALL_S", 2.0)
    pair.goes_wrong("migrate", "dribbles")
    pair.place.keep("a", [{"number": 3 + i, "state": "b", "vm": vm, "ran": True} for i, vm in enumerate((WEB, DB))])

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(pair.both(vm)) for vm in (WEB, DB)]
        assert {done.outcome for one in both for done in one.result()} == {OK}, [one.result() for one in both]

    plays(pair, story)
    assert [note.split()[0] for note in pair.notes] == ["receives", "half"] * 2
    assert (pair.numbers("a"), pair.numbers("b")) == ([], [7, 8])


@pytest.mark.parametrize(
    ("verb", "how", "outcomes", "left"),
    [
        ("migrate", "does not destroy", (UNKNOWN, OK), ([3], [7])),
        ("receive", "lets it run", (OK, FAILED), ([], [])),
        ("receive", "leaves nothing", (OK, FAILED), ([], [])),
        ("receive", "fails in the middle", (FAILED, FAILED), ([3], [])),
        ("migrate", "loses the report", (UNKNOWN, OK), ([3], [7])),
        ("migrate", "complains afterwards", (UNKNOWN, OK), ([], [7])),
        ("migrate", "is killed while the domain is suspended", (UNKNOWN, FAILED), ([3], [])),
    ],
)
def test_what_xl_says_is_not_believed(
    pair: MovingPair, verb: str, how: str, outcomes: tuple[Outcome, Outcome], left: tuple[list[int], list[int]]
) -> None:
    """What was looked at counts: what left is gone, what came stands still, and else what came is taken back."""
    pair.goes_wrong(verb, how)

    async def story() -> None:
        sent, received = await pair.both()
        assert (sent.outcome, received.outcome) == outcomes, (sent, received)
        assert all(done.ok or done.detail for done in (sent, received))

    plays(pair, story)
    assert (pair.numbers("a"), pair.numbers("b")) == left


@pytest.mark.parametrize(
    ("verb", "how"),
    [
        ("migrate", "hangs in the middle"),
        ("receive", "hangs in the middle"),
        ("migrate", "stalls"),
        ("migrate", "hangs at once"),
        ("receive", "hangs at once"),
    ],
)
def test_xl_that_hangs_is_ended(pair: MovingPair, monkeypatch: pytest.MonkeyPatch, verb: str, how: str) -> None:
    """On either side, in its time: the domain runs on where it was, and nothing of it stays on the other node."""
    pair.goes_wrong(verb, how)
    short(monkeypatch)

    async def story() -> None:
        sent, received = await pair.both()
        assert (sent.outcome, received.outcome) == (FAILED, FAILED), (sent, received)
        assert sent.detail
        assert received.detail

    plays(pair, story)
    assert (pair.numbers("a"), pair.numbers("b")) == ([3], [])


def test_endless_move_is_ended(pair: MovingPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that move for ever are no reason to wait for ever."""
    monkeypatch.setattr(module, "_TRANSFER_S", -95.5)  # and 96 s for the memory
    pair.goes_wrong("migrate", "dribbles")

    async def story() -> None:
        sent, received = await pair.both()
        assert (sent.outcome, received.outcome) == (FAILED, FAILED), (sent, received)
        assert "more than 0.5 s" in sent.detail + received.detail

    plays(pair, story)


def test_copy_that_cannot_be_destroyed_is_unknown(pair: MovingPair) -> None:
    """What is left of a domain that came halfway is told, and never called gone."""
    pair.goes_wrong("receive", "fails in the middle")
    pair.goes_wrong("destroy", "always")

    async def story() -> None:
        _, received = await pair.both()
        assert received.outcome is UNKNOWN, received

    plays(pair, story)


@pytest.mark.parametrize("side", ["a", "b"])
def test_move_is_broken_off(pair: MovingPair, side: str) -> None:
    """Either side ends it in the middle: the domain runs on where it was, and nothing of it is on the other node."""
    pair.goes_wrong("migrate", "stalls")

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            both = tasks.create_task(pair.both())
            await until(lambda: pair.noted("half"))
            (pair.a if side == "a" else pair.b).end_move()
            sent, received = await both
        assert (sent.outcome, received.outcome) == (FAILED, FAILED), (sent, received)
        assert "broken off" in (sent if side == "a" else received).detail

    plays(pair, story)
    assert (pair.numbers("a"), pair.numbers("b")) == ([3], [])
    assert pair.place.domains("a")[0]["state"] == "b"


@pytest.mark.parametrize("side", ["a", "b"])
def test_move_is_broken_off_while_it_waits(pair: MovingPair, side: str) -> None:
    """Who waits for the other node waits no longer."""

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            waits = tasks.create_task((pair.a.send if side == "a" else pair.b.receive)(WEB, MOVE))
            await until(lambda: (pair.a if side == "a" else pair.b)._moves.has(WEB))
            await asyncio.sleep(0.05)
            (pair.a if side == "a" else pair.b).end_move()
            async with asyncio.timeout(2.0):
                assert (await waits).outcome is FAILED

    plays(pair, story)


@pytest.mark.parametrize("side", ["a", "b"])
def test_nobody_on_the_other_node(pair: MovingPair, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    """A peer that does not come, or does not listen, costs a bounded time and nothing else."""
    monkeypatch.setattr(module, "_ACCEPT_S", 0.2)
    monkeypatch.setattr(module, "_CONNECT_S", 0.2)

    async def story() -> None:
        done = await (pair.a.send if side == "a" else pair.b.receive)(WEB, MOVE)
        assert done.outcome is FAILED
        assert "within 0.2 s" in done.detail

    plays(pair, story)
    assert pair.notes == []


@pytest.mark.parametrize("side", ["a", "b"])
def test_end_of_the_daemon_leaves_nothing(pair: MovingPair, side: str) -> None:
    """When the daemon ends, its side of the move ends, and the other side sees that."""
    pair.goes_wrong("migrate", "stalls")

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            sent, received = (tasks.create_task(work(WEB, MOVE)) for work in (pair.a.send, pair.b.receive))
            await until(lambda: pair.noted("half"))
            assert len(pair.left_over()) >= 4
            gone, stays = (sent, received) if side == "a" else (received, sent)
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
            assert (await stays).outcome is FAILED

    plays(pair, story)


# ---------------------------------------------------------------- a node that stands still


def test_nothing_goes_on_where_all_stands_still(pair: MovingPair) -> None:
    """A pause also holds a domain that is suspended to move, and that xl lets go on when it could not."""
    pair.goes_wrong("migrate", "waits while the domain is suspended")

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            both = tasks.create_task(pair.both())
            await until(lambda: pair.noted("suspended"))
            assert (await pair.a.pause()).ok
            assert (await pair.a.clear(WEB)).outcome is FAILED
            pair.a.end_move()
            sent, _ = await both
        assert sent.outcome is UNKNOWN, sent
        assert pair.place.domains("a")[0]["state"] == "b"
        assert [domain.paused for domain in Hypercalls(pair.xens["a"]).domains()] == [True]
        assert (await pair.a.unpause()).ok
        assert [domain.paused for domain in Hypercalls(pair.xens["a"]).domains()] == [False]

    plays(pair, story)


def test_pause_of_a_suspended_domain_is_taken_back(pair: MovingPair) -> None:
    """Also when it is still suspended then: nothing is paused for ever."""
    pair.goes_wrong("migrate", "waits while the domain is suspended")

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            both = tasks.create_task(pair.both())
            await until(lambda: pair.noted("suspended"))
            assert (await pair.a.pause()).ok
            assert (await pair.a.unpause()).ok
            pair.a.end_move()
            sent, _ = await both
        assert sent.outcome is FAILED, sent

    plays(pair, story)


def test_no_move_begins_where_all_stands_still(pair: MovingPair) -> None:
    """Neither out nor in, and no program is started."""

    async def story() -> None:
        for node, work in ((pair.a, pair.a.send), (pair.b, pair.b.receive)):
            assert (await node.pause()).ok
            assert (await work(WEB, MOVE)).outcome is FAILED

    plays(pair, story)
    assert pair.notes == []


def test_domain_that_came_goes_on(pair: MovingPair) -> None:
    """It is resumed by this node alone, also after all stood still meanwhile, and never while all does."""

    async def story() -> None:
        await pair.both()
        assert (await pair.b.unpause()).ok
        assert (await pair.b.pause()).ok
        assert (await pair.b.resume(WEB)).outcome is FAILED
        assert (await pair.b.unpause()).ok
        assert [domain.paused for domain in Hypercalls(pair.xens["b"]).domains()] == [True]
        assert (await pair.b.resume(WEB)).outcome is OK
        assert [domain.paused for domain in Hypercalls(pair.xens["b"]).domains()] == [False]

    plays(pair, story)


# ---------------------------------------------------------------- who may connect


async def _tries(address: str, said: bytes) -> bytes:
    """Connect to node b from an address and say this; returns the answer, nothing when it hangs up."""
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as line:
            line.setblocking(False)
            line.bind((address, 0))
            try:
                await loop.sock_connect(line, (ADDRESSES["b"], PORT))
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
                continue
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(line, said)
                return await loop.sock_recv(line, moving.SIZE)
            return b""


def _said(**changes: str) -> bytes:
    meant = {"secret": site_of("a").secret.hex(), "side": Side.SENDER, "move": MOVE} | changes
    key = derived.of_moves(bytes.fromhex(meant["secret"]))
    return moving.word(key, Side(meant["side"]), meant["move"], WEB)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("foreign", _said()),
        ("b", _said()),
        ("a", _said(secret="00" * 32)),
        ("a", _said(move="boot.0")),
        ("a", _said(side=Side.RECEIVER)),
        ("a", b""),
        ("a", b"GET / HTTP/1.1\r\n\r\n" * 10),
        ("a", _said()[:-1]),
    ],
    ids=["address", "own address", "secret", "move", "side", "silent", "much", "cut"],
)
def test_who_is_not_the_peer_is_sent_away(pair: MovingPair, address: str, said: bytes) -> None:
    """He gets no answer and starts no program, and the peer itself still comes in after him."""

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            received = tasks.create_task(pair.b.receive(WEB, MOVE))
            assert await _tries(ADDRESSES[address], said) == b""
            assert pair.notes == []
            assert (await pair.a.send(WEB, MOVE)).outcome is OK
            assert (await received).outcome is OK

    plays(pair, story)


def test_nobody_connects_beside_a_move(pair: MovingPair) -> None:
    """Once the peer is in, the port is closed: a second connection is refused, whatever it could prove."""
    pair.goes_wrong("migrate", "stalls")

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            both = tasks.create_task(pair.both())
            await until(lambda: pair.noted("half"))
            with socket.socket() as line:
                line.setblocking(False)
                line.bind((ADDRESSES["a"], 0))
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.get_running_loop().sock_connect(line, (ADDRESSES["b"], PORT))
            pair.a.end_move()
            await both

    plays(pair, story)


def test_receiver_that_proves_nothing_gets_nothing(pair: MovingPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else who listens at the peer's address is not sent a byte of the domain."""
    monkeypatch.setattr(module, "_CONNECT_S", 1.0)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1 << 16))
        writer.write(_said())  # the sender's own word, sent back
        heard.append(await reader.read(1 << 16))
        writer.transport.abort()

    async def story() -> None:
        async with await asyncio.start_server(serve, ADDRESSES["b"], PORT):
            done = await pair.a.send(WEB, MOVE)
        assert done.outcome is FAILED
        assert "did not prove" in done.detail

    plays(pair, story)
    assert {len(said) for said in heard} == {moving.SIZE, 0}
    assert pair.notes == []


# ---------------------------------------------------------------- what is here already, and the daemon's death


@pytest.mark.parametrize(("state", "outcome"), [("b", UNKNOWN), ("p", UNKNOWN), ("s", FAILED)])
def test_domain_that_is_here_already(
    pair: MovingPair, monkeypatch: pytest.MonkeyPatch, state: str, outcome: Outcome
) -> None:
    """One that lives is no copy to take back; one that is dead is cleared away before another comes."""
    monkeypatch.setattr(module, "_ACCEPT_S", 0.1)
    pair.place.keep("b", [{"number": 5, "state": state, "vm": WEB, "ran": True}])

    async def story() -> None:
        assert (await pair.b.receive(WEB, MOVE)).outcome is outcome

    plays(pair, story)
    assert pair.numbers("b") == ([] if state == "s" else [5])


@pytest.mark.parametrize("state", ["p", "s", ""])
def test_domain_that_does_not_run_is_not_sent(pair: MovingPair, state: str) -> None:
    """FAILED would mean that it runs here."""
    pair.place.keep("a", [{"number": 3, "state": state, "vm": WEB, "ran": True}] if state else [])

    async def story() -> None:
        assert (await pair.a.send(WEB, MOVE)).outcome is UNKNOWN

    plays(pair, story)


def test_domain_with_another_network_on_the_peer_is_not_sent(pair: MovingPair) -> None:
    """xl would look there for a bridge that has its name on this node only."""
    one = site_of("a")
    links = tuple(replace(link, peer_device=f"{link.device}x") for link in one.links)
    node = XenHypervisor(replace(one, links=links), pair.events.append, Hypercalls(pair.xens["a"]))

    async def story() -> None:
        done = await node.send(WEB, MOVE)
        assert done.outcome is FAILED
        assert "biz0 here, and biz0x on the peer" in done.detail

    plays(pair, story)


_DAEMON = """
import asyncio, os, signal, sys
from pathlib import Path
import pytest
from tests.unit.avance.adapters import moving_pair, tools
moving_pair.ADDRESSES.update(a=sys.argv[2], b=sys.argv[3])
pair = moving_pair.MovingPair(Path(sys.argv[1]), pytest.MonkeyPatch())
async def story():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pair.a.send("web", moving_pair.MOVE))
        await tools.until(lambda: pair.noted("half"))
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(story())
"""


def test_xl_dies_with_the_daemon(pair: MovingPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is killed takes its xl with it; the other side sees the end at once and takes its copy back."""
    pair.goes_wrong("migrate", "hangs in the middle")
    monkeypatch.chdir(Path(__file__).parents[4])

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            received = tasks.create_task(pair.b.receive(WEB, MOVE))
            argv = [sys.executable, "-c", _DAEMON, str(pair.directory), ADDRESSES["a"], ADDRESSES["b"]]
            killed = await run(argv, timeout_s=20.0)
            assert "signal 9" in killed.detail, killed
            done = await received
            assert done.outcome is FAILED
            assert "nothing has moved" not in done.detail

    plays(pair, story)
