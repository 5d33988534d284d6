"""Proves how cuts and carrier loss judge counters; that they happen is proved in tests/selftest."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.link import cut
from faults.life import Life
from testbed.errors import TestbedError, UsageError
from testbed.switch.client import Direction
from tests.unit.faults.kinds.link.link_world import World

STOPPED = {"a.priv0 in": {"dropped_rule": 3}, "a.priv0 out": {"dropped_rule": 2}}


def cut_proof(step: dict[str, dict[str, int]], **settings: Any) -> Proof:  # noqa: ANN401 - the fault's own settings
    """What a cut says when each look adds this."""
    world = World()
    world.switch.step = step
    fault = cut.Cut("a.priv0", window_s=0.0, **settings)

    async def story() -> Proof:
        return await Life(fault, world.bed).prove()

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        (STOPPED, FaultVerdict.CONFIRMED),
        ({}, FaultVerdict.INCONCLUSIVE),
        ({"a.priv0 in": {"dropped_rule": 3}}, FaultVerdict.INCONCLUSIVE),
        (STOPPED | {"a.priv0 in": {"dropped_rule": 3, "frames": 1}}, FaultVerdict.MISMATCH),
        (STOPPED | {"a.priv0 out": {"dropped_rule": 3, "queued": 1}}, FaultVerdict.MISMATCH),
        (STOPPED | {"b.priv0 out": {"frames": 1}}, FaultVerdict.MISMATCH),
    ],
)
def test_a_cut_needs_offered_frames_and_none_at_the_far_end(
    step: dict[str, dict[str, int]], verdict: FaultVerdict
) -> None:
    """One frame that passes is a mismatch, and a direction in which nobody spoke leaves it open."""
    proof = cut_proof(step)
    assert proof.verdict is verdict
    assert proof.injected_at_s == (5.0 if verdict is FaultVerdict.CONFIRMED else None)


def test_one_direction_is_judged_alone() -> None:
    """What flows the other way is no contradiction."""
    step = {"a.priv0 in": {"dropped_rule": 3}, "a.priv0 out": {"frames": 9}}
    assert cut_proof(step, direction=Direction.IN).verdict is FaultVerdict.CONFIRMED
    with pytest.raises(UsageError, match="needs the direction"):
        asyncio.run(cut.CutOneWay("a.priv0", direction=Direction.BOTH).prepare(World().bed))


def test_a_cut_that_stays_after_heal_is_an_error() -> None:
    """Frames are still dropped and none passes."""
    world = World()
    world.switch.step = STOPPED
    with pytest.raises(TestbedError, match="3 frames in were dropped"):
        asyncio.run(cut.Cut("a.priv0", window_s=0.0).heal(world.bed))


@dataclass
class Card:
    """A machine whose card announces itself while its link is up; a stuck one ignores `set_link`."""

    world: World
    stuck: bool = False
    mute: bool = False
    up: bool = True
    said: list[object] = field(default_factory=list)
    spec: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(nics=[SimpleNamespace(name="priv0")]))

    async def execute(self, command: str, arguments: dict[str, object]) -> None:
        """Do what QEMU would."""
        self.said.append(arguments)
        if command == "set_link":
            self.up = self.up if self.stuck else bool(arguments["up"])
        elif self.up and not self.mute:
            self.world.switch.counters["a.priv0"].inward.frames += 3


def carrier(monkeypatch: pytest.MonkeyPatch, *, stuck: bool = False, mute: bool = False) -> tuple[Card, World]:
    """A bed with one card."""
    monkeypatch.setattr(cut, "ANNOUNCE_S", 0.0)
    world = World()
    world.switch.counters = {"a.priv0": SimpleNamespace(inward=SimpleNamespace(frames=0))}
    world.switch.step = {}
    card = Card(world, stuck, mute)
    world.nodes["a"] = SimpleNamespace(machine=card)
    return card, world


async def carrier_story(world: World) -> Proof:
    """Prepare, inject, confirm."""
    return await Life(cut.CarrierLoss("a.priv0", window_s=0.0), world.bed).prove()


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ({}, FaultVerdict.CONFIRMED),
        ({"stuck": True}, FaultVerdict.MISMATCH),
        ({"mute": True}, FaultVerdict.INCONCLUSIVE),
    ],
)
def test_the_announcement_decides_about_the_carrier(
    monkeypatch: pytest.MonkeyPatch, how: dict[str, bool], verdict: FaultVerdict
) -> None:
    """It came before and not now: confirmed; it still comes: mismatch; it never came: inconclusive."""
    _, world = carrier(monkeypatch, **how)
    assert asyncio.run(carrier_story(world)).verdict is verdict


def test_a_link_that_stays_down_after_heal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The announcement must reach the switch again."""
    card, world = carrier(monkeypatch, stuck=True)
    card.up = False
    with pytest.raises(TestbedError, match="does not reach the switch"):
        asyncio.run(cut.CarrierLoss("a.priv0").heal(world.bed))


@pytest.mark.parametrize("target", ["c.priv0", "a.eth9", "a"])
def test_an_unknown_card_is_refused(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """The sentence names those that exist."""
    _, world = carrier(monkeypatch)
    with pytest.raises(UsageError, match=r"possible are a\.priv0"):
        asyncio.run(cut.CarrierLoss(target).prepare(world.bed))
