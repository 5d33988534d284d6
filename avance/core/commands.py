"""What the core can ask of the world, in the imperative. Commands with an outcome come back as `events.CommandDone`;
SendHeartbeat, SendAlert and AnswerFencePeer are fire and forget."""

from __future__ import annotations

from dataclasses import dataclass

from avance.core.model import Alert, PairState, PeerView, Record, VmId


@dataclass(frozen=True, slots=True)
class SendHeartbeat:
    """Send this view of ourselves on every link."""

    view: PeerView


@dataclass(frozen=True, slots=True)
class SaveRecord:
    """Make the record durable; nothing that depends on it may happen before its outcome is OK."""

    record: Record


@dataclass(frozen=True, slots=True)
class PrepareVolume:
    """Create, zero and describe the volume of a VM, if this node has none yet; existing data is never touched."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class AttachDisk:
    """Bring the DRBD resource up on its local disk, without a connection."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class ConnectDisk:
    """Let DRBD connect to the peer; only after both nodes agree on the epoch (rule R2)."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class InitialiseDisk:
    """Declare two freshly zeroed volumes equal; once in the life of a volume, over an established connection."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class PromoteDisk:
    """Make this node the writer of the resource."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class DemoteDisk:
    """Stop being the writer of the resource."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class ResumeDisk:
    """Let frozen I/O go on; only with the right to write alone (DRBD guide, drbdadm resume-io)."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class StartDomain:
    """Create the Xen domain of the VM."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class DestroyDomain:
    """Destroy the Xen domain of the VM at once; a domain that does not exist counts as destroyed."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class ReadDomain:
    """Look whether the domain exists; the answer is a DomainChanged event before the outcome."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class HoldAddress:
    """Bring the service address up and announce it by gratuitous ARP."""


@dataclass(frozen=True, slots=True)
class ReleaseAddress:
    """Take the service address down."""


@dataclass(frozen=True, slots=True)
class AnswerFencePeer:
    """Answer DRBD's fence-peer question with the exit code of the handler (arbitration design, section 6)."""

    ask: int
    code: int


@dataclass(frozen=True, slots=True)
class SendAlert:
    """Queue an alert durably for Call Home."""

    alert: Alert
    epoch: int
    pair: PairState


VmCommand = (
    PrepareVolume
    | AttachDisk
    | ConnectDisk
    | InitialiseDisk
    | PromoteDisk
    | DemoteDisk
    | ResumeDisk
    | StartDomain
    | DestroyDomain
    | ReadDomain
)

Command = SendHeartbeat | SaveRecord | VmCommand | HoldAddress | ReleaseAddress | AnswerFencePeer | SendAlert
