"""Proves what is said of few values: known answers, properties, planted differences, and a bound is never a value."""

from __future__ import annotations

import statistics as reference
from fractions import Fraction
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.figures import statistics
from testbed.figures.statistics import Value, bootstrap, permutation_test, quantile, rate_text, summarise, wilson

FIGURES = st.integers(0, 50).map(float)
SAMPLES = st.lists(st.builds(Value, FIGURES, st.booleans()), min_size=1, max_size=15)
HALF, NINE_TENTHS = Fraction(1, 2), Fraction(9, 10)


def seen(*figures: float) -> list[Value]:
    """Values that are all known."""
    return [Value(figure) for figure in figures]


def beyond(*limits: float) -> list[Value]:
    """Values that are only known to be more."""
    return [Value(limit, censored=True) for limit in limits]


@given(st.lists(FIGURES, min_size=1, max_size=20))
def test_without_censoring_the_median_is_the_usual_one(figures: list[float]) -> None:
    """The estimate agrees with the standard library for any sample."""
    assert quantile(seen(*figures), HALF) == Value(reference.median(figures))


@example(values=[*beyond(0, 0), *seen(1), *beyond(1)], share=HALF, chance=Random(1))
@given(SAMPLES, st.sampled_from([HALF, NINE_TENTHS, Fraction(1, 4)]), st.randoms(use_true_random=False))
def test_a_quantile_that_is_a_bound_is_true_whatever_the_censored_values_were(
    values: list[Value], share: Fraction, chance: Random
) -> None:
    """However late the runs that were cut off would have come, the true quantile is not below the bound."""
    truth = seen(*(value.at + chance.uniform(0, 100) * value.censored for value in values))
    found = quantile(values, share)
    if found.censored and all(value.at >= found.at or value.censored for value in values):
        assert quantile(truth, share).at >= found.at


@given(st.lists(FIGURES, min_size=1, max_size=15), st.integers(0, 15), FIGURES)
def test_one_common_limit_never_changes_a_median_below_it(figures: list[float], late: int, limit: float) -> None:
    """With one limit for all, what is known is exactly what would have been known without it, or a bound."""
    truth = [*figures, *[1000.0] * late]
    observed = [Value(figure) if figure <= limit else Value(limit, censored=True) for figure in truth]
    found, true = quantile(observed, HALF), reference.median(truth)
    assert found == Value(true) if not found.censored else true >= found.at


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([*seen(10, 20, 30), *beyond(60, 60)], Value(30)),  # dropped it would be 20
        ([*seen(10), *beyond(60, 60)], Value(60, censored=True)),
        ([*seen(10), *beyond(60)], Value(35, censored=True)),  # the middle of 10 and something above 60
        ([*beyond(5), *seen(10, 20, 30)], Value(20)),  # one that left early counts while it was there
        (beyond(60), Value(60, censored=True)),
        ([*seen(6, 6, 6, 7, 10, 13, 16, 22, 23), *beyond(6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)], Value(23)),
    ],
    ids=["late ones count", "most were late", "exactly half", "left early", "nobody came", "Freireich 1963"],
)
def test_known_kaplan_meier_medians(values: list[Value], median: Value) -> None:
    """The last sample is the classic one of the literature, whose median is 23."""
    assert quantile(values, HALF) == median


def test_a_summary_says_that_the_worst_is_not_known() -> None:
    """One run that was cut off at 60 s makes the maximum a bound and changes no count."""
    found = summarise([*seen(21.9, 22.0, 22.4, 22.5, 22.5, 22.9, 23.1, 24.0), *beyond(60)])
    assert (found.n, found.censored, found.median) == (9, 1, Value(22.5))
    assert found.text("s").startswith("median 22.5 s [22.0-")
    assert found.text("s").endswith("n=9], p90 > 60.0, max > 60.0")
    assert found.min == Value(21.9)


def test_few_values_carry_neither_interval_nor_p99() -> None:
    """Below 5 there is no interval and below 20 no p99, and the line says how many there were."""
    assert summarise(seen(1, 2, 3, 4)).text("s") == "median 2.5 s [n=4], p90 4.0, max 4.0"
    assert "n=5]" in summarise(seen(1, 2, 3, 4, 5)).text("s")
    assert summarise(seen(*range(19))).p99 is None
    assert "p99 19.0" in summarise(seen(*range(20))).text("s")


@settings(max_examples=15)
@given(SAMPLES)
def test_the_interval_holds_the_median_and_is_repeatable(values: list[Value]) -> None:
    """The same values in another order and the same seed give the same interval, around what was found."""
    interval = bootstrap(values, resamples=60)
    assert bootstrap(values[::-1], resamples=60) == interval
    median = quantile(values, HALF)
    assert interval.low.at <= interval.high.at
    if not (median.censored or interval.low.censored):
        assert interval.low.at <= median.at
        assert interval.high.censored or median.at <= interval.high.at


def test_the_interval_of_values_that_mostly_came_too_late_has_no_upper_end() -> None:
    """Half of nine beyond the limit: the median may be anywhere above."""
    assert bootstrap([*seen(20, 21, 22, 23, 24), *beyond(60, 60, 60, 60)]).text() == "21.0 to > 60.0"


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 50, 0.0, 0.0713), (50, 50, 0.9287, 1.0), (9, 9, 0.7009, 1.0), (5, 10, 0.2366, 0.7634), (0, 0, 0.0, 1.0)],
)
def test_known_wilson_intervals(successes: int, n: int, low: float, high: float) -> None:
    """No failure in 50 runs still allows 7 %."""
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_success_rate_lies_in_its_interval(successes: int, failures: int) -> None:
    """The interval holds the rate and stays between 0 and 1."""
    n = successes + failures
    low, high = wilson(successes, n)
    assert 0 <= low <= (successes / n if n else 0.5) <= high <= 1


def test_a_rate_says_how_much_it_is_worth() -> None:
    """Nine of nine is not 100 %."""
    assert rate_text(9, 9) == "9 of 9 [70-100 %]"


def test_a_known_exact_permutation_test() -> None:
    """Of the 70 ways to split 8 values into 4 and 4, two are as far apart as these."""
    found = permutation_test(seen(1, 2, 3, 4), seen(11, 12, 13, 14))
    assert (found.difference, found.p, found.exact) == (10.0, 2 / 70, True)


def test_three_runs_each_can_show_nothing() -> None:
    """The least possible p-value is 0.1, and the comparison says that no effect could be shown."""
    found = permutation_test(seen(1, 2, 3), seen(101, 102, 103))
    assert found.p == pytest.approx(0.1)
    assert found.smallest is None


def noise(name: object, n: int, factor: float = 1.0) -> list[Value]:
    """Seeded values as service_up is spread on a quiet host, and slower by a factor."""
    chance = Random(f"noise {name}")
    return seen(*(factor * chance.gauss(22.5, 0.45) for _ in range(n)))


def test_a_planted_slowdown_of_a_tenth_is_found_and_an_equal_pair_is_not() -> None:
    """With nine runs each, too many for all splits, the p-value is small but never 0, and the size is right."""
    slower = permutation_test(noise(1, 9), noise(2, 9, 1.1), rounds=499)
    assert slower.p == pytest.approx(1 / 500)
    assert not slower.exact
    assert slower.difference == pytest.approx(2.25, abs=0.6)
    equal = permutation_test(noise(1, 9), noise(2, 9), rounds=499)
    assert equal.p > statistics.ALPHA
    assert equal.smallest is not None
    assert abs(equal.difference) < equal.smallest < 2.25


def test_equal_pairs_are_rarely_called_different() -> None:
    """Of 200 seeded pairs of equal versions at most 1 in 20 are, as the level promises (with the luck of 200)."""
    wrong = 0
    for number in range(200):
        old, new = (sorted(value.at for value in noise((number, side), 5)) for side in "ab")
        wrong += statistics._p_value(old, new, number, 99)[0] <= statistics.ALPHA
    assert 0 < wrong <= 16


def test_the_smallest_effect_is_where_the_test_begins_to_see() -> None:
    """The same noise shifted by a little more is found, by half of it not."""
    old, new = noise("old", 6), noise("new", 6)
    found = permutation_test(old, new)
    assert found.smallest is not None
    for share, is_seen in ((1.01, True), (0.5, False)):
        shift = share * found.smallest - found.difference
        shifted = permutation_test(old, seen(*(value.at + shift for value in new)))
        assert (shifted.p <= statistics.ALPHA) is is_seen


def test_a_shorter_limit_is_no_improvement() -> None:
    """The same values, cut at 60 s in one version and at 120 s in the other, are equal to the comparison."""
    old, new = [*seen(20, 21, 22, 23), *beyond(60, 60)], [*seen(20, 21, 22, 23, 80, 90)]
    found = permutation_test(old, new)
    assert (found.difference, found.common_limit) == (0.0, 60)
    assert found.p == 1.0


def test_a_version_that_never_gets_there_is_different_by_at_least() -> None:
    """All runs beyond the limit against all below: found, and the size is a bound."""
    found = permutation_test(seen(20, 21, 22, 23, 24), beyond(*[60] * 5))
    assert (found.difference, found.at_least) == (38.0, True)
    assert found.p == pytest.approx(2 / 252)
