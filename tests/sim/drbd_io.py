"""What a DRBD 8.4 resource does with data: the guest's writes, resynchronisations, and disks that fail.

A guest has a few writes in flight. Each goes to the local disk and over the wire, and is acknowledged when both have it
(protocol C); what only one half has is marked in that half's bitmap. A resynchronisation copies the marked blocks and
nothing else, so a wrong bitmap loses data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core.model import DiskRole, DiskState, NodeId, VmId
from tests.playbook import PRIV
from tests.sim.drbd_compare import mark_of
from tests.sim.drbd_side import CONNECTED, SYNC_SOURCE, SYNC_TARGET, Side
from tests.sim.site import NODES, peer_of
from tests.sim.writes import EVERY_BLOCK, block_of, extent_of

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.world import World

KO_COUNT_S = 6.0
DISK_TIMEOUT_S = 4.0
RESYNC_S = (2.0, 5.0)
RESYNC_STEPS = 3
DEPTH = 3  # writes that a guest has in flight


class Io:
    """The data of one VM's volume on both nodes."""

    def __init__(self, world: World, vm: VmId, machines: dict[NodeId, Machine]) -> None:
        self.world = world
        self.vm = vm
        self.sides = {name: Side(machine) for name, machine in machines.items()}
        self._generation = 0
        self._broken_at: float | None = None
        self._turn = 0

    def pair(self, node: NodeId) -> tuple[Side, Side]:
        """Return this node's side and the other one."""
        return self.sides[node], self.sides[peer_of(node)]

    def fresh(self) -> int:
        """Return a generation identifier that was never used; the number after it marks a resync from it."""
        self._generation += 16
        return self._generation

    def changed(self) -> None:
        """Report what differs from what was reported last."""
        for node in NODES:
            self.sides[node].machine.report(self.vm)

    def _lose(self, side: Side) -> None:
        raise NotImplementedError

    def _news(self, side: Side, other: Side) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------ writes of the guest

    def write(self, node: NodeId) -> None:
        """Let the guest write once more, unless it waits for too many; also the next try of TCP for what waits."""
        side, other = self.pair(node)
        if len(side.waiting) < DEPTH:
            busy = [block_of(number) for number in side.waiting]
            number = self.world.next_write()
            while busy and block_of(number) in busy:
                number = self.world.next_write()
            side.waiting.append(number)
        if not side.suspended:
            self.push(side, other)

    def push(self, side: Side, other: Side) -> None:
        """Let each write in flight go as far as it gets, and acknowledge it when protocol C does."""
        if not side.machine.awake or side.suspended or side.lost_flush:
            return  # after a flush that never ends the guest writes nothing more
        stuck = side.has_disk and not side.answers(self.world.now)
        if stuck and not side.stuck:
            side.stuck = True
            side.machine.after(DISK_TIMEOUT_S, self.detach, side, side.turn)
        side.stuck = stuck
        for number in list(side.waiting):
            self._push_one(side, other, number, stuck=stuck)

    def _push_one(self, side: Side, other: Side, number: int, *, stuck: bool) -> None:
        local, block = side.has_disk, block_of(number)
        if local:
            if stuck and extent_of(block) not in side.active:
                return  # the extent is written to the activity log first, and that hangs, too
            side.activate(block)
            if not stuck:
                side.put(number)
        if side.connection == CONNECTED and side.peer_disk is not DiskState.DISKLESS:
            if not self._send(side, other, number) or (local and stuck):
                return
            alone = False
            if local and side.syncing:
                side.dirty.discard(block)
                other.dirty.discard(block)
        elif local and not stuck:
            side.dirty.add(block)
            alone = True
        elif not local and side.connection != CONNECTED:
            side.waiting.remove(number)  # I/O was resumed where there are no data
            self.world.judges.io_error(side.machine, self.vm)
            return
        else:
            return
        side.waiting.remove(number)
        side.unflushed.pop(number, None)
        other.unflushed.pop(number, None)
        if number in side.orphans:
            side.orphans.discard(number)
        else:
            self.world.judges.acknowledged(self, side, other, number, alone=alone)

    def _send(self, side: Side, other: Side, number: int) -> bool:
        """Replicate a write; true when the peer's acknowledgement is back."""
        network, here, there = self.world.network, side.machine, other.machine
        if other.connection != CONNECTED or not there.awake or not network.streams(here.name, there.name, PRIV):
            return False
        if network.no_large[PRIV] or (other.has_disk and not other.answers(self.world.now)):
            here.after(KO_COUNT_S, self.drop_peer, here.name, side.turn, number)
            return False
        if not other.has_disk:
            return False  # it refuses (P_NEG_ACK); the news that its disk is gone is on its way
        if not side.has_disk:
            other.dirty.add(block_of(number))  # receive_Data: the primary's disk is gone, and lacks it
            other.activate(block_of(number))
        other.put(number)
        return network.streams(there.name, here.name, PRIV)

    def drop_peer(self, node: NodeId, turn: int, number: int) -> None:
        """The peer did not finish a write for ko-count times timeout: it is expelled (C_TIMEOUT)."""
        side, other = self.pair(node)
        late = number in side.waiting and (other.busy(self.world.now) or self.world.network.no_large[PRIV] > 0)
        if side.turn != turn or side.connection != CONNECTED or not late:
            return
        self._lose(side)
        self._news(side, other)
        self.changed()

    def data_of(self, node: NodeId) -> dict[int, int]:
        """Return what the guest reads on a node: a half that lacks a block reads it from its peer."""
        side, other = self.pair(node)
        if side.connection != CONNECTED or not other.up:
            return side.data
        if not side.has_disk:
            return other.data
        if side.syncing == SYNC_TARGET:
            return {**side.data, **{block: other.data.get(block, 0) for block in side.dirty}}
        return side.data

    # ------------------------------------------------------------ resynchronisation

    def start_resync(self, source: Side, target: Side, *, full: bool) -> None:
        """Begin to copy: the blocks of both bitmaps, or all of them."""
        dirty = set(EVERY_BLOCK) if full else source.dirty | target.dirty
        source.dirty, target.dirty = dirty, set(dirty)
        # drbd_gen_and_send_sync_uuid and receive_sync_uuid: the target's own generation is not kept in its history
        mark = mark_of(source.bitmap) if source.bitmap else self.fresh() + 1
        if source.bitmap:
            source.push_history(source.bitmap)
        source.bitmap = target.current = mark
        target.bitmap = 0
        target.attaching = source.attaching = None
        target.disk, target.peer_disk, source.peer_disk = DiskState.INCONSISTENT, source.disk, DiskState.INCONSISTENT
        source.syncing, target.syncing = SYNC_SOURCE, SYNC_TARGET
        for side in (source, target):
            self.reconnected(side)
        self._step_later(source, target, mark, 1)

    def _step_later(self, source: Side, target: Side, mark: int, step: int) -> None:
        wait_s = self.world.random.uniform(*RESYNC_S) * self.world.resync_factor / RESYNC_STEPS
        self.world.after(wait_s, self._step, source, target, mark, step)

    def _step(self, source: Side, target: Side, mark: int, step: int) -> None:
        if target.syncing != SYNC_TARGET or target.current != mark or source.syncing != SYNC_SOURCE:
            return
        now = self.world.now
        stands = self._broken_at is not None or self.world.network.no_large[PRIV]
        if stands or target.busy(now) or source.busy(now):
            self.world.after(1.0, self._step, source, target, mark, step)
            return
        left = sorted(target.dirty | source.dirty)
        part = left if step == RESYNC_STEPS else left[: len(left) // (RESYNC_STEPS - step + 1)]
        self.world.judges.overwritten(self, source, target, part)
        for block in part:
            target.data[block] = source.data.get(block, 0)
        source.dirty.difference_update(part)
        target.dirty.difference_update(part)
        if step < RESYNC_STEPS:
            self._step_later(source, target, mark, step + 1)
            return
        self._synced(source, target)

    def _synced(self, source: Side, target: Side) -> None:
        """Both halves have the same generations (drbd_resync_finished)."""
        source.push_history(source.bitmap)
        source.bitmap = target.bitmap = 0
        target.current, target.history = source.current, source.history
        for side in (source, target):
            side.syncing, side.crashed_primary = "", False
            side.disk = side.peer_disk = DiskState.UP_TO_DATE
            side.exposed = side.current
            side.keep()
            side.unflushed.clear()  # the metadata are written with a flush of the disk
        self.world.judges.synced(self, source, target)
        self.changed()

    def reconnected(self, side: Side) -> None:
        """Frozen I/O goes on over the connection."""
        if side.suspended and (side.disk is DiskState.UP_TO_DATE or side.peer_disk is DiskState.UP_TO_DATE):
            side.suspended = side.new_generation = False
        if side.waiting and not side.suspended:
            self.push(*self.pair(side.machine.name))
        side.keep()

    # ------------------------------------------------------------ disks

    def detach(self, side: Side, turn: int) -> None:
        """A failed local disk is dropped (on-io-error detach, disk-timeout); the connected peer is told."""
        fails = side.gone or (side.stuck and side.waiting) or side.hanging
        if side.turn != turn or not fails or side.disk is DiskState.DISKLESS or not side.up:
            return
        if not side.gone and not side.busy(self.world.now):
            return
        _, other = self.pair(side.machine.name)
        side.keep()
        side.disk, side.attaching, side.stuck = DiskState.DISKLESS, None, False
        side.syncing = ""
        if side.primary and (side.connection != CONNECTED or other.disk is not DiskState.UP_TO_DATE):
            side.suspended = True
        self.tell_detached(side, other)
        self._go_on(side, other)
        self._go_on(other, side)
        self.changed()

    def tell_detached(self, side: Side, other: Side) -> None:
        """The connected peer hears that this half has no disk any more, as soon as the wire carries it."""
        through = self.world.network.streams(side.machine.name, other.machine.name, PRIV)
        if not (side.connection == other.connection == CONNECTED and through):
            return
        other.peer_disk, other.syncing = DiskState.DISKLESS, ""
        self.lost_contact(other)
        other.keep()

    def lost_contact(self, side: Side) -> None:
        """Begin a new generation when the peer's copy is gone, while one of both writes (drbd_state.c, after_state_ch).

        A primary without a disk is told of it: its guest has seen that generation (drbd_set_ed_uuid).
        """
        _, other = self.pair(side.machine.name)
        if side.disk is not DiskState.UP_TO_DATE or side.bitmap or not (side.primary or other.primary):
            return
        if side.suspended:
            side.new_generation = True
            return
        side.next_generation(self.fresh())
        if other.primary and not other.has_disk:
            other.exposed = side.current

    def _go_on(self, side: Side, other: Side) -> None:
        if side.waiting and not side.suspended:
            self.push(side, other)

    def invalidate(self, node: NodeId) -> bool:
        """Give the local copy up (drbdadm invalidate): Inconsistent as a whole when alone, resynced when connected.

        Refused: a writer, a half without a disk, one that looks for its peer, and one whose peer has no good copy.
        """
        side, other = self.pair(node)
        if not side.up or not side.has_disk or side.role is DiskRole.PRIMARY or side.syncing:
            return False
        if side.connection == CONNECTED:
            if other.connection != CONNECTED or other.disk is not DiskState.UP_TO_DATE:
                return False
            self.start_resync(other, side, full=True)
        elif side.connection == "StandAlone":
            side.disk, side.dirty = DiskState.INCONSISTENT, set(EVERY_BLOCK)
            side.keep()
        else:
            return False
        self.changed()
        return True
