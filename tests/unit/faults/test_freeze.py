"""A freeze is believed only when the process is really stopped and its busy ports are silent; it is healed for real."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from faults import silence
from faults.fault import FaultVerdict, Proof
from faults.freeze import NodeFreeze, cpu_ticks, process_state
from testbed.bed import Bed
from testbed.errors import TestbedError
from testbed.process import Child
from testbed.wait import OwnedTask
from tests.unit.faults.test_power import BOTH, FakeBed, fake_bed


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders here are busier than a node, so that its two seconds can be shorter."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.1)


@asynccontextmanager
async def living_bed() -> AsyncIterator[FakeBed]:
    """A bed whose node talks exactly while its process is not stopped."""
    async with fake_bed(BOTH) as fake:

        async def follow() -> None:
            while True:
                fake.is_mute = process_state(fake.nodes["a"].machine.pid) == "T"
                await asyncio.sleep(0.002)

        async with OwnedTask(follow(), name="life of node a"):
            yield fake


async def freeze(fault: NodeFreeze, fake: FakeBed) -> Proof:
    """Prepare, inject and confirm."""
    bed = cast("Bed", fake)
    await fault.prepare(bed)
    await fault.inject(bed)
    await asyncio.sleep(0.05)  # the sender's own look at the process comes a moment later
    return await fault.confirm(bed)


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
    assert state == "S"


def test_a_freeze_that_did_not_happen_is_a_mismatch() -> None:
    """A node that goes on talking was not frozen."""

    async def story() -> Proof:
        async with living_bed() as fake:
            return await freeze(DoesNothing("a"), fake)

    assert asyncio.run(story()).verdict is FaultVerdict.MISMATCH


def test_a_node_that_stays_silent_is_not_healed() -> None:
    """Heal looks whether the node talks, and says so when it does not."""

    async def story() -> None:
        async with fake_bed(BOTH) as fake:
            fault = NodeFreeze("a")
            await fault.prepare(cast("Bed", fake))
            fake.is_mute = True
            with pytest.raises(TestbedError, match="sends nothing"):
                await fault.heal(cast("Bed", fake))

    asyncio.run(story())


def test_the_state_of_a_process_is_the_kernels_word(tmp_path: Path) -> None:
    """A stopped process is T, one that is gone is said to be gone, and has no ticks."""

    async def story() -> tuple[str, int]:
        child = Child(["sleep", "60"], name="sleeper", log=tmp_path / "log")
        async with child:
            os.kill(child.pid, signal.SIGSTOP)
            async with asyncio.timeout(5):
                while process_state(child.pid) != "T":  # noqa: ASYNC110 - the kernel gives no event for it
                    await asyncio.sleep(0.005)
            return process_state(child.pid), child.pid

    state, pid = asyncio.run(story())
    assert state == "T"
    assert process_state(pid) == "gone"
    assert cpu_ticks(pid) == 0
