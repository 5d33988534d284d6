"""Proves the relay: a loopback server is a host of the segment, each client has its way, and the dead are silent."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from testbed.history import History
from testbed.lan import packets
from testbed.lan.endpoint import Endpoint
from testbed.lan.udp_relay import CLIENTS_MAX, Pace, UdpRelay, bound_port
from testbed.switch.client import Switch
from testbed.wait import wait_until

HOST, CLIENT = "10.77.0.5", "10.77.0.100"
PORT = 7790


class Echo(asyncio.DatagramProtocol):
    """A server that gives back what it got, and the ports of those who asked."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Give it back."""
        self.seen.add(addr[1])
        self._transport.sendto(data, addr)


@dataclass
class Bench:
    """The relay of the echo, and a client."""

    relay: UdpRelay
    echo: Echo
    port: int
    client: Endpoint
    heard: list[tuple[int, bytes]] = field(default_factory=list)

    def say(self, own_port: int, payload: bytes) -> None:
        """Send from a port of the client."""
        self.client.udp_send(HOST, PORT, own_port, payload)

    def listen(self, own_port: int) -> None:
        """Hear at a port of the client."""

        def hear(datagram: packets.Udp, _now_s: float) -> None:
            self.heard.append((own_port, datagram.payload))

        self.client.listen(own_port, hear)

    async def hears(self, count: int) -> None:
        """Wait for so many answers."""

        async def enough() -> bool:
            return len(self.heard) >= count

        await wait_until(enough, what=f"{count} answers", timeout_s=100, poll_s=0.005)


@asynccontextmanager
async def bench(pace: Pace) -> AsyncIterator[Bench]:
    """A relay that refuses what begins with an x."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-")))
        history = stack.enter_context(History())
        segments = {"biz0": ["c", "w"]}
        await stack.enter_async_context(Switch(directory, segments, history=history, log=directory / "log"))
        client = await stack.enter_async_context(Endpoint(directory, "c", "02:77:00:00:01:00", CLIENT, 24, None))
        host = await stack.enter_async_context(Endpoint(directory, "w", "02:77:00:00:01:05", HOST, 24, None))
        loop = asyncio.get_running_loop()
        transport, echo = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
        stack.callback(transport.close)
        relay = stack.enter_context(UdpRelay(host, PORT, pace=pace, refuses=lambda payload: payload[:1] == b"x"))
        yield Bench(relay, echo, transport.get_extra_info("sockname")[1], client)


def test_answers_find_their_client_and_the_dead_are_silent() -> None:
    """Each port of a client gets its own answer; without a server, and refused, nothing comes."""

    async def scenario() -> None:
        async with bench(Pace()) as world:
            for own in (40_001, 40_002):
                world.listen(own)
            world.say(40_001, b"lost")
            world.relay.serve(world.port)
            await asyncio.sleep(0.3)  # the first one waited for the address
            before = len(world.heard)
            for own in (40_001, 40_002):
                world.say(own, str(own).encode())
            world.say(40_001, b"xyz")
            await world.hears(before + 2)
            assert set(world.heard[before:]) == {(40_001, b"40001"), (40_002, b"40002")}
            assert world.relay.counters.refused == 1
            world.relay.serve(None)
            world.say(40_001, b"again")
            await asyncio.sleep(0.1)
            assert len(world.heard) == before + 2
            assert world.relay.counters.unpowered >= 1

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_slow_host_answers_late() -> None:
    """By what its pace says."""

    async def scenario() -> None:
        pace = Pace()
        async with bench(pace) as world:
            world.listen(40_001)
            world.relay.serve(world.port)
            world.say(40_001, b"fast")
            await world.hears(1)
            pace.delay_s = 0.3
            begun_s = asyncio.get_running_loop().time()
            world.say(40_001, b"slow")
            await world.hears(2)
            assert asyncio.get_running_loop().time() - begun_s >= 0.3

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_many_clients_do_not_use_up_sockets() -> None:
    """The oldest way is closed when there are too many."""

    async def scenario() -> None:
        async with bench(Pace()) as world:
            world.relay.serve(world.port)
            owns = range(41_000, 41_000 + CLIENTS_MAX + 2)
            for number, own in enumerate(owns, start=1):
                world.listen(own)
                world.say(own, b"here")
                await world.hears(number)
            assert len(world.relay._clients) == CLIENTS_MAX
            assert len(world.echo.seen) == len(owns)

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_the_port_of_a_process_is_found() -> None:
    """From proc(5); a process that is not there has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        assert bound_port(os.getpid(), "tcp", "0A") == sock.getsockname()[1]
    assert bound_port(2**22 + 1) == 0
