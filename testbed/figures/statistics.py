"""What may be said about a handful of measured values; pure, standard library only.

A run that did not get there in time gave a value all the same: "greater than the limit". It must never be dropped and
never be counted as the limit, so every function here takes `Value`s, which may be censored. It must never print a
figure that the number of values does not carry: no p99 below 20, no interval below 5.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import NamedTuple

P99_N_MIN = 20  # below, a 99th percentile is the maximum with another name
INTERVAL_N_MIN = 5  # below, resampling the few values again and again tells nothing about the others
CONFIDENCE = 0.95
RESAMPLES = 2000
SPLITS_MAX = 20_000  # up to so many ways to split, all are tried: 8 and 8 values have 12,870
ROUNDS = 9_999  # otherwise so many random ones
Z_95 = 1.959964
ALPHA = 0.05  # a difference is called real when chance alone makes one as large this seldom
SEARCH_STEPS, SEARCH_ROUNDS = 10, 999  # the smallest effect is known to a thousandth of twice the spread
TOLERANCE = 1e-9  # differences that only rounding tells apart are equal
MEDIAN = Fraction(1, 2)


class Value(NamedTuple):
    """One measured value, or a bound: censored means that the true value is at least `at`."""

    at: float
    censored: bool = False

    def text(self, digits: int = 1) -> str:
        """As people write it: `22.5`, or `> 60.0` when it is only known to be more."""
        return f"{'> ' if self.censored else ''}{self.at:.{digits}f}"


class Interval(NamedTuple):
    """A range; an end that is censored lies somewhere above its figure."""

    low: Value
    high: Value

    def text(self, digits: int = 1) -> str:
        """Both ends, joined so that a censored one stays readable."""
        joint = " to " if self.low.censored or self.high.censored else "-"
        return f"{self.low.text(digits)}{joint}{self.high.text(digits)}"


@dataclass(frozen=True)
class SampleSummary:
    """What is said of a sample; `p99` and `interval` are None when there are too few values for them."""

    n: int
    censored: int
    min: Value
    median: Value
    p90: Value
    p99: Value | None
    max: Value
    interval: Interval | None

    def text(self, unit: str, digits: int = 1) -> str:
        """One line for a table, for example `median 22.5 s [21.9-23.1, n=9], p90 24.0, max > 60.0`."""
        bracket = f"n={self.n}" if self.interval is None else f"{self.interval.text(digits)}, n={self.n}"
        head = f"median {self.median.text(digits)} {unit}".rstrip()
        p99 = "" if self.p99 is None else f", p99 {self.p99.text(digits)}"
        return f"{head} [{bracket}], p90 {self.p90.text(digits)}{p99}, max {self.max.text(digits)}"


class SampleComparison(NamedTuple):
    """Two samples compared: new minus old median, the p-value, and what could have been seen at all.

    `at_least` says that a median is censored, so the difference is a bound. `smallest` is the least difference that
    these runs, with the spread that they have, would have called real (None: none, however large). `common_limit` is
    the least limit at which a value was censored, to which all values were cut.
    """

    difference: float
    at_least: bool
    p: float
    exact: bool
    smallest: float | None
    common_limit: float | None


def summarise(values: Sequence[Value], *, seed: int = 0) -> SampleSummary:
    """Return minimum, median, p90, maximum and the bootstrap interval of the median of at least one value."""
    assert values, "there is nothing to summarise"
    least = min(values)  # at the same figure the seen value comes before the censored one
    return SampleSummary(
        n=len(values),
        censored=sum(value.censored for value in values),
        min=least,
        median=quantile(values, MEDIAN),
        p90=quantile(values, Fraction(9, 10)),
        p99=quantile(values, Fraction(99, 100)) if len(values) >= P99_N_MIN else None,
        max=Value(max(value.at for value in values), any(value.censored for value in values)),
        interval=bootstrap(values, seed=seed) if len(values) >= INTERVAL_N_MIN else None,
    )


def quantile(values: Sequence[Value], share: Fraction) -> Value:
    """Return the Kaplan-Meier quantile: where the estimated share of values that are still above falls to 1 - share.

    When it lies exactly between two values it is their middle, so that without censoring the median is the usual one.
    When the estimate never falls that far, the answer is the bound that is certain for these values: not more.
    """
    assert values, "no values have no quantile"
    ordered = sorted(values)
    alive_n, alive_d = 1, 1  # the estimate as a fraction of whole numbers, so that "exactly between" is exact
    above_n, above_d = share.denominator - share.numerator, share.denominator
    for index, value in enumerate(ordered):
        if value.censored:
            continue
        at_risk = len(ordered) - index
        alive_n, alive_d = alive_n * (at_risk - 1), alive_d * at_risk
        reached = alive_n * above_d - above_n * alive_d
        if reached < 0:
            return value
        if reached == 0 and alive_n == 0:
            return value
        following = next((other for other in ordered[index + 1 :] if not other.censored), None)
        if reached == 0 and following is not None:
            return Value((value.at + following.at) / 2)
    return Value(_order_statistic([value.at for value in ordered], share), censored=True)


def _order_statistic(ordered: Sequence[float], share: Fraction) -> float:
    """The quantile of values that are all known, by the same rule."""
    place = share * len(ordered)
    index = math.ceil(place) - 1
    if place.denominator == 1 and index + 1 < len(ordered):
        return (ordered[index] + ordered[index + 1]) / 2
    return ordered[max(index, 0)]


def bootstrap(values: Sequence[Value], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Return the percentile interval (95 %) of the median; the same values and seed give the same interval.

    Values are drawn again with replacement, censored ones as what they are; a median that is not known counts as
    larger than every known one.
    """
    chance = Random(seed)
    ordered = sorted(values)
    medians = [quantile(chance.choices(ordered, k=len(ordered)), MEDIAN) for _ in range(resamples)]
    medians.sort(key=lambda value: (value.censored, value.at))
    tail = (1 - CONFIDENCE) / 2
    low = medians[math.floor(tail * (resamples - 1))]
    high = medians[math.ceil((1 - tail) * (resamples - 1))]
    if high.censored:  # somewhere above: the least bound that is true for all the medians up there
        high = Value(max(low.at, min(value.at for value in medians if value.censored)), censored=True)
    return Interval(low, high)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the Wilson interval (95 %) of a success rate; without a try it is everything from 0 to 1."""
    assert 0 <= successes <= n, f"{successes} successes of {n} are not possible"
    if n == 0:
        return 0.0, 1.0
    square = Z_95 * Z_95
    centre = (successes + square / 2) / (n + square)
    reach = Z_95 / (n + square) * math.sqrt(successes * (n - successes) / n + square / 4)
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == n else centre + reach
    return low, high


def rate_text(successes: int, n: int) -> str:
    """For example `9 of 9 [70-100 %]`: the rate with the interval that so few runs allow."""
    low, high = wilson(successes, n)
    return f"{successes} of {n} [{100 * low:.0f}-{100 * high:.0f} %]"


def permutation_test(
    old: Sequence[Value], new: Sequence[Value], *, seed: int = 0, rounds: int = ROUNDS
) -> SampleComparison:
    """Say whether two medians differ by more than chance explains, which run happened to get which version.

    The p-value is two-sided and never 0: the split that was observed counts as one. If one sample had a shorter limit
    than the other, all values are cut to the shorter, because otherwise the limit itself would make a difference.
    """
    assert old, "the old sample is empty"
    assert new, "the new sample is empty"
    common_limit = min((value.at for value in (*old, *new) if value.censored), default=None)
    before, after = _cut(old, common_limit), _cut(new, common_limit)
    p, exact = _p_value(before, after, seed, rounds)
    return SampleComparison(
        difference=_median(after) - _median(before),
        at_least=common_limit is not None and common_limit in {_median(before), _median(after)},
        p=p,
        exact=exact,
        smallest=_smallest(before, after, seed, rounds),
        common_limit=common_limit,
    )


def _cut(values: Sequence[Value], limit: float | None) -> list[float]:
    """The values in order, those beyond the limit at the limit: all equal there, and larger than what was seen."""
    return sorted(value.at if limit is None else min(value.at, limit) for value in values)


def _median(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _p_value(before: list[float], after: list[float], seed: int, rounds: int) -> tuple[float, bool]:
    """The share of the ways to split the pool that differ at least as much, and whether all ways were tried.

    Many splits have the same medians: of those, the ones whose ranks are further apart differ more. Without that, five
    runs in time against five that never came would not be called different.
    """
    pool = sorted([*before, *after])
    n, first = len(pool), len(before)
    rank = _ranks(pool)
    middle = first * (n - 1) / 2  # the rank sum of a sample that is like the other
    observed = abs(_median(after) - _median(before))
    observed_ranks = abs(sum(rank[value] for value in before) - middle) - TOLERANCE
    tolerance = TOLERANCE * max(1.0, observed)
    exact = math.comb(n, first) <= SPLITS_MAX
    splits: Iterable[Sequence[int]] = itertools.combinations(range(n), first)
    if exact and 2 * first == n:  # the other half are the same splits with the names of the samples exchanged
        splits = ((0, *chosen) for chosen in itertools.combinations(range(1, n), first - 1))
    elif not exact:
        chance = Random(seed)
        splits = (sorted(chance.sample(range(n), first)) for _ in range(rounds))
    hits = tried = 0
    for chosen in splits:
        tried += 1
        taken = set(chosen)
        rest = [pool[index] for index in range(n) if index not in taken]
        own = [pool[index] for index in chosen]
        more = abs(_median(rest) - _median(own)) - observed
        if more > tolerance or (more >= -tolerance and abs(sum(rank[v] for v in own) - middle) >= observed_ranks):
            hits += 1
    # All splits hold the observed one; random ones may not, so it is added.
    return (hits / tried, True) if exact else ((hits + 1) / (tried + 1), False)


def _ranks(pool: Sequence[float]) -> dict[float, float]:
    """The place of each value in the ordered pool; equal ones share the middle of their places."""
    places: dict[float, list[int]] = {}
    for place, value in enumerate(pool):
        places.setdefault(value, []).append(place)
    return {value: (found[0] + found[-1]) / 2 for value, found in places.items()}


def _smallest(before: list[float], after: list[float], seed: int, rounds: int) -> float | None:
    """The least shift of the new sample, were its median the old one's, that the same test would have found."""
    old = [value - _median(before) for value in before]
    new = [value - _median(after) for value in after]
    rounds = min(rounds, SEARCH_ROUNDS)

    def found(shift: float) -> bool:
        return _p_value(old, [value + shift for value in new], seed, rounds)[0] <= ALPHA

    spread = max(*old, *new) - min(*old, *new)
    low, high = 0.0, 2 * spread if spread > 0 else 1.0
    if not found(high):
        return None
    if spread == 0:
        return 0.0
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
