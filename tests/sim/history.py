"""One whole history: a protected pair, a plan's faults, then healing and the demand for service; judged all along."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from avance.core.model import PairState
from tests.sim.inject import Fault, heal, heal_all, heal_others, inject
from tests.sim.judges import STALL_S, Violation
from tests.sim.plan import Plan
from tests.sim.site import SimSite
from tests.sim.world import World

TICK_S = 0.5
LIVENESS_S = 300.0  # the longest hold of a flapping link is 160 s, and it may be met twice on the way
QUIET_S = 3.0
LASTING_S = 30.0  # how long a history with a fault that stays is watched after all others are healed


@dataclass
class Result:
    """What came of a history."""

    plan: Plan
    violation: str | None
    seconds: float
    split: bool = False
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
    violation, recovered_s = None, 0.0
    try:
        world.run(plan.end_s)
        _judge_backup(world, plan)
        if plan.lasting is not None:
            heal_others(world, plan.faults)
            world.run(LASTING_S)
            world.judges.end_with_a_fault()
        else:
            heal_all(world)
            recovered_s = recover(world)
            world.judges.end()
        if world.judges.failovers > _failovers_max(plan):
            world.judges.fail("I10", f"{world.judges.failovers} failovers in {len(plan.faults)} faults")
    except AssertionError as error:
        violation = str(error) if isinstance(error, Violation) else f"assertion: {error!r}"
    return Result(plan, violation, world.elapsed_s, world.judges.fell_in, recovered_s, world.trace)


def recover(world: World, limit_s: float = LIVENESS_S) -> float:
    """Demand protection and service in bounded time, for good; after the documented hole, that both say SPLIT."""
    start = world.now
    while world.now - start < limit_s:
        world.run(1.0)
        for machine in world.machines.values():
            machine.power_on()  # a late answer of a slow BMC may have switched one off: somebody presses its button
        done = split(world) if world.judges.hole and split(world) else world.protected()
        if not done:
            continue
        took_s = world.now - start
        world.run(QUIET_S)
        if split(world) and world.judges.hole:
            world.judges.fell_in = True
            return took_s
        if world.protected():
            return took_s
    world.judges.fail("I12", f"not protected {limit_s:g} s after healing: {world.summary()}")
    return limit_s


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
    return sum(weights.get(fault.name, 1) for fault in plan.faults)
