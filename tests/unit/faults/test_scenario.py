"""Proves the bookkeeping of a scenario on recorded events; the whole of it is proven on the real pair."""

from __future__ import annotations

from pathlib import Path

from faults import scenario, schedule
from faults.scenario import STEADY_S, Plan, primary_crash
from faults.trigger import Range


def test_the_same_seed_gives_the_same_plan() -> None:
    """The load before the crash is drawn from the seed, within its limits, and nothing is left to draw."""
    one, same, other = primary_crash(7), primary_crash(7), primary_crash(8)
    assert one == same
    assert one.steps != other.steps
    delay_s = one.steps[0].when.delay_s
    assert not isinstance(delay_s, Range)
    assert STEADY_S.low_s <= delay_s <= STEADY_S.high_s
    assert one.is_fixed


def test_what_was_planned_stands_beside_the_run(tmp_path: Path) -> None:
    """The schedule is kept as it was given, by role, so that it fits the next bed, and as it was used, by node."""
    given = primary_crash(7)
    used = schedule.resolve(given, {"primary": "b", "backup": "a"})
    scenario._keep_schedule(Plan(given, tmp_path), used)
    assert schedule.load(tmp_path / "schedule.jsonl") == given
    assert schedule.load(tmp_path / "schedule-used.jsonl").steps[0].target == "b"
