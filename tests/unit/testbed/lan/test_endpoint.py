"""Tests of testbed.lan.endpoint: its ARP cache in invented time, and what it makes of frames."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from testbed.lan import packets
from testbed.lan.endpoint import WAITING_PACKETS_MAX, ArpCache, Endpoint

IP, MAC, OTHER_MAC = "10.77.0.20", "00:16:3e:77:00:20", "00:16:3e:77:00:99"
CLIENT_IP, CLIENT_MAC = "10.77.0.100", "02:77:00:00:01:00"


def packet(number: int = 0) -> packets.Udp:
    """A packet to the neighbour."""
    return packets.Udp(CLIENT_MAC, CLIENT_IP, IP, 1, 2, bytes([number]))


def test_an_unknown_neighbour_is_asked_for_again_while_packets_wait() -> None:
    """Resolution is tried every 0.2 s and the packet is delivered when the answer comes."""
    cache = ArpCache()
    assert cache.send(IP, packet(), 0.0) is None
    assert [cache.due(at_s) for at_s in (0.0, 0.1, 0.2, 0.3, 0.45)] == [[IP], [], [IP], [], [IP]]
    assert cache.learn(IP, MAC, 0.5, create=False) == (True, [packet()])
    assert cache.send(IP, packet(), 0.6) == MAC
    assert cache.due(0.7) == []


def test_only_fresh_and_few_packets_wait() -> None:
    """A client that was cut off for long does not send a burst of old requests."""
    cache = ArpCache()
    for number in range(WAITING_PACKETS_MAX + 4):
        cache.send(IP, packet(number), number * 0.1)
    _, waiting = cache.learn(IP, MAC, 2.0, create=False)
    assert [item.payload[0] for item in waiting] == list(range(10, WAITING_PACKETS_MAX + 4))


def test_nobody_is_asked_for_when_nothing_waits_any_more() -> None:
    """The client stops asking when its packets are too old."""
    cache = ArpCache()
    cache.send(IP, packet(), 0.0)
    assert cache.due(1.5) == []


def test_a_silent_neighbour_is_doubted_after_a_second() -> None:
    """Without an answer the known address is asked for by broadcast, once a second, and still used meanwhile."""
    cache = ArpCache()
    cache.learn(IP, MAC, 0.0, create=True)
    assert cache.send(IP, packet(), 1.0) == MAC
    assert [cache.due(at_s) for at_s in (1.9, 2.0, 2.5, 3.0)] == [[], [IP], [], [IP]]
    assert cache.send(IP, packet(), 3.1) == MAC


def test_traffic_from_the_known_address_ends_the_doubt() -> None:
    """An entry that traffic confirms is not asked for; traffic from another address confirms nothing."""
    cache = ArpCache()
    cache.learn(IP, MAC, 0.0, create=True)
    cache.send(IP, packet(), 1.0)
    cache.confirm(IP, OTHER_MAC)
    assert cache.due(2.5) == [IP]
    cache.confirm(IP, MAC)
    assert cache.due(5.0) == []


def test_a_gratuitous_arp_updates_a_known_neighbour_only() -> None:
    """An announcement moves an entry, and strangers do not fill the cache."""
    cache = ArpCache()
    assert cache.learn(IP, MAC, 0.0, create=False) == (False, [])
    assert cache.mac(IP) is None
    cache.learn(IP, MAC, 0.0, create=True)
    assert cache.learn(IP, OTHER_MAC, 1.0, create=False) == (True, [])
    assert cache.mac(IP) == OTHER_MAC


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
