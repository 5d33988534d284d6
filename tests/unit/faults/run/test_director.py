"""Proves the director with faults that only keep a diary: order, triggers, heals, and what is told of what failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from faults.run import director
from faults.run.director import NOT_INJECTED, RESYNC_SHARE, Act, Director
from faults.schedule.schedule import parse
from faults.schedule.trigger import Moment
from testbed.bed import Bed
from testbed.errors import GuestCommandError, TestbedError, UsageError
from testbed.history import History
from testbed.progress import Progress
from tests.unit.faults.diary import Diary, InstrumentedDiary

HEADER = '{"schema": "testbed.schedule/1", "scenario": "test", "seed": 1}\n'


class World:
    """A schedule with diary faults on a bed that has a history and nothing else."""

    def __init__(self, *lines: str) -> None:
        self.history = History()
        self.bed = cast("Bed", SimpleNamespace(history=self.history, progress=Progress(quiet=True), nodes={}))
        self.diary: Diary = []
        schedule = parse(HEADER + "\n".join(lines))
        self.faults = {step.name: InstrumentedDiary(step.name, self.diary) for step in schedule.steps}
        acts = [Act(step, self.faults[step.name]) for step in schedule.steps]
        self.director = Director(self.bed, acts)

    def run(self, beside: Callable[[], None] | None = None) -> None:
        """Run the schedule; `beside` happens a moment after its start."""

        async def whole() -> None:
            if beside is not None:
                asyncio.get_running_loop().call_later(0.05, beside)
            async with asyncio.timeout(100):
                await self.director.run()

        asyncio.run(whole())

    def kinds(self) -> list[str]:
        """What was recorded of the faults."""
        told = [entry for entry in self.history if entry.source == "fault" and entry.kind != "injecting"]
        return [f"{entry.fields['step']} {entry.kind}" for entry in told]


def cut(name: str, when: str, until: str = "null", port: str = "a.priv0") -> str:
    """A line of a schedule."""
    return f'{{"name": "{name}", "fault": "link.cut", "target": "{port}", "when": {when}, "until": {until}}}'


def test_steps_come_when_they_are_due_and_are_healed_when_their_end_comes() -> None:
    """A time, a moment of another step and an event of the journal each fire one step, in that order."""
    world = World(
        cut("one", '{"after_s": 0.0}', '{"after_s": 0.0, "of": "one.confirmed"}'),
        cut("two", '{"after_s": 0.0, "of": "one.healed"}', port="b.priv0"),
        cut("three", '{"event": "milestone", "name": "paired", "node": "a"}', port="a.biz0"),
    )

    def paired() -> None:
        if "confirm two" in world.diary:
            world.history.record("journal.a", "entry", entry={"milestone": "paired"})
        else:
            asyncio.get_running_loop().call_later(0.01, paired)  # the order is promised, no speed

    world.run(paired)
    order = [word for word in world.diary if not word.startswith(("prepare", "remove"))]
    assert order == [
        "inject one", "confirm one", "heal one", "inject two", "confirm two", "inject three", "confirm three",
    ]  # fmt: skip
    assert world.diary.index("prepare three") < world.diary.index("inject one")  # armed before its event comes
    assert asyncio.run(world.director.heal_all()) == []
    assert world.diary[-4:] == ["heal three", "remove three", "heal two", "remove two"]  # the last one first
    assert world.diary.count("heal one") == 1  # what is healed is left alone
    assert world.kinds() == [
        "one injected", "one confirmed", "one healed", "two injected", "two confirmed", "three injected",
        "three confirmed", "three healed", "two healed",
    ]  # fmt: skip


def test_a_step_whose_event_does_not_come_is_not_injected_and_says_so() -> None:
    """Its verdict is no confirmation, what it prepared is taken away, and the reason names what was awaited."""
    world = World(cut("one", '{"event": "outage_began", "within_s": 0.05}'))
    world.run()
    assert world.diary == ["prepare one", "remove one"]
    (result,) = world.director.results(0.0)
    assert (result.verdict, result.injected_at_s, result.healed_at_s) == (NOT_INJECTED, None, None)
    assert result.problem is not None
    assert "outage_began" in result.problem
    assert asyncio.run(world.director.heal_all()) == []
    assert world.kinds() == ["one not_armed"]


@pytest.mark.parametrize("part", ["inject", "confirm"])
def test_a_fault_that_failed_half_way_is_inconclusive_and_healed_once(part: str) -> None:
    """Nobody knows whether it is there: it is taken back at once, and who waits for its heal goes on."""
    world = World(
        cut("one", '{"after_s": 0.0}', '{"after_s": 0.0}'),
        cut("two", '{"after_s": 0.0, "of": "one.healed"}', port="b.priv0"),
    )
    world.faults["one"].errors[part] = GuestCommandError("the agent is silent")
    world.run()
    result, other = world.director.results(0.0)
    assert (result.verdict, result.injected_at_s) == ("inconclusive", None)
    assert result.problem == f"link.cut on one failed in {part}: the agent is silent. It was taken back."
    assert result.healed_at_s is not None
    assert other.verdict == "confirmed"
    assert asyncio.run(world.director.heal_all()) == []
    assert world.diary.count("heal one") == 1


def test_a_clean_up_that_fails_is_told_and_tried_again_at_the_end() -> None:
    """Both failures are in the problem, and what is still there at the end is one of the run."""
    world = World(cut("one", '{"after_s": 0.0}'))
    world.faults["one"].errors = {"inject": GuestCommandError("the agent is silent"), "heal": TestbedError("glued")}
    world.run()
    (result,) = world.director.results(0.0)
    assert result.problem is not None
    assert "the agent is silent" in result.problem
    assert "glued" in result.problem
    assert asyncio.run(world.director.heal_all()) == ["link.cut on one was not healed: glued."]
    assert world.diary.count("heal one") == 2


def test_a_heal_that_fails_is_told_and_tried_again_at_the_end() -> None:
    """A fault that could not be taken back is a problem of the run, and keeps its name."""
    world = World(cut("one", '{"after_s": 0.0}', '{"after_s": 0.0}'))
    world.faults["one"].errors["heal"] = TestbedError("the cable is glued")
    world.run()
    assert asyncio.run(world.director.heal_all()) == ["link.cut on one was not healed: the cable is glued."]
    assert world.diary.count("heal one") == 2
    assert world.kinds()[-1] == "one not_healed"


def test_a_mistake_in_one_heal_does_not_keep_the_others() -> None:
    """It reaches the caller, after every other fault was taken back."""
    world = World(cut("one", '{"after_s": 0.0}'), cut("two", '{"after_s": 0.0, "of": "one.confirmed"}', port="b.priv0"))
    world.faults["two"].errors["heal"] = KeyError("typo")
    world.run()
    with pytest.raises(KeyError, match="typo"):
        asyncio.run(world.director.heal_all())
    assert world.diary[-2:] == ["heal one", "remove one"]


def test_a_preparation_that_fails_leaves_no_instruments() -> None:
    """The step is not armed and says why; nothing is healed, because nothing was injected."""
    world = World(cut("one", '{"after_s": 0.0}'))
    world.faults["one"].errors["prepare"] = TestbedError("the switch is gone")
    world.run()
    (result,) = world.director.results(0.0)
    assert (result.verdict, result.healed_at_s) == (NOT_INJECTED, None)
    assert result.problem == "not armed: link.cut on one failed in prepare: the switch is gone. Nothing was injected."
    assert world.diary == ["prepare one", "remove one"]


def test_a_run_that_ends_early_leaves_nothing_and_proves_nothing() -> None:
    """A fault whose proof was cut short is inconclusive and healed; one that was not yet due loses its instruments."""
    world = World(
        cut("one", '{"after_s": 0.0}'),
        cut("two", '{"event": "outage_began"}', port="b.priv0"),
    )

    async def story() -> list[str]:
        begun = asyncio.Event()

        async def for_ever(_bed: Bed) -> None:
            begun.set()
            await asyncio.Event().wait()

        world.faults["one"].does["confirm"] = for_ever
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(world.director.run())
            await begun.wait()
            run.cancel()
        return await world.director.heal_all()

    assert asyncio.run(story()) == []
    assert world.diary[-3:] == ["heal one", "remove one", "remove two"]
    one, two = world.director.results(0.0)
    assert (one.verdict, one.injected_at_s, two.verdict) == ("inconclusive", None, NOT_INJECTED)


def test_a_fault_that_is_impossible_there_ends_the_run() -> None:
    """The refusal reaches the caller; the other faults are still healed by him."""
    world = World(cut("one", '{"after_s": 0.0}'), cut("two", '{"after_s": 0.0, "of": "one"}', port="b.priv0"))
    world.faults["two"].errors["prepare"] = UsageError("there is no such thing")
    with pytest.raises(UsageError, match="no such thing"):
        world.run()
    assert asyncio.run(world.director.heal_all()) == []
    assert world.diary[-2:] == ["heal one", "remove one"]


def test_times_are_those_of_the_proof_and_lateness_is_kept() -> None:
    """The fault counts from its proven time; an unproven one from the return of the order."""
    world = World(cut("one", '{"after_s": 0.0}'))
    began_s = time.monotonic()
    world.run()
    act = world.director.acts[0]
    assert act.proof is not None
    assert director.first_injection_s([act]) == director.last_injection_s([act]) == act.proof.injected_at_s
    (result,) = world.director.results(began_s)
    assert result.injected_at_s is not None
    assert result.injected_at_s >= 0.0
    assert result.late_s is not None
    act.proof = None
    assert act.injected_s == act.moments[Moment.INJECTED]
    assert director.first_injection_s([]) is None


PROC_DRBD = """version: 8.4.11 (api:1/proto:86-101)
 0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----
    ns:6160 nr:0 dw:4 dr:8152 al:1 bm:0 lo:0 pe:1 ua:1 ap:0 ep:1 wo:f oos:26624
\t[===>................] sync'ed: 21.9% (26624/32768)K
\tfinish: 0:00:04 speed: 6,144 (6,144) K/sec
"""


def test_the_share_of_a_resynchronisation_is_read_as_the_kernel_prints_it() -> None:
    """A line of DRBD 8.4 gives its percentage; a pair that is in sync prints none."""
    found = RESYNC_SHARE.search(PROC_DRBD)
    assert found is not None
    assert float(found[1]) == 21.9
    assert RESYNC_SHARE.search(PROC_DRBD.replace("sync'ed", "")) is None


def test_acts_are_made_of_the_registry() -> None:
    """Faults are made from the schedule's names, parameters and seed; nothing is done to a bed by that."""
    (act,) = director.build(parse(HEADER + cut("one", '{"after_s": 1.5}')))
    assert (act.fault.name, act.fault.target, act.injected_s) == ("link.cut", "a.priv0", None)
