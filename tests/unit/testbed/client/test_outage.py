"""Tests of testbed.client.outage: hand-made histories of a client at 10 requests a second."""

from __future__ import annotations

import pytest

from testbed.client.outage import Attempt, AttemptOutcome, Outage, as_fields, find_outages, quantile, summarise

INTERVAL_S = 0.1


def history(story: str) -> list[Attempt]:
    """One attempt for each letter: o = prompt answer after 10 ms, l = late answer after 0.8 s, x = unknown, e = ERR,
    . = still in flight."""
    attempts = []
    for number, letter in enumerate(story):
        at_s = number * INTERVAL_S
        match letter:
            case "o":
                attempts.append(Attempt(number, at_s, at_s, AttemptOutcome.OK, at_s + 0.01))
            case "l":
                attempts.append(Attempt(number, at_s, at_s, AttemptOutcome.OK, at_s + 0.8))
            case "e":
                attempts.append(Attempt(number, at_s, at_s, AttemptOutcome.FAIL))
            case "x":
                attempts.append(Attempt(number, at_s, at_s, AttemptOutcome.INFO))
            case _:
                attempts.append(Attempt(number, at_s, at_s))
    return attempts


def the_outage(story: str, since_s: float = 0.0) -> Outage:
    """The only outage of the story, seen at its end."""
    (outage,) = find_outages(history(story), now_s=len(story) * INTERVAL_S, since_s=since_s)
    return outage


def test_a_healthy_run_has_no_outage() -> None:
    """Nothing bad, nothing reported; what is in flight counts neither way."""
    assert find_outages(history("oooooooo.."), now_s=1.0) == ()


def test_an_outage_lasts_from_the_last_answer_to_the_first_of_the_lasting_ones() -> None:
    """Both ends are arrivals of answers."""
    outage = the_outage("ooooxxxxooooo")
    assert outage.started_at_s == pytest.approx(0.31)
    assert outage.ended_at_s == pytest.approx(0.81)
    assert outage.duration_s == pytest.approx(0.5)
    assert (outage.bad_attempts, outage.flaps) == (4, 0)


def test_refused_writes_are_an_outage_too() -> None:
    """An ERR is an answer, but no service."""
    assert the_outage("oooeeeooooo").duration_s == pytest.approx(0.4)


def test_a_short_return_is_a_flap_and_not_the_end() -> None:
    """Fewer than K answers in a row do not end the outage."""
    outage = the_outage("oooxxooooxxooooo")
    assert outage.flaps == 1
    assert outage.ended_at_s == pytest.approx(1.11)


def test_two_separate_outages_are_two() -> None:
    """After K good answers the next failure is a new outage."""
    found = find_outages(history("ooxxoooooxxooooo"), now_s=1.6)
    assert [outage.duration_s for outage in found] == [pytest.approx(0.3), pytest.approx(0.3)]


def test_late_answers_are_no_service_when_they_were_due() -> None:
    """A pause that answers everything afterwards is still an outage: the answers came, but not in time."""
    outage = the_outage("ooolllllooooo")
    assert outage.started_at_s == pytest.approx(0.21)
    assert outage.ended_at_s == pytest.approx(0.81)
    assert outage.bad_attempts == 5


def test_a_run_that_never_recovers_is_censored() -> None:
    """No end is invented: the duration is unknown, and what is known is a lower bound."""
    outage = the_outage("oooxxxxxoo")
    assert (outage.ended_at_s, outage.duration_s) == (None, None)
    assert outage.at_least_s == pytest.approx(1.0 - 0.21)


def test_a_service_that_never_worked_has_no_beginning() -> None:
    """Without a success before, the length is unknown even when the service comes."""
    outage = the_outage("xxxooooo")
    assert (outage.started_at_s, outage.duration_s) == (None, None)
    assert outage.ended_at_s == pytest.approx(0.31)


def test_an_attempt_in_flight_for_too_long_is_bad() -> None:
    """One need not wait for the time limit of a request to see that the service is gone."""
    assert the_outage("ooo........").started_at_s == pytest.approx(0.21)


def test_what_was_over_before_the_injection_does_not_count() -> None:
    """Only outages that were not over at the given time are returned."""
    assert find_outages(history("ooxxoooooooo"), now_s=1.2, since_s=0.9) == ()


def test_the_summary_has_the_longest_outage_and_the_totals() -> None:
    """Longest outage, gap, total and quality of the probe itself."""
    summary = summarise(history("ooxxooooooxxxxooooo"), now_s=1.9, interval_s=INTERVAL_S)
    assert summary.outage is not None
    assert summary.outage.duration_s == pytest.approx(0.5)
    assert summary.longest_gap_s == pytest.approx(0.5)
    assert summary.failed_total_s == pytest.approx(0.8)
    assert (summary.attempts, summary.good, len(summary.outages)) == (19, 13, 2)
    assert (summary.resolution_s, summary.lateness_p99_s) == (INTERVAL_S, 0.0)
    assert summary.latency_median_s == pytest.approx(0.01)


def test_an_outage_without_end_is_the_one_that_is_reported() -> None:
    """A longer one that ended must not hide one that did not."""
    summary = summarise(history("oxxxxxxxxooooooxx"), now_s=1.7, interval_s=INTERVAL_S)
    assert summary.outage is not None
    assert summary.outage.ended_at_s is None


def test_a_quantile_of_nothing_is_unknown() -> None:
    """None, not zero."""
    assert quantile([], 0.99) is None
    assert quantile([1.0, 2.0, 3.0], 0.99) == 3.0


def test_slow_service_is_told_apart_from_none() -> None:
    """Right answers that came late, but while a client still waited, are slow service: one interval for each."""
    summary = summarise(history("oolllllxxooooo"), now_s=1.4, interval_s=INTERVAL_S)
    assert summary.slow == 5
    assert summary.slow_s == pytest.approx(0.5)
    assert summary.failed_total_s == pytest.approx(0.8)
    assert summarise(history("ooolll"), now_s=2.0, interval_s=INTERVAL_S, patience_s=0.7).slow == 0
    assert summarise(history("ooolll"), now_s=2.0, interval_s=INTERVAL_S, since_s=0.35).slow == 2


def test_the_fields_of_a_result_count_from_the_fault() -> None:
    """Moments are relative, lengths are not, and an outage without an end has no length."""
    healed = as_fields(summarise(history("ooxxooooo"), now_s=0.9, interval_s=INTERVAL_S), 0.1)
    assert (healed["outage_s"], healed["outage_from_s"], healed["outage_to_s"]) == (0.3, 0.01, 0.31)
    lasting = as_fields(summarise(history("ooxxxxx"), now_s=0.7, interval_s=INTERVAL_S), 0.1)
    assert (lasting["outage_s"], lasting["outage_to_s"], lasting["outage_at_least_s"]) == (None, None, 0.59)
    none = as_fields(summarise(history("oooo"), now_s=0.4, interval_s=INTERVAL_S), 0.1)
    assert (none["outage_s"], none["outage_at_least_s"], none["outages"]) == (None, 0.0, 0)
