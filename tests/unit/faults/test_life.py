"""Proves the life of a fault: the order of its parts, one clean-up of what fails half-way, and what is told of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from faults.fault import FaultVerdict
from faults.life import FaultFailed, Life, LifeStage, OutOfOrder
from testbed.bed import Bed
from testbed.errors import MachineError, TestbedError, UsageError
from testbed.history import History
from tests.unit.faults.diary import DiaryFault, InstrumentedDiary


class Bench:
    """A life of a diary fault on a bed that has a history and nothing else."""

    def __init__(self, fault: DiaryFault | None = None) -> None:
        self.history = History()
        self.fault = fault or DiaryFault("one", [])
        self.life = Life(self.fault, cast("Bed", SimpleNamespace(history=self.history)), step="s")

    @property
    def done(self) -> list[str]:
        """What was done to the fault."""
        return [word.partition(" ")[0] for word in self.fault.diary]

    @property
    def told(self) -> list[str]:
        """What was recorded of it."""
        return [entry.kind for entry in self.history]

    def run(self, *parts: str) -> None:
        """Call parts of the life, one after the other."""

        async def all_of_them() -> None:
            for part in parts:
                await (self.life.abandon("late") if part == "abandon" else getattr(self.life, part)())

        asyncio.run(all_of_them())


def test_a_whole_life_is_told_in_order() -> None:
    """Each part happens once and is recorded with name, target and label; at the end nothing is there."""
    bench = Bench()
    bench.run("prepare", "inject", "confirm")
    assert bench.life.may_be_there
    bench.run("heal", "end")
    assert bench.done == ["prepare", "inject", "confirm", "heal"]
    assert bench.told == ["injecting", "injected", "confirmed", "healed"]
    assert all(entry.fields["step"] == "s" for entry in bench.history)
    assert all((entry.fields["name"], entry.fields["target"]) == ("link.cut", "one") for entry in bench.history)
    assert (bench.life.stage, bench.life.may_be_there) == (LifeStage.OVER, False)


# What may be called after these parts; everything else raises.
POSSIBLE: dict[tuple[str, ...], set[str]] = {
    (): {"prepare", "abandon", "end"},
    ("prepare",): {"inject", "abandon", "end"},
    ("prepare", "inject"): {"confirm", "heal", "end"},
    ("prepare", "inject", "confirm"): {"heal", "end"},
    ("prepare", "inject", "heal"): {"end"},
    ("prepare", "inject", "confirm", "heal"): {"end"},
    ("prepare", "abandon"): {"end"},
    ("abandon",): {"end"},
    ("end",): {"end"},
}


@pytest.mark.parametrize("before", POSSIBLE, ids="-".join)
@pytest.mark.parametrize("part", ["prepare", "inject", "confirm", "heal", "abandon", "end"])
def test_a_part_out_of_order_is_refused_and_changes_nothing(before: tuple[str, ...], part: str) -> None:
    """The error says what was asked, where the life stands, and what happened so far."""
    bench = Bench()
    bench.run(*before)
    if part in POSSIBLE[before]:
        bench.run(part)
        return
    done, stage = bench.done, bench.life.stage
    with pytest.raises(OutOfOrder) as told:
        bench.run(part)
    assert f"link.cut on one: {part} is out of order, because it is {stage.value}." in str(told.value)
    assert (bench.done, bench.life.stage) == (done, stage)
    parts = [word for word in before if word in ("prepare", "inject", "confirm")]
    assert all(f"{word} at " in str(told.value) for word in parts)
    assert ("happened so far: nothing" in str(told.value)) == (not before or before == ("end",))


def test_a_part_that_is_called_during_another_one_is_refused() -> None:
    """Two at once would be two lives; the first one goes on."""
    bench = Bench()

    async def story() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(_bed: Bed) -> None:
            begun.set()
            await go_on.wait()

        bench.fault.does["inject"] = slowly
        await bench.life.prepare()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.life.inject())
            await begun.wait()
            with pytest.raises(OutOfOrder, match="heal is out of order, because inject is under way"):
                await bench.life.heal()
            go_on.set()

    asyncio.run(story())
    assert bench.life.stage is LifeStage.INJECTED


@pytest.mark.parametrize("part", ["inject", "confirm"])
def test_what_fails_half_way_is_taken_back_once(part: str) -> None:
    """Its proof is inconclusive, the error names the part and the cause, and no second heal is possible."""
    bench = Bench()
    bench.fault.errors[part] = MachineError("the agent is silent.")
    with pytest.raises(FaultFailed) as failed:
        bench.run("prove")
    assert str(failed.value) == f"link.cut on one failed in {part}: the agent is silent. It was taken back."
    bench.run("end")
    assert bench.done.count("heal") == 1
    assert bench.life.proof is not None
    assert bench.life.proof.verdict is FaultVerdict.INCONCLUSIVE
    assert bench.told[-2:] == ["inconclusive", "healed"]
    with pytest.raises(OutOfOrder):
        bench.run("heal")


@pytest.mark.parametrize("part", ["inject", "confirm"])
def test_a_clean_up_that_fails_is_told_and_can_be_tried_again(part: str) -> None:
    """Both failures stand in the error; the fault may still be there until a heal works."""
    bench = Bench()
    bench.fault.errors = {part: MachineError("the agent is silent"), "heal": MachineError("the cable is glued")}
    with pytest.raises(FaultFailed, match=f"in {part}: the agent is silent. It could not .* there: the cable is glued"):
        bench.run("prove")
    assert (bench.done.count("heal"), bench.life.may_be_there) == (1, True)
    assert bench.told[-1] == "not_healed"
    bench.fault.errors.clear()
    bench.run("heal")
    assert (bench.told[-1], bench.life.may_be_there) == ("healed", False)


@pytest.mark.parametrize(
    "error",
    [
        OSError("no route"),
        TimeoutError("late"),
        ExceptionGroup("tasks", [MachineError("one"), ExceptionGroup("more", [OSError("two")])]),
        UsageError("there is no such disk now"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_failure_of_the_world_is_one_of_the_fault(error: Exception) -> None:
    """An error of the host, a group of errors, or a late refusal: after an order something may be there."""
    bench = Bench()
    bench.fault.errors["inject"] = error
    with pytest.raises(FaultFailed):
        bench.run("prove")
    assert bench.done == ["prepare", "inject", "heal"]


@pytest.mark.parametrize("error", [KeyError("typo"), ExceptionGroup("tasks", [MachineError("one"), KeyError("typo")])])
def test_a_mistake_in_the_code_is_cleaned_up_and_not_hidden(error: Exception) -> None:
    """It reaches the caller as it is, with a note of what came of the clean-up."""
    bench = Bench()
    bench.fault.errors = {"inject": error, "heal": MachineError("glued")}
    with pytest.raises(type(error)) as raised:
        bench.run("prove")
    assert raised.value is error
    assert raised.value.__notes__ == ["It could not be taken back, and may still be there: glued."]
    assert bench.life.may_be_there


def test_a_refusal_before_anything_was_done_stays_a_refusal() -> None:
    """Nothing is healed, because nothing was done."""
    bench = Bench()
    bench.fault.errors["prepare"] = UsageError("there is no such thing")
    with pytest.raises(UsageError, match="no such thing"):
        bench.run("prove")
    assert (bench.done, bench.told, bench.life.stage) == (["prepare"], ["not_armed"], LifeStage.OVER)


def test_a_fault_that_was_not_injected_is_never_healed() -> None:
    """Only its instruments are taken away: after a failed preparation, and when it was not due in time."""
    failed, late = Bench(InstrumentedDiary("one", [])), Bench(InstrumentedDiary("one", []))
    failed.fault.errors["prepare"] = MachineError("the switch is gone")
    with pytest.raises(FaultFailed, match=r"in prepare: the switch is gone. Nothing was injected."):
        failed.run("prepare")
    late.run("prepare", "abandon")
    for bench in (failed, late):
        assert bench.done == ["prepare", "remove"]
        assert bench.told == ["not_armed"]
        assert (bench.life.was_ordered, bench.life.stage) == (False, LifeStage.OVER)


def test_instruments_go_last_and_what_stays_is_told() -> None:
    """The heal may look with them; when they cannot be taken away the fault is not healed, and says why."""
    bench = Bench(InstrumentedDiary("one", []))
    bench.run("prove", "heal")
    assert bench.done == ["prepare", "inject", "confirm", "heal", "remove"]
    stuck = Bench(InstrumentedDiary("one", []))
    stuck.fault.errors["remove"] = MachineError("the tap is stuck")
    with pytest.raises(FaultFailed, match=r"was not injected, but its instruments .* the tap is stuck"):
        stuck.run("prepare", "abandon")
    refused = Bench(InstrumentedDiary("one", []))
    refused.fault.errors = {"prepare": UsageError("no"), "remove": MachineError("the tap is stuck")}
    with pytest.raises(FaultFailed, match=r"in prepare: no. It could not be taken back, .* the tap is stuck"):
        refused.run("prepare")


@pytest.mark.parametrize(("part", "last"), [("prepare", "remove"), ("inject", "remove"), ("confirm", "remove")])
def test_a_part_that_was_cancelled_is_cleaned_up_by_its_owner(part: str, last: str) -> None:
    """Leaving the context ends what may be there, once, wherever the life stood."""
    bench = Bench(InstrumentedDiary("one", []))

    async def story() -> None:
        begun = asyncio.Event()

        async def for_ever(_bed: Bed) -> None:
            begun.set()
            await asyncio.Event().wait()

        bench.fault.does[part] = for_ever
        async with bench.life:
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(bench.life.prove())
                await begun.wait()
                task.cancel()
            assert task.cancelled()
            assert bench.life.stage is LifeStage.BROKEN_OFF
            assert "heal" not in bench.done

    asyncio.run(story())
    assert bench.done.count("heal") == (part != "prepare")
    assert bench.done[-1] == last
    assert bench.life.stage is LifeStage.OVER


def test_a_context_heals_and_tells_of_both_errors() -> None:
    """The error of the body stays the error; the heal that failed is a note on it, or the error when there is none."""

    async def body_fails() -> None:
        bench = Bench()
        bench.fault.errors["heal"] = TestbedError("glued")
        async with bench.life as life:
            await life.prove()
            raise ValueError("body")

    async def heal_fails() -> None:
        bench = Bench()
        bench.fault.errors["heal"] = TestbedError("glued")
        async with bench.life as life:
            await life.prove()

    with pytest.raises(ValueError, match="body") as raised:
        asyncio.run(body_fails())
    assert raised.value.__notes__ == ["link.cut on one was not healed: glued."]
    with pytest.raises(FaultFailed, match=r"link.cut on one was not healed: glued"):
        asyncio.run(heal_fails())
