"""The judges of a simulated history: what must never be, checked at the moment when it could become so.

They look at the world from outside and help nobody. A violation ends the history. What the one documented hole explains
(`hole.py`) is noted instead, and must then be found by both nodes after healing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core import copies
from avance.core.model import DiskState, NodeId, PairState, VmId
from tests.playbook import A, B
from tests.sim.drbd_side import CONNECTED, STANDALONE, Side
from tests.sim.hole import CANNOT_STOP_S
from tests.sim.judge_moves import MoveJudges
from tests.sim.site import peer_of
from tests.sim.writes import Ledger, block_of

if TYPE_CHECKING:
    from avance.core.model import Record
    from tests.sim.drbd_io import Io
    from tests.sim.machine import Machine
    from tests.sim.world import World

OVERLAP_S = 2.0
CANNOT_LOOK_S = 6.0
DEAF_S = 12.0  # what neither pauses its VMs nor resets itself is off the wire, and its watchdog ends it
STALL_S = 8.0
UNGUARDED_S = 15.0  # in which both nodes know of a gate or a watchdog that does not do its work
STOPS_S = 10.0  # from the moment in which a node knows of a split to its last write
NEVER = -1e9


class Violation(AssertionError):
    """An invariant of the catalogue does not hold; `rule` is its id."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(rule, text)
        self.rule = rule
        self.text = text

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


class Judges(MoveJudges):
    """All judges of one world, and what they keep."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.by_vm: dict[VmId, list[int]] = {vm: [] for vm in world.site.vms}
        self.alone: dict[NodeId, set[int]] = {A: set(), B: set()}
        self.writers: dict[tuple[VmId, int], NodeId] = {}
        self.starts: list[tuple[float, NodeId, VmId]] = []
        self.longest_stall_s = 0.0
        self.handshakes_refused: list[int] = []
        self.failovers = 0
        self._last_ack: dict[VmId, tuple[float, NodeId]] = {}
        self._stall_open: dict[VmId, float] = {}
        self._last_runner: dict[VmId, NodeId] = {}
        self._both_address_from = NEVER
        self._watching = 0
        self.errors: set[tuple[NodeId, VmId]] = set()  # guests that were given an error
        self._split_from: dict[NodeId, float] = {}
        self._saved_epoch: dict[NodeId, int] = {}
        self._saved_owner: dict[NodeId, NodeId | None] = {}

    def fail(self, rule: str, text: str) -> None:
        """Raise the violation, with the time."""
        raise Violation(rule, f"{text} (at {self.world.elapsed_s:.2f} s)")

    def protect(self, vm: VmId) -> None:
        """One more VM is protected."""
        self.by_vm[vm] = []
        self.ledgers[vm] = Ledger()

    # ------------------------------------------------------------ writes

    def acknowledged(self, resource: Io, side: Side, other: Side, number: int, *, alone: bool) -> None:
        """A write was acknowledged to the guest: by one node in an epoch, and alone only with the durable right."""
        vm, machine, now = resource.vm, side.machine, self.world.now
        node = machine.name
        if self.errors and (node, vm) in self.errors:
            self.fail("E4", f"{node} acknowledges write {number} of {vm}, which had an I/O error before")
        record = machine.store.record
        before, last = self._last_ack.get(vm, (now, node))
        self._last_ack[vm] = (now, node)
        if last == node:
            self.longest_stall_s = max(self.longest_stall_s, now - before)
        else:
            lost = self.missing(vm, resource.data_of(node), node)
            if lost:
                self.fail("I2", f"{node} acknowledges write {number} without {len(lost)} of {last}'s")
        self.by_vm[vm].append(number)
        self.outdate_images(vm, f"{node} acknowledged write {number}", number)
        if alone and not self.hole_open:
            self.look_for_hole()
        self.ledgers[vm].note(number, node, in_hole=alone and self.hole_open)
        key = (vm, self._acts_under(machine))
        writer = self.writers.setdefault(key, node)
        if alone:
            self.alone[node].add(number)
            # DRBD writes alone before any right when the connected backup's disk failed (docs/safety.md, S3), and goes
            # on when it was a resync target: an Inconsistent copy, durably so, can never be promoted.
            harmless = side.connection == CONNECTED or side.peer_disk is DiskState.INCONSISTENT
            if (record.owner != node or not record.peer_outdated) and not harmless:
                self.fail("I1", f"{node} acknowledged write {number} alone without the durable right: {record}")
        if last != node or self.hole_open:
            self.notice_diverged(vm, resource.data_of(node), node)
        if writer != node and not self._two_writers(f"{writer} and {node}"):
            self.fail("I1", f"{writer} and {node} both acknowledged writes of {vm} in epoch {key[1]}")
        engine = machine.engine
        if engine is not None and engine.pair is PairState.SPLIT:
            since = self._split_from.setdefault(node, now)
            if now - since > STOPS_S + (CANNOT_STOP_S if machine.cannot_look or machine.cannot_stop else 0.0):
                self.fail("I3", f"{node} acknowledges write {number} {now - since:.0f} s after it knew of the split")

    def _acts_under(self, machine: Machine) -> int:
        """Return the epoch under which a node writes: while a later record may or may not be on its disk, the earlier.

        An owner whose record could not be written for certain while it gave the right away goes on beside a connected
        peer (docs/safety.md, S46). Alone it has no right: that is judged by what is durable.
        """
        record, engine = machine.store.record, machine.engine
        unsure = engine is not None and engine.sight.durable.unsure == record
        return engine.record.epoch if engine is not None and unsure else record.epoch

    def io_error(self, machine: Machine, vm: VmId) -> None:
        """A guest got an error for a write; no success may follow in the same life of its domain (row E4)."""
        self.world.trace_line(machine.name, f"an I/O error for {vm}")
        self.errors.add((machine.name, vm))

    def _two_writers(self, who: str) -> bool:
        if self.forgiven(f"I1, {who}"):
            self.fell_in = True
            return True
        return False

    def missing(self, vm: VmId, data: dict[int, int], node: NodeId | None = None) -> list[int]:
        """Return the acknowledged writes of a VM that a copy lacks; `node`: with what that node wrote in the hole."""
        return self.ledgers[vm].missing(data, node)

    @staticmethod
    def lacking(numbers: set[int], data: dict[int, int]) -> set[int]:
        """Return the writes that are neither in a copy nor replaced there by a later one."""
        return {number for number in numbers if data.get(block_of(number), 0) < number}

    def started(self, machine: Machine, vm: VmId, side: Side) -> None:
        """A VM starts: on one node only, and on a copy with every acknowledged write."""
        self.errors.discard((machine.name, vm))
        self.outdate_images(vm, f"{machine.name} started it from its disk")
        self.starts.append((self.world.now, machine.name, vm))
        if machine.name != self._last_runner.get(vm, machine.name):
            self.failovers += 1
        self._last_runner[vm] = machine.name
        data = self.world.resources[vm].data_of(machine.name)
        lost = self.missing(vm, data, machine.name)
        self.notice_diverged(vm, data, machine.name)
        frozen = side.suspended or side.connection == CONNECTED  # it stood still, and has not noticed yet
        if lost and not (frozen and self.unaware(machine)):
            self.fail("I2", f"{vm} starts on {machine.name} without {len(lost)} acknowledged writes, first {min(lost)}")
        self.placement_changed()

    def moved(self, vm: VmId, machine: Machine) -> None:
        """A VM goes on where it was moved to; that is no failover."""
        self.errors.discard((machine.name, vm))
        self._last_runner[vm] = machine.name

    def overwritten(self, resource: Io, source: Side, target: Side, blocks: list[int]) -> None:
        """A resynchronisation copies blocks: nothing that was acknowledged may vanish from the target."""
        ledger = self.ledgers[resource.vm]
        lost = []
        for block in blocks:
            needed = max(ledger.last.get(block, 0), ledger.apart[target.machine.name].get(block, 0))
            if target.data.get(block, 0) >= needed > source.data.get(block, 0):
                lost.append(needed)
        if lost:
            where = f"from {source.name} over {target.name}"
            self.fail("I11", f"the resync of {resource.vm} {where} discards {len(lost)} acknowledged writes")

    def synced(self, resource: Io, source: Side, target: Side) -> None:
        """A resynchronisation ended: both halves have one history again."""
        del resource, target
        self.settled(source.machine.name if self.fell_in else None)

    def refused_handshake(self, resource: Io, verdict: int) -> None:
        """DRBD refused to connect."""
        self.handshakes_refused.append(verdict)
        self.world.trace_line("-", f"DRBD refuses to connect {resource.vm}: {verdict}")

    def fence_allowed(self, machine: Machine, code: int) -> None:
        """The handler says yes only with the durable right to write alone."""
        record = machine.store.record
        if record.owner != machine.name or not record.peer_outdated:
            self.fail("I1", f"{machine.name} answered fence-peer with {code} before its right was durable: {record}")

    def saved(self, machine: Machine, record: Record) -> None:
        """A record became durable: a consent only after its copies are apart, a copy good only after its owner."""
        self.notice_claim(machine.name, record)
        self.judge_taking(machine, record)
        handed_over = self._saved_owner.get(machine.name) == machine.name
        self._saved_owner[machine.name] = record.owner
        owner = self.world.machines[peer_of(machine.name)]
        if record.owner != owner.name:
            return
        theirs = owner.store.record
        # A write that hung may land when its node has given the move up: that node still knows its own record only.
        if handed_over and record.epoch > theirs.epoch and not machine.store.late:
            self.judge_gift(machine, record)
        new = record.epoch != self._saved_epoch.get(machine.name)
        self._saved_epoch[machine.name] = record.epoch
        if record.epoch > theirs.epoch and record.peer_outdated:
            for resource in (self.world.resources[vm] for vm in machine.vms):
                side = resource.sides[machine.name]
                # One that is behind is never served, whatever DRBD calls it.
                held = not copies.is_behind(record, resource.vm, copies.known(tuple(side.words().split())))
                again = not new and side.connection == CONNECTED  # filled by its peer since the consent
                good = side.disk in (DiskState.UP_TO_DATE, DiskState.CONSISTENT)
                if held and side.up and not (again or handed_over) and good and side.connection != STANDALONE:
                    self.fail("I1", f"{machine.name} consents to epoch {record.epoch} while it is {side.connection}")
        if record.epoch == theirs.epoch and theirs.solo(owner.name) and not record.peer_outdated:
            self.fail("I1", f"{machine.name} calls its copy good while {owner.name} may write alone: {record}")

    # ------------------------------------------------------------ places

    def placement_changed(self) -> None:
        """Something that runs or answers began or ended: no VM twice, no address twice for long."""
        world = self.world
        a, b = world.machines[A], world.machines[B]
        twice = any(a.runs(vm) and b.runs(vm) for vm in (*a.domains,))
        addresses = self._answers(a) and self._answers(b)
        if not twice and not addresses:
            self._both_address_from = NEVER
            return
        unaware = self.unaware(a) or self.unaware(b)
        if twice and not unaware and not self.forgiven("I4"):
            self.fail("I4", "a VM runs on both nodes")
        if self._both_address_from == NEVER:
            self._both_address_from = world.now
            self._watching += 1
            world.after(OVERLAP_S + 0.01, self._still_twice, self._watching)

    def unaware(self, machine: Machine) -> bool:
        """It went on a moment ago; or it was paused without a running daemon, and has one since a moment ago at most.

        Nothing else in it looks at the clock that ran on (decision 0015, smaller holes). Its writes stay frozen.
        """
        since = machine.thawed_at
        if machine.runs_free:
            machine.freed_at = self.world.now
        if self.world.now - machine.freed_at < 2 * OVERLAP_S:
            return True
        if machine.blind:
            nobody = machine.daemon is None or machine.daemon.stopped
            since = self.world.now if nobody else max(since, machine.daemon_at)
        # A node that cannot look, because its tools hang, is off the wire and ends itself some seconds later (row H21).
        closed = machine.ungated > 0 or not machine.reaches_clients
        # So is one that woke while no heartbeat passes: it is off the wire until the guard of its new daemon ends it.
        unheard = not self.world.network.meets(A, B)
        cannot_look = machine.blind and (machine.cannot_look or unheard) and closed
        deaf = machine.cannot_stop and closed
        return self.world.now - since < (DEAF_S if deaf else CANNOT_LOOK_S if cannot_look else OVERLAP_S)

    def thawed(self, machine: Machine) -> None:
        """A machine that was frozen goes on, and its clock has jumped: not one frame of an old right gets out."""
        other = self.world.machines[peer_of(machine.name)]
        mine, theirs = machine.store.record, other.store.record
        taken = theirs.solo(other.name) and theirs.epoch > mine.epoch
        says = machine.address or any(machine.runs(vm) for vm in machine.domains)
        if taken and says and machine.reaches_clients and not machine.ungated and not self.forgiven("I5"):
            self.fail("I5", f"{machine.name} thaws and sends on, but {other.name} owns epoch {theirs.epoch}")

    def _answers(self, machine: Machine) -> bool:
        """Somebody on the public network gets an answer for the service address from this machine."""
        port = self.world.network.ports[machine.name, self.world.public]
        return machine.address and machine.reaches_clients and not port.cut_out and not port.cut_in

    def _still_twice(self, watching: int) -> None:
        if watching != self._watching or self._both_address_from == NEVER:
            return
        a, b = (self.world.machines[node] for node in (A, B))
        twice = any(a.runs(vm) and b.runs(vm) for vm in (*a.domains,))
        addresses = self._answers(a) and self._answers(b)
        if self.unaware(a) or self.unaware(b):
            self.world.after(OVERLAP_S, self._still_twice, watching)
            return
        if twice and not self.forgiven("I4"):
            self.fail("I4", "a VM runs on both nodes for more than 2 s")
        if addresses and not self.forgiven("I5"):
            self.fail("I5", "both nodes answer for the service address for more than 2 s")

    # ------------------------------------------------------------ looked at now and then

    def look(self) -> None:
        """Judge what is a state and no event: equal copies when both say protected, and whether the hole is open."""
        engines = [machine.engine for machine in self.world.machines.values()]
        if all(engine is not None and engine.protected for engine in engines):
            self._compare_copies()
            self._look_at_guards()
        self.look_at_writers()
        self.look_for_hole()

    def _look_at_guards(self) -> None:
        """Nobody calls the pair protected while the gate or the watchdog of a node is known to be missing (S37)."""
        machines = self.world.machines.values()
        if not all(one.awake and one.daemon is not None and not one.daemon.stopped for one in machines):
            return  # nobody could tell
        for machine in machines:
            since = machine.unguarded_from_s
            if since >= 0 and self.world.now - max(since, machine.daemon_at, machine.thawed_at) > UNGUARDED_S:
                self.fail("I13", f"both nodes say protected, but {machine.name} has no gate or no watchdog")

    def _compare_copies(self) -> None:
        """Copies that are called protected are equal, but for writes in flight, once both daemons know their state."""
        for vm, resource in self.world.resources.items():
            a, b = resource.sides[A], resource.sides[B]
            if a.data == b.data or not (self._told(a, vm) and self._told(b, vm)):
                continue
            flying = {block_of(number) for number in (*a.waiting, *b.waiting, *a.unflushed, *b.unflushed)}
            differ = {block for block in a.data.keys() | b.data.keys() if a.data.get(block, 0) != b.data.get(block, 0)}
            if differ - flying and resource.path() and a.connection == b.connection == CONNECTED:
                self.fail("I6", f"both nodes call {vm} protected, but {len(differ - flying)} blocks differ")

    def _told(self, side: Side, vm: VmId) -> bool:
        """The daemon knows what DRBD says now: its event comes some 10 ms after the fact."""
        engine = side.machine.engine
        unit = None if engine is None else engine.units.get(vm)
        return unit is not None and unit.disk == side.machine.view(vm)

    # ------------------------------------------------------------ at the end

    def end(self) -> None:
        """Judge the final state of a healed world: every acknowledged write is on the copy that serves."""
        world = self.world
        if self.fell_in:
            self._end_of_a_split()
            return
        for vm in world.site.vms:
            resource, runner = world.resources[vm], world.runner(vm)
            for node in (A, B) if runner is None else (runner,):
                lost = self.missing(vm, resource.data_of(node), node)
                if lost:
                    self.fail("I2", f"{len(lost)} acknowledged writes are not on the copy of {vm} on {node}")
        self._compare_copies()

    def end_with_a_fault(self) -> None:
        """Judge a world in which a fault stays: whoever serves has every write; else a copy somewhere has them."""
        world = self.world
        if self.fell_in:
            self._own_writes()
            return
        for vm in world.site.vms:
            resource, runner = world.resources[vm], world.runner(vm)
            nodes = (A, B) if runner is None else (runner,)
            copies = [(resource.data_of(node), node) for node in nodes]
            if runner is None:  # an own disk that lies beside its node, a foreign one in its place, is a copy, too
                beside = {node: world.machines[node].own_disks for node in nodes}
                copies += [(disks[vm].data, node) for node, disks in beside.items() if vm in disks]
                copies += [(side.data, node) for node, side in resource.sides.items()]
            lost = [self.missing(vm, data, node) for data, node in copies]
            if all(lost) and not (self.hole and runner is None):
                self.fail("I2", f"{len(lost[0])} acknowledged writes of {vm} are not on {' or '.join(nodes)}")

    def _end_of_a_split(self) -> None:
        """After the hole: both say SPLIT, no VM runs, and each node still has what it acknowledged alone."""
        for machine in self.world.machines.values():
            engine = machine.engine
            if engine is None or engine.pair is not PairState.SPLIT:
                pair = engine.pair if engine is not None else "down"
                self.fail("I11", f"both nodes wrote, but {machine.name} is {pair}, not SPLIT")
            if machine.domains:
                self.fail("I4", f"both nodes wrote, and a VM still runs on {machine.name}")
        self._own_writes()

    def _own_writes(self) -> None:
        for vm in self.world.site.vms:
            for node, side in self.world.resources[vm].sides.items():
                own = side.machine.own_disks.get(vm)  # beside its node, while another one is in its place
                lost = self.missing(vm, side.data if own is None else own.data, node)
                if lost:
                    self.fail("I11", f"{node} lost {len(lost)} of the writes of {vm} that it acknowledged")
