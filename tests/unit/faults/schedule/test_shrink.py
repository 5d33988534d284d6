"""Proves that shrinking finds planted causes, spends no more than it may, and says how sure it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from faults.schedule.schedule import Schedule, check
from faults.schedule.shrink import RunTally, Shrunk, keep, shrink
from faults.schedule.step import Step
from faults.schedule.trigger import Anchor, Milestone, Moment, Range, Trigger
from testbed.errors import UsageError
from testbed.site import SiteOptions

PORTS = ("a.priv0", "b.priv0", "a.biz0", "b.biz0", "client.biz0", "outside.biz0")


def plan(count: int = 6) -> Schedule:
    """So many steps on different ports, each with a parameter and an end."""
    steps = tuple(
        Step(
            f"s{number}", "link.delay", PORTS[number], Trigger(8.0), Trigger(4.0, Anchor(f"s{number}")),
            {"seed": number, "delay_s": 0.8, "window_s": 3.0},
        )
        for number in range(count)
    )  # fmt: skip
    return Schedule("x", 7, steps, SiteOptions(dilation=2.0))


class World:
    """Runs schedules against a planted predicate, and remembers how often."""

    def __init__(self, fails: Callable[[Schedule], bool | None]) -> None:
        self._fails = fails
        self.runs = 0
        self.said: list[str] = []

    async def run(self, schedule: Schedule) -> bool | None:
        """Judge one run; what is run must be a schedule that a file could hold."""
        check(schedule)
        self.runs += 1
        return self._fails(schedule)

    def shrink(self, schedule: Schedule, *, budget: int = 400, confirm: int = 3, tries: int = 1) -> Shrunk:
        """Shrink in this world."""
        return asyncio.run(
            shrink(schedule, self.run, budget=budget, confirm=confirm, tries=tries, say=self.said.append)
        )


def names(schedule: Schedule) -> list[str]:
    """The names of its steps."""
    return [step.name for step in schedule.steps]


@settings(max_examples=5, deadline=None)
@given(some.sets(some.sampled_from([f"s{number}" for number in range(6)]), min_size=1, max_size=4))
def test_any_planted_cause_is_found(cause: set[str]) -> None:
    """Exactly the steps that are needed are left, with no parameter but the seed and the shortest times."""
    world = World(lambda schedule: cause <= set(names(schedule)))
    found = world.shrink(plan())
    assert set(names(found.schedule)) == cause
    assert found.reproduced
    assert found.finished
    assert found.total.runs == world.runs
    assert found.confirmed == RunTally(3, 3, 0)
    assert found.schedule.site == SiteOptions()
    for step in found.schedule.steps:
        assert step.parameters == {"seed": int(step.name[1:])}
        assert step.when.delay_s == 0.125
        assert step.until is not None
        assert step.until.delay_s == 0.125


def test_what_matters_stays() -> None:
    """A parameter and a time without which it does not fail are kept as far as they are needed."""

    def fails(schedule: Schedule) -> bool:
        step = next((step for step in schedule.steps if step.name == "s2"), None)
        if step is None:
            return False
        delay_s, until = step.parameters.get("delay_s", 0.05), step.until
        assert isinstance(delay_s, float)
        return delay_s >= 0.3 and until is not None and isinstance(until.delay_s, float) and until.delay_s >= 1.5

    found = World(fails).shrink(plan())
    assert names(found.schedule) == ["s2"]
    assert found.schedule.steps[0].parameters == {"seed": 2, "delay_s": 0.4}
    assert found.schedule.steps[0].until == Trigger(2.0, Anchor("s2"))


def test_a_schedule_that_does_not_fail_is_left_alone() -> None:
    """One run (or as many as there are tries) is enough to say so."""
    world = World(lambda _: False)
    found = world.shrink(plan(), tries=2)
    assert not found.reproduced
    assert found.schedule == plan()
    assert world.runs == 2
    assert found.text() == "The schedule did not fail, so nothing was made smaller: failed in 0 of 2 runs."


def test_a_run_that_says_nothing_is_no_failure() -> None:
    """Inconclusive never makes a schedule smaller."""
    world = World(lambda schedule: True if len(schedule.steps) == 6 else None)
    found = world.shrink(plan())
    assert len(found.schedule.steps) == 6
    assert found.total.unknown > 0
    assert not World(lambda _: None).shrink(plan()).reproduced


@pytest.mark.parametrize("budget", range(5, 30, 3))
def test_the_budget_is_kept(budget: int) -> None:
    """What was found so far is confirmed and returned when the runs are used up."""
    world = World(lambda schedule: {"s1", "s4"} <= set(names(schedule)))
    found = world.shrink(plan(), budget=budget, confirm=3)
    assert world.runs == found.total.runs == budget
    assert not found.finished
    assert found.confirmed == RunTally(3, 3, 0)
    assert {"s1", "s4"} <= set(names(found.schedule))
    assert "The budget ended before everything was tried." in found.text()


def test_the_same_world_gives_the_same_way() -> None:
    """The order of the runs is fixed, and each is told."""
    worlds = [World(lambda schedule: "s3" in names(schedule)) for _ in range(2)]
    first, second = (world.shrink(plan()) for world in worlds)
    assert first == second
    assert worlds[0].said == worlds[1].said
    assert worlds[0].said[0] == "run 1: the whole schedule, 6 steps: still fails"
    assert worlds[0].said[-1] == "the smallest schedule failed in 3 of 3 runs"


@pytest.mark.parametrize("seed", range(5))
def test_a_failure_that_comes_now_and_then_is_shrunk_and_counted(seed: int) -> None:
    """With enough tries the cause is found, and the rate at the end is what was counted, not what was hoped."""
    dice = Random(seed)
    world = World(lambda schedule: "s3" in names(schedule) and dice.random() < 0.4)
    found = world.shrink(plan(), budget=2_000, confirm=20, tries=12)
    assert names(found.schedule) == ["s3"]
    assert found.confirmed.runs == 20
    assert 0 < found.confirmed.failed < 20
    assert f"failed in {found.confirmed.failed} of 20 runs" in found.text()


def test_luck_is_not_hidden() -> None:
    """A reduction that failed once and never again is reported with 0 of its runs."""
    outcomes = iter([True, True])
    found = World(lambda _: next(outcomes, False)).shrink(plan(2), confirm=4)
    assert found.reproduced
    assert found.confirmed == RunTally(4, 0, 0)
    assert "1 step is left" in found.text()
    assert "failed in 0 of 4 runs" in found.text()


def test_who_waited_for_a_dropped_step_waits_for_what_that_had_waited_for() -> None:
    """Times add up and events are inherited, so that the rest strikes when it did."""
    event = Milestone("vm_running", "b")
    steps = (
        Step("k", "node.kill", "a", Trigger(2.0, None, event, 60.0), Trigger(5.0, Anchor("k"))),
        Step("c", "link.cut", "b.biz0", Trigger(1.0, Anchor("k"), None, 30.0), Trigger(1.0, Anchor("k"), None, 9.0)),
        Step("d", "link.cut", "b.priv0", Trigger(3.0, Anchor("k", Moment.HEALED), None, 30.0)),
        Step("e", "link.cut", "a.biz0", Trigger(0.5, Anchor("c"), Milestone("protected"), 40.0)),
    )
    schedule = Schedule("x", 7, steps)
    left = keep(schedule, ["c", "d", "e"])
    assert left.steps[0].when == Trigger(3.0, None, event, 30.0)
    assert left.steps[0].until == Trigger(3.0, None, event, 9.0)
    assert left.steps[1].when == Trigger(10.0, None, event, 30.0)
    assert left.steps[2] == steps[3]
    assert keep(schedule, ["e"]).steps[0].when == Trigger(0.5, None, Milestone("protected"), 40.0)
    timed = replace(schedule, steps=(replace(steps[0], when=Trigger(2.0)), *steps[1:]))
    assert keep(timed, ["d"]).steps[0].when == Trigger(10.0)
    for chosen in (["c"], ["d"], ["e"], ["c", "e"], ["d", "e"]):
        check(keep(schedule, chosen))
        check(keep(timed, chosen))


@pytest.mark.parametrize(
    ("budget", "confirm", "tries", "said"),
    [(3, 3, 1, "too small"), (9, 0, 1, "at least 1"), (9, 3, 0, "at least 1")],
)
def test_a_senseless_budget_is_refused(budget: int, confirm: int, tries: int, said: str) -> None:
    """Nothing is run."""
    world = World(lambda _: True)
    with pytest.raises(UsageError, match=said):
        world.shrink(plan(), budget=budget, confirm=confirm, tries=tries)
    assert world.runs == 0


def test_a_template_is_refused() -> None:
    """What still has something to draw would be another schedule at each run."""
    world = World(lambda _: True)
    steps = (replace(plan(1).steps[0], when=Trigger(Range(1.0, 2.0))),)
    with pytest.raises(UsageError, match="expand it first"):
        world.shrink(replace(plan(1), steps=steps))
