"""Tests of testbed.client.attempts: the book of a probe, with made-up times."""

from __future__ import annotations

import asyncio
import itertools
import time

from testbed.client.attempts import Attempts, keep_schedule
from testbed.client.outage import AttemptOutcome


class Told:
    """A book with an attempt each 0.1 s, and what it said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.book = Attempts(0.1, 2.0, lambda kind, _fields: self.said.append(kind))

    def attempts(self, story: str) -> None:
        """One more attempt for each letter: o = answered after 10 ms, e = refused, . = in flight."""
        for letter in story:
            at_s = len(self.book) * 0.1
            number = self.book.open(at_s, at_s)
            if letter == "o":
                self.book.settle(number, AttemptOutcome.OK, at_s + 0.01, at_s + 0.01)
            elif letter == "e":
                self.book.settle(number, AttemptOutcome.FAIL, None, at_s + 0.01)


def test_up_and_down_are_said_once_each() -> None:
    """Five answers in a row are up, the first bad attempt is down, fewer than five do not end it."""
    told = Told()
    told.attempts("oooo")
    assert told.book.is_up is None
    told.attempts("oeeooooeooooo")
    assert told.said == ["up", "down", "up"]
    assert told.book.is_up is True


def test_silence_is_down_as_soon_as_it_is_no_longer_prompt() -> None:
    """An attempt in flight counts after half a second, before its time limit."""
    told = Told()
    told.attempts("ooooo...")
    told.book.expire(0.99)
    assert told.said == ["up"]
    told.book.expire(1.01)
    assert told.said == ["up", "down"]
    assert told.book.has_open


def test_what_has_no_answer_in_time_is_given_up_and_may_still_come() -> None:
    """The time limit makes it unknown, an answer after it makes it right and late; a duplicate changes nothing."""
    told = Told()
    told.attempts("o..")
    assert told.book.overdue(2.15) == [1]
    told.book.expire(5.0)
    assert [attempt.outcome for attempt in told.book.all] == [
        AttemptOutcome.OK,
        AttemptOutcome.INFO,
        AttemptOutcome.INFO,
    ]
    assert not told.book.has_open
    assert told.book.settle(1, AttemptOutcome.OK, 5.5, 5.5)
    assert not told.book.settle(1, AttemptOutcome.OK, 6.0, 6.0)
    assert told.book[1].done_at_s == 5.5


def test_what_is_in_flight_at_the_end_counts_neither_way() -> None:
    """A probe that was stopped did not see an outage."""
    told = Told()
    now_s = time.monotonic()
    for number in range(5):
        told.book.settle(told.book.open(now_s, now_s), AttemptOutcome.OK, now_s, now_s)
        assert told.book[number].outcome is AttemptOutcome.OK
    told.book.open(now_s, now_s)
    assert told.book.end() == [5]
    told.book.expire(now_s + 9.0)
    assert told.said == ["up"]
    assert told.book.summary().outages == ()


def test_an_answer_that_names_a_slot_means_its_newest_attempt() -> None:
    """Slots are used in turn; before the first use there is no attempt to mean."""
    told = Told()
    told.attempts("....")
    assert [told.book.newest(slot, 3) for slot in range(3)] == [3, 1, 2]
    assert Attempts(0.1, 2.0).newest(0, 3) is None


def test_a_late_schedule_makes_up_for_what_it_missed() -> None:
    """Each intended time comes once and in order, however late the loop was."""
    seen: list[float] = []
    asyncio.run(keep_schedule(0.001, seen.append, going=lambda: len(seen) < 20))
    steps = [round((after - before) * 1000) for before, after in itertools.pairwise(seen)]
    assert steps == [1] * 19
