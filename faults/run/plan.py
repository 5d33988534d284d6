"""What a run is told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from faults.fault import Fault
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
