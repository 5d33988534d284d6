"""What the core can ask of the world, in the imperative. Commands with an outcome come back as `events.CommandDone`;
those in `Told` are fire and forget."""

from __future__ import annotations

from dataclasses import dataclass

from avance.core.model import Alert, NodeId, PairState, PeerView, Record, Stand, Version, VmId, Wanted


@dataclass(frozen=True, slots=True)
class SendHeartbeat:
    """Send this view of ourselves on every link; `echoing`: with the echo of what was heard there last."""

    view: PeerView
    echoing: bool = True


@dataclass(frozen=True, slots=True)
class SaveRecord:
    """Make the record durable; nothing that depends on it may happen before its outcome is OK."""

    record: Record


@dataclass(frozen=True, slots=True)
class SaveDefinitions:
    """Make durable which definitions count here and which are proposed, with their contents."""

    stand: Stand


@dataclass(frozen=True, slots=True)
class UseDefinitions:
    """Take the definitions of this version into use; they count, and are durable here.

    `later`: the peer does so as well, and begins. Both daemons must not start anew at the same time.
    """

    version: Version
    later: bool = False


@dataclass(frozen=True, slots=True)
class SendDocument:
    """Send the peer the document for which it asks: a proposal's id, or a version's key."""

    key: str


@dataclass(frozen=True, slots=True)
class ProposeWanted:
    """Propose definitions in which this is wanted of the VM, as if a person had asked; `alone`: without the peer.

    What became of it shows in the definitions. It is given again while they are not so.
    """

    vm: VmId
    wanted: Wanted
    alone: bool


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
    """Let DRBD connect to the peer; only after both nodes agree on the epoch (docs/safety.md, S29).

    `discard`: an operator gave up this node's version of diverged data (drbdadm connect --discard-my-data).
    """

    vm: VmId
    discard: bool = False


@dataclass(frozen=True, slots=True)
class InitialiseDisk:
    """Declare two freshly zeroed volumes equal; once in the life of a volume, over an established connection."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class PromoteDisk:
    """Make this node the writer of the resource; `forced`: although DRBD calls its copy outdated."""

    vm: VmId
    forced: bool = False


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
class ShutdownDomain:
    """Ask the guest of the VM to shut down; OK: it was asked. That it has done so shows in its domain."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class SendDomain:
    """Send the running domain to the peer, which takes it in for the same `move`, while it runs as long as possible.

    OK: it stands still there, complete, and is gone from here. FAILED: it runs on here.
    """

    vm: VmId
    move: str


@dataclass(frozen=True, slots=True)
class ReceiveDomain:
    """Become the second writer of the volume, and take in the domain that the peer sends for this `move`.

    OK: it is here, complete, and stands still. FAILED: nothing of it is here, and this node is no writer.
    """

    vm: VmId
    move: str


@dataclass(frozen=True, slots=True)
class ResumeDomain:
    """Let the domain that was taken in go on; only once the right is durably this node's (docs/safety.md, S46)."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class EndMove:
    """Break off every SendDomain and ReceiveDomain that is in flight; each of them still ends with its outcome."""


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
    """Answer DRBD's fence-peer question with the exit code of the handler (docs/safety.md, S7)."""

    ask: int
    code: int


@dataclass(frozen=True, slots=True)
class SendAlert:
    """Queue an alert durably for Call Home."""

    alert: Alert
    epoch: int
    pair: PairState


@dataclass(frozen=True, slots=True)
class DisconnectDisk:
    """Leave the peer's side of the replication at once, without waiting for it (drbdadm disconnect --force)."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class OutdateDisk:
    """Mark the local copy durably as outdated, so that it cannot be promoted; it must not be connected.

    A copy that is worse than outdated already, or absent, counts as outdated.
    """

    vm: VmId


@dataclass(frozen=True, slots=True)
class KeepCopy:
    """Copy the local volume to another one beside it, which nothing overwrites; `epoch` becomes part of its name."""

    vm: VmId
    epoch: int


@dataclass(frozen=True, slots=True)
class ResyncDisk:
    """Copy this node's volume to the connected peer in full.

    DRBD called copies equal that it knows to differ (docs/safety.md, S30).
    """

    vm: VmId


@dataclass(frozen=True, slots=True)
class InvalidateDisk:
    """Call this node's own copy worthless: only a resynchronisation of every block makes it good again.

    The node must not be the writer (drbdadm invalidate).
    """

    vm: VmId


@dataclass(frozen=True, slots=True)
class ReadGeneration:
    """Read DRBD's generation identifiers of the local copy; answered by results.GenerationsRead."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class ReadInFlight:
    """Count what DRBD has of the VM's requests; answered by results.InFlightCounted."""

    vm: VmId


@dataclass(frozen=True, slots=True)
class KeepMirrorNote:
    """Make durable here what the peer says of its newest mirror half."""

    note: str


@dataclass(frozen=True, slots=True)
class UseMirrorNote:
    """Take what the peer keeps of this node's newest half, because this node has no note itself, and look again."""

    note: str


@dataclass(frozen=True, slots=True)
class ReuseHalves:
    """Make a new, empty mirror of the old halves: the peer has the good copy, and ours is known not to be one."""


@dataclass(frozen=True, slots=True)
class TrustMirror:
    """End the doubt about the half in use: the peer will replace every volume on it, or a person vouches for it."""


@dataclass(frozen=True, slots=True)
class PauseVms:
    """Stop the virtual processors of every domain and take them off the network, at once."""


@dataclass(frozen=True, slots=True)
class UnpauseVms:
    """Let every paused domain go on."""


@dataclass(frozen=True, slots=True)
class AskWitness:
    """Ask a witness for the right to an epoch; the same nonce gets the same answer."""

    witness: str
    epoch: int
    nonce: str


@dataclass(frozen=True, slots=True)
class TeachWitness:
    """Tell a witness which epoch this node knows.

    `paired`: the peer agrees with it just now. `alone`: this node has the durable right to write alone.
    """

    witness: str
    epoch: int
    owner: NodeId
    paired: bool
    alone: bool = False


@dataclass(frozen=True, slots=True)
class ReadPeerPower:
    """Ask the peer's BMC whether the peer's power is on; answered by results.PowerRead."""


@dataclass(frozen=True, slots=True)
class CutPeerPower:
    """Switch the peer off by its BMC; OK only if its power was *read back* as off."""


@dataclass(frozen=True, slots=True)
class RestorePeerPower:
    """Switch the peer on by its BMC; OK when the order was accepted."""


@dataclass(frozen=True, slots=True)
class ProbeNeighbours:
    """Look whether gateways answer, and whether anybody answers for our addresses; NeighboursSeen precedes OK."""


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Let out what the VMs and the service address send until then; None: without an end (decision 0016)."""

    until_s: float | None


@dataclass(frozen=True, slots=True)
class FeedWatchdog:
    """Give this machine ten more seconds; the first one arms the watchdog."""


@dataclass(frozen=True, slots=True)
class ResetNode:
    """Reset this machine at once, without stopping anything in order."""

    reason: str


@dataclass(frozen=True, slots=True)
class AnswerOperator:
    """Answer a person's question: done, or refused with the reason."""

    ask: int
    done: bool
    text: str


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
    | ShutdownDomain
    | SendDomain
    | ReceiveDomain
    | ResumeDomain
    | ReadDomain
    | DisconnectDisk
    | OutdateDisk
    | KeepCopy
    | ResyncDisk
    | InvalidateDisk
    | ReadGeneration
    | ReadInFlight
)

EvidenceCommand = AskWitness | ReadPeerPower | CutPeerPower | RestorePeerPower | ProbeNeighbours
MirrorCommand = KeepMirrorNote | UseMirrorNote | ReuseHalves | TrustMirror

NodeCommand = (
    SaveRecord
    | SaveDefinitions
    | HoldAddress
    | ReleaseAddress
    | PauseVms
    | UnpauseVms
    | TeachWitness
    | EvidenceCommand
    | MirrorCommand
)

Work = VmCommand | NodeCommand  # what has an outcome
Told = (
    SendHeartbeat | AnswerFencePeer | AnswerOperator | SendAlert | OpenGate | FeedWatchdog | ResetNode | UseDefinitions
    | SendDocument | EndMove | ProposeWanted
)  # fmt: skip

Command = Work | Told
