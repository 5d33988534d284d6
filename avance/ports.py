"""What the daemon needs of the outside world, as Protocols; each has one adapter file in `avance/adapters`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from avance.core.events import Event
from avance.core.model import NodeId, PeerView, Record, VmId, VmSpec
from avance.core.results import Done

Sink = Callable[[Event], None]


class VmKeeper(Protocol):
    """Whoever has to know which VMs there are."""

    def add(self, spec: VmSpec) -> None:
        """Take another VM into care."""
        ...

    def change(self, spec: VmSpec) -> None:
        """Take another definition of a VM; what runs goes on as it was started."""
        ...

    def remove(self, vm: VmId) -> None:
        """Take a VM out of care; what is left of it stays for now."""
        ...


class Disks(VmKeeper, Protocol):
    """Volumes and their replication."""

    def prepare(self, vm: VmId) -> Awaitable[Done]:
        """Create and zero the volume unless it is there; a VolumePrepared when it is."""
        ...

    def attach(self, vm: VmId) -> Awaitable[Done]:
        """Bring the resource up on its local disk."""
        ...

    def connect(self, vm: VmId, *, discard: bool) -> Awaitable[Done]:
        """Let the resource connect; `discard` gives this node's version up where the versions differ."""
        ...

    def keep(self, vm: VmId, epoch: int) -> Awaitable[Done]:
        """Copy the volume to one that nothing overwrites."""
        ...

    def initialise(self, vm: VmId) -> Awaitable[Done]:
        """Declare two zeroed copies equal."""
        ...

    def promote(self, vm: VmId, *, forced: bool = False) -> Awaitable[Done]:
        """Become the writer; `forced`: of a copy that DRBD calls outdated."""
        ...

    def two_writers(self, vm: VmId, *, allowed: bool) -> Awaitable[Done]:
        """Let DRBD have two writers of this resource, or one again; refused while both nodes are writers."""
        ...

    def demote(self, vm: VmId) -> Awaitable[Done]:
        """Stop being the writer."""
        ...

    def resume(self, vm: VmId) -> Awaitable[Done]:
        """Let frozen I/O go on."""
        ...

    def disconnect(self, vm: VmId) -> Awaitable[Done]:
        """Leave the peer's side of the replication at once."""
        ...

    def outdate(self, vm: VmId) -> Awaitable[Done]:
        """Mark the local copy as outdated; one that is worse already, or absent, counts as outdated."""
        ...

    def resync(self, vm: VmId) -> Awaitable[Done]:
        """Copy this node's volume to the connected peer in full."""
        ...

    def invalidate(self, vm: VmId) -> Awaitable[Done]:
        """Call the local copy bad in every block: all of it is taken from the peer.

        It works on a copy that stands alone and on a connected one; one that waits for its peer refuses it.
        """
        ...

    def generations(self, vm: VmId) -> Awaitable[Done]:
        """Read the generation identifiers of the local copy; a GenerationsRead when that is done."""
        ...

    def in_flight(self, vm: VmId) -> Awaitable[Done]:
        """Count the open requests of the VM; an InFlightCounted when that is done."""
        ...

    def clear(self, vm: VmId, minor: int) -> Awaitable[Done]:
        """Let nothing be left of a removed VM, whose domain is gone: resource, its file, volume. OK when nothing is."""
        ...


class Mirror(Protocol):
    """The mirror of this node's data disks; each change of it is reported as an event."""

    def ready(self) -> Awaitable[Done]:
        """Wait until the disks have been looked at; FAILED when there is no current half, with the reason."""
        ...

    def keep_note(self, note: str) -> Awaitable[Done]:
        """Make the peer's note of its newest half durable here."""
        ...

    def use_note(self, note: str) -> Awaitable[Done]:
        """Take this note for this node's own, and look at the disks again."""
        ...

    def reuse(self) -> Awaitable[Done]:
        """Make a new, empty mirror of what is left of the old one."""
        ...

    def trust(self) -> Awaitable[Done]:
        """Note that the half in use is current: the peer has replaced it, or a person vouches for it."""
        ...


class Hypervisor(VmKeeper, Protocol):
    """Domains; `read` reports what it saw as an event before it is done. A removed VM is paused with the others."""

    def start(self, vm: VmId) -> Awaitable[Done]:
        """Create the domain."""
        ...

    def destroy(self, vm: VmId) -> Awaitable[Done]:
        """Destroy the domain."""
        ...

    def shutdown(self, vm: VmId) -> Awaitable[Done]:
        """Ask the guest to shut down; OK: it was asked. That it has ended is reported as any end is."""
        ...

    def room_mib(self) -> int | None:
        """Return the memory that VMs of this node can have together, with what they have; None: Xen does not say."""
        ...

    def send(self, vm: VmId, move: str) -> Awaitable[Done]:
        """Send the running domain to the peer, which receives it by the same `move`; it stands still there then.

        FAILED: it runs on here. UNKNOWN: it may stand still here, or be gone.
        """
        ...

    def receive(self, vm: VmId, move: str) -> Awaitable[Done]:
        """Take the domain in that the peer sends; OK: it is here, complete, and stands still; FAILED: it is not."""
        ...

    def resume(self, vm: VmId) -> Awaitable[Done]:
        """Let a domain that was taken in go on."""
        ...

    def end_move(self) -> None:
        """Break off what `send` and `receive` are doing; returns at once, and they end with their outcomes."""
        ...

    def read(self, vm: VmId) -> Awaitable[Done]:
        """Report whether the domain runs or stands still; UNKNOWN and no report while nobody can say."""
        ...

    def pause(self) -> Awaitable[Done]:
        """Stop the virtual processors of all domains, and start none until `unpause`."""
        ...

    def unpause(self) -> Awaitable[Done]:
        """Let all paused domains go on."""
        ...

    def clear(self, vm: VmId) -> Awaitable[Done]:
        """Let a removed VM run no more; OK when it does not, which is reported as an event before."""
        ...


class Wires(Protocol):
    """The network of the domains; both return at once, within the caller's turn."""

    def take_down(self) -> Done:
        """Take every domain off the network."""
        ...

    def bring_up(self) -> Done:
        """Put every domain on the network again."""
        ...


class Gate(Protocol):
    """What holds back the frames of VMs and of the service address when the right has ended."""

    @property
    def problem(self) -> str | None:
        """Why it holds nothing back, or None."""
        ...

    def open_until(self, until_s: float | None) -> None:
        """Let them pass until this monotonic second, None: without an end; returns at once."""
        ...

    def keep(self) -> Awaitable[None]:
        """Put it into the way of the frames wherever it is not; once the networks are there, and again later."""
        ...


class PeerPower(Protocol):
    """The peer's power."""

    def read(self) -> Awaitable[Done]:
        """Ask for it; the PowerRead says whether it is off."""
        ...

    def cut(self) -> Awaitable[Done]:
        """Switch it off; OK only when it was read as off afterwards."""
        ...

    def restore(self) -> Awaitable[Done]:
        """Switch it on; OK when the order was accepted."""
        ...


class Neighbours(VmKeeper, Protocol):
    """Who answers on the public networks; `probe` reports what it saw as an event before it is done."""

    def probe(self) -> Awaitable[Done]:
        """Look at all of them."""
        ...


class Watchdog(Protocol):
    """What resets this machine when nobody feeds it, or at once; both methods return at once."""

    @property
    def armed(self) -> bool:
        """It runs, with a time that is short enough."""
        ...

    @property
    def problem(self) -> str | None:
        """Why it does not protect, or None."""
        ...

    def feed(self) -> None:
        """Start its time anew; the first feed arms it."""
        ...

    def reset(self, reason: str) -> None:
        """Reset this machine now."""
        ...


class Network(Protocol):
    """Addresses of this node and the service address."""

    def wait_up(self) -> Awaitable[Done]:
        """Wait until the private link of this node has its address."""
        ...

    def wait_changed(self, timeout_s: float) -> Awaitable[None]:
        """Wait until something of the network has changed, at most so long."""
        ...

    def hold_address(self) -> Awaitable[Done]:
        """Bring the service address up and announce it."""
        ...

    def release_address(self) -> Awaitable[Done]:
        """Take the service address down."""
        ...


class PeerChannel(Protocol):
    """Heartbeats."""

    def send(self, view: PeerView, *, echoing: bool) -> None:
        """Send one heartbeat on every link; `echoing`: with the echo of what the core has heard there last."""
        ...

    def send_document(self, datagram: bytes) -> None:
        """Send a sealed document on every link, once."""
        ...

    def heard(self, event: Event) -> None:
        """The core has taken this event in: the heartbeat that it tells of may be echoed from now on."""
        ...


class Store(Protocol):
    """The durable record."""

    def load(self) -> Record:
        """Return the newest valid record; raises StoreError when all copies are damaged."""
        ...

    def save(self, record: Record) -> Awaitable[Done]:
        """Make the record durable."""
        ...


class Witness(Protocol):
    """The witnesses of the site; a WitnessAsked or a WitnessTaught holds the answer (core/results.py)."""

    def ask(self, witness: str, epoch: int, nonce: str) -> Awaitable[Done]:
        """Ask for the right to an epoch, once; no answer in time is UNKNOWN."""
        ...

    def teach(self, witness: str, epoch: int, owner: NodeId, *, paired: bool, alone: bool = False) -> Awaitable[Done]:
        """Tell which epoch this node knows, once; no answer in time is UNKNOWN."""
        ...
