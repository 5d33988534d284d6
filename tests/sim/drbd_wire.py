"""How the two halves of a DRBD 8.4 resource lose and find each other: noticing, freezing, fence-peer, the handshake."""

from __future__ import annotations

from avance.core.model import DiskRole, DiskState, NodeId, VmId
from tests.playbook import PRIV
from tests.sim import drbd_compare
from tests.sim.drbd_compare import SPLIT, UNRELATED
from tests.sim.drbd_io import Io
from tests.sim.drbd_side import CONNECTED, CONNECTING, Side, rank
from tests.sim.site import NODES

NOTICES_S = (3.5, 6.0)  # ping-timeout on an idle link, timeout x ko-count on a busy one
CONNECT_S = (0.1, 2.0)  # connect-int 2 s
NEGOTIATES_S = 0.05
HALF_MET = 0.5
FLUSHING = 0.5  # of the time in which a guest waits for its own disk only, it waits for a flush
GONE_CODES = (3, 4, 7)


class Wire(Io):
    """The connection of one VM's volume."""

    no_resync = 0  # the next handshakes wrongly decide that nothing differs (LINBIT/drbd issue 145)

    # ------------------------------------------------------------ the wire

    def path(self) -> bool:
        """Say whether the kernels of both nodes can talk TCP now."""
        a, b = (self.sides[node].machine for node in NODES)
        network = self.world.network
        return a.awake and b.awake and network.streams(a.name, b.name, PRIV) and network.streams(b.name, a.name, PRIV)

    def poll(self) -> None:
        """Look at the wire: begin to notice a break, or to connect."""
        a, b = (self.sides[node] for node in NODES)
        one, two = a.connection == CONNECTED, b.connection == CONNECTED
        path = self.path()
        whole = path and one and two
        if whole or not (one or two):
            self._broken_at = None
            self._turn += 1
            for side, other in ((a, b), (b, a)) if whole else ():
                if side.disk is DiskState.DISKLESS and other.peer_disk is not DiskState.DISKLESS:
                    self.tell_detached(side, other)
        elif self._broken_at is None:
            self._broken_at = self.world.now
            self._turn += 1
            for side, other in ((a, b), (b, a)):
                if side.connection == CONNECTED:
                    soon = path and other.connection != CONNECTED and other.machine.awake
                    wait_s = 0.05 if soon else self.world.random.uniform(*NOTICES_S)
                    side.machine.after(wait_s, self._noticed, side, self._turn, side.turn)
        if path and a.connection == b.connection == CONNECTING:
            self._turn += 1
            self.world.after(self.world.random.uniform(*CONNECT_S), self._establish, self._turn)

    def _news(self, side: Side, other: Side) -> None:
        """The end of a connection is told over the wire, if it carries."""
        if self.world.network.streams(side.machine.name, other.machine.name, PRIV):
            other.machine.after(0.01, self._told, other, other.turn)

    def _told(self, side: Side, turn: int) -> None:
        _, other = self.pair(side.machine.name)
        if side.turn == turn and side.connection == CONNECTED and other.connection != CONNECTED:
            self._lose(side)
            self.poll()
            self.changed()

    def _noticed(self, side: Side, turn: int, life: int) -> None:
        if turn != self._turn or side.turn != life or side.connection != CONNECTED or self._broken_at is None:
            return
        self._lose(side)
        _, other = self.pair(side.machine.name)
        if other.connection == CONNECTED and other.up:
            self._news(side, other)  # if that does not get through, its own timer runs already
        else:
            self._broken_at = None
            self.poll()
        self.changed()

    def _lose(self, side: Side) -> None:
        bare = side.peer_disk in (DiskState.DISKLESS, DiskState.FAILED)  # no write waits for it, so a flush is likely
        frozen = side.lose_peer()
        if bare and side.suspended and side.machine.runs(self.vm) and self.world.random.random() < FLUSHING:
            side.lost_flush = True
        self.world.trace_line(side.name, f"DRBD {self.vm}: connection lost{', I/O frozen' if side.suspended else ''}")
        if frozen:
            side.machine.ask_fence(self.vm, self._freeze_answered, side, side.turn)

    # ------------------------------------------------------------ the handshake

    def _establish(self, turn: int) -> None:
        a, b = (self.sides[node] for node in NODES)
        if turn != self._turn or not self.path() or not a.connection == b.connection == CONNECTING:
            return
        if a.hanging or b.hanging or a.lost_flush or b.lost_flush:
            self.world.after(2.0, self._establish, turn)  # the handshake writes metadata, and waits for every request
            return
        self._turn += 1
        self._handshake(a, b)
        self.poll()
        self.changed()

    def _handshake(self, a: Side, b: Side) -> None:
        both = a.has_disk and b.has_disk
        verdict = self._verdict(a, b) if both else 0
        source, target = (a, b) if verdict >= 0 else (b, a)
        blind = any(one.primary and not one.has_disk and one.exposed != two.current for one, two in ((a, b), (b, a)))
        refused = (
            abs(verdict) in (SPLIT, UNRELATED)
            or (a.role is b.role is DiskRole.PRIMARY and not (a.two_writers and b.two_writers))
            or blind  # "Can only connect to data with current UUID" (receive_uuids)
            or (verdict and _cannot(source, target))
        )
        if blind:
            self._half_met(a, b)
        if refused:
            self.world.judges.refused_handshake(self, verdict)
            a.leave()
            b.leave()
            return
        a.connection = b.connection = CONNECTED
        self.world.trace_line("-", f"DRBD {self.vm}: connected, verdict {verdict}")
        self._settle(a, b, verdict)

    def _half_met(self, a: Side, b: Side) -> None:
        """The half with a disk may hear that it met a writer without one before that one refuses.

        Then it is no longer Outdated, and begins a generation of its own: seen on the pair, and the halves never met
        again (after_state_ch: a peer without a disk is the primary).
        """
        for side, other in ((a, b), (b, a)):
            if side.has_disk and other.primary and not other.has_disk and self.world.random.random() < HALF_MET:
                _good(side)
                if side.disk is DiskState.UP_TO_DATE:
                    side.next_generation(self.fresh())
                    side.keep()

    def _verdict(self, a: Side, b: Side) -> int:
        verdict = drbd_compare.compare(a, b)
        if self.no_resync and verdict in (1, -1):
            self.no_resync -= 1
            verdict = 0
        if abs(verdict) == SPLIT and a.discards != b.discards:
            verdict = -1 if a.discards else 1
        a.discards = b.discards = False
        return verdict

    def _settle(self, a: Side, b: Side, verdict: int) -> None:
        """Do what a verdict says: begin a resynchronisation, or go on as equal halves."""
        source, target = (a, b) if verdict >= 0 else (b, a)
        a.peer_primary, b.peer_primary = b.primary, a.primary
        if verdict:
            _good(source)
            self.start_resync(source, target, full=abs(verdict) == 2)
            return
        _good(a)
        _good(b)
        a.peer_disk, b.peer_disk = b.disk, a.disk
        for side, other in ((a, b), (b, a)):
            side.crashed_primary = side.crashed_primary and not (side.has_disk and other.has_disk)
            if not other.has_disk:
                self.lost_contact(side)  # a writer found a peer without a disk
            self.reconnected(side)

    def negotiate(self, side: Side, turn: int) -> None:
        """A disk was attached while connected: the same handshake; a refused disk is dropped again (receive_state)."""
        _, other = self.pair(side.machine.name)
        if side.turn != turn or side.attaching is None or side.connection != CONNECTED:
            return
        verdict = self._verdict(side, other) if other.has_disk else 0
        source, target = (side, other) if verdict >= 0 else (other, side)
        refused = abs(verdict) in (SPLIT, UNRELATED) or (verdict and _cannot(source, target))
        if refused:
            self.world.judges.refused_handshake(self, verdict)
            side.disk, side.attaching = DiskState.DISKLESS, None
        else:
            self.world.trace_line("-", f"DRBD {self.vm}: the disk of {side.name} is negotiated, verdict {verdict}")
            side.disk, side.attaching = side.worth, None
            self._settle(side, other, verdict)
        self.changed()

    # ------------------------------------------------------------ fencing

    def _take_fence_code(self, side: Side, code: int) -> None:
        """Do what conn_try_outdate_peer does with an exit code; a connection that is back makes it worthless."""
        if side.connection == CONNECTED:
            return
        if code == 3:
            side.peer_disk = DiskState.INCONSISTENT
        elif code in (4, 7) or (code == 5 and side.disk is DiskState.UP_TO_DATE):
            side.peer_disk = DiskState.OUTDATED
        elif code == 6 and not side.primary:
            side.disk = DiskState.OUTDATED
        side.keep()

    def _freeze_answered(self, side: Side, turn: int, code: int) -> None:
        if side.turn != turn or not side.suspended:
            return
        self._take_fence_code(side, code)
        if side.connection != CONNECTED and rank(side.peer_disk) <= rank(DiskState.OUTDATED) and side.has_disk:
            self._thaw(side)
        self.changed()

    def _thaw(self, side: Side) -> None:
        side.suspended = False
        self.world.trace_line(side.name, f"DRBD {self.vm}: I/O goes on, peer disk {side.peer_disk}")
        if side.new_generation and side.connection != CONNECTED:
            side.next_generation(self.fresh())
        side.new_generation = False
        self._go_on(*self.pair(side.machine.name))

    def crash(self, node: NodeId, *, power: bool) -> None:
        """The machine of one side dies."""
        side, _ = self.pair(node)
        side.crash(power=power)
        self._broken_at = None
        self.poll()
        self.changed()


def _good(side: Side) -> None:
    """Consistent and Outdated vanish when connected (sanitize_state)."""
    if side.attaching is not None:
        side.disk, side.attaching = side.attaching, None
    if side.disk in (DiskState.CONSISTENT, DiskState.OUTDATED):
        side.disk = DiskState.UP_TO_DATE
    side.keep()


def _cannot(source: Side, target: Side) -> bool:
    """Say whether a verdict cannot be done: the source has nothing good, or the target writes on its own copy."""
    writes = target.primary and rank(target.disk) >= rank(DiskState.CONSISTENT)
    return source.worth is DiskState.INCONSISTENT or writes


__all__ = ["GONE_CODES", "NEGOTIATES_S", "NodeId", "VmId", "Wire"]
