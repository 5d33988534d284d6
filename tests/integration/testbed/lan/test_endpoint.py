"""Tests of testbed.lan.endpoint: two hosts on a real switch."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.lan import packets
from testbed.lan.endpoint import Endpoint
from testbed.switch.client import Switch
from testbed.wait import wait_for_record
from tests.unit.testbed.lan.test_endpoint import CLIENT_IP, CLIENT_MAC, IP, MAC, OTHER_MAC
from tests.unit.testbed.wire import SEGMENTS, Device

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
