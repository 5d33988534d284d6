"""Proves how link faults read their evidence: what is lost, doubled, strange or overtaken, and what silence says."""

from __future__ import annotations

from typing import Any

import pytest

from faults.fault import FaultVerdict
from faults.kinds.link import evidence
from tests.unit.faults.kinds.link.link_world import port

C, M, I = FaultVerdict.CONFIRMED, FaultVerdict.MISMATCH, FaultVerdict.INCONCLUSIVE  # noqa: E741


def records(*codes: int, late_s: float = 0.0) -> list[list[float]]:
    """Frames of 100 bytes, one each second."""
    return [[place + late_s, 100, code] for place, code in enumerate(codes)]


def test_equal_frames_are_paired_in_their_order() -> None:
    """Three equal ones of which two arrive are one loss, not a change."""
    seen = evidence.compare(records(7, 7, 7), records(7, 7), 1.0)
    assert (seen.sent, seen.arrived, seen.lost, seen.extra, seen.strange) == (3, 2, 1, 0, 0)


def test_extra_strange_and_overtaken_are_told_apart() -> None:
    """A second copy is extra, an unknown frame strange, and one behind a younger one was overtaken."""
    seen = evidence.compare(records(1, 2, 3, 4), records(1, 1, 3, 2, 99), 2.0)
    assert (seen.lost, seen.extra, seen.strange, seen.overtaken) == (1, 1, 1, 1)
    assert (seen.sent_bits_per_s, seen.arrived_bits_per_s) == (1_600, 2_000)


def test_delay_and_runs_and_lengths_are_measured() -> None:
    """The median delay of those that arrived, the longest run of losses, and how long the lost ones were."""
    sent: list[list[float]] = [[0, 60, 1], [1, 900, 2], [2, 800, 3], [3, 60, 4], [4, 700, 5]]
    seen = evidence.compare(sent, [[0.5, 60, 1], [3.5, 60, 4]], 5.0)
    assert seen.delay_median_s == 0.5
    assert (seen.longest_loss, seen.shortest_lost_bytes, seen.longest_arrived_bytes) == (2, 700, 60)
    assert evidence.compare([], [], 1.0).delay_median_s is None


def test_a_full_tap_limits_both_to_the_same_time() -> None:
    """What came after the tap was full is not called lost."""
    full = [[float(place), 100, place] for place in range(evidence.RECORDS_FULL)]
    seen = evidence.compare([*full], [[place * 2.0, 100, place * 2] for place in range(evidence.RECORDS_FULL)], 1.0)
    assert (seen.sent, seen.arrived, seen.lost) == (4_000, 2_000, 2_000)


@pytest.mark.parametrize(
    ("hits", "trials", "probability", "verdict"),
    [(0, 10, 0.3, I), (30, 100, 0.3, C), (0, 100, 0.3, M), (99, 100, 0.3, M), (100, 100, 1.0, C), (97, 100, 1.0, M)],
)
def test_chance_is_judged_by_its_spread(hits: int, trials: int, probability: float, verdict: FaultVerdict) -> None:
    """Too few trials say nothing; far from what is expected is a mismatch."""
    assert evidence.of_chance(hits, trials, probability) is verdict


@pytest.mark.parametrize(("verdicts", "whole"), [([C, C], C), ([C, I], I), ([I, M], M), ([C, M], M), ([], I)])
def test_all_directions_together(verdicts: list[FaultVerdict], whole: FaultVerdict) -> None:
    """A mismatch anywhere is one; a direction without a verdict leaves the whole open."""
    assert evidence.together(verdicts) is whole


def test_counters_of_both_ends_are_compared_with_the_tap() -> None:
    """Frames at the far exit count whether its device took them, its queue lost them, or a rule did."""
    before: dict[str, Any] = {"a": port(), "b": port()}
    after: dict[str, Any] = {"a": port(), "b": port()}
    after["a"]["in"]["frames"] = 10
    after["b"]["out"] |= {"frames": 4, "dropped_queue": 3, "queued": 2, "dropped_rule": 1}
    found = evidence.counted(before, after, "a", "in")
    assert found == {"near": 10, "far": 10}
    assert evidence.counters_agree(found, 10)
    assert not evidence.counters_agree(found, 0)
    assert evidence.counted(before, after, "b", "out") == {"near": 9}
    after["c"] = before["c"] = port()
    assert evidence.counted(before, after, "a", "in") == {"near": 10}
    assert evidence.far_ports(after, "a") == ["b", "c"]
