"""A DRBD 8.4 resource between two machines, as `drbdadm` sees it: what each command does, and what it refuses.

It does what the kernel does with what it is told, and never more: no rule of the product stands here. The data are in
`drbd_io.py`, the connection in `drbd_wire.py`, one half in `drbd_side.py`, who becomes the source in `drbd_compare.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from avance.core.model import DiskRole, DiskState, NodeId, Outcome
from tests.sim.drbd_io import DISK_TIMEOUT_S, KO_COUNT_S
from tests.sim.drbd_side import CONNECTED, CONNECTING, STANDALONE, Content, Side, rank
from tests.sim.drbd_wire import GONE_CODES, NEGOTIATES_S, Wire

Finish = Callable[..., None]


class Resource(Wire):
    """One VM's volume on both nodes."""

    def attach(self, node: NodeId) -> bool:
        """Bring the resource up on its disk, or put a disk back while it is up.

        The last row of `drbd_adm_attach`: beside a peer that is not good, a disk of another generation than the one
        that the guest has seen is refused (ERR_DATA_NOT_CURRENT). While connected both halves negotiate.
        """
        side, other = self.pair(node)
        if (side.up and side.disk is not DiskState.DISKLESS) or side.gone or side.hanging:
            return False
        if not side.up:
            side.up, side.disk = True, DiskState.DISKLESS
            side.peer_disk = DiskState.OUTDATED if side.peer_outdated else DiskState.UNKNOWN
            side.disk = side.read_disk()
            side.exposed = side.current
            self.changed()
            return True
        writes = side.primary or (side.connection == CONNECTED and other.primary)
        stranger = side.exposed and side.exposed != side.current
        if writes and stranger and side.peer_disk is not DiskState.UP_TO_DATE:
            return False
        worth = side.read_disk()
        if side.connection == CONNECTED:
            side.disk, side.attaching = DiskState.NEGOTIATING, worth
            side.machine.after(NEGOTIATES_S, self.negotiate, side, side.turn)
        else:
            side.disk = worth
            if side.suspended and side.primary and worth is DiskState.UP_TO_DATE:
                self._freeze_over_disk(side)
        self.changed()
        return True

    def _freeze_over_disk(self, side: Side) -> None:
        """A writer that lost all its data has its own disk again: what is unknown now is the peer, so it asks."""
        side.machine.ask_fence(self.vm, self._freeze_answered, side, side.turn)

    def connect(self, node: NodeId, *, discard: bool = False) -> bool:
        """Let this side look for its peer; `discard`: its version loses if both wrote."""
        side, _ = self.pair(node)
        if not side.up or side.connection != STANDALONE:
            return False
        side.connection, side.discards = CONNECTING, discard
        self.poll()
        self.changed()
        return True

    def disconnect(self, node: NodeId) -> bool:
        """Leave the peer at once; it notices when the wire carries the news."""
        side, other = self.pair(node)
        if not side.up:
            return False
        was = side.connection
        if was == CONNECTED:
            self._lose(side)
        side.leave()
        if was == CONNECTED and other.connection == CONNECTED:
            self._news(side, other)
        self.poll()
        self.changed()
        return True

    def outdate(self, node: NodeId) -> bool:
        """Mark the copy as outdated; refused while connected, and by a writer."""
        side, _ = self.pair(node)
        if not side.up:
            return True  # nothing is attached, and adapters/drbd.py takes `Unconfigured` for worse than outdated
        if side.connection == CONNECTED or side.primary:
            return False
        if rank(side.disk) > rank(DiskState.OUTDATED):
            side.disk = DiskState.OUTDATED
        side.keep()
        self.changed()
        return True

    def clear(self, node: NodeId) -> bool:
        """Take the resource down and remove its volume (`drbdsetup resume-io` and `down`, lvremove).

        A device that is open refuses it. What was in flight has nobody who waits for it any more.
        """
        side, other = self.pair(node)
        if side.machine.holds(self.vm):
            return False
        if side.up:
            side.suspended = False
            self.disconnect(node)
            other.peer_primary = False
            side.down()
        if not side.gone:
            side.put_in(Content())
        self.poll()
        self.changed()
        return not side.gone

    def initialise(self, node: NodeId) -> bool:
        """Declare two blank copies equal (new-current-uuid --clear-bitmap)."""
        side, other = self.pair(node)
        blank = side.disk is other.disk is DiskState.INCONSISTENT and side.current == other.current == 0
        if not (side.connection == other.connection == CONNECTED and blank):
            return False
        assert side.data == other.data == {}, "initialised over data"
        side.current = other.current = self.fresh()
        for one in (side, other):
            one.disk = one.peer_disk = DiskState.UP_TO_DATE
            one.exposed = one.current
            one.dirty.clear()
            one.keep()
        self.changed()
        return True

    def allow_two(self, node: NodeId, *, allowed: bool) -> bool:
        """Let there be two writers, or one again, until this half looks for no peer any more (drbdadm net-options).

        "Can not clear allow_two_primaries as long as there a primaries on both sides".
        """
        side, other = self.pair(node)
        if not side.up or side.connection == STANDALONE:
            return not allowed
        if not allowed and side.primary and side.connection == CONNECTED and other.primary:
            return False
        side.two_writers = allowed
        return True

    def _is_taken(self, side: Side, other: Side) -> bool:
        """The connected peer writes, and does not let a second one do so, or cannot be asked."""
        if side.connection != CONNECTED or not other.primary:
            return False
        return not (side.two_writers and other.two_writers and other.connection == CONNECTED and self.path())

    def demote(self, node: NodeId) -> bool:
        """Stop being the writer; a device that is open, or that has a write in flight, is refused."""
        side, other = self.pair(node)
        if side.machine.holds(self.vm) or side.waiting:
            return False
        side.role = DiskRole.SECONDARY
        side.active.clear()
        side.keep()
        other.peer_primary = False
        other.keep()
        self.changed()
        return True

    def resume(self, node: NodeId) -> bool:
        """Let frozen I/O go on (drbd_adm_resume_io); the peer's disk stays unknown.

        Without any data it goes on all the same: "Resumed without access to data", and the guest gets errors.
        """
        side, _ = self.pair(node)
        if not side.up:
            return False
        if side.suspended:
            self._thaw(side)
        self.changed()
        return True

    def resync(self, node: NodeId) -> bool:
        """Copy the whole volume to the connected peer (invalidate-remote)."""
        side, other = self.pair(node)
        if not side.connection == other.connection == CONNECTED or side.disk is not DiskState.UP_TO_DATE:
            return False
        if other.primary or not other.has_disk or side.syncing:
            return False
        self.start_resync(side, other, full=True)
        self.changed()
        return True

    def promote(self, node: NodeId, finish: Finish, *, forced: bool = False) -> None:
        """Become the writer (drbd_set_role); without a peer, fence-peer must say that it is out of the way.

        `forced`: whatever is held counts as current from then on, and the peer as outdated, whatever fence-peer says.
        """
        side, other = self.pair(node)
        if side.primary:
            finish(Outcome.OK, "")
            return
        connected = side.connection == CONNECTED
        good = side.disk in (DiskState.UP_TO_DATE, DiskState.CONSISTENT)
        reaches_good = connected and side.peer_disk is DiskState.UP_TO_DATE
        held = forced and side.has_disk
        if not side.up or not (good or reaches_good or held) or self._is_taken(side, other):
            finish(Outcome.FAILED, "refused by DRBD")
        elif connected or (rank(side.peer_disk) <= rank(DiskState.OUTDATED) and side.disk is DiskState.UP_TO_DATE):
            self._make_primary(side)
            finish(Outcome.OK, "")
        else:
            side.machine.ask_fence(self.vm, self._promotion_answered, side, side.turn, finish, forced)

    def _promotion_answered(self, side: Side, turn: int, finish: Finish, forced: bool, code: int) -> None:
        if side.turn != turn:
            return
        self._take_fence_code(side, code)
        if forced and side.has_disk and side.connection != CONNECTED:
            side.disk, side.peer_disk = DiskState.UP_TO_DATE, DiskState.OUTDATED
            # Two generations are begun, and what came before is forgotten (seen: "bm UUID was already set").
            side.current, side.bitmap = self.fresh(), self.fresh()
        if code in GONE_CODES and side.disk is DiskState.CONSISTENT and side.connection != CONNECTED:
            side.disk = DiskState.UP_TO_DATE
        self.changed()  # what the handler said is told before the role changes
        free = rank(side.peer_disk) <= rank(DiskState.OUTDATED) or side.connection == CONNECTED
        _, other = self.pair(side.machine.name)
        if side.disk is not DiskState.UP_TO_DATE or not free or self._is_taken(side, other):
            finish(Outcome.FAILED, f"fence-peer said {code}; the disk is {side.disk}")
            return
        self._make_primary(side)
        finish(Outcome.OK, "")

    def _make_primary(self, side: Side) -> None:
        _, other = self.pair(side.machine.name)
        side.role = DiskRole.PRIMARY
        connected = side.connection == CONNECTED and other.connection == CONNECTED
        if side.connection != CONNECTED or rank(side.peer_disk) <= rank(DiskState.FAILED):
            side.next_generation(self.fresh())
        side.keep()
        if connected:
            other.peer_primary = True
            if not side.has_disk:
                self.lost_contact(other)  # a peer without a disk became the writer
                side.exposed = other.current
            other.keep()
            if other.primary:
                self.world.judges.two_write(self)
        self.changed()


__all__ = ["DISK_TIMEOUT_S", "KO_COUNT_S", "Resource"]
