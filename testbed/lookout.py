"""Looks at both nodes and at the service all the time: what the oracle of the VM that runs twice needs to see.

Each node's dom0 is asked for its domains by the out-of-band channel, and the service for the boot of its VM; both go
into the history. A node that does not answer leaves a gap, which makes the oracle blind, never a record. It must never
hold up anything else: each node has its own task, and every question its own limit.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from testbed.errors import TestbedError
from testbed.ledger import Datagram, UdpClient
from testbed.wait import OwnedTask

DOMAINS_PERIOD_S = 2.0  # `xl list` costs an emulated dom0 a noticeable part of a second
DOMAINS_TIMEOUT_S = 4.0
BOOT_PERIOD_S = 0.5
WAITING_MAX = 240  # questions of two minutes: later answers are of no use to anybody

Node = TypeVar("Node")


class Listed(Protocol):
    """What the lookout needs of a domain."""

    @property
    def name(self) -> str:
        """The name of the VM."""

    @property
    def id(self) -> int:
        """Xen's number, new with each start."""

    @property
    def flags(self) -> str:
        """The state letters of `xl list`."""


class Recorder(Protocol):
    """What the lookout needs of the history."""

    def record(self, source: str, kind: str, /, **fields: object) -> object:
        """Append a record stamped now."""

    def record_at(self, t_s: float, source: str, kind: str, /, **fields: object) -> object:
        """Append a record with a time taken on the same clock."""


class Lookout(Generic[Node]):
    """The running lookout as an async context manager; `ask` lists the domains of one node."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        ask: Callable[[Node], Awaitable[Sequence[Listed]]],
        client: UdpClient,
        service: tuple[str, int],
        *,
        history: Recorder,
        domains_period_s: float = DOMAINS_PERIOD_S,
        boot_period_s: float = BOOT_PERIOD_S,
    ) -> None:
        self._nodes = nodes
        self._ask = ask
        self._client = client
        self._service = service
        self._history = history
        self._domains_period_s, self._boot_period_s = domains_period_s, boot_period_s
        self._waiting: dict[str, float] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for name in self._nodes:
                await stack.enter_async_context(OwnedTask(self._watch(name), name=f"lookout-{name}"))
            port = self._client.free_port()
            self._client.listen(port, self._answered)
            stack.callback(self._client.stop_listening, port)
            await stack.enter_async_context(OwnedTask(self._ping(port), name="lookout-boots"))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _watch(self, name: str) -> None:
        while True:
            asked_s = time.monotonic()
            try:
                async with asyncio.timeout(DOMAINS_TIMEOUT_S):
                    listed = await self._ask(self._nodes[name])
            except (TestbedError, OSError):  # TimeoutError is one; the node is off, booting or stands still
                listed = None
            if listed is not None:
                domains = [{"name": one.name, "id": one.id, "state": one.flags} for one in listed]
                self._history.record("guests", "domains", node=name, asked_s=asked_s, domains=domains)
            await asyncio.sleep(max(0.0, asked_s + self._domains_period_s - time.monotonic()))

    async def _ping(self, port: int) -> None:
        ip, service_port = self._service
        for number in itertools.count():
            token = f"boot-{number}"
            self._waiting[token] = time.monotonic()
            if len(self._waiting) > WAITING_MAX:
                del self._waiting[next(iter(self._waiting))]
            self._client.udp_send(ip, service_port, port, f"PING {token}".encode())
            await asyncio.sleep(self._boot_period_s)

    def _answered(self, datagram: Datagram, t_s: float) -> None:
        match datagram.payload.decode("ascii", errors="replace").split():
            case ["PONG", token, boot, total] if token in self._waiting and total.isdigit():
                # Not taken away: the network, or a second VM, may answer the same question again.
                asked_s = self._waiting[token]
                self._history.record_at(t_s, "lookout", "boot", boot=boot, total=int(total), intended_s=asked_s)
