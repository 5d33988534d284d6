"""A kill and a freeze are believed only when process and busy ports both show them, and are healed for real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.evidence import silence
from faults.kinds.evidence.qemu_process import process_state
from faults.kinds.node import whole
from faults.kinds.node.whole import NodeFreeze, NodeKill
from faults.life import Life
from testbed.bed import Bed
from testbed.errors import TestbedError
from testbed.wait import OwnedTask
from tests.unit.faults.kinds.node.node_bed import BOTH, CountingSwitch, FakeBed, counted_bed


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders here are busier than a node, so that its two seconds can be shorter."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.02)


@asynccontextmanager
async def living_bed() -> AsyncIterator[FakeBed]:
    """A bed whose node talks exactly while its process is not stopped."""
    async with counted_bed(BOTH) as fake:

        async def follow() -> None:
            while True:
                fake.is_mute = process_state(fake.nodes["a"].machine.pid) == "T"
                await asyncio.sleep(0.002)

        async with OwnedTask(follow(), name="life of node a"):
            yield fake


async def freeze(fault: NodeFreeze, fake: FakeBed) -> Proof:
    """Prepare, inject and confirm."""
    bed = cast("Bed", fake)
    life = Life(fault, bed)
    await life.prepare()
    await life.inject()
    await asyncio.sleep(0.05)  # the sender's own look at the process comes a moment later
    return await life.confirm()


class DoesNothing(NodeFreeze):
    """A sabotaged injector."""

    async def inject(self, bed: Bed) -> None:
        """Leave the node alone."""


def test_a_freeze_is_confirmed_and_healed() -> None:
    """The process is stopped and silent while it is frozen, and talks again afterwards."""

    async def story() -> tuple[Proof, str]:
        async with living_bed() as fake:
            fault = NodeFreeze("a")
            proof = await freeze(fault, fake)
            await fault.heal(cast("Bed", fake))
            return proof, process_state(fake.nodes["a"].machine.pid)

    proof, state = asyncio.run(story())
    assert proof.verdict is FaultVerdict.CONFIRMED
    assert proof.injected_at_s is not None
    assert proof.evidence["process_state"] == "T"
    assert state in {"S", "R"}, "it runs, or is about to"


def test_a_freeze_that_did_not_happen_is_a_mismatch() -> None:
    """A node that goes on talking was not frozen."""

    async def story() -> Proof:
        async with living_bed() as fake:
            return await freeze(DoesNothing("a"), fake)

    assert asyncio.run(story()).verdict is FaultVerdict.MISMATCH


def test_a_node_that_stays_silent_is_not_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heal looks whether the node talks, and says so when it does not."""
    monkeypatch.setattr(whole, "RESET_TIMEOUT_S", 0.05)

    async def story() -> None:
        async with counted_bed(BOTH) as fake:
            fault = NodeFreeze("a")
            await fault.prepare(cast("Bed", fake))
            fake.is_mute = True
            with pytest.raises(TestbedError, match="sends nothing"):
                await fault.heal(cast("Bed", fake))

    asyncio.run(story())


def test_a_node_that_resets_itself_when_it_goes_on_is_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends nothing yet, but its machine tells of a reset: it boots, and is waited for."""
    monkeypatch.setattr(whole, "RESET_TIMEOUT_S", 0.05)

    async def story() -> None:
        async with counted_bed(BOTH) as fake:
            fault = ResetsWhenThawed("a")
            await fault.prepare(cast("Bed", fake))
            fake.is_mute = True
            await fault.heal(cast("Bed", fake))

    asyncio.run(story())


class ResetsWhenThawed(NodeFreeze):
    """A node that resets itself as soon as it goes on."""

    async def _go_on(self, bed: Bed) -> None:
        bed.history.record("qmp.a", "event", event="RESET")


async def prove(fault: NodeKill, fake: FakeBed) -> Proof:
    """Prepare, inject and confirm."""
    bed = cast("Bed", fake)
    return await Life(fault, bed).prove()


class KillsNothing(NodeKill):
    """A sabotaged injector."""

    async def inject(self, bed: Bed) -> None:
        """Leave the node alone."""


def test_a_dead_process_and_silent_ports_confirm_the_kill() -> None:
    """The time of the fault is that of the kill, and the evidence shows both sources."""

    async def scenario() -> tuple[Proof, list[float]]:
        async with counted_bed(BOTH) as fake:
            proof = await prove(NodeKill("a"), fake)
            return proof, [entry.t_s for entry in fake.history if entry.kind == "killed"]

    proof, killed = asyncio.run(scenario())
    assert proof.verdict is FaultVerdict.CONFIRMED
    assert [proof.injected_at_s] == killed
    assert proof.evidence["process_gone"] is True
    assert proof.evidence["frames_in_2_s_after"] == {"a.priv0": 0, "a.biz0": 0}
    before = proof.evidence["frames_in_2_s_before"]
    assert isinstance(before, dict)
    assert min(before.values()) > 0


def test_a_node_that_still_runs_is_a_mismatch() -> None:
    """The command said yes and the world says no: the fault has no time."""

    async def scenario() -> Proof:
        async with counted_bed(BOTH) as fake:
            return await prove(KillsNothing("a"), fake)

    proof = asyncio.run(scenario())
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None)
    assert proof.evidence["process_gone"] is False


class Mutes(NodeKill):
    """An injector that takes the node's voice and not its life."""

    async def inject(self, bed: Bed) -> None:
        """Let it fall silent."""
        cast("FakeBed", bed).is_mute = True


def test_a_silent_node_that_still_runs_is_a_mismatch() -> None:
    """Silence alone is no death: cut wires look the same."""

    async def scenario() -> Proof:
        async with counted_bed(BOTH) as fake:
            return await prove(Mutes("a"), fake)

    proof = asyncio.run(scenario())
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None)
    assert proof.evidence["frames_in_2_s_after"] == {"a.priv0": 0, "a.biz0": 0}


def test_a_node_that_still_talks_is_a_mismatch() -> None:
    """A process that is gone does not prove it when frames still come from the node's ports."""

    async def scenario() -> Proof:
        async with counted_bed(BOTH, also_dead=True) as fake:
            return await prove(NodeKill("a"), fake)

    proof = asyncio.run(scenario())
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None)
    assert proof.evidence["process_gone"] is True


@pytest.mark.parametrize(
    ("talking", "verdict", "not_counted"),
    [
        (["a.priv0"], FaultVerdict.CONFIRMED, ["a.biz0"]),  # a daemon that stands still leaves DRBD's frames
        (["a.biz0"], FaultVerdict.CONFIRMED, ["a.priv0"]),
        ([], FaultVerdict.INCONCLUSIVE, ["a.priv0", "a.biz0"]),
    ],
)
def test_one_port_that_was_heard_before_is_enough(
    talking: list[str], verdict: FaultVerdict, not_counted: list[str]
) -> None:
    """A port that was silent before is named and not counted; with none that was heard nobody can say."""

    async def scenario() -> Proof:
        async with counted_bed(talking) as fake:
            return await prove(NodeKill("a"), fake)

    proof = asyncio.run(scenario())
    assert proof.verdict is verdict, proof.evidence
    assert proof.evidence["silent_before_and_not_counted"] == not_counted


class Wakes(NodeKill):
    """A kill after which another port begins to talk: somebody else speaks there for the node."""

    async def inject(self, bed: Bed) -> None:
        """Kill, and let the silent port talk."""
        await super().inject(bed)
        switch = cast("CountingSwitch", bed.switch)
        switch.talking, switch.also_dead = ["a.biz0"], True


def test_a_port_that_was_silent_before_must_be_silent_afterwards() -> None:
    """That its silence is no proof does not make its frames harmless."""

    async def scenario() -> Proof:
        async with counted_bed(["a.priv0"]) as fake:
            return await prove(Wakes("a"), fake)

    assert asyncio.run(scenario()).verdict is FaultVerdict.MISMATCH


class EndsByItself(NodeKill):
    """The node's process ends, but nobody here has killed it."""

    async def inject(self, bed: Bed) -> None:
        """End it behind the back of the machine."""
        await cast("FakeBed", bed).nodes["a"].machine.child.kill()


def test_a_node_that_ended_by_itself_was_not_killed() -> None:
    """Gone and silent, but without a record of the kill: nobody can say since when, and by whom."""

    async def scenario() -> Proof:
        async with counted_bed(BOTH) as fake:
            return await prove(EndsByItself("a"), fake)

    proof = asyncio.run(scenario())
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.INCONCLUSIVE, None)


def test_healing_switches_a_dead_node_on_and_leaves_a_living_one() -> None:
    """A node that was never down has nothing to be taken back: its proof has said so."""

    async def scenario() -> None:
        async with counted_bed(()) as fake:
            victim, bed = fake.nodes["a"], cast("Bed", fake)
            await NodeKill("a").heal(bed)
            assert not victim.was_healed
            await victim.machine.kill()
            await NodeKill("a").heal(bed)
            assert victim.was_healed

    asyncio.run(scenario())


def test_a_node_that_its_peer_has_switched_on_is_not_switched_on_twice() -> None:
    """It is dead and comes back as another process before the heal: then it is only waited for."""

    async def scenario() -> bool:
        async with counted_bed(BOTH) as fake:
            kill, bed = NodeKill("a"), cast("Bed", fake)
            await kill.prepare(bed)
            kill._pid = -1  # of the process that was killed; the one that runs now is another
            await kill.heal(bed)
            return fake.nodes["a"].was_healed

    assert not asyncio.run(scenario())
