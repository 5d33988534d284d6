"""A DRBD 8.4 resource between two machines: connection, freezing, fence-peer, promotion, resynchronisation, writes.

It does what the kernel does with what it is told, and never more: no rule of the product stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from avance.core.model import DiskRole, DiskState, NodeId, Outcome, VmId
from tests.playbook import PRIV
from tests.sim.drbd_side import CONNECTED, CONNECTING, SPLIT, STANDALONE, Side, compare, rank
from tests.sim.site import NODES, peer_of

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.world import World

NOTICES_S = (3.5, 6.0)  # ping-timeout on an idle link, timeout x ko-count on a busy one
KO_COUNT_S = 6.0
DISK_TIMEOUT_S = 4.0
CONNECT_S = (0.1, 2.0)  # connect-int 2 s
RESYNC_S = (2.0, 5.0)
HANDLER_S = 20.0
GONE_CODES = (3, 4, 7)
Finish = Callable[..., None]


class Resource:
    """One VM's volume on both nodes."""

    def __init__(self, world: World, vm: VmId, machines: dict[NodeId, Machine]) -> None:
        self.world = world
        self.vm = vm
        self.sides = {name: Side(machine) for name, machine in machines.items()}
        self.no_resync = 0  # the next handshakes wrongly decide that nothing differs (LINBIT/drbd issue 145)
        self._generation = 0
        self._broken_at: float | None = None
        self._turn = 0

    def pair(self, node: NodeId) -> tuple[Side, Side]:
        """Return this node's side and the other one."""
        return self.sides[node], self.sides[peer_of(node)]

    def fresh(self) -> int:
        """Return a generation identifier that was never used."""
        self._generation += 1
        return self._generation

    # ------------------------------------------------------------ commands of drbdadm

    def attach(self, node: NodeId) -> bool:
        """Bring the resource up on its disk; a disk that came back is attached again."""
        side, _ = self.pair(node)
        if side.up and side.disk is not DiskState.DISKLESS:
            return False
        connected = side.connection == CONNECTED
        if connected or (side.up and side.primary):
            return False  # not modelled: a disk is attached again after the node was started anew
        side.attach()
        self.changed()
        return True

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
        side.connection = STANDALONE
        if was == CONNECTED and other.connection == CONNECTED:
            self._news(side, other)
        self.poll()
        self.changed()
        return True

    def outdate(self, node: NodeId) -> bool:
        """Mark the copy as outdated; refused while connected, and by a writer."""
        side, _ = self.pair(node)
        if not side.up:
            return side.stored is not DiskState.UP_TO_DATE  # drbdadm outdate works on an attached resource only
        if side.connection == CONNECTED or side.primary:
            return False
        if rank(side.disk) > rank(DiskState.OUTDATED):
            side.disk = DiskState.OUTDATED
        side.keep()
        self.changed()
        return True

    def initialise(self, node: NodeId) -> bool:
        """Declare two blank copies equal (new-current-uuid --clear-bitmap)."""
        side, other = self.pair(node)
        blank = side.disk is other.disk is DiskState.INCONSISTENT and side.current == other.current == 0
        if not (side.connection == other.connection == CONNECTED and blank):
            return False
        assert side.log == other.log == [], "initialised over data"
        side.current = other.current = self.fresh()
        for one in (side, other):
            one.disk = one.peer_disk = DiskState.UP_TO_DATE
            one.keep()
        self.changed()
        return True

    def demote(self, node: NodeId) -> bool:
        """Stop being the writer; a device that is open, or that has a write in flight, is refused."""
        side, _ = self.pair(node)
        if side.machine.holds(self.vm) or (side.waiting is not None and side.submitted):
            return False
        side.role, side.waiting = DiskRole.SECONDARY, None
        side.keep()
        self.changed()
        return True

    def resume(self, node: NodeId) -> bool:
        """Let frozen I/O go on (drbd_adm_resume_io); the peer's disk stays unknown."""
        side, _ = self.pair(node)
        if not side.up:
            return False
        if side.suspended:
            if side.disk is not DiskState.UP_TO_DATE and side.connection != CONNECTED:
                return True  # no data is accessible: it stays suspended
            self._thaw(side)
        self.changed()
        return True

    def resync(self, node: NodeId) -> bool:
        """Copy the whole volume to the connected peer (invalidate-remote)."""
        side, other = self.pair(node)
        if not side.connection == other.connection == CONNECTED or side.disk is not DiskState.UP_TO_DATE:
            return False
        if other.primary or other.disk is DiskState.DISKLESS or side.syncing:
            return False
        self._start_resync(side, other)
        self.changed()
        return True

    def invalidate(self, node: NodeId) -> bool:
        """Call this side's copy worthless; a connected one is filled anew at once (drbdadm invalidate)."""
        side, other = self.pair(node)
        if not side.up or side.primary or side.syncing or side.disk in (DiskState.DISKLESS, DiskState.FAILED):
            return False
        if side.connection == CONNECTED:
            if other.disk is not DiskState.UP_TO_DATE:
                return False
            self._start_resync(other, side)
        else:
            side.disk = DiskState.INCONSISTENT
            side.keep()
        self.changed()
        return True

    def promote(self, node: NodeId, finish: Finish) -> None:
        """Become the writer (drbd_set_role); without a peer, fence-peer must say that it is out of the way."""
        side, other = self.pair(node)
        if side.primary:
            finish(Outcome.OK, "")
            return
        connected = side.connection == CONNECTED
        good = side.disk in (DiskState.UP_TO_DATE, DiskState.CONSISTENT)
        reaches_good = connected and side.peer_disk is DiskState.UP_TO_DATE
        if not side.up or not (good or reaches_good) or (connected and other.primary):
            finish(Outcome.FAILED, "refused by DRBD")
        elif connected or (rank(side.peer_disk) <= rank(DiskState.OUTDATED) and side.disk is DiskState.UP_TO_DATE):
            self._make_primary(side)
            finish(Outcome.OK, "")
        else:
            side.machine.ask_fence(self.vm, self._promotion_answered, side, side.turn, finish)

    def _promotion_answered(self, side: Side, turn: int, finish: Finish, code: int) -> None:
        if side.turn != turn:
            return
        self._take_fence_code(side, code)
        if code in GONE_CODES and side.disk is DiskState.CONSISTENT and side.connection != CONNECTED:
            side.disk = DiskState.UP_TO_DATE
        free = rank(side.peer_disk) <= rank(DiskState.OUTDATED) or side.connection == CONNECTED
        _, other = self.pair(side.machine.name)
        taken = side.connection == CONNECTED and other.primary
        if side.disk is not DiskState.UP_TO_DATE or not free or taken:
            finish(Outcome.FAILED, f"fence-peer said {code}; the disk is {side.disk}")
            return
        self._make_primary(side)
        finish(Outcome.OK, "")

    def _make_primary(self, side: Side) -> None:
        side.role = DiskRole.PRIMARY
        if side.connection != CONNECTED or rank(side.peer_disk) <= rank(DiskState.FAILED):
            side.next_generation(self.fresh())
        side.keep()
        self.world.judges.promoted(side)
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
        if side.connection != CONNECTED and rank(side.peer_disk) <= rank(DiskState.OUTDATED):
            self._thaw(side)
        self.changed()

    def _thaw(self, side: Side) -> None:
        side.suspended = False
        self.world.trace_line(side.name, f"DRBD {self.vm}: I/O goes on, peer disk {side.peer_disk}")
        if side.new_generation and side.connection != CONNECTED:
            side.next_generation(self.fresh())
        side.new_generation = False
        if side.waiting is not None:
            self._go_on(side)

    # ------------------------------------------------------------ the wire

    def path(self) -> bool:
        """Say whether the kernels of both nodes can talk TCP now."""
        a, b = (self.sides[node].machine for node in NODES)
        return a.awake and b.awake and self.world.network.both_ways(a.name, b.name, PRIV)

    def poll(self) -> None:
        """Look at the wire: begin to notice a break, or to connect."""
        a, b = (self.sides[node] for node in NODES)
        one, two = a.connection == CONNECTED, b.connection == CONNECTED
        path = self.path()
        whole = path and one and two
        if whole or not (one or two):
            self._broken_at = None
            self._turn += 1
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
        if self.world.network.open(side.machine.name, other.machine.name, PRIV):
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
        frozen = side.lose_peer()
        self.world.trace_line(side.name, f"DRBD {self.vm}: connection lost{', I/O frozen' if side.suspended else ''}")
        if frozen:
            side.machine.ask_fence(self.vm, self._freeze_answered, side, side.turn)

    def drop_peer(self, node: NodeId, turn: int) -> None:
        """The peer finished no write for ko-count times timeout: it is expelled (C_TIMEOUT)."""
        side, other = self.pair(node)
        if side.turn != turn or side.connection != CONNECTED or not other.hanging or side.waiting is None:
            return
        self._lose(side)
        self._news(side, other)
        self.changed()

    def _establish(self, turn: int) -> None:
        a, b = (self.sides[node] for node in NODES)
        if turn != self._turn or not self.path() or not a.connection == b.connection == CONNECTING:
            return
        if a.hanging or b.hanging:
            self.world.after(2.0, self._establish, turn)  # the handshake writes metadata
            return
        self._turn += 1
        self._handshake(a, b)
        self.poll()
        self.changed()

    def _handshake(self, a: Side, b: Side) -> None:
        verdict = compare(a, b)
        if self.no_resync and verdict in (1, -1):
            self.no_resync -= 1
            verdict = 0
        if abs(verdict) == SPLIT and a.discards != b.discards:
            verdict = -1 if a.discards else 1
        a.discards = b.discards = False
        source, target = (a, b) if verdict >= 0 else (b, a)
        refused = (
            abs(verdict) in (SPLIT, 1000)
            or a.role is b.role is DiskRole.PRIMARY
            or (verdict and (target.primary or source.disk in (DiskState.INCONSISTENT, DiskState.DISKLESS)))
        )
        if refused:
            self.world.judges.refused_handshake(self, verdict)
            a.connection = b.connection = STANDALONE
            return
        a.connection = b.connection = CONNECTED
        self.world.trace_line("-", f"DRBD {self.vm}: connected, verdict {verdict}")
        if verdict and target.disk is not DiskState.DISKLESS:
            self._settled(source)
            self._start_resync(source, target)
            return
        self._settled(a)
        self._settled(b)
        a.peer_disk, b.peer_disk = b.disk, a.disk
        for side in (a, b):
            side.crashed_primary = side.crashed_primary and verdict != 0
            self._reconnected(side)

    def _settled(self, side: Side) -> None:
        """Consistent and Outdated vanish when connected (sanitize_state)."""
        if side.disk in (DiskState.CONSISTENT, DiskState.OUTDATED):
            side.disk = DiskState.UP_TO_DATE
        side.keep()

    def _reconnected(self, side: Side) -> None:
        if side.suspended:
            side.suspended = side.new_generation = False
        if side.waiting is not None:
            self._go_on(side)
        side.keep()

    # ------------------------------------------------------------ resynchronisation

    def _start_resync(self, source: Side, target: Side) -> None:
        mark = self.fresh()
        source.history = (source.bitmap, *source.history)[:4] if source.bitmap else source.history
        target.history = (target.current, *target.history)[:4]
        source.bitmap = target.current = mark
        target.bitmap = 0
        target.disk, target.peer_disk, source.peer_disk = DiskState.INCONSISTENT, source.disk, DiskState.INCONSISTENT
        source.syncing, target.syncing = "SyncSource", "SyncTarget"
        for side in (source, target):
            self._reconnected(side)
        wait_s = self.world.random.uniform(*RESYNC_S) * self.world.resync_factor
        self.world.after(wait_s, self._synced, source, target, mark)

    def _synced(self, source: Side, target: Side, mark: int) -> None:
        if target.syncing != "SyncTarget" or target.current != mark or source.syncing != "SyncSource":
            return
        if self._broken_at is not None or target.hanging or source.hanging:
            self.world.after(1.0, self._synced, source, target, mark)
            return
        self.world.judges.overwritten(self, source, target)
        target.log = list(source.log)
        target.current, target.bitmap = source.current, 0
        source.history, source.bitmap = (source.bitmap, *source.history)[:4], 0
        target.history = source.history
        for side in (source, target):
            side.syncing, side.out_of_sync_kib, side.crashed_primary = "", 0, False
            side.disk = side.peer_disk = DiskState.UP_TO_DATE
            side.keep()
        self.changed()

    # ------------------------------------------------------------ writes of the guest

    def write(self, node: NodeId) -> None:
        """Let the guest write once, unless it still waits for its last write."""
        side, _ = self.pair(node)
        if side.waiting is None:
            side.waiting, side.submitted = self.world.next_write(), False
        if not side.suspended:
            self._go_on(side)  # also the next try of TCP

    def _go_on(self, side: Side) -> None:
        """Submit or resend the write in question, and acknowledge it when protocol C does."""
        number, other = side.waiting, self.pair(side.machine.name)[1]
        assert number is not None
        if not side.machine.awake or side.suspended:
            return
        if side.hanging and side.disk is not DiskState.DISKLESS:
            if not side.submitted:
                side.submitted = True
                side.machine.after(DISK_TIMEOUT_S, self.detach, side, side.turn)
            return
        side.submitted = True
        local = side.disk is DiskState.UP_TO_DATE
        if local and (not side.log or side.log[-1] != number):
            side.log.append(number)
        if side.connection == CONNECTED and side.peer_disk is not DiskState.DISKLESS:
            remote = self._send(side, other, number)
            if remote:
                self._acknowledge(side, other, number, alone=False)
        elif local:
            side.out_of_sync_kib += 4
            self._acknowledge(side, other, number, alone=True)

    def _send(self, side: Side, other: Side, number: int) -> bool:
        """Replicate a write; true when the peer's acknowledgement is back."""
        network, here, there = self.world.network, side.machine, other.machine
        if other.connection != CONNECTED or not there.awake or not network.open(here.name, there.name, PRIV):
            return False
        if other.hanging:
            here.after(KO_COUNT_S, self.drop_peer, here.name, side.turn)
            return False
        if other.syncing != "SyncTarget" and (not other.log or other.log[-1] != number):  # a target copies its source
            other.log.append(number)
        return network.open(there.name, here.name, PRIV)

    def _acknowledge(self, side: Side, other: Side, number: int, *, alone: bool) -> None:
        side.waiting, side.submitted = None, False
        self.world.judges.acknowledged(self, side, other, number, alone=alone)

    def detach(self, side: Side, turn: int) -> None:
        """A failed local disk is dropped (on-io-error detach, disk-timeout); the connected peer is told."""
        if side.turn != turn or not (side.hanging or side.gone) or side.disk is DiskState.DISKLESS or not side.up:
            return
        _, other = self.pair(side.machine.name)
        side.keep()
        side.disk = DiskState.DISKLESS
        side.syncing = ""
        if side.connection == CONNECTED:
            other.peer_disk, other.syncing = DiskState.DISKLESS, ""
            if other.disk is DiskState.UP_TO_DATE and (side.primary or other.primary):
                other.next_generation(self.fresh())
            other.keep()
            if other.disk is not DiskState.UP_TO_DATE and side.primary:
                side.suspended = True
        elif side.primary:
            side.suspended = True
        if side.waiting is not None and not side.suspended:
            self._go_on(side)
        if other.waiting is not None and not other.suspended:
            self._go_on(other)
        self.changed()

    # ------------------------------------------------------------ what the nodes are told

    def changed(self) -> None:
        """Report what differs from what was reported last."""
        for node in NODES:
            self.sides[node].machine.report(self.vm)

    def crash(self, node: NodeId, *, power: bool) -> None:
        """The machine of one side dies."""
        side, _ = self.pair(node)
        side.crash(power=power, acknowledged=side.waiting in self.world.judges.known)
        self._broken_at = None
        self.poll()
        self.changed()
