"""The values that the decision core speaks about; frozen, without behaviour that could surprise.

This module must never import anything but pure standard-library modules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import inf
from typing import NewType

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


class VmState(StrEnum):
    """One VM on this node (transition table: `core/vm.py`)."""

    CHECKING = "CHECKING"
    STANDBY = "STANDBY"
    PROMOTING = "PROMOTING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    DEMOTING = "DEMOTING"
    FAILED = "FAILED"


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


@dataclass(frozen=True, slots=True)
class Timers:
    """All protocol times in seconds, already multiplied by the declared dilation (arbitration design, section 5)."""

    heartbeat_s: float = 0.5
    suspect_s: float = 2.0
    link_down_s: float = 3.0
    peer_lost_s: float = 5.0
    lease_s: float = 6.0
    watchdog_s: float = 10.0
    takeover_wait_s: float = 12.0
    margin_s: float = 1.0
    retry_s: float = 2.0

    def unsafe_reason(self) -> str | None:
        """Say why the set is unsafe, or None: a takeover must outlast the old primary's lease and watchdog.

        With r the last receipt from the old primary and s <= r the send time of its last echoed heartbeat, it is
        reset by s + lease + watchdog, and the backup acts at r + peer_lost + takeover_wait.
        """
        for name in fields(self):
            value = getattr(self, name.name)
            if not 0 < value < inf:
                return f"{name.name} is {value:g}; it must be a positive, finite number of seconds"
        wait_s = self.peer_lost_s + self.takeover_wait_s
        stop_s = self.lease_s + self.watchdog_s + self.margin_s
        if wait_s < stop_s:
            return (
                f"peer_lost {self.peer_lost_s:g} + takeover_wait {self.takeover_wait_s:g} = {wait_s:g} s is shorter "
                f"than lease {self.lease_s:g} + watchdog {self.watchdog_s:g} + margin {self.margin_s:g} = {stop_s:g} s"
            )
        if not self.heartbeat_s < self.suspect_s < self.link_down_s < self.peer_lost_s < self.lease_s:
            return "the times must rise: heartbeat < suspect < link_down < peer_lost < lease"
        return None


@dataclass(frozen=True, slots=True)
class VmSpec:
    """What a protected VM is made of; `minor` and `port` number its DRBD resource."""

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


@dataclass(frozen=True, slots=True)
class Record:
    """The durable record of a node: which epoch it knows, who owns it, and what the other copy is worth.

    `peer_outdated` is true from before the owner's first lone acknowledgement until the peer is in sync again
    (rule R1). `fresh` names volumes that this node zeroed and that were never written: both sides fresh means that
    the replicas are equal without a first synchronisation.
    """

    epoch: int = 0
    owner: NodeId | None = None
    peer_outdated: bool = False
    fresh: tuple[VmId, ...] = ()


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

    @property
    def in_sync(self) -> bool:
        """Both copies are UpToDate over an established connection."""
        return (
            self.connection == "Connected"
            and self.disk is DiskState.UP_TO_DATE
            and self.peer_disk is DiskState.UP_TO_DATE
        )


@dataclass(frozen=True, slots=True)
class PeerView:
    """What the peer says of itself in a heartbeat."""

    node: NodeId
    boot: str
    config_hash: str
    dilation: float
    pair: PairState
    record: Record
    vms: dict[VmId, VmState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that the service centre must hear; `code` is a fixed word, `text` is for people."""

    kind: str
    code: str
    severity: str
    text: str
