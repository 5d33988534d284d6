"""The values that the decision core speaks about; frozen, without behaviour that could surprise.

This module must never import anything but pure standard-library modules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import inf
from typing import NewType

_EXACT = 1 - 1e-9  # sums of dilated times differ in their last bit
REASONS_MAX, FORETOLD_MAX = 3, 120  # of a forecast: reasons, and characters of each text

NodeId = NewType("NodeId", str)
VmId = NewType("VmId", str)
LinkName = NewType("LinkName", str)


class Outcome(StrEnum):
    """How a command ended; UNKNOWN means: look before you act again."""

    OK = "OK"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


class LinkState(StrEnum):
    """What this node knows of one link to its peer."""

    UP = "UP"
    SUSPECT = "SUSPECT"
    DOWN = "DOWN"


class PairState(StrEnum):
    """This node's view of the pair (transition table: `core/pair.py`)."""

    STARTING = "STARTING"
    PAIRED = "PAIRED"
    WAITING = "WAITING"
    ALONE = "ALONE"
    FENCED = "FENCED"
    SPLIT = "SPLIT"


class VmState(StrEnum):
    """One VM on this node (transition table: `core/vm.py`)."""

    CHECKING = "CHECKING"
    STANDBY = "STANDBY"
    PROMOTING = "PROMOTING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SENDING = "SENDING"
    RECEIVING = "RECEIVING"
    RECEIVED = "RECEIVED"
    STOPPING = "STOPPING"
    DEMOTING = "DEMOTING"
    FAILED = "FAILED"


class Wanted(StrEnum):
    """What is wanted of a VM, as both nodes have agreed on it; and if it is to be off, who wants that, and how."""

    RUNNING = "running"
    SHUT_DOWN = "shut-down"  # a person wants it off, and its guest is asked to shut down
    OFF = "off"  # a person wants it off at once
    OFF_BY_GUEST = "off-by-guest"  # its guest has switched itself off


class DomainEnd(StrEnum):
    """Why a domain ended by itself, as Xen tells it (xen/include/public/sched.h)."""

    UNKNOWN = "unknown"  # it counts as a crash
    POWEROFF = "poweroff"
    REBOOT = "reboot"
    CRASH = "crash"  # the guest gave up, or did not feed its watchdog


class DiskState(StrEnum):
    """DRBD disk states (drbdsetup-status, DRBD 8.4 guide section 'Disk states')."""

    DISKLESS = "Diskless"
    ATTACHING = "Attaching"
    FAILED = "Failed"
    NEGOTIATING = "Negotiating"
    INCONSISTENT = "Inconsistent"
    OUTDATED = "Outdated"
    UNKNOWN = "DUnknown"
    CONSISTENT = "Consistent"
    UP_TO_DATE = "UpToDate"


class DiskRole(StrEnum):
    """DRBD resource roles."""

    PRIMARY = "Primary"
    SECONDARY = "Secondary"
    UNKNOWN = "Unknown"


class NodePart(StrEnum):
    """What of a node the pair depends on, beside links, disks and VMs; an alert is named after it."""

    GATE = "gate"
    WATCHDOG = "watchdog"
    DEVICE = "device"
    ADDRESS = "address"
    RECORD = "record"
    CONFIGURATION = "configuration"
    JOURNAL = "journal"
    ALERTS = "alerts"
    MODULE = "module"
    REMOVAL = "removal"
    BMC = "bmc"  # that of the peer
    WITNESS = "witness"  # a third machine, and the way from here to it


class AilmentSeverity(StrEnum):
    """How bad an ailment of a node is; they stand from the worst to the least."""

    BAD = "bad"  # the node cannot do its work, or not for long
    DEGRADED = "degraded"  # it does its work, and something that stands in for a fault is used up
    POTENTIAL = "potential"  # it does its work, and something is about to fail

    @property
    def rank(self) -> int:
        """A number that is the higher, the worse it is."""
        return len(AilmentSeverity) - list(AilmentSeverity).index(self)


class MirrorState(StrEnum):
    """What this node's data disks hold (`core/halves.py`)."""

    UNKNOWN = "UNKNOWN"  # not looked yet
    NONE = "NONE"  # no data disk that this product could use
    CURRENT = "CURRENT"  # the mirror runs, on the newest data
    UNPROVEN = "UNPROVEN"  # it runs on one half, which may lack the last writes before a crash
    OLD = "OLD"  # only halves that are known to be old, or blank disks, are there: it does not run
    DOUBT = "DOUBT"  # nothing is known of the newest half: it does not run


@dataclass(frozen=True, slots=True)
class Timers:
    """All protocol times in seconds, already multiplied by the declared dilation (docs/safety.md, S18)."""

    heartbeat_s: float = 0.5
    suspect_s: float = 2.0
    link_down_s: float = 3.0
    peer_lost_s: float = 5.0
    lease_s: float = 6.0
    watchdog_s: float = 10.0
    takeover_wait_s: float = 12.0
    margin_s: float = 1.0
    retry_s: float = 2.0
    backup_delay_s: float = 3.0
    grant_s: float = 8.0
    pause_s: float = 2.0
    link_hold_s: float = 10.0
    link_hold_max_s: float = 160.0
    boot_wait_s: float = 10.0
    witness_try_s: float = 1.0
    witness_lost_s: float = 30.0
    consent_s: float = 1.0
    stable_s: float = 10.0
    stop_s: float = 15.0
    crash_mean_s: float = 1440.0
    second_s: float = 1.0  # the dilation itself: the core counts its constants in it; no site can set it

    def unsafe_reason(self) -> str | None:
        """Say why the set is unsafe, or None: a takeover must outlast the old primary's lease and watchdog.

        With r the last receipt from the old primary and s <= r the send time of its last echoed heartbeat, it is
        reset by s + lease + watchdog, and the backup acts at r + peer_lost + takeover_wait.

        The second inequality is about a pause that is too short to be noticed, in which the watchdog stands still, too:
        the hardware clock counts whole seconds, so it is shorter than pause + 1 s. Only an echo younger than link_down
        lets the watchdog be fed (`core/guard.py`), so all of that fits into the same wait.
        """
        for name in fields(self):
            value = getattr(self, name.name)
            if not 0 < value < inf:
                return f"{name.name} is {value:g}; it must be a positive, finite number of seconds"
        wait_s = self.peer_lost_s + self.takeover_wait_s
        stop_s = self.lease_s + self.watchdog_s + self.margin_s
        if wait_s < stop_s * _EXACT:
            return (
                f"peer_lost {self.peer_lost_s:g} + takeover_wait {self.takeover_wait_s:g} = {wait_s:g} s is shorter "
                f"than lease {self.lease_s:g} + watchdog {self.watchdog_s:g} + margin {self.margin_s:g} = {stop_s:g} s"
            )
        if not self.heartbeat_s < self.suspect_s < self.link_down_s < self.peer_lost_s < self.lease_s < self.grant_s:
            return "the times must rise: heartbeat < suspect < link_down < peer_lost < lease < grant"
        if self.grant_s > self.lease_s + self.watchdog_s:
            return "the grant deadline must not be later than the watchdog, which ends a node anyway"
        if self.pause_s < self.second_s:
            return f"pause {self.pause_s:g} s is shorter than a second of the hardware clock, {self.second_s:g} s"
        if self.link_hold_max_s < self.link_hold_s:
            return f"link_hold_max {self.link_hold_max_s:g} s is shorter than link_hold {self.link_hold_s:g} s"
        short_s = self.link_down_s + self.watchdog_s + self.pause_s + self.second_s + self.margin_s
        if wait_s < short_s * _EXACT:
            return (
                f"peer_lost {self.peer_lost_s:g} + takeover_wait {self.takeover_wait_s:g} = {wait_s:g} s is shorter "
                f"than link_down {self.link_down_s:g} + watchdog {self.watchdog_s:g} + an unnoticed pause "
                f"{self.pause_s + self.second_s:g} + margin {self.margin_s:g} = {short_s:g} s"
            )
        return None


@dataclass(frozen=True, slots=True)
class VmSpec:
    """What a protected VM is made of; `minor` and `port` number its DRBD resource.

    `wanted`: whether it is to run (core/ends.py).
    """

    name: VmId
    memory_mib: int
    volume_mib: int
    kernel: str
    ramdisk: str
    cmdline: str
    mac: str
    network: str
    address: str
    minor: int
    port: int
    wanted: Wanted = Wanted.RUNNING

    @property
    def runs(self) -> bool:
        """It is to run."""
        return self.wanted is Wanted.RUNNING


@dataclass(frozen=True, slots=True)
class Record:
    """The durable record of a node: which epoch it knows, who owns it, and what the other copy is worth.

    `peer_outdated` is true from before the owner's first lone acknowledgement until the peer is in sync again
    (docs/safety.md, S3). `fresh` names volumes that this node zeroed and that were never written: both sides fresh
    means that the replicas are equal without a first synchronisation.

    `arbiters` are the tokens whose *whole* agreement gives the next epoch while the peer is lost: `witness:<name>` and
    `survivor:<node>`; none means that power fence and site policy decide (core/arbiters.py). `boot` is the boot of the
    machine in which this node was last in service. `cure` is the epoch for which this node restarted itself in the
    hope of a cure of the private link, 0 for none; `cures` counts such restarts until none was needed for an hour.
    `split` says that both sides wrote alone: only an operator ends it.
    `quarantined` says that the peer fails too often to be a target of a failover. `discard` names volumes whose data
    an operator gave up on this node, after a copy was kept. `chosen` is the last epoch that an operator made so.

    `behind` names volumes whose copy on this node lacks, or may lack, what was acknowledged: its disk was lost while
    the other copy went on, or its generation is not the newest known one. Such a copy is never served; only a
    resynchronisation from the peer makes it good again (core/copies.py). `generations` names the newest generation of
    DRBD that this node knows of the good data of each volume, so that another disk is noticed.
    """

    epoch: int = 0
    owner: NodeId | None = None
    peer_outdated: bool = False
    fresh: tuple[VmId, ...] = ()
    arbiters: tuple[str, ...] = ()
    boot: str = ""
    cure: int = 0
    split: bool = False
    quarantined: bool = False
    discard: tuple[VmId, ...] = ()
    chosen: int = 0
    behind: tuple[VmId, ...] = ()
    generations: tuple[tuple[VmId, str], ...] = ()
    cures: int = 0

    def solo(self, me: NodeId) -> bool:
        """This node holds the durable right to write alone (docs/safety.md, S3), and was the last in service."""
        return self.owner == me and self.peer_outdated and not self.split


@dataclass(frozen=True, slots=True)
class DiskView:
    """What DRBD says of one resource on this node."""

    role: DiskRole = DiskRole.UNKNOWN
    disk: DiskState = DiskState.DISKLESS
    connection: str = "StandAlone"
    peer_role: DiskRole = DiskRole.UNKNOWN
    peer_disk: DiskState = DiskState.UNKNOWN
    replication: str = "Off"
    suspended: bool = False
    out_of_sync_kib: int = 0

    @property
    def in_sync(self) -> bool:
        """Both copies are UpToDate and connected, and DRBD knows of no difference (docs/safety.md, S30)."""
        return (
            self.connection == "Connected"
            and self.disk is DiskState.UP_TO_DATE
            and self.peer_disk is DiskState.UP_TO_DATE
            and self.out_of_sync_kib == 0
        )


@dataclass(frozen=True, slots=True)
class Copy:
    """What a node says of its own copy of one volume.

    `generations`: DRBD's identifiers as hexadecimal words, the current one first, then those that it descends from
    (drbdsetup(8), get-gi); empty when they are not known.
    """

    disk: DiskState = DiskState.DISKLESS
    generations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MirrorView:
    """What this node knows of the mirror of its data disks; `halves` hold all data, of the `of` that there should be.

    `note` is what is durable here of the newest half, `kept` what the peer said last of its own, durable here as well;
    both are text that only `core/halves.py` understands. `detail` is for people.
    """

    state: MirrorState = MirrorState.UNKNOWN
    halves: int = 0
    of: int = 2
    note: str = ""
    kept: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One state of the definitions: its number, which grows with each change, and the hash of its contents.

    A node that was paired and never changed is at number 0.
    """

    number: int = 0
    hash: str = ""

    @property
    def key(self) -> str:
        """By what a node asks for the document of this version."""
        return f"{self.number} {self.hash}"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A version that counts as soon as both nodes hold it; `id` is another one for each proposal, `by` who made it."""

    id: str
    version: Version
    by: NodeId


@dataclass(frozen=True, slots=True)
class Stand:
    """What a node holds durably of the definitions, without their contents.

    `version` counts. `history`: the versions from which it comes, the oldest first. `proposal`: what does not count
    yet.
    """

    version: Version = Version()
    history: tuple[Version, ...] = ()
    proposal: Proposal | None = None


@dataclass(frozen=True, slots=True)
class AgreementWord:
    """What a node says of its definitions in a heartbeat.

    `version` and `proposal` are durable there. `asks`: the document that it wants to be sent, a proposal's id or a
    version's key. `refused`: one that it refuses, and why.
    """

    version: Version = Version()
    proposal: Proposal | None = None
    asks: str = ""
    refused: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Ailment:
    """Something that is wrong with a node and counts for its health (core/conditions.py); `subject`: of which one."""

    severity: AilmentSeverity
    code: str
    subject: str = ""

    def __str__(self) -> str:
        """For people."""
        return f"{self.code} {self.subject}".strip()


@dataclass(frozen=True, slots=True)
class VmForecast:
    """What a backup foresees of one VM; `lacks`: why it would not start there (core/rehearsal.py), "" if it would.

    `start_s`: how long its last start on that node took; None where this is not known.
    """

    vm: VmId
    lacks: str = ""
    start_s: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a backup foresees, should the primary die now (core/rehearsal.py).

    `seconds`: from the death until the start of the VMs is commanded; None: it would not take over, `reasons` says why.
    `means`: what would give it the right. `memory`: the free memory of the backup is known. `off_s`: the seconds if the
    power of the primary is gone with it, and its BMC says so; None: it does not.
    """

    seconds: float | None
    means: str = ""
    reasons: tuple[str, ...] = ()
    vms: tuple[VmForecast, ...] = ()
    memory: bool = True
    off_s: float | None = None

    @property
    def ready(self) -> bool:
        """Every VM would start."""
        return self.seconds is not None and not any(one.lacks for one in self.vms)


@dataclass(frozen=True, slots=True)
class PeerView:
    """What a node says of itself in a heartbeat.

    `boot` is the run of the daemon, `machine` the boot of its machine. `wants` is the epoch that it asks the peer's
    consent for, 0 for none. `leaves` is the epoch that it leaves to the peer by this word alone, because its record
    cannot be written; 0 for none. `witnesses` are those that it reaches. `copies`: its own copy of each volume.
    `mirror` is the note of its newest half and what it keeps of the receiver's (MirrorView). `unguarded`: those of its
    gate and its watchdog that do not do their work, or are not known to (core/own_parts.py). `left`: VMs whose guest
    has died there too often. `unmade`: VMs that could not be created there. `ends`: why it resets itself just now, for
    people; it proves nothing. `agreement`: what it says of its definitions. `ailments`: what is wrong with it,
    the worst first. `moves`: the live move of its VMs to the receiver that it has begun, and that is not over; `takes`:
    the one of the receiver's in which it takes part (core/migration.py). `offers`: of an owner, the epoch that it would
    give to its peer; of a backup, the one that it was offered and could take, because its record was written since
    (core/handover.py); 0 for none. `forecast`: what it foresees as the backup; None where that is what the receiver
    expects of it anyway (core/readiness.py).
    """

    node: NodeId
    boot: str
    config_hash: str
    dilation: float
    pair: PairState
    record: Record
    vms: dict[VmId, VmState] = field(default_factory=dict)
    machine: str = ""
    wants: int = 0
    witnesses: tuple[str, ...] = ()
    copies: dict[VmId, Copy] = field(default_factory=dict)
    mirror: tuple[str, str] = ("", "")
    leaves: int = 0
    left: tuple[VmId, ...] = ()
    unmade: tuple[VmId, ...] = ()
    ends: str = ""
    unguarded: tuple[NodePart, ...] = ()
    agreement: AgreementWord = AgreementWord()
    ailments: tuple[Ailment, ...] = ()
    moves: str = ""
    takes: str = ""
    offers: int = 0
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that the service centre must hear; `code` is a fixed word, `text` is for people.

    `about`: the VM, link or node that it is about, where there may be several. The same code about the same thing is
    the same story, and is counted up when it repeats.
    """

    kind: str
    code: str
    severity: str
    text: str
    about: str = ""
