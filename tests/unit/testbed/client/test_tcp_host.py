"""Tests of testbed.client.tcp_host: its two clients against a service on the loopback address, no private network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from testbed.client.tcp_host import LongConnection, NewConnections, Pump, TcpOrders
from testbed.wait import OwnedTask, wait_until

ORDERS = TcpOrders("", "", "", "", "", 24, "127.0.0.1", 0, 0.01, 0.01, 2.0, 30.0)


@dataclass
class Service:
    """Answers PING unless a test says otherwise, and keeps what the clients reported."""

    orders: TcpOrders
    said: list[dict[str, Any]] = field(default_factory=list)
    is_mute: bool = False
    connections: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections.append(writer)
        while line := await reader.readline():
            if not self.is_mute:
                writer.write(b"PONG " + line.split()[1] + b" boot 0\n")
        writer.close()

    def say(self, **fields: object) -> None:
        """What the clients report goes here."""
        self.said.append(fields)

    async def heard(self, **wanted: object) -> dict[str, Any]:
        """Wait for a report with these fields."""

        async def found() -> dict[str, Any] | None:
            return next((said for said in self.said if wanted.items() <= said.items()), None)

        report = await wait_until(found, what=f"{wanted}", timeout_s=100, poll_s=0.005)
        assert report is not None
        return report


def with_service(story: Callable[[Service], Awaitable[None]], **settings: float) -> None:
    """Run the story beside a listening service."""

    async def run() -> None:
        service = Service(ORDERS)
        server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            service.orders = replace(ORDERS, port=port, **settings)  # type: ignore[arg-type]
            await story(service)
        for writer in service.connections:
            writer.transport.abort()
        await asyncio.sleep(0)  # the aborted connections end

    asyncio.run(run())


def test_each_new_connection_is_asked_once() -> None:
    """Sent and answered are reported with the same number, and the connection ends."""

    async def story(service: Service) -> None:
        async with asyncio.TaskGroup() as tasks:
            client = NewConnections(service.orders, service.say, tasks)
            client.attempt(1.0)
            client.attempt(2.0)
        assert [report["intended_s"] for report in service.said if "intended_s" in report] == [1.0, 2.0]
        for number in (0, 1):
            assert (await service.heard(number=number, outcome="ok"))["done_s"] > 0
        assert len(service.connections) == 2

    with_service(story)


def test_a_service_that_says_nothing_is_given_up() -> None:
    """The connection is made by the kernel, so only the time limit of the attempt tells."""

    async def story(service: Service) -> None:
        service.is_mute = True
        async with asyncio.TaskGroup() as tasks:
            NewConnections(service.orders, service.say, tasks).attempt(1.0)
        await service.heard(number=0, outcome="info", why="no answer in time")

    with_service(story, timeout_s=0.05)


def test_a_refused_connection_is_a_failure_with_its_reason() -> None:
    """Nobody listens."""

    async def run() -> None:
        service = Service(ORDERS)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            orders = replace(ORDERS, port=nobody.getsockname()[1])
            async with asyncio.TaskGroup() as tasks:
                NewConnections(orders, service.say, tasks).attempt(1.0)
        await service.heard(number=0, outcome="fail", why="connection refused")

    asyncio.run(run())


def test_the_long_connection_carries_all_requests() -> None:
    """One connection, however many requests; without it a request fails at once."""

    async def story(service: Service) -> None:
        client = LongConnection(service.orders, service.say)
        client.attempt(0.5)
        await service.heard(number=0, outcome="fail", why="not connected")
        async with OwnedTask(client.stay_connected(), name="long"):
            await service.heard(connection="opened")
            for number in (1, 2, 3):
                client.attempt(float(number))
                await service.heard(number=number, outcome="ok")
        assert len(service.connections) == 1

    with_service(story)


@pytest.mark.parametrize(("end", "how"), [("close", "closed"), ("reset", "reset")])
def test_a_connection_that_the_service_ends_is_made_again(end: str, how: str) -> None:
    """The report says how it ended, and the next one works."""

    async def story(service: Service) -> None:
        client = LongConnection(service.orders, service.say)
        async with OwnedTask(client.stay_connected(), name="long"):
            await service.heard(connection="opened")
            client.attempt(1.0)
            await service.heard(number=0, outcome="ok")
            if end == "reset":
                raw = service.connections[0].get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            service.connections[0].transport.abort()
            await service.heard(connection="ended", how=how)
            service.said.clear()
            await service.heard(connection="opened")
            client.attempt(2.0)
            await service.heard(number=1, outcome="ok")

    with_service(story)


def test_a_connection_without_a_word_is_given_up_in_the_end() -> None:
    """A client does not wait for ever: after its patience it connects again."""

    async def story(service: Service) -> None:
        service.is_mute = True
        client = LongConnection(service.orders, service.say)
        async with OwnedTask(client.stay_connected(), name="long"):
            await service.heard(connection="opened")
            client.attempt(1.0)
            client.attempt(2.0)
            await service.heard(connection="ended", how="given up")

    with_service(story, give_up_s=0.0)


def test_frames_go_both_ways_and_what_has_no_room_is_counted(tmp_path: Path) -> None:
    """The pump carries whole frames; without a switch they are lost."""

    async def run() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        switch = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        switch.bind(str(tmp_path / "s"))
        for end in (near, far):
            end.setblocking(False)
        pump = Pump(near, str(tmp_path / "q"), str(tmp_path / "s"))
        loop = asyncio.get_running_loop()
        with near, far, switch, pump:
            far.send(b"out")
            assert await loop.sock_recv(switch, 100) == b"out"
            switch.sendto(b"in", str(tmp_path / "q"))
            assert await loop.sock_recv(far, 100) == b"in"
            switch.close()
            far.send(b"lost")

            async def lost() -> bool:
                return pump.lost == 1

            await wait_until(lost, what="the count of lost frames", timeout_s=100, poll_s=0.005)

    asyncio.run(run())
