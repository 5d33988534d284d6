"""Plans as schedules for the real bed, as far as the bed has their faults."""

from __future__ import annotations

from typing import Any

from faults.schedule.schedule import Schedule, check, dump
from faults.schedule.step import Step
from faults.schedule.trigger import Anchor, Moment, Trigger
from testbed.errors import UsageError
from testbed.site import SiteOptions
from tests.sim.inject import SIM_ONLY, Fault
from tests.sim.plan import Plan

HALVES = ("vdb", "vdc")  # the volumes of a node lie on a mirror of these
PRESSED_S = 3.0  # from the return of a disk to the reset of its node
PRESS_WITHIN_S = 600.0


def schedule(plan: Plan) -> Schedule:
    """Return the plan as a schedule of the bed.

    Raises:
        UsageError: the bed has no such fault, or cannot combine these.
    """
    missing = {fault.name for fault in plan.faults} & SIM_ONLY
    missing |= {f"{fault.name} ({fault.parameters['back']})" for fault in plan.faults if _swapped(fault)}
    if missing:
        raise UsageError(f"The bed has no fault {', '.join(sorted(missing))}; this plan runs in the simulator only.")
    steps: list[Step] = []
    for number, fault in enumerate(plan.faults, start=1):
        steps += _steps(f"step{number}", fault)
    about = f"Found by the simulator, seed {plan.seed}; its site: {plan.site.text()}."
    options = SiteOptions(policy=plan.site.policy, witnesses=plan.site.witnesses)
    found = Schedule(f"sim-{plan.seed}", plan.seed, tuple(steps), options, about)
    check(found)
    return found


def export(plan: Plan) -> str:
    """Return the schedule as text, or the reason why there is none."""
    try:
        return dump(schedule(plan))
    except UsageError as error:
        return f"# {error}\n"


def _swapped(fault: Fault) -> bool:
    return bool(fault.parameters.get("back", "old") != "old")


def _steps(name: str, fault: Fault) -> list[Step]:
    given: dict[str, Any] = dict(fault.parameters)
    until = None if fault.for_s is None else Trigger(fault.for_s, Anchor(name))
    if fault.name == "process.stop_for":
        until, given = None, {"seconds": fault.for_s or 4.0}
    if fault.name == "half.gone":
        return [Step(name, "disk.gone", fault.target, Trigger(fault.at_s), until, _of_the_bed(given))]
    if fault.name not in ("disk.gone", "disk.hang", "disk.slow") or given.get("disk") == "vda":
        return [Step(name, fault.name, fault.target, Trigger(fault.at_s), until, _of_the_bed(given))]
    steps = [
        Step(f"{name}-{half}", fault.name, fault.target, Trigger(fault.at_s), _until(f"{name}-{half}", fault),
             {**_of_the_bed(given), "disk": half})
        for half in HALVES
    ]  # fmt: skip
    if given.get("press") and fault.for_s is not None:
        back = Anchor(f"{name}-{HALVES[-1]}", Moment.HEALED)
        pressed = Trigger(PRESSED_S, back, None, PRESS_WITHIN_S)
        steps.append(Step(f"{name}-press", "power.reset", fault.target, pressed, None, {}))
    return steps


def _until(name: str, fault: Fault) -> Trigger | None:
    return None if fault.for_s is None else Trigger(fault.for_s, Anchor(name))


def _of_the_bed(given: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in ("back", "press")}


__all__ = ["export", "schedule"]
