"""What a run is told, and what it keeps of it so that it can be run again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from faults.fault import Fault
from faults.schedule import schedule
from faults.schedule.schedule import Schedule

StepMaker = Callable[[str], AbstractContextManager[object]]

TAKEOVER_LIMIT_S = 60.0  # promised are 20 s; what is later than this is "never" and written down as such
REDUNDANCY_LIMIT_S = 240.0


@dataclass(frozen=True)
class Plan:
    """What a run is told; the same schedule gives the same plan, not the same execution."""

    schedule: Schedule
    out: Path
    make_fault: Callable[[str], Fault] | None = None  # in place of the schedule's, for tests that plant a bad injector
    step: StepMaker = contextlib.nullcontext
    takeover_limit_s: float = TAKEOVER_LIMIT_S
    redundancy_limit_s: float = REDUNDANCY_LIMIT_S
    capture: bool = False


def keep_schedule(plan: Plan, fixed: Schedule) -> None:
    """Write what can be run again: the schedule with its numbers, as it was given (by role) and used (by node)."""
    (plan.out / "schedule.jsonl").write_text(schedule.dump(plan.schedule), encoding="utf-8")
    (plan.out / "schedule-used.jsonl").write_text(schedule.dump(fixed), encoding="utf-8")
