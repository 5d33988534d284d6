"""Proves what faults of one rule per direction share: windows, counters against taps, and a heal that looks."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.link import rule as link_rule
from faults.kinds.link.traffic import MatchDrop
from faults.life import FaultFailed, Life
from testbed.errors import TestbedError, UsageError
from testbed.switch.client import Direction
from tests.unit.faults.kinds.link.link_world import World

SENT = [[0.0, 60, 1], [0.1, 60, 2]]


def fault() -> MatchDrop:
    """A fault of one direction with a window of no length; its taps are the rules 1 and 2, its rule is 3."""
    return MatchDrop("a.priv0", match={"protocol": 17}, direction=Direction.IN, window_s=0.0)


async def proof_of(world: World, made: MatchDrop) -> Proof:
    """Prepare, inject, confirm."""
    return await Life(made, world.bed).prove()


def test_the_taps_decide_and_not_the_rule() -> None:
    """The rule is there in both cases; only what came out makes the verdict."""
    world = World()
    world.switch.records = {1: SENT, 2: []}
    proof = asyncio.run(proof_of(world, fault()))
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.CONFIRMED, 5.0)
    world = World()
    world.switch.records = {1: SENT, 2: SENT}
    assert asyncio.run(proof_of(world, fault())).verdict is FaultVerdict.MISMATCH


def test_without_traffic_it_looks_again_and_then_gives_no_verdict() -> None:
    """Three windows, two looks each."""
    world = World()
    assert asyncio.run(proof_of(world, fault())).verdict is FaultVerdict.INCONCLUSIVE
    assert world.switch.now_s == 2 * link_rule.WINDOWS_MAX


def test_counters_that_contradict_the_taps_are_a_mismatch() -> None:
    """The tap behind the rule saw nothing, but frames left at the far port: the evidence is not to be trusted."""
    world, made = World(), fault()
    made.match = {}
    world.switch.records = {1: SENT, 2: []}
    world.switch.step = {"b.priv0 out": {"frames": 50}}

    async def story() -> Proof:
        await link_rule.RuleFault.prepare(made, world.bed)  # that of the subclass wants a match
        await made.inject(world.bed)
        return await made.confirm(world.bed)

    proof = asyncio.run(story())
    assert proof.verdict is FaultVerdict.MISMATCH
    assert asdict(proof)["evidence"]["in"]["counters"]["far"] == 50


def test_heal_removes_rules_and_taps() -> None:
    """Nothing of the fault stays in the switch."""
    world = World()

    async def story() -> None:
        async with Life(fault(), world.bed) as life:
            await life.prove()

    asyncio.run(story())
    assert len(world.switch.live) == 3
    assert all(rule.get("gone") for rule in world.switch.live.values())


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_half_a_preparation_or_injection_leaves_nothing(fails_at: int) -> None:
    """A tap or rule that the switch refuses: those that were placed before it are taken away."""
    world = World()
    world.switch.refused = fails_at
    with pytest.raises(FaultFailed, match="no room"):
        asyncio.run(proof_of(world, fault()))
    assert len(world.switch.live) == fails_at - 1
    assert all(rule.get("gone") for rule in world.switch.live.values())


def test_a_link_that_still_loses_after_heal_is_an_error() -> None:
    """The rule is gone, but frames do not come through: no verdict may be built on this link."""
    world, made = World(), fault()
    world.switch.records = {1: SENT, 2: []}

    async def story() -> None:
        async with Life(made, world.bed) as life:
            await life.prove()

    with pytest.raises(TestbedError, match="still do not come through untouched"):
        asyncio.run(story())


def test_an_unknown_port_is_refused() -> None:
    """The sentence names the ports."""
    with pytest.raises(UsageError, match=r"not 'c'; possible are \['a\.priv0', 'b\.priv0'\]"):
        asyncio.run(link_rule.check_port(World().bed, "c"))


def test_both_ways_are_two() -> None:
    """Each direction has its own rule."""
    assert link_rule.ways_of(Direction.BOTH) == [Direction.IN, Direction.OUT]
    assert link_rule.ways_of(Direction.OUT) == [Direction.OUT]
