"""A machine that stood still notices it by its hardware clock; drift and whole seconds are no pause."""

from __future__ import annotations

import math

import pytest

from avance.core.pause import PauseWatch

STEP_S = 0.1


def gaps(watch: PauseWatch, start: float, seconds: float, *, rate: float = 1.0, ahead_s: float = 0.0) -> list[float]:
    """Read both clocks ten times a second for a while; returns the gaps that were found.

    The hardware clock shows whole seconds, runs at `rate` and is `ahead_s` ahead.
    """
    found = []
    for index in range(round(seconds / STEP_S) + 1):
        now = start + index * STEP_S
        gap_s = watch.update(now, float(math.floor(now * rate + ahead_s)))
        if gap_s:
            found.append(gap_s)
    return found


@pytest.mark.parametrize("phase_s", [0.0, 0.05, 0.31, 0.5, 0.77, 0.99])
@pytest.mark.parametrize("rate", [0.98, 0.995, 1.0, 1.005])
def test_running_machine_is_never_paused(rate: float, phase_s: float) -> None:
    """A clock that is 2 % slow or a little fast, read in whole seconds for an hour, shows no pause."""
    assert gaps(PauseWatch(2.0), 100.0 + phase_s, 3600.0, rate=rate) == []


@pytest.mark.parametrize("after_s", [0.05, 0.5, 1.0, 30.0, 59.0, 59.95, 60.0, 61.0, 119.95, 500.0])
@pytest.mark.parametrize("phase_s", [0.0, 0.33, 0.66, 0.95])
@pytest.mark.parametrize("pause_s", [4.0, 20.0, 3600.0])
def test_pause_is_found_at_once(pause_s: float, phase_s: float, after_s: float) -> None:
    """A standstill is found by the first reading after it, once, whenever it happens, and its length is told."""
    watch = PauseWatch(2.0)
    start = 100.0 + phase_s
    assert gaps(watch, start, after_s) == []
    found = gaps(watch, start + after_s + STEP_S, 200.0, ahead_s=pause_s)
    assert len(found) == 1
    assert found[0] == pytest.approx(pause_s, abs=2.3)


def test_pause_on_a_drifting_clock_is_found() -> None:
    """A clock that runs 2 % slow hides no pause that the lease would not outlast."""
    watch = PauseWatch(2.0)
    assert gaps(watch, 100.0, 55.0, rate=0.98) == []
    assert len(gaps(watch, 155.1, 10.0, rate=0.98, ahead_s=6.0)) == 1


def test_clock_set_back_is_no_pause() -> None:
    """A hardware clock that somebody set back is no pause, and a later pause is still found."""
    watch = PauseWatch(2.0)
    assert gaps(watch, 100.0, 10.0) == []
    assert gaps(watch, 110.1, 10.0, ahead_s=-3600.0) == []
    assert len(gaps(watch, 120.2, 10.0, ahead_s=-3580.0)) == 1


def test_clock_set_forward_counts_as_a_pause() -> None:
    """An unexplained advance always counts: a false alarm is cheap, a missed pause is not."""
    watch = PauseWatch(2.0)
    gaps(watch, 100.0, 10.0)
    assert len(gaps(watch, 110.1, 10.0, ahead_s=3600.0)) == 1


def test_first_reading_says_nothing() -> None:
    """One reading is nothing to compare with."""
    assert PauseWatch(2.0).update(5.0, 1_700_000_000.0) == 0.0


@pytest.mark.parametrize("phase_s", [0.0, 0.05, 0.31, 0.5, 0.77, 0.99])
def test_fast_clock_is_no_pause(phase_s: float) -> None:
    """A hardware clock that runs 2 % fast, read in whole seconds for an hour, shows no pause."""
    assert gaps(PauseWatch(2.0), 100.0 + phase_s, 3600.0, rate=1.02) == []


@pytest.mark.parametrize("after_s", [5.0, 15.0, 45.0])
def test_clock_set_back_a_little_hides_no_pause(after_s: float) -> None:
    """A clock that was set back by 5 s still shows a pause of 6 s a moment later."""
    watch = PauseWatch(2.0)
    assert gaps(watch, 100.0, after_s) == []
    assert gaps(watch, 100.1 + after_s, 2.0, ahead_s=-5.0) == []
    assert len(gaps(watch, 102.2 + after_s, 10.0, ahead_s=1.0)) == 1
