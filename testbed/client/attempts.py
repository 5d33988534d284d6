"""The book of one open-loop probe: its attempts in the order of the schedule, and whether its service is up now.

Pure but for the event that wakes waiters. It says "up" and "down" as they become certain, in the order of the schedule;
how long an outage was is for `testbed.client.outage` to compute from the same attempts. It must never forget one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from testbed import pace
from testbed.client.outage import PROMPT_S, RUN_OF_SUCCESSES, Attempt, AttemptOutcome, OutageSummary, is_good, summarise

OnChange = Callable[[str, dict[str, object]], None]


class Attempts:
    """The attempts of one probe. Interval and time limit are scaled already; `prompt_s` is scaled here.

    `on_change` is called with up or down and the time of the answer that shows it.
    """

    def __init__(self, interval_s: float, timeout_s: float, on_change: OnChange | None = None) -> None:
        self.interval_s = interval_s
        self.timeout_s = timeout_s
        self.prompt_s = pace.scaled(PROMPT_S)
        self.changed = asyncio.Event()
        self.is_up: bool | None = None
        self._on_change = on_change
        self._all: list[Attempt] = []
        self._first_open = 0  # every attempt before it is settled
        self._decided = 0  # every attempt before it was good or bad
        self._run_of_good: deque[Attempt] = deque(maxlen=RUN_OF_SUCCESSES)
        self._ended_at_s: float | None = None

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, number: int) -> Attempt:
        return self._all[number]

    @property
    def all(self) -> tuple[Attempt, ...]:
        """All attempts so far, in the order of the schedule."""
        return tuple(self._all)

    @property
    def has_open(self) -> bool:
        """True while an attempt is neither answered nor given up."""
        return self._first_open < len(self._all)

    def open(self, intended_at_s: float, sent_at_s: float) -> int:
        """Enter a new attempt; returns its number."""
        self._all.append(Attempt(len(self._all), intended_at_s, sent_at_s))
        return len(self._all) - 1

    def newest(self, slot: int, slots: int) -> int | None:
        """The newest attempt whose number modulo `slots` is `slot`, for answers that carry no more than that."""
        newest = len(self._all) - 1
        number = newest - (newest - slot) % slots
        return number if number >= 0 else None

    def settle(self, number: int, outcome: AttemptOutcome, done_at_s: float | None, now_s: float) -> bool:
        """Enter an outcome; False when a certain one is there already, as for a duplicate of the network."""
        if self._all[number].outcome in {AttemptOutcome.OK, AttemptOutcome.FAIL}:
            return False
        self._all[number] = replace(self._all[number], outcome=outcome, done_at_s=done_at_s)
        self.decide(now_s)
        self.changed.set()
        return True

    def overdue(self, now_s: float) -> list[int]:
        """The attempts in flight whose time limit is over."""
        found = []
        for attempt in self._all[self._first_open :]:
            if attempt.outcome is None:
                if now_s - attempt.sent_at_s <= self.timeout_s:
                    break
                found.append(attempt.number)
            elif not found:
                self._first_open = attempt.number + 1
        return found

    def expire(self, now_s: float) -> None:
        """Give up what had no answer in time, and say whether the service went down; nothing any more after the end."""
        if self._ended_at_s is not None:
            return
        for number in self.overdue(now_s):
            self.settle(number, AttemptOutcome.INFO, None, now_s)
        self.overdue(now_s)  # moves on behind what was settled
        self.decide(now_s)

    def end(self) -> list[int]:
        """Nobody waits any more; returns the attempts in flight, which count neither way; the first end counts."""
        self._ended_at_s = self._ended_at_s or time.monotonic()
        return [attempt.number for attempt in self._all[self._first_open :] if attempt.outcome is None]

    def summary(self, *, since_s: float = float("-inf")) -> OutageSummary:
        """What the attempts say until now; outages, gap and slow service are those after `since_s`."""
        now_s = time.monotonic() if self._ended_at_s is None else self._ended_at_s
        return summarise(
            self._all, now_s=now_s, interval_s=self.interval_s, since_s=since_s, prompt_s=self.prompt_s,
            patience_s=self.timeout_s,
        )  # fmt: skip

    def decide(self, now_s: float) -> None:
        """Say when the service goes up or down, in the order of the schedule; the judge counts later."""
        while self._decided < len(self._all):
            attempt = self._all[self._decided]
            good = is_good(attempt, now_s, self.prompt_s)
            if good is None:
                return
            self._decided += 1
            if good:
                self._run_of_good.append(attempt)
                if self.is_up is not True and len(self._run_of_good) == RUN_OF_SUCCESSES:
                    self._change("up", is_up=True, first_ok_at_s=self._run_of_good[0].done_at_s)
                continue
            if self.is_up is True:
                last = self._run_of_good[-1].done_at_s if self._run_of_good else None
                self._change("down", is_up=False, last_ok_at_s=last)
            self._run_of_good.clear()

    def _change(self, kind: str, *, is_up: bool, **fields: object) -> None:
        self.is_up = is_up
        self.changed.set()
        if self._on_change is not None:
            self._on_change(kind, fields)


async def keep_schedule(
    interval_s: float, act: Callable[[float], object], *, going: Callable[[], bool] = lambda: True
) -> None:
    """Call `act` with each intended time of a fixed schedule while `going`; a late round makes up for all it missed."""
    start_at_s = time.monotonic()
    count = 0
    while going():
        intended_s = start_at_s + count * interval_s
        if intended_s > time.monotonic():
            await asyncio.sleep(intended_s - time.monotonic())
            continue
        act(intended_s)
        count += 1
