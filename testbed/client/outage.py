"""Computes from the probe's attempts how long a client was without service; pure, so an old run can be judged again.

An attempt is good when its answer came promptly after its *intended* time. An outage lasts from the last answer before
the first bad attempt to the first answer of K good attempts in a row. Right answers that came late, but while a client
still waited, are told apart as slow service: they count as bad, and the summary says how much of it there was. It must
never invent an end: a run that did not recover is censored.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

RUN_OF_SUCCESSES = 5  # fewer good answers in a row are a flap, not a recovery
PROMPT_S = 0.5  # an answer later than this is no service; ten probe intervals, far above a healthy answer under TCG
PATIENCE_S = 2.0  # after so long without an answer a client has given up


class AttemptOutcome(StrEnum):
    """How an attempt ended; INFO means that nobody knows."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


@dataclass(frozen=True)
class Attempt:
    """One request of the open-loop client; `done_at_s` is the arrival of its answer, also of a late one."""

    number: int
    intended_at_s: float
    sent_at_s: float
    outcome: AttemptOutcome | None = None
    done_at_s: float | None = None

    @property
    def latency_s(self) -> float | None:
        """Time from the intended sending to the good answer, or None."""
        if self.outcome is not AttemptOutcome.OK or self.done_at_s is None:
            return None
        return self.done_at_s - self.intended_at_s


@dataclass(frozen=True)
class Outage:
    """A time without service; `ended_at_s` is None while it lasts, `started_at_s` when nothing worked before."""

    started_at_s: float | None
    ended_at_s: float | None
    last_seen_at_s: float
    bad_attempts: int
    flaps: int

    @property
    def duration_s(self) -> float | None:
        """Its length, or None when it is not known because it is censored at either side."""
        if self.started_at_s is None or self.ended_at_s is None:
            return None
        return self.ended_at_s - self.started_at_s

    @property
    def at_least_s(self) -> float:
        """What can be said of a censored outage: it lasted at least this long."""
        begun_s = self.last_seen_at_s if self.started_at_s is None else self.started_at_s
        return max(0.0, (self.last_seen_at_s if self.ended_at_s is None else self.ended_at_s) - begun_s)


@dataclass(frozen=True)
class OutageSummary:
    """The client's view of a whole run; `outage` is the longest (one without an end counts as the longest)."""

    outage: Outage | None
    outages: tuple[Outage, ...]
    resolution_s: float
    longest_gap_s: float | None
    failed_total_s: float
    flaps: int
    attempts: int
    good: int
    slow: int
    slow_s: float
    latency_median_s: float | None
    lateness_p99_s: float | None


def find_outages(
    attempts: Iterable[Attempt],
    *,
    now_s: float,
    run_of_successes: int = RUN_OF_SUCCESSES,
    prompt_s: float = PROMPT_S,
    since_s: float = float("-inf"),
) -> tuple[Outage, ...]:
    """All outages that were not over at `since_s`, in order; attempts in flight at `now_s` count neither way."""
    ordered = sorted(attempts, key=lambda attempt: attempt.intended_at_s)
    found: list[Outage] = []
    index = 0
    last_success_s: float | None = None
    while index < len(ordered):
        if is_good(ordered[index], now_s, prompt_s) is not False:
            last_success_s = _later(last_success_s, ordered[index])
            index += 1
            continue
        outage, after = _one_outage(ordered, index, last_success_s, now_s, run_of_successes, prompt_s)
        for attempt in ordered[index:after]:
            last_success_s = _later(last_success_s, attempt)
        index = after
        if outage.ended_at_s is None or outage.ended_at_s > since_s:
            found.append(outage)
    return tuple(found)


def summarise(
    attempts: Sequence[Attempt],
    *,
    now_s: float,
    interval_s: float,
    since_s: float = float("-inf"),
    run_of_successes: int = RUN_OF_SUCCESSES,
    prompt_s: float = PROMPT_S,
    patience_s: float = PATIENCE_S,
) -> OutageSummary:
    """Everything that the report shows of the client's view; gap, outages and slow service are those after `since_s`.

    Each attempt stands for one interval: so much time was served slowly as attempts were answered between `prompt_s`
    and `patience_s`. What was answered later was no service to anybody.
    """
    outages = find_outages(attempts, now_s=now_s, since_s=since_s, run_of_successes=run_of_successes, prompt_s=prompt_s)
    arrivals = sorted(a.done_at_s for a in attempts if a.outcome is AttemptOutcome.OK and a.done_at_s is not None)
    gaps = [after - before for before, after in itertools.pairwise(arrivals) if after > since_s]
    latencies = sorted(latency for a in attempts if (latency := a.latency_s) is not None)
    lateness = sorted(a.sent_at_s - a.intended_at_s for a in attempts)
    slow = sum(a.intended_at_s > since_s and is_slow(a, prompt_s, patience_s) for a in attempts)
    return OutageSummary(
        outage=longest(outages),
        outages=outages,
        resolution_s=interval_s,
        longest_gap_s=max(gaps, default=None),
        failed_total_s=sum(outage.at_least_s for outage in outages),
        flaps=sum(outage.flaps for outage in outages),
        attempts=len(attempts),
        good=sum(is_good(attempt, now_s, prompt_s) is True for attempt in attempts),
        slow=slow,
        slow_s=slow * interval_s,
        latency_median_s=quantile(latencies, 0.5),
        lateness_p99_s=quantile(lateness, 0.99),
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which this share of the ordered values lies (nearest rank), or None without values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def as_fields(summary: OutageSummary, zero_at_s: float) -> dict[str, object]:
    """The summary for result.json; moments count from `zero_at_s`, and what is not known is None."""
    outage = summary.outage
    return {
        "outage_s": None if outage is None else _rounded(outage.duration_s),
        "outage_at_least_s": 0.0 if outage is None else _rounded(outage.at_least_s),
        "outage_from_s": None if outage is None else _rounded(outage.started_at_s, zero_at_s),
        "outage_to_s": None if outage is None else _rounded(outage.ended_at_s, zero_at_s),
        "outages": len(summary.outages),
        "failed_total_s": _rounded(summary.failed_total_s),
        "longest_gap_s": _rounded(summary.longest_gap_s),
        "flaps": summary.flaps,
        "slow": summary.slow,
        "slow_s": _rounded(summary.slow_s),
        "attempts": summary.attempts,
        "good": summary.good,
        "resolution_s": summary.resolution_s,
        "latency_median_s": _rounded(summary.latency_median_s),
        "lateness_p99_s": _rounded(summary.lateness_p99_s),
    }


def is_slow(attempt: Attempt, prompt_s: float, patience_s: float) -> bool:
    """True for a right answer that was late, but came while a client still waited."""
    latency_s = attempt.latency_s
    return latency_s is not None and prompt_s < latency_s <= patience_s


def is_good(attempt: Attempt, now_s: float, prompt_s: float) -> bool | None:
    """True for a prompt answer, None while there is still time for one."""
    if attempt.outcome is None:
        return False if now_s - attempt.intended_at_s > prompt_s else None
    latency_s = attempt.latency_s
    return latency_s is not None and latency_s <= prompt_s


def _one_outage(
    ordered: Sequence[Attempt],
    index: int,
    last_success_s: float | None,
    now_s: float,
    run_of_successes: int,
    prompt_s: float,
) -> tuple[Outage, int]:
    """The outage whose first bad attempt is at the index, and the index after its end."""
    bad, flaps = 0, 0
    run: list[Attempt] = []
    while index < len(ordered):
        good = is_good(ordered[index], now_s, prompt_s)
        if good:
            run.append(ordered[index])
            if len(run) == run_of_successes:
                arrivals = [attempt.done_at_s for attempt in run if attempt.done_at_s is not None]
                return Outage(last_success_s, min(arrivals), now_s, bad, flaps), index + 1
        elif good is False:
            flaps += bool(run)
            run.clear()
            bad += 1
        index += 1
    return Outage(last_success_s, None, now_s, bad, flaps), index


def _later(last_success_s: float | None, attempt: Attempt) -> float | None:
    if attempt.outcome is not AttemptOutcome.OK or attempt.done_at_s is None:
        return last_success_s
    return attempt.done_at_s if last_success_s is None else max(last_success_s, attempt.done_at_s)


def _rounded(value: float | None, zero_at_s: float = 0.0) -> float | None:
    return None if value is None else round(value - zero_at_s, 4)


def longest(outages: Iterable[Outage | None]) -> Outage | None:
    """The longest of several outages; one without an end counts as the longest."""
    return max((outage for outage in outages if outage is not None), key=_weight, default=None)


def _weight(outage: Outage) -> tuple[bool, float]:
    return outage.ended_at_s is None, outage.at_least_s
