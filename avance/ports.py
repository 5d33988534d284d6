"""What the daemon needs of the outside world, as Protocols; each has one adapter file in `avance/adapters`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from avance.core.events import Event
from avance.core.model import Outcome, PeerView, Record, VmId, VmSpec

Sink = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Done:
    """How a piece of outside work ended, with evidence for people in `detail`."""

    outcome: Outcome
    detail: str = ""


class Disks(Protocol):
    """Volumes and their replication."""

    def add(self, spec: VmSpec) -> None:
        """Take another VM into care."""
        ...

    def prepare(self, vm: VmId) -> Awaitable[Done]:
        """Create and zero the volume unless it is there; detail `fresh` when it was made now."""
        ...

    def attach(self, vm: VmId) -> Awaitable[Done]:
        """Bring the resource up on its local disk."""
        ...

    def connect(self, vm: VmId) -> Awaitable[Done]:
        """Let the resource connect."""
        ...

    def initialise(self, vm: VmId) -> Awaitable[Done]:
        """Declare two zeroed copies equal."""
        ...

    def promote(self, vm: VmId) -> Awaitable[Done]:
        """Become the writer."""
        ...

    def demote(self, vm: VmId) -> Awaitable[Done]:
        """Stop being the writer."""
        ...

    def resume(self, vm: VmId) -> Awaitable[Done]:
        """Let frozen I/O go on."""
        ...


class Hypervisor(Protocol):
    """Domains; `read` reports what it saw as an event before it is done."""

    def add(self, spec: VmSpec) -> None:
        """Take another VM into care."""
        ...

    def start(self, vm: VmId) -> Awaitable[Done]:
        """Create the domain."""
        ...

    def destroy(self, vm: VmId) -> Awaitable[Done]:
        """Destroy the domain."""
        ...

    def read(self, vm: VmId) -> Awaitable[Done]:
        """Report whether the domain runs."""
        ...


class Network(Protocol):
    """Addresses of this node and the service address."""

    def wait_up(self) -> Awaitable[Done]:
        """Wait until every link of this node has its address."""
        ...

    def hold_address(self) -> Awaitable[Done]:
        """Bring the service address up and announce it."""
        ...

    def release_address(self) -> Awaitable[Done]:
        """Take the service address down."""
        ...


class PeerChannel(Protocol):
    """Heartbeats."""

    def send(self, view: PeerView) -> None:
        """Send one heartbeat on every link."""
        ...


class Store(Protocol):
    """The durable record."""

    def load(self) -> Record:
        """Return the newest valid record; raises StoreError when all copies are damaged."""
        ...

    def save(self, record: Record) -> Awaitable[Done]:
        """Make the record durable."""
        ...
