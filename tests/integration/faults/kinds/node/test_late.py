"""A slow node works its share by the kernel's word; a burst is counted from the queues of a real switch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.evidence import silence
from faults.kinds.evidence.qemu_process import process_state
from faults.kinds.node.late import NodeSlow, NodeStaleBurst, sample
from faults.life import Life
from testbed.bed import Bed
from testbed.switch.client import Direction
from testbed.wait import OwnedTask
from tests.unit.faults.kinds.node.node_bed import BOTH, FakeBed, counted_bed, fake_bed
from tests.unit.testbed.wire import EVERYBODY, MAC_B, ether


@asynccontextmanager
async def reading_bed() -> AsyncIterator[FakeBed]:
    """A bed whose node takes in what comes for it only while its process is not stopped, and to which a peer talks."""
    async with fake_bed(BOTH) as fake:

        async def take() -> None:
            while True:
                stopped = process_state(fake.nodes["a"].machine.pid) == "T"
                fake.is_mute = stopped
                for device in () if stopped else fake.devices.values():
                    device.receive()
                await asyncio.sleep(0.002)

        async def talk() -> None:
            while True:
                for link in ("priv0", "biz0"):
                    await fake.switch.inject(f"b.{link}", Direction.IN, [ether(EVERYBODY, MAC_B)])
                await asyncio.sleep(0.005)

        async with OwnedTask(take(), name="node a takes"), OwnedTask(talk(), name="node b talks"):
            yield fake


def test_a_burst_is_counted_and_aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some frames wait in the node's own socket, later ones in the switch, and all of them arrive after the thaw."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.15)  # the senders here are busier than a node

    async def story() -> Proof:
        async with reading_bed() as fake:
            fault = NodeStaleBurst("a", freeze_s=0.3)
            life = Life(fault, cast("Bed", fake))
            proof = await life.prove()
            await life.heal()
            return proof

    proof = asyncio.run(story())
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    ports = proof.evidence["ports"]
    assert isinstance(ports, dict)
    assert all(queues["in_node"] > 0 and queues["in_switch"] > 0 for queues in ports.values()), ports
    assert all(queues["in_node_oldest_s"] > queues["in_switch_oldest_s"] for queues in ports.values()), ports


def test_a_slow_node_is_stopped_for_the_rest_of_the_time_and_never_afterwards() -> None:
    """The kernel's state of the process is the evidence, before, during and after.

    Turns of 0.2 s, so that a host which is busy with something else for 60 ms does not spoil the share.
    """

    async def story() -> tuple[Proof, float]:
        async with counted_bed(BOTH) as fake:
            fault = NodeSlow("a", share=0.5, period_s=0.4)
            life = Life(fault, cast("Bed", fake))
            proof = await life.prove()
            await life.heal()
            return proof, (await sample(fake.nodes["a"].machine.pid, 0.1)).stopped_share

    proof, after = asyncio.run(story())
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert after == 0
