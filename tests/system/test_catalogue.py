"""Rows of the fault catalogue on the real pair, a test for each, named by its id (docs/measurements/pair-rows.md).

Each begins with the restored pair under write load. Demanded is that every fault was proven and taken back, that every
oracle could see and holds, and what the row itself promises: where the VM runs, how often who restarted, which alert
came, and the longest time without service. All of that stands in the row's schedule.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

import faults
from faults.run.scenario import run_schedule
from faults.run.summary import summary
from faults.schedule.schedule import expand, load
from testbed.judge.panel import ORACLES
from testbed.judge.result import Result
from testbed.judge.verdict import Verdict
from testbed.report import page as report

pytestmark = pytest.mark.timeout(3600)  # what a run waits for has its own deadlines; this one only ends a hung harness

DIRECTORY = Path(str(faults.__file__)).parent / "schedules"
# Rows begin with their id; the others are examples, of which these hold promises of their own.
ROWS = sorted(path.stem for path in DIRECTORY.glob("[A-Z][0-9]*.jsonl"))
EXAMPLES = ["diskless_then_private_cut", "primary_disk_gone", "second_fault_during_recovery", "cut_during_resync"]
# The whole catalogue takes more than an hour: `make catalogue` runs it; `make test` runs what breaks first.
CHOSEN = ["A1", "diskless_then_private_cut", "B2", "D1", "D2", "H2", "P12-move", "second_fault_during_recovery"]
NAMES = [*ROWS, *EXAMPLES] if os.environ.get("AVANCE_CATALOGUE") == "whole" else CHOSEN


async def _play(name: str, out: Path) -> Result:
    schedule = expand(random.Random().getrandbits(32), load(DIRECTORY / f"{name}.jsonl"))
    return await run_schedule(schedule, out, step=report.step)


@pytest.mark.parametrize("row", NAMES)
def test_row(row: str, tmp_path: Path) -> None:
    """The row's outcome, with every fault confirmed and every oracle seeing."""
    out = tmp_path / "run"
    result = asyncio.run(_play(row, out))
    report.attach_run(out, result)
    print(summary(out, result))
    if result.verdict is Verdict.INVALID_HOST:
        pytest.fail(f"invalid-host: {'; '.join(result.reasons)}. What to do: {result.what_to_do}", pytrace=False)
    assert [fault.verdict for fault in result.faults] == ["confirmed"] * len(result.faults), result.reasons
    assert all(fault.healed_at_s is not None for fault in result.faults)
    needed = {one["oracle"]: one["verdict"] for one in result.findings if one["needed"]}
    assert needed == {oracle.name: "pass" for oracle in ORACLES if oracle.is_needed}
    assert result.verdict is Verdict.PASS, result.reasons
