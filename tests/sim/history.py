"""One whole history: a protected pair, a plan's faults, then healing and the demand for service; judged all along."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from avance.core.model import PairState
from tests.playbook import A, B
from tests.sim.demand import demand
from tests.sim.inject import Fault, heal, heal_all, heal_others, inject
from tests.sim.judges import STALL_S, Violation
from tests.sim.plan import Plan
from tests.sim.site import SimSite, peer_of
from tests.sim.world import World

TICK_S = 0.5
LIVENESS_S = 300.0  # the longest hold of a flapping link is 160 s, and it may be met twice on the way
QUIET_S = 3.0
DOUBTFUL_S = 60.0  # so long an operator waits for the pair to help itself
KEPT_S = 120.0  # from the choice of a version to protection
ASK_AGAIN_S = 10.0
CHOICE_S = 30.0  # ... and so long for each thing that was done


@dataclass
class Result:
    """What came of a history."""

    plan: Plan
    violation: str | None
    seconds: float
    split: bool = False
    asked: bool = False
    recovered_s: float = 0.0
    trace: list[str] = field(default_factory=list)


@cache
def _frozen(site: SimSite, tick_s: float) -> bytes:
    world = World.in_service(0, site=site, tick_s=tick_s, tracing=False)
    world.commands.clear()
    world.milestones.clear()
    return world.frozen_copy()


def begin(plan: Plan, *, tick_s: float = TICK_S, tracing: bool = False) -> World:
    """Return a protected world in which the plan's faults are due."""
    world = World.thawed(_frozen(plan.site, tick_s), plan.seed)
    world.tracing = tracing
    world.judges.starts.clear()
    world.judges.longest_stall_s = 0.0
    world.healed_at = plan.end_s
    for fault in plan.faults:
        world.after(fault.at_s, _Happening(world, fault).begin)
    return world


class _Happening:
    """A fault of the plan on its way."""

    def __init__(self, world: World, fault: Fault) -> None:
        self.world, self.fault = world, fault

    def begin(self) -> None:
        """Inject it, and heal it later if it ends before the plan does."""
        inject(self.world, self.fault)
        if self.fault.for_s is not None:
            self.world.after(self.fault.for_s, self.end)

    def end(self) -> None:
        """Heal it, unless everything was healed already."""
        if self.world.elapsed_s < self.world.healed_at:
            heal(self.world, self.fault)


def run(plan: Plan, *, tracing: bool = False) -> Result:
    """Run a plan to its end."""
    world = begin(plan, tracing=tracing)
    violation, recovered_s, divided = None, 0.0, False
    try:
        world.run(plan.end_s)
        _judge_backup(world, plan)
        if plan.lasting is not None:
            heal_others(world, plan.faults)
            demand(world)
            world.judges.end_with_a_fault()
        else:
            heal_all(world)
            recovered_s = recover(world)
            world.judges.end()
            divided = world.judges.fell_in
            if divided and split(world):
                _keep(world, plan.seed)
        if world.judges.failovers > _failovers_max(plan):
            world.judges.fail("I10", f"{world.judges.failovers} failovers in {len(plan.faults)} faults")
    except AssertionError as error:
        violation = str(error) if isinstance(error, Violation) else f"assertion: {error!r}"
    judges = world.judges
    divided = divided or judges.fell_in
    return Result(plan, violation, world.elapsed_s, divided, judges.asked, recovered_s, world.trace)


def recover(world: World, limit_s: float = LIVENESS_S) -> float:
    """Demand protection and service in bounded time, for good; after the documented hole, that both say SPLIT.

    Where neither copy is known to be good, an operator chooses one, and the demand is made again.
    """
    start = world.now
    while world.now - start < limit_s:
        world.run(1.0)
        if not world.judges.asked and world.now - start >= DOUBTFUL_S and in_doubt(world):
            world.judges.asked = True
            _choose(world)
            start = world.now
        for machine in world.machines.values():
            machine.power_on()  # a late answer of a slow BMC may have switched one off: somebody presses its button
        done = world.protected() or (world.judges.divided and split(world))
        if not done:
            continue
        took_s = world.now - start
        world.run(QUIET_S)
        if split(world) and world.judges.divided:
            world.judges.fell_in = True
            return took_s
        if world.protected():
            return took_s
    world.judges.fail("I12", f"not protected {limit_s:g} s after healing: {world.summary()}")
    return limit_s


def in_doubt(world: World) -> bool:
    """Say whether each node knows that its copy may lack something, and neither can know more."""
    machines = world.machines.values()
    if not all(machine.engine is not None and machine.engine.pair is PairState.PAIRED for machine in machines):
        return False
    return any(all(vm in machine.store.record.behind for machine in machines) for vm in world.site.vms)


def _choose(world: World) -> None:
    """Be the operator: switch one node off, and let the other one serve what it has (decision 0020)."""
    lacks = {
        node: sum(len(world.judges.missing(vm, one.data_of(node), node)) for vm, one in world.resources.items())
        for node in world.machines
    }
    chosen = min(lacks, key=lambda node: (lacks[node], node))
    other = peer_of(chosen)
    world.trace_line("-", f"an operator lets {chosen} serve what it has")
    world.machines[other].power_off()
    world.run(CHOICE_S)
    if lacks[chosen]:
        world.judges.vouched(chosen)
    world.operator(chosen, "override", other)
    world.run(CHOICE_S)
    world.machines[other].power_on()


def _keep(world: World, seed: int) -> None:
    """Be the operator after both nodes wrote: keep the version of one of them; with it the pair is protected again."""
    kept = (A, B)[seed % 2]
    world.judges.chose(kept)
    end = world.now + KEPT_S
    while world.now < end and not world.protected():
        for node, machine in world.machines.items():
            if machine.store.record.split:  # a person who is refused asks again
                world.operator(node, "keep", kept)
        world.run(ASK_AGAIN_S)
    if not world.protected():
        world.judges.fail("I12", f"not protected {KEPT_S:g} s after the data of {kept} was kept: {world.summary()}")
    world.judges.end()


def split(world: World) -> bool:
    """Say whether both engines wait for an operator because both sides wrote, and nothing runs any more."""
    machines = world.machines.values()
    engines = [machine.engine for machine in machines]
    stopped = not any(machine.domains for machine in machines)
    return stopped and all(engine is not None and engine.pair is PairState.SPLIT for engine in engines)


def _judge_backup(world: World, plan: Plan) -> None:
    """A fault of the backup alone restarts and moves nothing, and stalls no write for more than 8 s (I7)."""
    sure = plan.site.policy == "availability" or plan.site.witnesses
    if not plan.backup_only or not sure:
        return
    if world.judges.starts:
        world.judges.fail("I7", f"the backup alone was hit, and the VM was started: {world.judges.starts}")
    if world.judges.longest_stall_s > STALL_S + 2 * world.tick_s:
        world.judges.fail("I7", f"the backup alone was hit, and a write waited {world.judges.longest_stall_s:.1f} s")


def _failovers_max(plan: Plan) -> int:
    weights = {"power.flicker": 3, "link.flap": 1}
    return len(plan.site.vms) * sum(weights.get(fault.name, 1) for fault in plan.faults)  # each VM moves for itself
