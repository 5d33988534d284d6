"""One node's half of a DRBD 8.4 resource: what its metadata keeps, what only its kernel knows, and the handshake rules.

The rules are those of the kernel (drbd_nl.c, drbd_state.c, drbd_receiver.c of 8.4), as far as two nodes with one volume
can meet them; each is named where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avance.core.model import DiskRole, DiskState, DiskView

if TYPE_CHECKING:
    from tests.sim.machine import Machine

# In the order of the kernel's enum: whatever is below another is worse.
_RANK = {state: rank for rank, state in enumerate(DiskState)}
STANDALONE, CONNECTING, CONNECTED = "StandAlone", "Connecting", "Connected"
SPLIT, UNRELATED = 100, 1000


def rank(state: DiskState) -> int:
    """Return the place of a disk state in the kernel's order."""
    return _RANK[state]


_UNKNOWN, _OUTDATED, _INCONSISTENT = rank(DiskState.UNKNOWN), rank(DiskState.OUTDATED), rank(DiskState.INCONSISTENT)


@dataclass
class Side:
    """One half. The first block survives the machine; the second is gone with its kernel."""

    machine: Machine
    stored: DiskState = DiskState.INCONSISTENT
    peer_outdated: bool = False  # MDF_PEER_OUT_DATED
    primary_mark: bool = False  # MDF_PRIMARY_IND
    made: bool = False
    current: int = 0
    bitmap: int = 0
    history: tuple[int, ...] = ()
    log: list[int] = field(default_factory=list)
    out_of_sync_kib: int = 0
    copies: list[list[int]] = field(default_factory=list)  # kept beside the volume; nothing overwrites them
    gone: int = 0
    hanging: int = 0

    up: bool = False
    disk: DiskState = DiskState.DISKLESS
    peer_disk: DiskState = DiskState.UNKNOWN
    role: DiskRole = DiskRole.SECONDARY
    connection: str = STANDALONE
    discards: bool = False  # connect --discard-my-data
    suspended: bool = False
    new_generation: bool = False  # NEW_CUR_UUID: to be made when frozen I/O goes on
    crashed_primary: bool = False
    syncing: str = ""
    waiting: int | None = None  # the write that the guest waits for
    submitted: bool = False  # ... and which is on a disk or on the wire already
    turn: int = 0

    @property
    def name(self) -> str:
        """The node."""
        return self.machine.name

    @property
    def primary(self) -> bool:
        """This side may write."""
        return self.role is DiskRole.PRIMARY

    def attach(self) -> None:
        """Read the metadata (drbd_adm_attach): Consistent alone, unless the peer is known to be outdated."""
        self.up = True
        self.peer_disk = DiskState.OUTDATED if self.peer_outdated else DiskState.UNKNOWN
        self.crashed_primary = self.primary_mark
        if self.gone or self.hanging:
            self.disk = DiskState.DISKLESS
            return
        self.disk = self.stored
        if self.stored is DiskState.UP_TO_DATE:
            self.disk = DiskState.UP_TO_DATE if self.peer_outdated else DiskState.CONSISTENT

    def keep(self) -> None:
        """Write the flags of the metadata as drbd_set_state does; a disk that is not there keeps what it had."""
        if not self.up or rank(self.disk) < _INCONSISTENT:
            return
        worth = rank(self.disk)
        if worth > _OUTDATED:
            self.stored = DiskState.UP_TO_DATE
        else:
            self.stored = DiskState.OUTDATED if worth == _OUTDATED else DiskState.INCONSISTENT
        self.peer_outdated = _INCONSISTENT <= rank(self.peer_disk) <= _OUTDATED
        self.primary_mark = self.primary or self.crashed_primary

    def crash(self, *, power: bool, acknowledged: bool) -> None:
        """The machine dies; a power cut may take a last write that was not flushed, hence not acknowledged."""
        self.keep()
        in_flight = self.waiting is not None and not acknowledged and self.log[-1:] == [self.waiting]
        if power and in_flight and self.machine.world.random.random() < 0.5:
            self.log.pop()
        self.up, self.disk, self.peer_disk = False, DiskState.DISKLESS, DiskState.UNKNOWN
        self.role, self.connection, self.suspended = DiskRole.SECONDARY, STANDALONE, False
        self.new_generation = self.crashed_primary = self.submitted = False
        self.syncing, self.waiting, self.discards = "", None, False
        self.turn += 1

    def words(self) -> str:
        """Return the generation identifiers as drbdadm prints them; none twice in a life, and blank is 4."""
        found = [self.current, self.bitmap, *self.history, 0, 0][:4]
        return " ".join(f"{0x1000 + 2 * one:X}" if one else "0" for one in found) if self.current else "4 0 0 0"

    def next_generation(self, fresh: int) -> None:
        """Begin a new generation (drbd_uuid_new_current), unless one was begun since the last resynchronisation."""
        if self.bitmap == 0 and rank(self.disk) >= _INCONSISTENT:
            self.bitmap, self.current = self.current, fresh

    def lose_peer(self) -> bool:
        """Note that the connection is gone; true when I/O freezes and fence-peer is to be asked."""
        self.connection = CONNECTING if self.connection == CONNECTED else self.connection
        self.syncing = ""
        had_copy = rank(self.peer_disk) >= _INCONSISTENT and self.peer_disk not in (
            DiskState.UNKNOWN, DiskState.OUTDATED,
        )  # fmt: skip
        if rank(self.peer_disk) > _UNKNOWN or rank(self.peer_disk) < _INCONSISTENT:
            self.peer_disk = DiskState.UNKNOWN
        if not self.primary:
            self.keep()
            return False
        if self.disk is not DiskState.UP_TO_DATE:
            self.suspended = True  # on-no-data-accessible suspend-io; fence-peer is not even asked
            self.keep()
            return False
        if rank(self.peer_disk) <= _OUTDATED:
            self.keep()
            return False
        self.suspended = True
        self.new_generation = self.new_generation or (had_copy and self.bitmap == 0)
        self.keep()
        return True

    def view(self, other: Side) -> DiskView | None:
        """Return what DRBD reports on this node."""
        if not self.up:
            return None
        if self.connection != CONNECTED:
            return DiskView(
                self.role, self.disk, self.connection, DiskRole.UNKNOWN, self.peer_disk, "Off", self.suspended,
                self.out_of_sync_kib,
            )  # fmt: skip
        return DiskView(
            self.role, self.disk, CONNECTED, other.role, self.peer_disk, self.syncing or "Established", self.suspended,
            self.out_of_sync_kib,
        )  # fmt: skip


def compare(a: Side, b: Side) -> int:
    """Return who becomes the source (drbd_uuid_compare): above 0 `a`, below 0 `b`, 0 nobody; 2 means a full sync."""
    verdict = _by_ancestry(a, b)
    low_a, low_b = a.disk is DiskState.INCONSISTENT, b.disk is DiskState.INCONSISTENT
    if low_a != low_b:
        if a.disk is DiskState.DISKLESS or b.disk is DiskState.DISKLESS:
            return 0
        size = 2 if abs(verdict) in (2, SPLIT) else 1
        return -size if low_a else size
    return verdict


def _by_ancestry(a: Side, b: Side) -> int:
    if a.current == b.current:
        if a.crashed_primary != b.crashed_primary:
            return 1 if a.crashed_primary else -1
        return 1 if a.crashed_primary else 0
    if a.current == 0 or b.current == 0:
        return -2 if a.current == 0 else 2
    if a.current == b.bitmap:
        return -1
    if a.current in b.history:
        return -2
    if b.current == a.bitmap:
        return 1
    if b.current in a.history:
        return 2
    if a.bitmap == b.bitmap != 0:
        return SPLIT
    if {a.bitmap, *a.history} & {b.bitmap, *b.history} - {0}:
        return -SPLIT
    return UNRELATED
