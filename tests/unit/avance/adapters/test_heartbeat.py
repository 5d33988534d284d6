"""Heartbeats over real sockets on the loopback device: believed once, echoed, and refused when forged."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from avance.adapters import heartbeat as module
from avance.adapters.heartbeat import HeartbeatChannel
from avance.config import LinkConfig
from avance.core.events import DatagramsRefused, Event, HeartbeatSeen, HeartbeatUnproven, Tick
from avance.core.model import PairState, PeerView, Record
from avance.wire import document as wire
from avance.wire.derived import of_heartbeats
from avance.wire.document import Document
from avance.wire.heartbeat import Heartbeat, decode, encode
from avance.wire.rejected import Rejected
from tests.playbook import PRIV, A, B
from tests.unit.avance.adapters.tools import until
from tests.unit.avance.site import SECRET, config, site

LOOPBACK = LinkConfig(PRIV, "lo", IPv4Interface("127.0.0.1/8"), IPv4Address("127.0.0.2"), "lo")
VIEW = PeerView(B, "b-boot", "c0ffee", 1.0, PairState.PAIRED, Record(3, A))
KEY = of_heartbeats(bytes.fromhex(SECRET))


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The peer's socket on 127.0.0.2, at a port that only this test uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        except PermissionError:
            pytest.skip("binding to a device is not permitted here")
        sock.bind(("127.0.0.2", 0))
        sock.setblocking(False)
        monkeypatch.setattr(module, "PORT", sock.getsockname()[1])
        yield sock


def channel(events: list[Event], documents: Callable[[Document], None] = print) -> HeartbeatChannel:
    """Return the channel of node a on the loopback device."""
    return HeartbeatChannel(replace(config(), links=(LOOPBACK,)), "a-boot", events.append, documents)


@contextlib.contextmanager
def listening(events: list[Event], documents: Callable[[Document], None] = print) -> Iterator[HeartbeatChannel]:
    """Let the loop of this test read the sockets of node a's channel, as the daemon's loop does."""
    with channel(events, documents) as mine:
        loop = asyncio.get_running_loop()
        for descriptor, read in mine.sockets.items():
            loop.add_reader(descriptor, read)
        try:
            yield mine
        finally:
            for descriptor in mine.sockets:
                loop.remove_reader(descriptor)


async def echo_of(mine: HeartbeatChannel, peer: socket.socket, *, echoing: bool = True) -> tuple[str, float] | None:
    """Send a heartbeat and return what it echoes."""
    mine.send(VIEW, echoing=echoing)
    sent = decode(KEY, await asyncio.get_running_loop().sock_recv(peer, 8192))
    assert not isinstance(sent, Rejected)
    return sent.echo


def test_heartbeat_is_believed_and_echoed(peer: socket.socket) -> None:
    """What the peer sends arrives as an event, and our next heartbeat echoes it."""
    events: list[Event] = []

    async def story() -> None:
        with listening(events) as mine:
            beat = Heartbeat(PRIV, 1, 50.0, ("a-boot", 41.5), VIEW)
            peer.sendto(encode(KEY, beat), ("127.0.0.1", module.PORT))
            async with asyncio.timeout(100):
                await until(lambda: bool(events))
                mine.heard(events[0])
                assert await echo_of(mine, peer) == ("b-boot", 50.0)
                assert await echo_of(mine, peer, echoing=False) is None

    asyncio.run(story())
    assert events == [HeartbeatSeen(PRIV, VIEW, 41.5)]


def test_documents_come_and_go_on_the_same_sockets(peer: socket.socket) -> None:
    """What was sealed is handed over as it is; what is forged is counted, and told as other junk is."""
    events: list[Event] = []
    found: list[Document] = []
    sent = Document("4711", 2, (), site(), [])
    datagram = wire.seal(bytes.fromhex(SECRET), sent, bytes(wire.NONCE_BYTES))
    assert datagram is not None

    async def story() -> None:
        with listening(events, found.append) as mine:
            peer.sendto(datagram[:-1] + b"x", ("127.0.0.1", module.PORT))
            peer.sendto(datagram, ("127.0.0.1", module.PORT))
            async with asyncio.timeout(100):
                await until(lambda: bool(found))
                mine.send_document(b"x" * 70_000)  # no datagram can be so long, and that is nobody's end
                mine.send_document(datagram)
                assert await asyncio.get_running_loop().sock_recv(peer, 1 << 16) == datagram
            assert mine.rejected == {"a document with a wrong authentication code": 1}

    asyncio.run(story())
    assert found == [sent]
    assert events == [DatagramsRefused(PRIV, "a document with a wrong authentication code", 1, ("127.0.0.2",))]


def test_echo_of_an_earlier_boot_is_none(peer: socket.socket) -> None:
    """An echo of what a former run of this daemon sent renews nothing."""
    events: list[Event] = []

    async def story() -> None:
        with listening(events):
            for seq, boot in ((1, "a-boot"), (2, "old")):
                beat = Heartbeat(PRIV, seq, 50.0, (boot, 41.5), VIEW)
                peer.sendto(encode(KEY, beat), ("127.0.0.1", module.PORT))
            async with asyncio.timeout(100):
                await until(lambda: len(events) == 2)

    asyncio.run(story())
    assert events == [HeartbeatSeen(PRIV, VIEW, 41.5), HeartbeatSeen(PRIV, VIEW, None)]


def test_unproven_boot_is_echoed_but_not_believed(peer: socket.socket) -> None:
    """A peer that has not shown that it hears us gets an echo, and the core hears that something was echoed."""
    events: list[Event] = []

    async def story() -> None:
        with listening(events) as mine:
            peer.sendto(encode(KEY, Heartbeat(PRIV, 1, 50.0, None, VIEW)), ("127.0.0.1", module.PORT))

            async with asyncio.timeout(100):
                await until(lambda: bool(events))
                mine.heard(events[0])
                assert await echo_of(mine, peer) == ("b-boot", 50.0)

    asyncio.run(story())
    assert events == [HeartbeatUnproven(PRIV)]


def test_nothing_is_echoed_that_the_core_has_not_heard(peer: socket.socket) -> None:
    """What still waits in the queue of events is not echoed: the core has to know of each lease that it renews."""
    events: list[Event] = []

    async def story() -> None:
        with listening(events) as mine:
            for seq in (1, 2):
                beat = Heartbeat(PRIV, seq, 50.0 + seq, ("a-boot", 41.5), VIEW)
                peer.sendto(encode(KEY, beat), ("127.0.0.1", module.PORT))
            async with asyncio.timeout(100):
                await until(lambda: len(events) == 2)
                assert await echo_of(mine, peer) is None
                mine.heard(Tick())
                assert await echo_of(mine, peer) is None
                for event, sent_s in zip(list(events), (51.0, 52.0), strict=True):
                    mine.heard(event)
                    assert await echo_of(mine, peer) == ("b-boot", sent_s)

    asyncio.run(story())


def test_first_word_of_a_new_boot_is_answered_at_once(peer: socket.socket) -> None:
    """A daemon that was started again is known to its peer, and has its lease, before the next heartbeat is due."""
    events: list[Event] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        with listening(events) as mine:
            mine.send(VIEW, echoing=True)
            first = decode(KEY, await loop.sock_recv(peer, 8192))
            assert not isinstance(first, Rejected)
            assert first.echo is None
            for seq in (1, 2):
                peer.sendto(encode(KEY, Heartbeat(PRIV, seq, 50.0 + seq, None, VIEW)), ("127.0.0.1", module.PORT))
            await asyncio.wait_for(until(lambda: len(events) == 2), 100.0)
            for event in events:
                mine.heard(event)
            answer = decode(KEY, await asyncio.wait_for(loop.sock_recv(peer, 8192), 100.0))
            assert not isinstance(answer, Rejected)
            assert answer.echo == ("b-boot", 51.0)
            assert answer.seq == first.seq + 1
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(peer, 8192), 0.2)

    asyncio.run(story())
    assert events == [HeartbeatUnproven(PRIV)] * 2


def test_forged_and_replayed_datagrams_are_counted(peer: socket.socket) -> None:
    """What is not authentic or not new makes no event, but shows in the counters."""
    events: list[Event] = []

    async def story() -> None:
        with listening(events) as mine:
            good = encode(KEY, Heartbeat(PRIV, 1, 50.0, ("a-boot", 1.0), VIEW))
            for raw in (b"noise", good, good, good[:-1]):
                peer.sendto(raw, ("127.0.0.1", module.PORT))
            async with asyncio.timeout(100):
                await until(lambda: sum(mine.rejected.values()) == 3)
            assert set(mine.rejected) == {"not a heartbeat", "replayed or out of order", "wrong authentication code"}

    asyncio.run(story())
    assert [event for event in events if isinstance(event, HeartbeatSeen)] == [HeartbeatSeen(PRIV, VIEW, 1.0)]


def test_flood_of_forgeries_is_told_once_a_minute(peer: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core hears of the first refused datagram and its sender at once, and of the others a minute later."""
    events: list[Event] = []

    async def story() -> None:
        with listening(events) as mine:
            monkeypatch.setattr(module, "now_s", lambda: 100.0)
            for _ in range(20):
                peer.sendto(b"noise", ("127.0.0.1", module.PORT))
            async with asyncio.timeout(100):
                await until(lambda: sum(mine.rejected.values()) == 20)
            monkeypatch.setattr(module, "now_s", lambda: 160.0)
            peer.sendto(b"noise", ("127.0.0.1", module.PORT))
            async with asyncio.timeout(100):
                await until(lambda: sum(mine.rejected.values()) == 21)

    asyncio.run(story())
    sender = ("127.0.0.2",)
    assert events == [
        DatagramsRefused(PRIV, "not a heartbeat", 1, sender), DatagramsRefused(PRIV, "not a heartbeat", 20, sender),
    ]  # fmt: skip


def test_restarted_peer_is_no_forger(peer: socket.socket) -> None:
    """The first datagrams of a new boot are not believed yet, but nobody is accused."""
    events: list[Event] = []

    async def story() -> None:
        with listening(events) as mine:
            peer.sendto(encode(KEY, Heartbeat(PRIV, 1, 50.0, ("a-boot", 1.0), VIEW)), ("127.0.0.1", module.PORT))
            reborn = Heartbeat(PRIV, 1, 3.0, None, replace(VIEW, boot="b-boot-2"))
            peer.sendto(encode(KEY, reborn), ("127.0.0.1", module.PORT))
            async with asyncio.timeout(100):
                await until(lambda: bool(mine.rejected))

    asyncio.run(story())
    assert events == [HeartbeatSeen(PRIV, VIEW, 1.0)]


def test_unsendable_heartbeat_is_counted(peer: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that cannot carry a heartbeat is silent and counted; nothing is raised."""

    async def story() -> None:
        with channel([]) as mine:
            monkeypatch.setattr(module, "seal", lambda *_: b"x" * 70_000)
            mine.send(VIEW, echoing=True)
            assert mine.unsent == {PRIV: 1}

    asyncio.run(story())
