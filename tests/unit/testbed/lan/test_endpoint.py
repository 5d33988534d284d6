"""Tests of testbed.lan.endpoint: its ARP cache in invented time, and two hosts on a real switch."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.lan import packets
from testbed.lan.endpoint import WAITING_PACKETS_MAX, Endpoint, Neighbours
from testbed.switch.client import Switch
from testbed.wait import wait_for_record
from tests.unit.testbed.wire import SEGMENTS, Device

IP, MAC, OTHER_MAC = "10.77.0.20", "00:16:3e:77:00:20", "00:16:3e:77:00:99"
CLIENT_IP, CLIENT_MAC = "10.77.0.100", "02:77:00:00:01:00"


def packet(number: int = 0) -> packets.Udp:
    """A packet to the neighbour."""
    return packets.Udp(CLIENT_MAC, CLIENT_IP, IP, 1, 2, bytes([number]))


def test_an_unknown_neighbour_is_asked_for_again_while_packets_wait() -> None:
    """Resolution is tried every 0.2 s and the packet is delivered when the answer comes."""
    cache = Neighbours()
    assert cache.send(IP, packet(), 0.0) is None
    assert [cache.due(at_s) for at_s in (0.0, 0.1, 0.2, 0.3, 0.45)] == [[IP], [], [IP], [], [IP]]
    assert cache.learn(IP, MAC, 0.5, create=False) == (True, [packet()])
    assert cache.send(IP, packet(), 0.6) == MAC
    assert cache.due(0.7) == []


def test_only_fresh_and_few_packets_wait() -> None:
    """A client that was cut off for long does not send a burst of old requests."""
    cache = Neighbours()
    for number in range(WAITING_PACKETS_MAX + 4):
        cache.send(IP, packet(number), number * 0.1)
    _, waiting = cache.learn(IP, MAC, 2.0, create=False)
    assert [item.payload[0] for item in waiting] == list(range(10, WAITING_PACKETS_MAX + 4))


def test_nobody_is_asked_for_when_nothing_waits_any_more() -> None:
    """The client stops asking when its packets are too old."""
    cache = Neighbours()
    cache.send(IP, packet(), 0.0)
    assert cache.due(1.5) == []


def test_a_silent_neighbour_is_doubted_after_a_second() -> None:
    """Without an answer the known address is asked for by broadcast, once a second, and still used meanwhile."""
    cache = Neighbours()
    cache.learn(IP, MAC, 0.0, create=True)
    assert cache.send(IP, packet(), 1.0) == MAC
    assert [cache.due(at_s) for at_s in (1.9, 2.0, 2.5, 3.0)] == [[], [IP], [], [IP]]
    assert cache.send(IP, packet(), 3.1) == MAC


def test_traffic_from_the_known_address_ends_the_doubt() -> None:
    """An entry that traffic confirms is not asked for; traffic from another address confirms nothing."""
    cache = Neighbours()
    cache.learn(IP, MAC, 0.0, create=True)
    cache.send(IP, packet(), 1.0)
    cache.confirm(IP, OTHER_MAC)
    assert cache.due(2.5) == [IP]
    cache.confirm(IP, MAC)
    assert cache.due(5.0) == []


def test_a_gratuitous_arp_updates_a_known_neighbour_only() -> None:
    """An announcement moves an entry, and strangers do not fill the cache."""
    cache = Neighbours()
    assert cache.learn(IP, MAC, 0.0, create=False) == (False, [])
    assert cache.mac(IP) is None
    cache.learn(IP, MAC, 0.0, create=True)
    assert cache.learn(IP, OTHER_MAC, 1.0, create=False) == (True, [])
    assert cache.mac(IP) == OTHER_MAC


Scenario = Callable[[Endpoint, Endpoint, History], Awaitable[None]]


def with_hosts(scenario: Scenario) -> None:
    """Run the scenario with a client and a server on a real switch."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            directory = Path(name)
            async with (
                Switch(directory, SEGMENTS, history=history, log=directory / "log"),
                Endpoint(directory, "client.biz0", CLIENT_MAC, CLIENT_IP, 24, "10.77.0.2", history=history) as client,
                Endpoint(directory, "a.biz0", MAC, IP, 24, None) as server,
            ):
                await scenario(client, server, history)

    asyncio.run(run())


def test_a_datagram_finds_its_way_and_its_answer_back() -> None:
    """Resolution, delivery and reply work through the switch."""

    async def scenario(client: Endpoint, server: Endpoint, history: History) -> None:
        got: asyncio.Queue[bytes] = asyncio.Queue()
        server.listen(7000, lambda d, _t: server.udp_send(d.source_ip, d.source_port, 7000, d.payload.upper()))
        port = client.free_port()
        client.listen(port, lambda datagram, _t: got.put_nowait(datagram.payload))
        client.udp_send(IP, 7000, port, b"hello")
        async with asyncio.timeout(100):
            assert await got.get() == b"HELLO"
        assert client.neighbour(IP) == MAC

    with_hosts(scenario)


def test_a_question_under_an_observers_address_leaves_the_cache_alone() -> None:
    """The observer gets the answer, and the client still does not know the neighbour."""

    async def scenario(client: Endpoint, server: Endpoint, history: History) -> None:
        got: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        client.observe("10.77.0.200", lambda arp, _t: got.put_nowait((arp.sender_ip, arp.sender_mac)))
        client.arp_ask(IP, "10.77.0.200")
        async with asyncio.timeout(100):
            assert await got.get() == (IP, MAC)
        assert client.neighbour(IP) is None
        client.stop_observing("10.77.0.200")

    with_hosts(scenario)


def test_an_echo_reply_names_its_request() -> None:
    """Replies of an identifier reach its listener with their sequence numbers."""

    async def scenario(client: Endpoint, server: Endpoint, history: History) -> None:
        got: asyncio.Queue[int] = asyncio.Queue()
        client.echo_listen(9, lambda sequence, _t: got.put_nowait(sequence))
        client.echo_send(IP, 9, 1)
        client.echo_send(IP, 9, 65_535)
        async with asyncio.timeout(100):
            assert [await got.get(), await got.get()] == [1, 65_535]
        client.stop_echo(9)

    with_hosts(scenario)


def test_ping_is_answered() -> None:
    """A host answers ICMP echo, and the time of the answer comes back."""

    async def scenario(client: Endpoint, server: Endpoint, history: History) -> None:
        assert await client.ping(IP, timeout_s=100) > 0

    with_hosts(scenario)


def test_a_ping_without_an_answer_says_how_far_it_came() -> None:
    """The error names the address, the number of tries and what ARP knows."""

    async def scenario(client: Endpoint, server: Endpoint, history: History) -> None:
        with pytest.raises(WaitTimeout, match=r"10\.77\.0\.77; \d+ were sent.*no ARP answer"):
            await client.ping("10.77.0.77", timeout_s=0.3)

    with_hosts(scenario)


def test_an_announcement_moves_the_neighbour_and_is_recorded() -> None:
    """After a takeover with a new hardware address the client follows the gratuitous ARP."""

    async def scenario(client: Endpoint, server: Endpoint, history: History) -> None:
        await client.ping(IP, timeout_s=100)
        other = Device(client._own_path.parent, "b.biz0")
        other.send(packets.arp_request(OTHER_MAC, IP, IP))
        other.socket.close()
        found = await wait_for_record(
            history, lambda r: r.fields.get("mac") == OTHER_MAC, what="the new address", timeout_s=100
        )
        assert found.fields["gratuitous"] is True
        assert client.neighbour(IP) == OTHER_MAC

    with_hosts(scenario)


def test_far_addresses_go_through_the_gateway() -> None:
    """A packet to another network asks for the gateway, and without one it is not sent."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        host = Endpoint(Path(name), "p", CLIENT_MAC, CLIENT_IP, 24, "10.77.0.2")
        assert host._next_hop("10.9.0.1") == "10.77.0.2"
        assert host._next_hop(IP) == IP
        lonely = Endpoint(Path(name), "p", CLIENT_MAC, CLIENT_IP, 24, None)
        lonely.udp_send("10.9.0.1", 1, 2, b"")
        assert lonely.counters.not_sent == 1


def test_a_missing_switch_loses_frames_and_counts_them() -> None:
    """Without a switch the host behaves like one whose cable is unplugged."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name:
            async with Endpoint(Path(name), "p", CLIENT_MAC, CLIENT_IP, 24, None) as host:
                host.announce()
                assert (host.counters.sent, host.counters.not_sent) == (0, 1)

    asyncio.run(run())
