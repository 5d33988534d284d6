"""Tests of faults.run.plan: what is kept of a run."""

from __future__ import annotations

from pathlib import Path

from faults.run.plan import Plan, keep_schedule
from faults.run.scenario import primary_crash
from faults.schedule import schedule


def test_what_was_planned_stands_beside_the_run(tmp_path: Path) -> None:
    """The schedule is kept as it was given, by role, so that it fits the next bed, and as it was used, by node."""
    given = primary_crash(7)
    used = schedule.resolve(given, {"primary": "b", "backup": "a"})
    keep_schedule(Plan(given, tmp_path), used)
    assert schedule.load(tmp_path / "schedule.jsonl") == given
    assert schedule.load(tmp_path / "schedule-used.jsonl").steps[0].target == "b"
