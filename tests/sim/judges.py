"""The judges of a simulated history: what must never be, checked at the moment when it could become so.

They look at the world from outside and help nobody. A violation ends the history. The one hole that the design
documents (policy `availability`, no arbiter, no path between the nodes or a node that stood still) is noted instead,
and must then be found by both nodes after healing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core.model import DiskState, NodeId, PairState, VmId
from tests.playbook import A, B
from tests.sim.drbd_side import Side
from tests.sim.site import peer_of

if TYPE_CHECKING:
    from avance.core.model import Record
    from tests.sim.drbd import Resource
    from tests.sim.machine import Machine
    from tests.sim.world import World

OVERLAP_S = 2.0
STALL_S = 8.0
NEVER = -1e9


class Violation(AssertionError):
    """An invariant of the catalogue does not hold; `rule` is its id."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(rule, text)
        self.rule = rule
        self.text = text

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


class Judges:
    """All judges of one world, and what they keep."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known: set[int] = set()
        self.by_vm: dict[VmId, list[int]] = {vm: [] for vm in world.site.vms}
        self.alone: dict[NodeId, set[int]] = {A: set(), B: set()}
        self.hole = False  # the documented residual hole was open at some time
        self.fell_in = False  # ... and two nodes wrote because of it
        self.split_at: float | None = None
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

    def fail(self, rule: str, text: str) -> None:
        """Raise the violation, with the time."""
        raise Violation(rule, f"{text} (at {self.world.elapsed_s:.2f} s)")

    # ------------------------------------------------------------ writes

    def acknowledged(self, resource: Resource, side: Side, other: Side, number: int, *, alone: bool) -> None:
        """A write was acknowledged to the guest: by one node in an epoch, and alone only with the durable right."""
        vm, machine, now = resource.vm, side.machine, self.world.now
        record = machine.store.record
        before, last = self._last_ack.get(vm, (now, machine.name))
        self._last_ack[vm] = (now, machine.name)
        if last == machine.name:
            self.longest_stall_s = max(self.longest_stall_s, now - before)
        self.known.add(number)
        self.by_vm[vm].append(number)
        key = (vm, record.epoch)
        writer = self.writers.setdefault(key, machine.name)
        if alone:
            self.alone[machine.name].add(number)
            # DRBD writes alone before any right when the connected backup's disk failed (design, section 9), and goes
            # on when it was a resync target: an Inconsistent copy, durably so, can never be promoted.
            harmless = side.connection == "Connected" or side.peer_disk is DiskState.INCONSISTENT
            if (record.owner != machine.name or not record.peer_outdated) and not harmless:
                self.fail("I1", f"{machine.name} acknowledged write {number} alone without the durable right: {record}")
        copy = other if side.syncing == "SyncTarget" else side  # a target reads what it lacks from its source
        lost = self.missing(vm, copy.log) if last != machine.name else []
        if lost and not self._forgiven("I2", diverged=True):
            self.fail("I2", f"{machine.name} acknowledges write {number} without {len(lost)} of {last}'s")
        if writer != machine.name and not self._forgiven("I1", diverged=True):
            self.fail("I1", f"{writer} and {machine.name} both acknowledged writes of {vm} in epoch {record.epoch}")

    def _forgiven(self, rule: str, *, diverged: bool = False) -> bool:
        """Say whether the documented hole explains it; diverged copies must be found by both after healing."""
        if self.hole:
            self.world.trace_line("-", f"the documented hole: {rule}")
            self.fell_in = self.fell_in or diverged
        return self.hole

    def missing(self, vm: VmId, log: list[int]) -> list[int]:
        """Return the acknowledged writes of a VM that a copy lacks."""
        there = set(log)
        return [number for number in self.by_vm[vm] if number not in there]

    def started(self, machine: Machine, vm: VmId, side: Side) -> None:
        """A VM starts: on one node only, and on a copy with every acknowledged write."""
        self.starts.append((self.world.now, machine.name, vm))
        if machine.name != self._last_runner.get(vm, machine.name):
            self.failovers += 1
        self._last_runner[vm] = machine.name
        lost = self.missing(vm, side.log)
        frozen = side.suspended or side.connection == "Connected"  # it stood still, and has not noticed yet
        if lost and not (frozen and self._unaware(machine)) and not self._forgiven("I2"):
            self.fail("I2", f"{vm} starts on {machine.name} without {len(lost)} acknowledged writes, first {lost[0]}")
        self.placement_changed()

    def promoted(self, side: Side) -> None:
        """A side became the writer: two at once are found by whoever acknowledges."""

    def overwritten(self, resource: Resource, source: Side, target: Side) -> None:
        """A resynchronisation ends: nothing that was acknowledged may vanish from the target."""
        there = set(source.log)
        lost = [number for number in target.log if number in self.known and number not in there]
        if lost:
            where = f"from {source.name} over {target.name}"
            self.fail("I11", f"the resync of {resource.vm} {where} discards {len(lost)} acknowledged writes")

    def refused_handshake(self, resource: Resource, verdict: int) -> None:
        """DRBD refused to connect."""
        self.handshakes_refused.append(verdict)
        self.world.trace_line("-", f"DRBD refuses to connect {resource.vm}: {verdict}")

    def fence_allowed(self, machine: Machine, code: int) -> None:
        """The handler says yes only with the durable right to write alone."""
        record = machine.store.record
        if record.owner != machine.name or not record.peer_outdated:
            self.fail("I1", f"{machine.name} answered fence-peer with {code} before its right was durable: {record}")

    def saved(self, machine: Machine, record: Record) -> None:
        """A record became durable: a consent only after its copies are outdated, a copy good only after its owner."""
        owner = self.world.machines[peer_of(machine.name)]
        if record.owner != owner.name:
            return
        theirs = owner.store.record
        if record.epoch > theirs.epoch and record.peer_outdated:
            for resource in self.world.resources.values():
                side = resource.sides[machine.name]
                if side.up and side.disk in (DiskState.UP_TO_DATE, DiskState.CONSISTENT):
                    self.fail("I1", f"{machine.name} consents to epoch {record.epoch} while its copy is {side.disk}")
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
        unaware = self._unaware(a) or self._unaware(b)
        if twice and not unaware and not self._forgiven("I4"):
            self.fail("I4", "a VM runs on both nodes")
        if self._both_address_from == NEVER:
            self._both_address_from = world.now
            self._watching += 1
            world.after(OVERLAP_S + 0.01, self._still_twice, self._watching)

    def _unaware(self, machine: Machine) -> bool:
        """It went on a moment ago; or it was paused without a running daemon, and has one since a moment ago at most.

        Nothing else in it looks at the clock that ran on (decision 0015, smaller holes). Its writes stay frozen.
        """
        since = machine.thawed_at
        if machine.blind:
            nobody = machine.daemon is None or machine.daemon.stopped
            since = self.world.now if nobody else max(since, machine.daemon_at)
        return self.world.now - since < OVERLAP_S

    def thawed(self, machine: Machine) -> None:
        """A machine that was frozen goes on, and its clock has jumped: not one frame of an old right gets out."""
        other = self.world.machines[peer_of(machine.name)]
        mine, theirs = machine.store.record, other.store.record
        taken = theirs.solo(other.name) and theirs.epoch > mine.epoch
        says = machine.address or any(machine.runs(vm) for vm in machine.domains)
        if taken and says and machine.reaches_clients and not self._forgiven("I5"):
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
        if self._unaware(a) or self._unaware(b):
            self.world.after(OVERLAP_S, self._still_twice, watching)
            return
        if twice and not self._forgiven("I4"):
            self.fail("I4", "a VM runs on both nodes for more than 2 s")
        if addresses and not self._forgiven("I5"):
            self.fail("I5", "both nodes answer for the service address for more than 2 s")

    # ------------------------------------------------------------ looked at now and then

    def look(self) -> None:
        """Judge what is a state and no event: equal copies when both say protected, and whether the hole is open."""
        world = self.world
        engines = [machine.engine for machine in world.machines.values()]
        if all(engine is not None and engine.protected for engine in engines):
            self._compare_copies()
        self._look_for_hole()

    def _compare_copies(self) -> None:
        for resource in self.world.resources.values():
            a, b = resource.sides[A], resource.sides[B]
            if a.waiting is None and b.waiting is None and a.log != b.log:
                both = {*a.log} ^ {*b.log}
                if resource.path() and a.connection == b.connection == "Connected" and not (a.syncing or b.syncing):
                    self.fail("I6", f"both nodes call {resource.vm} protected, but {len(both)} writes differ")

    def _look_for_hole(self) -> None:
        world = self.world
        if self.hole or world.site.witnesses or world.site.policy != "availability":
            return
        a, b = world.machines[A], world.machines[B]
        if a.still or b.still:
            self.hole = True
            return
        if not (a.on and b.on) or world.network.connected(A, B):
            self.split_at = None
            return
        reach = not world.site.gateway or (world.network.gateway(A) and world.network.gateway(B))
        if not reach:
            self.split_at = None
            return
        self.split_at = world.now if self.split_at is None else self.split_at
        if world.now - self.split_at >= 2.0:
            self.hole = True

    # ------------------------------------------------------------ at the end

    def end(self) -> None:
        """Judge the final state of a healed world: every acknowledged write is on the copy that serves."""
        world = self.world
        if self.fell_in:
            self._end_of_a_split()
            return
        for vm, resource in world.resources.items():
            runner = world.runner(vm)
            sides = [resource.sides[runner]] if runner is not None else list(resource.sides.values())
            for side in sides:
                lost = self.missing(vm, side.log)
                if lost:
                    self.fail("I2", f"{len(lost)} acknowledged writes are not on the copy of {vm} on {side.name}")
        self._compare_copies()

    def _end_of_a_split(self) -> None:
        """After the hole: both say SPLIT, no VM runs, and each node still has what it acknowledged alone."""
        world = self.world
        for machine in world.machines.values():
            engine = machine.engine
            if engine is None or engine.pair is not PairState.SPLIT:
                pair = engine.pair if engine is not None else "down"
                self.fail("I11", f"both nodes wrote, but {machine.name} is {pair}, not SPLIT")
            if machine.domains:
                self.fail("I4", f"both nodes wrote, and a VM still runs on {machine.name}")
            for resource in world.resources.values():
                log = {*resource.sides[machine.name].log}
                lost = [number for number in self.alone[machine.name] if number not in log]
                if lost and resource.vm == world.site.vms[0]:
                    self.fail("I11", f"{machine.name} lost {len(lost)} of the writes that it acknowledged alone")
