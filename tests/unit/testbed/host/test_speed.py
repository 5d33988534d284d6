"""Proves that the host's speed is what the bed got of it, and that its dilation follows."""

from __future__ import annotations

import pytest

from testbed.host import speed
from testbed.host.speed import Measured, SpeedSample


def points(*speeds: float, every_s: float = 4.0) -> list[SpeedSample]:
    """A trace at even distances."""
    return [SpeedSample(100 + number * every_s, value, 1.0) for number, value in enumerate(speeds)]


def test_speed_one_is_five_million_additions_in_a_quarter_of_a_second() -> None:
    """The definition; half the work in the same time is half the speed."""
    assert speed.of_loop(5_000_000, 0.25) == pytest.approx(1.0)
    assert speed.of_loop(2_500_000, 0.25) == pytest.approx(0.5)
    assert speed.of_loop(1_000_000, 0.17) == pytest.approx(0.05 / 0.17)


@pytest.mark.parametrize(
    ("measured", "dilation"),
    [(9.0, 1), (1.0, 1), (0.99, 2), (0.5, 2), (0.49, 4), (0.3, 4), (0.25, 4), (0.24, 8), (0.125, 8), (0.124, None)],
)
def test_the_smallest_dilation_that_is_enough_is_chosen(measured: float, dilation: float | None) -> None:
    """The product with the speed is 1 or more, and no smaller one of 1, 2, 4 and 8 does that."""
    assert speed.dilation_for(measured) == dilation


def test_the_doctor_says_speed_and_dilation() -> None:
    """One sentence, with the lower one of both measures."""
    text = speed.advice(Measured(0.7, 0.3))
    assert text == "this computer runs at 0.3 of the reference; dilation 4 will be used"


def test_a_host_that_is_too_slow_is_refused_with_a_way_out() -> None:
    """Below 1/8 the sentence says what to do, and promises no dilation."""
    text = speed.advice(Measured(0.1))
    assert "0.1 is below 1/8" in text
    assert "end other programs, or take a faster computer" in text
    assert "will be used" not in text


@pytest.mark.parametrize(
    ("ran_s", "waited_s", "foreign_s", "expected"),
    [
        (4.0, 0.0, 0.0, 1.0),
        (4.0, 2.0, 0.0, 1.0),  # they waited for each other: nobody else was there
        (4.0, 4.0, 4.0, 0.5),  # one other program on each processor
        (2.0, 4.0, 4.0, 1 / 3),  # two
        (4.0, 4.0, 1.0, 0.8),  # others computed for one second, so they took no more than that
        (0.0, 0.0, 8.0, 1.0),  # nobody wanted anything
        (0.5, -1.0, -1.0, 1.0),  # clocks that count in different steps
    ],
)
def test_only_what_others_took_counts_against_the_host(
    ran_s: float, waited_s: float, foreign_s: float, expected: float
) -> None:
    """The bed's own work is no slowness of the host; the time of others is, as far as a node waited for it."""
    assert speed.share(ran_s, waited_s, foreign_s) == pytest.approx(expected)


def test_the_lowest_speed_is_that_of_a_whole_window() -> None:
    """A dip that fills half a window counts half; a trace that is shorter than a window counts as a whole."""
    assert speed.lowest([], 30.0) is None
    assert speed.lowest(points(1.0, 0.5), 30.0) == pytest.approx(0.75)
    flat = [1.0] * 20
    assert speed.lowest(points(*flat), 28.0) == pytest.approx(1.0)
    assert speed.lowest(points(*flat, *[0.5] * 4, *flat), 28.0) == pytest.approx(0.75)
    assert speed.lowest(points(*flat, *[0.5] * 8, *flat), 28.0) == pytest.approx(0.5)


def test_the_fields_of_a_result_hold_figures_and_trace() -> None:
    """Moments count from the run's start; the window grows with the dilation."""
    made = speed.as_fields([SpeedSample(104.0, 0.8, 0.5, 0.3, None)], Measured(0.9, 0.8), 4.0, 100.0)
    assert made["start"] == {"loop": 0.9, "tcg": 0.8}
    assert (made["median"], made["lowest"], made["lowest_dilated"], made["window_s"]) == (0.4, 0.4, 1.6, 240.0)
    assert made["columns"] == ["t_s", "speed", "processor", "share", "pressure", "steal"]
    assert made["trace"] == [[4.0, 0.4, 0.8, 0.5, 0.3, None]]


def test_without_a_trace_the_figures_are_unknown() -> None:
    """Never a speed of nothing."""
    made = speed.as_fields([], None, 1.0, 0.0)
    assert (made["start"], made["median"], made["lowest"], made["trace"]) == (None, None, None, [])
