"""A host that others use: the run goes on at another dilation and passes, and what it says of the host is true."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from faults.run.scenario import primary_crash, run_schedule
from faults.run.summary import summary
from faults.schedule.step import Step
from faults.schedule.trigger import Trigger
from testbed.host import speed, speedometer
from testbed.judge.result import Result
from testbed.judge.verdict import Verdict
from testbed.report import page as report
from testbed.site import SiteOptions

pytestmark = pytest.mark.timeout(3600)


async def _crash_beside(processes: int, out: Path) -> Result:
    """Crash the primary beside so many computing programs, at the dilation of a host that is so much slower."""
    measured = await speedometer.measure()
    cores = os.cpu_count() or 1
    dilation = speed.dilation_for(measured.speed * cores / (cores + processes))
    if dilation is None:
        pytest.skip(f"this computer runs at {measured.speed:.2g} of the reference, too slow to be loaded on purpose")
    crash = primary_crash(random.Random().getrandbits(32))
    load = Step("others", "load.host", "host", Trigger(0.0), parameters={"processes": processes})
    steps = (load, *crash.steps)
    return await run_schedule(replace(crash, steps=steps, site=SiteOptions(dilation=dilation)), out, step=report.step)


def test_a_crash_beside_one_busy_program_a_core_passes(tmp_path: Path) -> None:
    """It ends `pass`; `invalid-host` is right only where the recorded speed, or a late client, says so."""
    result = asyncio.run(_crash_beside(os.cpu_count() or 1, tmp_path / "run"))
    report.attach_run(tmp_path / "run", result)
    print(summary(tmp_path / "run", result))
    recorded = result.host["speed"]
    assert isinstance(recorded, dict)
    assert len(recorded["trace"]) > 10, "the speed was not recorded through the run"
    assert min(point[3] for point in recorded["trace"]) < 0.8, "the load does not show in the recorded speed"
    if result.verdict is Verdict.INVALID_HOST:
        late = any("late" in reason for reason in result.reasons)
        assert recorded["lowest"] * result.dilation < 1 or late, result.reasons
        assert "end other programs" in result.what_to_do
        return
    assert result.verdict is Verdict.PASS, result.reasons
