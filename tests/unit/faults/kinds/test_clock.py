"""Proves the judgement of clocks against a simulated node's clock; the real ones are in the self-tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from faults.fault import Fault, FaultVerdict, Proof
from faults.kinds import clock
from faults.kinds.clock import (
    ClockApart,
    ClockDrift,
    ClockJump,
    ClockOffset,
    drift_ppm,
    judge_drift,
    judge_jump,
)
from faults.life import Life
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError
from tests.unit.faults.kinds.inner_bed import HostAgent, InnerBed

BOOT_FILE = "/proc/sys/kernel/random/boot_id"


class World:
    """A node whose clock was 12 s late before anything happened."""

    def __init__(self) -> None:
        self.offset_s, self.tick, self.began_s, self.stuck = -12.0, 10_000, time.monotonic(), False
        self.inner = InnerBed(HostAgent(self.obey, {BOOT_FILE: "one\n"}, clock_s=self.now_s))

    def now_s(self) -> float:
        """What the agent says."""
        return datetime.now(UTC).timestamp() + self.offset_s + self._gained_s()

    def _gained_s(self) -> float:
        return (time.monotonic() - self.began_s) * (self.tick / 10_000 - 1)

    def obey(self, argv: Sequence[str]) -> str:
        """Do what the programs of the module would do."""
        source, arguments = argv[3], argv[4:]
        if self.stuck:
            return "10000"
        if source == clock._MOVE:
            self.offset_s += float(arguments[0])
        elif source == clock._TO_1970:
            self.offset_s = 86400.0 - datetime.now(UTC).timestamp()
        elif source == clock._PACE:
            return str((self.tick / 10_000 - 1) * 1e6)
        elif source == clock._TICK:
            old, gained_s = self.tick, self._gained_s()
            self.offset_s, self.began_s = self.offset_s + gained_s, time.monotonic()
            self.tick = int(arguments[0]) if arguments else old
            return str(old)
        return ""


async def _nothing(_bed: Bed) -> None:
    """Inject nothing: the sabotage."""


def story(world: World, fault: Fault, *, sabotaged: bool = False) -> Proof:
    """Prepare, inject, confirm, heal."""

    async def act() -> Proof:
        if sabotaged:
            vars(fault)["inject"] = _nothing
        async with Life(fault, world.inner.bed) as life:
            return await life.prove()

    return asyncio.run(act())


FAULTS = {
    "forward": lambda: ClockJump("a", by_s=100.0),
    "back": lambda: ClockJump("a", by_s=-100.0),
    "1970": lambda: ClockJump("a", to_1970=True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_jump_is_seen_and_taken_back_to_where_the_clock_was(name: str) -> None:
    """A clock that was 12 s late is 12 s late again."""
    world = World()
    proof = story(world, FAULTS[name]())
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert proof.injected_at_s is not None
    assert world.offset_s == pytest.approx(-12.0, abs=0.2)


@pytest.mark.parametrize("name", FAULTS)
def test_a_jump_that_did_not_happen_is_a_mismatch(name: str) -> None:
    """The clock that was late before is no proof."""
    assert story(World(), FAULTS[name](), sabotaged=True).verdict is FaultVerdict.MISMATCH


@pytest.mark.parametrize(("sabotaged", "verdict"), [(False, FaultVerdict.CONFIRMED), (True, FaultVerdict.MISMATCH)])
def test_a_drift_is_measured_and_ended(monkeypatch: pytest.MonkeyPatch, sabotaged: bool, verdict: FaultVerdict) -> None:
    """The pace is as before afterwards, and so is the clock."""
    world, fault = World(), ClockDrift("a", ppm=100_000.0)
    fault.window_s = 0.05
    assert story(world, fault, sabotaged=sabotaged).verdict is verdict
    assert world.tick == 10_000
    assert world.offset_s == pytest.approx(-12.0, abs=0.2)


def test_clocks_apart_need_two_different_nodes() -> None:
    """Both agents are asked; one simulated clock cannot go both ways."""
    with pytest.raises(UsageError, match=r"possible are a\+b and b\+a"):
        ClockApart("a+a")
    assert story(World(), ClockApart(apart_s=100.0)).verdict is FaultVerdict.MISMATCH


def test_a_clock_that_cannot_be_put_back_is_an_error() -> None:
    """The heal says where the clock should be and where it is."""

    async def act() -> None:
        world, fault = World(), ClockJump("a", by_s=100.0)
        life = Life(fault, world.inner.bed)
        await life.prepare()
        await life.inject()
        world.stuck = True
        await life.heal()

    with pytest.raises(TestbedError, match=r"should be -12\.\d+ s from the host's again .* is \+?8[78]\.\d+ s"):
        asyncio.run(act())


def test_a_node_that_was_restarted_is_left_alone() -> None:
    """Its clock comes from its hardware, which never jumped."""

    async def act() -> float:
        world, fault = World(), ClockJump("a", by_s=100.0)
        life = Life(fault, world.inner.bed)
        await life.prepare()
        await life.inject()
        world.inner.agent.files[BOOT_FILE] = "two\n"
        await life.heal()
        return world.offset_s

    assert asyncio.run(act()) == pytest.approx(88.0)


@pytest.mark.parametrize(
    ("moved_s", "error_s", "seen"), [(100, 0, True), (95, 0, True), (-100, 0, False), (50, 0, False), (50, 45, True)]
)
def test_a_jump_counts_by_size_and_direction(moved_s: float, error_s: float, seen: bool) -> None:
    """A reading that is too coarse is given the benefit of its error, and no more."""
    assert judge_jump(ClockOffset(0, -3, 0), ClockOffset(9, -3 + moved_s, error_s), 100) is seen


@pytest.mark.parametrize(
    ("during", "error", "wanted", "seen"),
    [
        (5_000, 100, 5_000, True),
        (-5_000, 100, -5_000, True),
        (-5_000, 100, 5_000, False),
        (100, 100, 5_000, False),
        (5_000, 3_000, 5_000, None),
    ],
)
def test_a_drift_is_judged_within_its_error(during: float, error: float, wanted: float, seen: bool | None) -> None:
    """A coarse measurement says nothing, whatever it shows."""
    assert judge_drift(0, during, error, wanted) is seen


def test_the_pace_comes_from_two_readings() -> None:
    """A tenth of a second in ten seconds is a hundredth."""
    pace, error = drift_ppm(ClockOffset(0, 1.0, 0.001), ClockOffset(10, 1.1, 0.001))
    assert (round(pace), round(error)) == (10_000, 200)


@pytest.mark.parametrize(("ppm", "message"), [(50.0, "possible is 500"), (1e6, "to 100000"), (550.0, "steps of 100")])
def test_a_drift_that_cannot_be_made_is_refused(ppm: float, message: str) -> None:
    """The kernel's tick has steps and limits."""
    with pytest.raises(UsageError, match=message):
        ClockDrift("a", ppm=ppm)
