"""Proves the bookkeeping of a scenario on recorded events; the whole of it is proven on the real pair."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from faults import scenario, schedule
from faults.scenario import STEADY_S, Plan, primary_crash
from faults.trigger import Range
from testbed import site
from testbed.history import History
from testbed.node import Node
from testbed.result import Result
from tests.unit.testbed.small_image import cold_bed


def observed(tmp_path: Path, *, b_from_s: float, lost: bool = False) -> int | None:
    """How often two nodes were active when a used the service address until 12 s and b from the given time on."""
    history = History()
    history.zero_at_s = 10.0
    for node, first_s, last_s in (("a", 11.0, 12.0), ("b", b_from_s, b_from_s + 1.0)):
        port = f"{node}.{site.PUBLIC}"
        history.record_at(first_s, "switch", "claim", port=port, ip=site.SERVICE)
        history.record_at(
            last_s, "switch", "seen", port=port, ip=site.SERVICE, first_s=first_s, last_s=last_s, frames=9
        )
    if lost:
        history.record_at(12.0, "switch", "lost", events=3)
    result, bed = Result("x", "tcg", 1.0, 7, ""), cold_bed(tmp_path, tmp_path, history)
    bed.nodes = dict.fromkeys(site.NODES, cast("Node", None))  # only the names are asked for
    scenario._observe(bed, result)
    return result.dual_active


def test_one_after_the_other_is_not_two_at_once(tmp_path: Path) -> None:
    """A takeover moves the address, which is no violation; an overlap is one."""
    assert observed(tmp_path, b_from_s=20.0) == 0
    assert observed(tmp_path, b_from_s=11.5) == 1


def test_a_switch_that_lost_observations_cannot_say_zero(tmp_path: Path) -> None:
    """The count is None, which the judge calls inconclusive."""
    assert observed(tmp_path, b_from_s=20.0, lost=True) is None


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
