"""Makes a failing schedule small: fewer steps, fewer parameters, shorter times, as long as it still fails. Pure.

Delta debugging over the steps, then one simplification after the other, always in the same order. A run that says
nothing (inconclusive) never counts as a failure, and the schedule at the end is run again several times, because a
schedule repeats a plan and not an execution: the result says how often it failed. No run is made beyond the budget.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from faults import registry
from faults.schedule.checks import is_number
from faults.schedule.schedule import Schedule, check, dump
from faults.schedule.step import Step
from faults.schedule.trigger import Moment, Range, Time, Trigger
from faults.schedule.trigger_text import WITHIN_S
from testbed.errors import UsageError
from testbed.site import SiteOptions

Judge = Callable[[Schedule], Awaitable[bool | None]]
Say = Callable[[str], None]

SHORTEST_S = 0.1  # a time below this is not worth another run
KEPT_PARAMETERS = frozenset({"seed"})  # without it the fault would roll other dice


@dataclass(frozen=True)
class RunTally:
    """How often a schedule was run, how often it failed, and how often nobody could say."""

    runs: int = 0
    failed: int = 0
    unknown: int = 0

    def plus(self, outcome: bool | None) -> RunTally:  # noqa: FBT001 - an outcome, not a switch
        """Return the count with one more run."""
        return RunTally(self.runs + 1, self.failed + (outcome is True), self.unknown + (outcome is None))

    def text(self) -> str:
        """Return `failed in 3 of 5 runs`, and how many said nothing."""
        unknown = f", {self.unknown} said nothing" if self.unknown else ""
        return f"failed in {self.failed} of {self.runs} runs{unknown}"


@dataclass(frozen=True)
class Shrunk:
    """The smallest schedule that still failed, how often it did when it was run again, and what that took."""

    schedule: Schedule
    confirmed: RunTally
    total: RunTally
    reproduced: bool
    finished: bool

    def text(self) -> str:
        """Return the result as a sentence."""
        if not self.reproduced:
            return f"The schedule did not fail, so nothing was made smaller: {self.total.text()}."
        rest = "" if self.finished else " The budget ended before everything was tried."
        left = len(self.schedule.steps)
        return (
            f"{left} step{'s are' if left > 1 else ' is'} left after {self.total.runs} runs. Run again, this schedule "
            f"{self.confirmed.text()}.{rest}"
        )


class _OutOfBudgetError(Exception):
    """No run is left."""


class _Trial:
    """Runs candidates, each at most `tries` times, and keeps the book of the budget."""

    def __init__(self, judge: Judge, budget: int, tries: int, say: Say) -> None:
        self._judge = judge
        self._left = budget
        self._tries = tries
        self._say = say
        self._known: dict[str, bool] = {}
        self.total = RunTally()

    async def once(self, schedule: Schedule) -> bool | None:
        """Run it once."""
        if self._left == 0:
            raise _OutOfBudgetError
        self._left -= 1
        outcome = await self._judge(schedule)
        self.total = self.total.plus(outcome)
        return outcome

    async def fails(self, schedule: Schedule, what: str) -> bool:
        """Say whether it fails at least once in so many tries; one that cannot be is not run."""
        try:
            check(schedule)
        except UsageError:
            return False
        key = dump(schedule)
        if key not in self._known:
            outcomes = []
            for _ in range(self._tries):
                outcomes.append(await self.once(schedule))
                if outcomes[-1]:
                    break
            self._known[key] = outcomes[-1] is True
            said = {True: "still fails", False: "does not fail", None: "says nothing"}[outcomes[-1]]
            self._say(f"run {self.total.runs}: {what}: {said}")
        return self._known[key]


async def shrink(
    schedule: Schedule, still_fails: Judge, *, budget: int, confirm: int = 5, tries: int = 1, say: Say = lambda _: None
) -> Shrunk:
    """Return the smallest schedule found with at most `budget` runs, of which `confirm` are kept for the last check.

    `still_fails` runs a schedule and answers True (failed), False (did not) or None (nobody can say). With a failure
    that comes only now and then, `tries` runs are made before a candidate is given up.
    """
    if confirm < 1 or tries < 1:
        raise UsageError("Both the runs of the last check and the tries of each candidate must be at least 1.")
    if budget <= confirm:
        raise UsageError(f"A budget of {budget} runs is too small: {confirm} are kept to run the result again.")
    if not schedule.is_fixed:
        raise UsageError("Only a schedule without ranges can be made smaller; expand it first.")
    check(schedule)
    trial = _Trial(still_fails, budget - confirm, tries, say)
    search = _Search(schedule, trial)
    try:
        reproduced = await trial.fails(schedule, f"the whole schedule, {len(schedule.steps)} steps")
        if reproduced:
            await search.fewer_steps()
            await search.simpler_steps()
        finished = True
    except _OutOfBudgetError:
        reproduced, finished = trial.total.failed > 0, False
    if not reproduced:
        return Shrunk(schedule, RunTally(), trial.total, reproduced=False, finished=finished)
    confirmed, total = RunTally(), trial.total
    for _ in range(confirm):
        outcome = await still_fails(search.best)
        confirmed, total = confirmed.plus(outcome), total.plus(outcome)
    say(f"the smallest schedule {confirmed.text()}")
    return Shrunk(search.best, confirmed, total, reproduced=True, finished=finished)


class _Search:
    """The smallest schedule that failed so far, and the ways to a smaller one."""

    def __init__(self, schedule: Schedule, trial: _Trial) -> None:
        self.best = schedule
        self._trial = trial

    async def _take(self, candidate: Schedule | None, what: str) -> bool:
        if candidate is None or not await self._trial.fails(candidate, what):
            return False
        self.best = candidate
        return True

    async def fewer_steps(self) -> None:
        """Delta debugging (Zeller and Hildebrandt, 2002): parts, then what is left without a part, ever finer."""
        parts = 2
        while len(self.best.steps) >= 2:
            chunks = _split([step.name for step in self.best.steps], parts)
            if await self._any(chunks):
                parts = 2
            elif parts > 2 and await self._any([_rest(chunks, chunk) for chunk in chunks]):
                parts -= 1
            elif parts >= len(self.best.steps):
                return
            else:
                parts = min(2 * parts, len(self.best.steps))

    async def _any(self, wanted: list[list[str]]) -> bool:
        """Keep the first of these sets of steps that fails."""
        for names in wanted:
            if await self._take(keep(self.best, names), f"only {', '.join(names)}"):
                return True
        return False

    async def simpler_steps(self) -> None:
        """Drop parameters and halve times, step by step, until nothing more helps."""
        before: Schedule | None = None
        while before != self.best:
            before = self.best
            await self._take(replace(self.best, site=SiteOptions()), "the usual site")
            for name in [step.name for step in self.best.steps]:
                await self._plainer(name)
                await self._shorter(name)

    async def _plainer(self, name: str) -> None:
        if await self._take(self._with(name, {}), f"{name} without its parameters"):
            return
        for key in self.best.step(name).parameters:
            left = {other: value for other, value in self.best.step(name).parameters.items() if other != key}
            await self._take(self._with(name, left), f"{name} without {key}")

    def _with(self, name: str, parameters: Mapping[str, object]) -> Schedule | None:
        """The schedule with these parameters (and those that must stay) of a step, or None when it is the same."""
        step = self.best.step(name)
        stay = KEPT_PARAMETERS | {item.name for item in registry.find(step.fault).parameters if item.required}
        kept = {key: value for key, value in step.parameters.items() if key in stay or key in parameters}
        return None if kept == step.parameters else _changed(self.best, replace(step, parameters=kept))

    async def _shorter(self, name: str) -> None:
        for key in ("when", "until"):
            while await self._take(_halved(self.best, name, key), f"{name} with half the time of {key}"):
                pass
        for key in self.best.step(name).parameters:
            while await self._take(_halved_parameter(self.best, name, key), f"{name} with half of {key}"):
                pass


def keep(schedule: Schedule, names: Sequence[str]) -> Schedule:
    """Return the schedule with these steps only; who waited for another one waits for what that had waited for."""
    dropped = {step.name: step for step in schedule.steps if step.name not in names}
    kept = [
        replace(
            step,
            when=_without(step.when, dropped, step.name),
            until=None if step.until is None else _without(step.until, dropped, step.name),
        )
        for step in schedule.steps
        if step.name not in dropped
    ]
    demands = (one for one in schedule.demands if not {anchor.step for anchor in one.anchors} & dropped.keys())
    return replace(schedule, steps=tuple(kept), demands=tuple(demands))


def _without(trigger: Trigger, dropped: Mapping[str, Step], own: str) -> Trigger:
    while trigger.of is not None and trigger.of.step in dropped:
        step = dropped[trigger.of.step]
        source = step.until if trigger.of.moment is Moment.HEALED else step.when
        assert source is not None, "nobody waits for a heal that never comes"
        event, delay_s = trigger.event, _fixed(trigger.delay_s)
        if event is None:
            event, delay_s = source.event, delay_s + _fixed(source.delay_s)
        needless = event is None and (source.of is None or source.of.step == own)
        within_s = None if needless else trigger.within_s or source.within_s or WITHIN_S
        trigger = Trigger(delay_s, source.of, event, within_s)
    return trigger


def _halved(schedule: Schedule, name: str, key: str) -> Schedule | None:
    step = schedule.step(name)
    trigger = step.when if key == "when" else step.until
    if trigger is None or _fixed(trigger.delay_s) / 2 < SHORTEST_S:
        return None
    half = replace(trigger, delay_s=round(_fixed(trigger.delay_s) / 2, 3))
    return _changed(schedule, replace(step, when=half) if key == "when" else replace(step, until=half))


def _halved_parameter(schedule: Schedule, name: str, key: str) -> Schedule | None:
    step = schedule.step(name)
    value = step.parameters[key]
    if not key.endswith("_s") or not isinstance(value, int | float) or not is_number(value) or value / 2 < SHORTEST_S:
        return None
    return _changed(schedule, replace(step, parameters={**step.parameters, key: round(value / 2, 3)}))


def _changed(schedule: Schedule, changed: Step) -> Schedule:
    steps = tuple(changed if step.name == changed.name else step for step in schedule.steps)
    return replace(schedule, steps=steps)


def _fixed(time: Time) -> float:
    assert not isinstance(time, Range), "only a fixed schedule is made smaller"
    return time


def _split(names: list[str], parts: int) -> list[list[str]]:
    """So many parts of nearly equal length, in order."""
    bounds = [len(names) * number // parts for number in range(parts + 1)]
    return [names[low:high] for low, high in itertools.pairwise(bounds) if low < high]


def _rest(chunks: list[list[str]], without: list[str]) -> list[str]:
    return [name for chunk in chunks if chunk is not without for name in chunk]
