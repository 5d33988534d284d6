"""Proves what the faults of a witness refuse and how they judge; their effects are in the self-tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

import pytest

from faults.fault import Fault, FaultVerdict, Proof
from faults.kinds import witness as module
from faults.kinds.witness import WitnessKill, WitnessLostStorage, WitnessStop, process_state, witness_of
from faults.life import FaultFailed, Life
from testbed.bed import Bed
from testbed.errors import UsageError, WaitTimeout
from testbed.history import History
from testbed.world.witness_client import WitnessView

BEFORE = WitnessView(True, 4, "a", "life-1", 0.01)
EMPTY = WitnessView(False, 0, None, "life-2", 0.01)


@dataclass
class FakeWitness:
    """A witness that answers what the test wants, in turn, the last one for ever."""

    views: list[WitnessView | None]
    pid: int | None = 42
    done: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether it has a process."""
        return self.pid is not None

    async def look(self, _client: object, *, timeout_s: float) -> WitnessView | None:
        """Give the next view."""
        assert timeout_s > 0
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]

    def pause(self) -> None:
        """Note it."""
        self.done.append("pause")

    def resume(self) -> None:
        """Note it."""
        self.done.append("resume")

    async def kill(self) -> None:
        """Note it."""
        self.done.append("kill")

    def lose_storage(self) -> None:
        """Note it."""
        self.done.append("lose")

    async def start(self) -> None:
        """Note it."""
        self.done.append("start")


def bed_with(witness: FakeWitness) -> Bed:
    """Return a bed that has this witness."""
    return cast("Bed", SimpleNamespace(witnesses={"w1": witness}, client=None, history=History()))


def judged(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[str], Fault], views: list[WitnessView | None], state: str
) -> Proof:
    """Inject a fault on a witness that says this, whose old process is in this state, and return the proof."""
    monkeypatch.setattr(module, "process_state", lambda _pid: state)

    async def story() -> Proof:
        bed, fault = bed_with(FakeWitness([*views])), make("w1")
        return await Life(fault, bed).prove()

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("views", "state", "verdict"),
    [
        ([BEFORE, None], "T", FaultVerdict.CONFIRMED),
        ([BEFORE, BEFORE], "T", FaultVerdict.MISMATCH),
        ([BEFORE, None], "S", FaultVerdict.MISMATCH),
        ([BEFORE, None], "", FaultVerdict.MISMATCH),
        ([None, None], "T", FaultVerdict.INCONCLUSIVE),
    ],
)
def test_a_stop_needs_silence_and_a_stopped_process(
    monkeypatch: pytest.MonkeyPatch, views: list[WitnessView | None], state: str, verdict: FaultVerdict
) -> None:
    """Silence alone could be a cut, a stopped process alone could be the wrong one."""
    assert judged(monkeypatch, WitnessStop, views, state).verdict is verdict


@pytest.mark.parametrize(
    ("views", "state", "verdict"),
    [
        ([BEFORE, None], "", FaultVerdict.CONFIRMED),
        ([BEFORE, None], "T", FaultVerdict.MISMATCH),
        ([BEFORE, BEFORE], "", FaultVerdict.MISMATCH),
        ([None, None], "", FaultVerdict.INCONCLUSIVE),
    ],
)
def test_a_kill_needs_silence_and_no_process(
    monkeypatch: pytest.MonkeyPatch, views: list[WitnessView | None], state: str, verdict: FaultVerdict
) -> None:
    """Silence alone could be a cut or a stop, and another process may answer in its place."""
    assert judged(monkeypatch, WitnessKill, views, state).verdict is verdict


def test_a_killed_witness_comes_back_with_what_it_knew() -> None:
    """One that forgot its epoch is not healed: that would be another fault."""

    async def story() -> None:
        bed = bed_with(FakeWitness([BEFORE, None, EMPTY]))
        async with Life(WitnessKill("w1"), bed) as life:
            await life.prove()

    with pytest.raises(FaultFailed, match="Witness w1 knew epoch 4, and now only 0"):
        asyncio.run(story())


@pytest.mark.parametrize(
    ("views", "state", "verdict"),
    [
        ([BEFORE, EMPTY], "", FaultVerdict.CONFIRMED),
        ([BEFORE, EMPTY, replace(BEFORE, life="life-2")], "", FaultVerdict.CONFIRMED),  # the pair was quick
        ([BEFORE, replace(EMPTY, epoch=4, owner="a")], "", FaultVerdict.MISMATCH),  # it was only started again
        ([BEFORE, BEFORE], "", FaultVerdict.MISMATCH),
        ([BEFORE, EMPTY], "S", FaultVerdict.MISMATCH),
        ([BEFORE, None], "", FaultVerdict.MISMATCH),
        ([replace(EMPTY, life="life-1"), EMPTY], "", FaultVerdict.INCONCLUSIVE),  # nothing to lose
        ([None, EMPTY], "", FaultVerdict.INCONCLUSIVE),
    ],
)
def test_lost_storage_needs_a_new_life_that_knows_nothing(
    monkeypatch: pytest.MonkeyPatch, views: list[WitnessView | None], state: str, verdict: FaultVerdict
) -> None:
    """A start alone is no loss, and who knew nothing lost nothing."""
    assert judged(monkeypatch, WitnessLostStorage, views, state).verdict is verdict


def test_a_heal_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an answer; a witness that died meanwhile, or was killed by half an injection, is started."""
    monkeypatch.setattr(module, "HEAL_TIMEOUT_S", 0.05)

    async def story() -> None:
        for fault, heals in ((WitnessStop("w1"), ["resume"]), (WitnessKill("w1"), []), (WitnessLostStorage("w1"), [])):
            running, dead = FakeWitness([BEFORE]), FakeWitness([BEFORE], pid=None)
            await fault.heal(bed_with(running))
            await fault.heal(bed_with(dead))
            assert (running.done, dead.done) == (heals, ["start"])
            with pytest.raises(WaitTimeout, match="an answer of witness w1"):
                await fault.heal(bed_with(FakeWitness([None])))

    asyncio.run(story())


def test_a_witness_that_is_not_there_is_named() -> None:
    """Before anything changes."""
    bed = bed_with(FakeWitness([BEFORE], pid=None))
    with pytest.raises(UsageError, match="no witness 'w2' in this run; there are: w1"):
        witness_of(bed, "w2")
    with pytest.raises(UsageError, match="does not run"):
        asyncio.run(WitnessStop("w1").prepare(bed))


def test_the_state_of_a_process_is_read() -> None:
    """From proc(5); one that is gone has none."""
    assert process_state(1) != ""
    assert process_state(2**22 + 1) == ""
