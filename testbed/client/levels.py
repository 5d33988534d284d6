"""The probe by levels: the same service asked on each layer, so that an outage says which layer it was of.

| level | asks | an answer shows |
|---|---|---|
| l2 | ARP who-has for the VM's address | its network card and kernel, and the wires |
| l2_service | the same for the service address | that a node holds it |
| l3 | ICMP echo | the VM's kernel |
| udp | one write, by `testbed.client.probe` | the service and its disk |
| tcp_new | a connection and one request, each time | the service, as a new client sees it |
| tcp_long | a request on a connection that stays open | the service, as a client sees it that was there before |

All are open loops on one clock. It must never make up a level that could not be measured: the summary says why not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from testbed.client.attempts import Attempts, OnChange, keep_schedule
from testbed.client.outage import PATIENCE_S, AttemptOutcome, OutageSummary, as_fields
from testbed.client.probe import Probe
from testbed.client.tcp_host import TcpOrders
from testbed.client.tcp_probe import LONG, TcpProbe
from testbed.history import History
from testbed.lan import packets
from testbed.wait import OwnedTask

ARP_INTERVAL_S, SERVICE_INTERVAL_S, ECHO_INTERVAL_S = 0.2, 0.5, 0.2
NEW_INTERVAL_S, LONG_INTERVAL_S = 0.25, 0.2
GIVE_UP_S = 30.0  # without a word on the long connection; many clients wait as long, and the kernel's back-off shows
_EXPIRE_PERIOD_S = 0.1
_ECHO_NUMBER = 0x7463
_SEQUENCES = 1 << 16


class Client(Protocol):
    """What the levels below UDP need of the endpoint."""

    def observe(self, address: str, handler: Callable[[packets.Arp, float], None]) -> None:
        """Call the handler with each ARP answer to this address."""

    def stop_observing(self, address: str) -> None:
        """Free the address."""

    def arp_ask(self, ip: str, observer: str) -> None:
        """Broadcast who-has under an observer's address."""

    def echo_listen(self, number: int, handler: Callable[[int, float], None]) -> None:
        """Call the handler with each echo reply of this identifier."""

    def stop_echo(self, number: int) -> None:
        """Free the identifier."""

    def echo_send(self, ip: str, number: int, sequence: int) -> None:
        """Send one ICMP echo."""


class ArpLevel:
    """Asks who has an address. An ARP answer names no question, so each question in flight has an asker of its own."""

    def __init__(self, client: Client, ip: str, first_observer: str, attempts: Attempts) -> None:
        self.attempts = attempts
        self._client = client
        self._ip = ip
        count = math.ceil(attempts.timeout_s / attempts.interval_s) + 1
        self._observers = [str(IPv4Address(first_observer) + number) for number in range(count)]
        self.next_observer = str(IPv4Address(first_observer) + count)

    def start(self) -> None:
        """Listen for answers."""
        for slot, observer in enumerate(self._observers):
            self._client.observe(observer, self._handler(slot))

    def stop(self) -> None:
        """Listen no more."""
        for observer in self._observers:
            self._client.stop_observing(observer)

    def send(self, intended_at_s: float) -> None:
        """Ask once."""
        number = self.attempts.open(intended_at_s, time.monotonic())
        self._client.arp_ask(self._ip, self._observers[number % len(self._observers)])

    def _handler(self, slot: int) -> Callable[[packets.Arp, float], None]:
        def received(arp: packets.Arp, t_s: float) -> None:
            number = self.attempts.newest(slot, len(self._observers))
            if arp.sender_ip == self._ip and number is not None:
                self.attempts.settle(number, AttemptOutcome.OK, t_s, t_s)

        return received


class EchoLevel:
    """Sends ICMP echoes; the sequence number tells which one was answered."""

    def __init__(self, client: Client, ip: str, attempts: Attempts) -> None:
        self.attempts = attempts
        self._client = client
        self._ip = ip

    def start(self) -> None:
        """Listen for answers."""
        self._client.echo_listen(_ECHO_NUMBER, self._received)

    def stop(self) -> None:
        """Listen no more."""
        self._client.stop_echo(_ECHO_NUMBER)

    def send(self, intended_at_s: float) -> None:
        """Send one echo."""
        number = self.attempts.open(intended_at_s, time.monotonic())
        self._client.echo_send(self._ip, _ECHO_NUMBER, number % _SEQUENCES)

    def _received(self, sequence: int, t_s: float) -> None:
        number = self.attempts.newest(sequence, _SEQUENCES)
        if number is not None:
            self.attempts.settle(number, AttemptOutcome.OK, t_s, t_s)


@dataclass(frozen=True)
class Targets:
    """Whom the levels ask, and the first of the addresses of nobody under which ARP asks."""

    vm: str
    service: str | None
    observers: str


def tcp_orders(
    directory: Path, switch_port: str, *, mac: str, ip: str, prefix: int, target: str, port: int, scale: float = 1.0,
    timeout_s: float = PATIENCE_S,
) -> TcpOrders:  # fmt: skip
    """What the TCP probe shall do from a port of the switch whose sockets are in this directory."""
    return TcpOrders(
        control=str(directory / f"probe-{switch_port}"), own=str(directory / f"q-{switch_port}"),
        switch=str(directory / f"s-{switch_port}"), mac=mac, ip=ip, prefix=prefix, target=target, port=port,
        new_interval_s=NEW_INTERVAL_S * scale, long_interval_s=LONG_INTERVAL_S * scale, timeout_s=timeout_s,
        give_up_s=GIVE_UP_S * scale,
    )  # fmt: skip


class ProbeLevels:
    """All levels as an async context manager, beside a UDP probe that runs already; each change is in the history."""

    def __init__(
        self, client: Client, targets: Targets, *, udp: Probe | None, tcp: Callable[[Mapping[str, OnChange]], TcpProbe],
        history: History | None = None, timeout_s: float = PATIENCE_S, scale: float = 1.0,
    ) -> None:  # fmt: skip
        self._udp = udp
        self._history = history
        self._tcp = tcp({name: self._on_change(name) for name in ("tcp_new", "tcp_long")})
        self._levels: dict[str, ArpLevel | EchoLevel] = {}

        def book(name: str, interval_s: float) -> Attempts:
            return Attempts(interval_s * scale, timeout_s, self._on_change(name))

        vm = ArpLevel(client, targets.vm, targets.observers, book("l2", ARP_INTERVAL_S))
        self._levels["l2"] = vm
        if targets.service is not None:
            service = book("l2_service", SERVICE_INTERVAL_S)
            self._levels["l2_service"] = ArpLevel(client, targets.service, vm.next_observer, service)
        self._levels["l3"] = EchoLevel(client, targets.vm, book("l3", ECHO_INTERVAL_S))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._tcp)
            if self._tcp.problem is not None and self._history is not None:
                self._history.record("probe.tcp", "not_available", why=self._tcp.problem)
            for name, level in self._levels.items():
                level.start()
                stack.callback(level.stop)
                work = keep_schedule(level.attempts.interval_s, level.send)
                await stack.enter_async_context(OwnedTask(work, name=f"probe-{name}"))
            expiry = keep_schedule(_EXPIRE_PERIOD_S, lambda _at_s: self._expire())
            await stack.enter_async_context(OwnedTask(expiry, name="probe-levels-expiry"))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for level in self._levels.values():
            level.attempts.end()
        await self._stack.aclose()

    @property
    def tcp_problem(self) -> str | None:
        """Why there is no TCP level, or None."""
        return self._tcp.problem

    def is_up(self, level: str) -> bool | None:
        """Whether the level's service is up now; None while nobody knows."""
        return self._books()[level].is_up

    def summary(self, *, since_s: float = float("-inf")) -> dict[str, OutageSummary]:
        """Each measured level's view until now; outages, gap and slow service are those after `since_s`."""
        found = {name: book.summary(since_s=since_s) for name, book in self._books().items()}
        if self._udp is not None:
            found["udp"] = self._udp.summary(since_s=since_s)
        return found

    def fields(self, *, since_s: float, zero_at_s: float) -> dict[str, object]:
        """All levels for result.json, with moments from `zero_at_s`; a level that is not there says why."""
        found: dict[str, object] = {
            name: as_fields(summary, zero_at_s) for name, summary in self.summary(since_s=since_s).items()
        }
        for name, reasons in self._tcp.reasons.items():
            entry = found.get(name)
            if isinstance(entry, dict):
                entry["bad_because"] = dict(reasons)
                if name == LONG:
                    entry["connection"] = self._tcp.connection_fields(since_s, zero_at_s)
        if self._tcp.problem is not None:
            found["tcp"] = f"not available, because {self._tcp.problem}"
        return found

    def _books(self) -> dict[str, Attempts]:
        books = {name: level.attempts for name, level in self._levels.items()}
        tcp = {name: book for name, book in self._tcp.attempts.items() if len(book)}
        return books | tcp

    def _expire(self) -> None:
        for level in self._levels.values():
            level.attempts.expire(time.monotonic())

    def _on_change(self, name: str) -> OnChange:
        def changed(kind: str, fields: dict[str, object]) -> None:
            if self._history is not None:
                self._history.record(f"probe.{name}", kind, **fields)

        return changed
