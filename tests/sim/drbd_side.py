"""One node's half of a DRBD 8.4 resource: what its disk keeps, and what only its kernel knows.

The rules are those of the kernel (drbd_nl.c, drbd_state.c, drbd_actlog.c of 8.4), as far as two nodes with one volume
can meet them; each is named where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from avance.core.model import DiskRole, DiskState, DiskView
from tests.sim.writes import BLOCK_KIB, Data, block_of, blocks_of, extent_of

if TYPE_CHECKING:
    from tests.sim.machine import Machine

# In the order of the kernel's enum: whatever is below another is worse.
_RANK = {state: rank for rank, state in enumerate(DiskState)}
STANDALONE, CONNECTING, CONNECTED = "StandAlone", "Connecting", "Connected"
SYNC_SOURCE, SYNC_TARGET = "SyncSource", "SyncTarget"
HISTORY = 2  # UI_HISTORY_START to UI_HISTORY_END
ACTIVE_EXTENTS = 4  # al-extents; 1,237 of 4 MiB on the real one


def rank(state: DiskState) -> int:
    """Return the place of a disk state in the kernel's order."""
    return _RANK[state]


_UNKNOWN, _OUTDATED, _INCONSISTENT = rank(DiskState.UNKNOWN), rank(DiskState.OUTDATED), rank(DiskState.INCONSISTENT)


@dataclass(kw_only=True)
class Content:
    """All that is on a disk: data, metadata, bitmap and activity log. It survives its machine, and can be swapped."""

    stored: DiskState = DiskState.INCONSISTENT
    peer_outdated: bool = False  # MDF_PEER_OUT_DATED
    primary_mark: bool = False  # MDF_PRIMARY_IND or MDF_CRASHED_PRIMARY
    made: bool = False
    current: int = 0
    bitmap: int = 0
    history: tuple[int, ...] = ()
    data: Data = field(default_factory=dict)
    dirty: set[int] = field(default_factory=set)  # the bitmap: blocks that differ from the peer's
    active: list[int] = field(default_factory=list)  # the activity log: extents with writes, the last one used last


_ON_DISK = tuple(one.name for one in fields(Content))


@dataclass
class Side(Content):
    """One half. The inherited block is on the disk; this one is gone with its kernel, but for the disk's troubles."""

    machine: Machine
    copies: list[Data] = field(default_factory=list)  # kept beside the volume; nothing overwrites them
    gone: int = 0
    hanging: int = 0
    slow_s: float = 0.0
    busy_until: float = -1.0  # a slow disk finishes its last request then

    up: bool = False
    disk: DiskState = DiskState.DISKLESS
    attaching: DiskState | None = None  # what a disk that is being negotiated says of itself
    peer_disk: DiskState = DiskState.UNKNOWN
    role: DiskRole = DiskRole.SECONDARY
    peer_primary: bool = False  # what is known of a connected peer
    connection: str = STANDALONE
    discards: bool = False  # connect --discard-my-data
    two_writers: bool = False  # net-options --allow-two-primaries
    suspended: bool = False
    new_generation: bool = False  # NEW_CUR_UUID: to be made when frozen I/O goes on
    crashed_primary: bool = False
    exposed: int = 0  # ed_uuid: the generation that the guest has seen
    syncing: str = ""
    waiting: list[int] = field(default_factory=list)  # the writes that the guest waits for
    orphans: set[int] = field(default_factory=set)  # those whose guest is gone: they end, and nobody is told
    stuck: bool = False  # one of them is on a disk that does not answer
    unflushed: dict[int, int] = field(default_factory=dict)  # write, not acknowledged: what was in its place
    turn: int = 0
    lost_flush: bool = False  # a flush of the guest never ends (decision 0017)

    @property
    def name(self) -> str:
        """The node."""
        return self.machine.name

    @property
    def primary(self) -> bool:
        """This side may write."""
        return self.role is DiskRole.PRIMARY

    @property
    def worth(self) -> DiskState:
        """What the disk is worth in a handshake: one that is being attached says so itself."""
        return self.disk if self.attaching is None else self.attaching

    @property
    def has_disk(self) -> bool:
        """A local copy is there."""
        return _RANK[self.disk] >= _INCONSISTENT

    @property
    def out_of_sync_kib(self) -> int:
        """What DRBD says of its bitmap."""
        return len(self.dirty) * BLOCK_KIB

    def generations(self) -> tuple[int, int, int, int]:
        """Return what `drbdadm show-gi` shows: current, bitmap, and two of the history."""
        older = (*self.history, 0, 0)
        return self.current, self.bitmap, older[0], older[1]

    # ------------------------------------------------------------ the disk

    def take_out(self) -> Content:
        """Return a copy of everything that is on the disk."""
        found = {name: getattr(self, name) for name in _ON_DISK}
        return Content(**{**found, "data": dict(self.data), "dirty": set(self.dirty), "active": list(self.active)})

    def put_in(self, content: Content) -> None:
        """Let another content be on the disk; nothing may be attached."""
        assert not self.has_disk, "a disk is swapped while it is attached"
        for name in _ON_DISK:
            value: Any = getattr(content, name)
            setattr(self, name, value.copy() if isinstance(value, dict | set | list) else value)
        self.unflushed.clear()

    def busy(self, now: float) -> bool:
        """Say whether the disk answers nothing now."""
        return bool(self.hanging) or now < self.busy_until

    def answers(self, now: float) -> bool:
        """Say whether the disk finishes now what it was asked for; a slow one begins to work on it."""
        if self.hanging:
            return False
        if not self.slow_s:
            return True
        if self.busy_until < 0.0:
            self.busy_until = now + self.slow_s * self.machine.world.random.random()
            return False
        if now < self.busy_until:
            return False
        self.busy_until = -1.0
        return True

    def read_disk(self) -> DiskState:
        """Read the metadata (drbd_adm_attach; drbdmeta apply-al before it) and return what the disk is worth."""
        self.dirty |= blocks_of(self.active)
        self.active.clear()
        self.crashed_primary = self.primary_mark and not (self.primary and self.suspended)
        if self.stored is not DiskState.UP_TO_DATE:
            return self.stored
        return DiskState.UP_TO_DATE if self.peer_outdated else DiskState.CONSISTENT

    def keep(self) -> None:
        """Write the flags of the metadata as drbd_set_state does; a disk that is not there keeps what it had."""
        worth = _RANK[self.disk]
        if not self.up or worth < _INCONSISTENT:
            return
        if worth > _OUTDATED:
            self.stored = DiskState.UP_TO_DATE
        else:
            self.stored = DiskState.OUTDATED if worth == _OUTDATED else DiskState.INCONSISTENT
        theirs = _RANK[self.peer_disk]
        self.peer_outdated = _INCONSISTENT <= theirs <= _OUTDATED
        # The half that carries a primary without a disk has the primary's mark (drbd_state.c).
        self.primary_mark = (
            self.role is DiskRole.PRIMARY or self.crashed_primary or (self.peer_primary and theirs < _INCONSISTENT)
        )

    def activate(self, block: int) -> bool:
        """Note a block in the activity log; false when its extent was not there, so that the disk is written first."""
        extent, active = extent_of(block), self.active
        if active and active[-1] == extent:
            return True
        there = extent in active
        if there:
            active.remove(extent)
        active.append(extent)
        del active[:-ACTIVE_EXTENTS]
        return there

    def put(self, number: int) -> None:
        """Write to the local disk; until it is acknowledged, a power cut may take it back."""
        block = block_of(number)
        before = self.data.get(block, 0)
        if before != number:
            self.unflushed[number] = before
            self.data[block] = number

    def crash(self, *, power: bool) -> None:
        """The machine dies; a power cut may take what was not flushed, hence not acknowledged."""
        self.keep()
        if power:
            for number in reversed(list(self.unflushed)):
                block = block_of(number)
                if self.data.get(block) == number and self.machine.world.random.random() < 0.5:
                    self.data[block] = self.unflushed[number]
        self.unflushed.clear()
        self.down()

    def down(self) -> None:
        """The resource is gone from the kernel."""
        self.up, self.disk, self.peer_disk = False, DiskState.DISKLESS, DiskState.UNKNOWN
        self.role, self.suspended = DiskRole.SECONDARY, False
        self.leave()
        self.new_generation = self.crashed_primary = self.stuck = self.discards = self.peer_primary = False
        self.syncing, self.attaching, self.exposed = "", None, 0
        self.lost_flush = False
        self.waiting.clear()
        self.orphans.clear()
        self.turn += 1

    def leave(self) -> None:
        """Look for no peer any more; what was set for this connection at run time goes with it (net_conf)."""
        self.connection, self.two_writers = STANDALONE, False

    def in_flight(self) -> str:
        """Return what /proc/drbd counts: the requests of the guest, those at the local disk, those at the peer."""
        working = 0 if self.lost_flush else len(self.waiting)
        return f"{len(self.waiting) + self.lost_flush} {working} {working}"

    def words(self) -> str:
        """Return the identifiers as drbdadm prints them: all different, the lowest bit free, and blank is 4."""
        if not self.current:
            return "4 0 0 0"
        return " ".join(f"{0x1000 + 2 * one:X}" if one else "0" for one in self.generations())

    # ------------------------------------------------------------ the kernel

    def next_generation(self, fresh: int) -> None:
        """Begin a new generation (drbd_uuid_new_current), unless one was begun since the last resynchronisation."""
        if self.bitmap == 0 and self.has_disk:
            self.bitmap, self.current = self.current, fresh
            self.exposed = fresh

    def push_history(self, generation: int) -> None:
        """Move a generation into the history, which keeps two."""
        self.history = (generation, *self.history)[:HISTORY]

    def lose_peer(self) -> bool:
        """Note that the connection is gone; true when I/O freezes and fence-peer is to be asked."""
        self.connection = CONNECTING if self.connection == CONNECTED else self.connection
        self.syncing, self.peer_primary = "", False
        if self.attaching is not None:  # a disk whose negotiation was cut off
            self.disk, self.attaching = self.attaching, None
        had_copy = rank(self.peer_disk) >= _INCONSISTENT and self.peer_disk not in (
            DiskState.UNKNOWN,
            DiskState.OUTDATED,
        )
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
