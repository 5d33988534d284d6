"""What is not slow as stated is no slow node, each node is let go, and what cannot be done is refused."""

from __future__ import annotations

import asyncio
import signal
from typing import cast

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.evidence import silence
from faults.kinds.evidence.qemu_process import process_state
from faults.kinds.node.late import NodeSlow, NodeStaleBurst, signal_node
from faults.life import Life
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError
from tests.unit.faults.kinds.node.node_bed import BOTH, FakeBed, counted_bed


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders here are busier than a node, so that its two seconds can be shorter."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.15)


async def slow(fake: FakeBed, fault: NodeSlow) -> Proof:
    """Prepare, inject and confirm."""
    bed = cast("Bed", fake)
    return await Life(fault, bed).prove()


class Idles(NodeSlow):
    """A sabotaged injector."""

    async def inject(self, bed: Bed) -> None:
        """Leave the node as fast as it is."""


class Freezes(NodeSlow):
    """An injector that does too much."""

    async def inject(self, bed: Bed) -> None:
        """Stop the node for good."""
        signal_node(bed, self.target, signal.SIGSTOP)


@pytest.mark.parametrize("kind", [Idles, Freezes])
def test_a_node_that_is_not_slow_as_stated_is_a_mismatch(kind: type[NodeSlow]) -> None:
    """Neither a healthy nor a frozen node works half of the time; both heal."""

    async def story() -> Proof:
        async with counted_bed(BOTH) as fake:
            fault = kind("a", share=0.5, period_s=0.05)
            proof = await slow(fake, fault)
            await fault.heal(cast("Bed", fake))
            assert process_state(fake.nodes["a"].machine.pid) != "T"
            return proof

    proof = asyncio.run(story())
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None), proof.evidence


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (NodeSlow("a", share=1.0), "cannot work 1 of the time"),
        (NodeSlow("a", period_s=0.001), "a period of 0.001 s cannot be kept"),
        (NodeSlow("c"), "there is no node 'c'"),
        (NodeStaleBurst("a", freeze_s=0), "a freeze of 0 s lets nothing queue"),
    ],
)
def test_what_cannot_be_done_is_refused(fault: NodeSlow | NodeStaleBurst, sentence: str) -> None:
    """With a sentence, and before the node is touched."""

    async def story() -> None:
        async with counted_bed(BOTH) as fake:
            await fault.prepare(cast("Bed", fake))

    with pytest.raises(UsageError, match=sentence):
        asyncio.run(story())


def test_a_node_that_something_else_ended_is_not_slow_any_more() -> None:
    """The heal does not fail for a node that is off, and nobody is signalled in its place."""

    async def story() -> None:
        async with counted_bed(BOTH) as fake:
            fault = NodeSlow("a", share=0.5, period_s=0.05)
            await slow(fake, fault)
            await fake.nodes["a"].machine.kill()
            await fault.heal(cast("Bed", fake))

    asyncio.run(story())


def test_no_freeze_is_a_mismatch() -> None:
    """The evidence is the kernel's state and the queues, which were never looked at."""

    async def story() -> Proof:
        async with counted_bed(BOTH) as fake:
            fault = NodeStaleBurst("a")
            await fault.prepare(cast("Bed", fake))
            return await fault.confirm(cast("Bed", fake))

    assert asyncio.run(story()).verdict is FaultVerdict.MISMATCH


def test_a_node_that_stays_silent_is_not_healed() -> None:
    """Heal looks whether the node talks, and says so when it does not."""

    async def story() -> None:
        async with counted_bed(()) as fake:
            with pytest.raises(TestbedError, match="sends nothing"):
                await NodeStaleBurst("a").heal(cast("Bed", fake))

    asyncio.run(story())
