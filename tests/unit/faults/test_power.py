"""Proves that a node kill is believed only when the process is gone and ports that were busy have fallen silent."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from faults import power
from faults.fault import FaultVerdict, Proof
from faults.power import NodeKill
from testbed.bed import Bed
from testbed.errors import TestbedError
from testbed.history import History
from testbed.process import Child
from testbed.switch_client import Switch
from testbed.wait import OwnedTask
from tests.unit.testbed.wire import EVERYBODY, MAC_A, SEGMENTS, Device, ether

BOTH = ("a.priv0", "a.biz0")


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders here are busier than a node, so that its two seconds can be shorter."""
    monkeypatch.setattr(power, "SILENCE_S", 0.1)


@dataclass
class FakeMachine:
    """A process that the kernel shows as a QEMU, killed as the real machine kills its own."""

    child: Child
    history: History

    @property
    def pid(self) -> int:
        """The process id."""
        return self.child.pid

    async def kill(self) -> None:
        """End and record it."""
        await self.child.kill()
        self.history.record("machine.a", "killed", pid=self.child.pid, returncode=-9)


@dataclass
class FakeNode:
    """A node whose life is that of its machine."""

    machine: FakeMachine
    was_healed: bool = False

    @property
    def is_on(self) -> bool:
        """True while the process runs."""
        return self.machine.child.alive

    async def power_on(self) -> None:
        """Note it."""
        self.was_healed = True

    async def wait_booted(self, _timeout_s: float) -> None:
        """Be there at once."""


@dataclass
class FakeBed:
    """The parts of a bed that the fault uses: a real switch and history, and a node."""

    switch: Switch
    history: History
    nodes: dict[str, FakeNode]
    devices: dict[str, Device]
    is_mute: bool = False

    async def talk(self, ports: Iterable[str], *, also_dead: bool) -> None:
        """Send from these ports while the node lives, or for ever."""
        while also_dead or self.nodes["a"].is_on:
            for port in () if self.is_mute else ports:
                self.devices[port].send(ether(EVERYBODY, MAC_A))
            await asyncio.sleep(0.005)


@asynccontextmanager
async def fake_bed(talking: Iterable[str], *, also_dead: bool = False) -> AsyncIterator[FakeBed]:
    """A bed whose node a talks on these ports."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-")))
        history = stack.enter_context(History())
        switch = await stack.enter_async_context(Switch(directory, SEGMENTS, history=history, log=directory / "log"))
        child = Child(["sh", "-c", "sleep 60; true", "qemu"], name="qemu", log=directory / "qemu.log")
        await stack.enter_async_context(child)
        devices = {port: Device(directory, port) for port in BOTH}
        for device in devices.values():
            stack.callback(device.socket.close)
        bed = FakeBed(switch, history, {"a": FakeNode(FakeMachine(child, history))}, devices)
        await stack.enter_async_context(OwnedTask(bed.talk(talking, also_dead=also_dead), name="node a"))
        yield bed


async def prove(fault: NodeKill, fake: FakeBed) -> Proof:
    """Prepare, inject and confirm."""
    bed = cast("Bed", fake)
    await fault.prepare(bed)
    await fault.inject(bed)
    return await fault.confirm(bed)


class DoesNothing(NodeKill):
    """A sabotaged injector."""

    async def inject(self, bed: Bed) -> None:
        """Leave the node alone."""


def test_a_dead_process_and_silent_ports_confirm_the_kill() -> None:
    """The time of the fault is that of the kill, and the evidence shows both sources."""

    async def scenario() -> tuple[Proof, list[float]]:
        async with fake_bed(BOTH) as fake:
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
        async with fake_bed(BOTH) as fake:
            return await prove(DoesNothing("a"), fake)

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
        async with fake_bed(BOTH) as fake:
            return await prove(Mutes("a"), fake)

    proof = asyncio.run(scenario())
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None)
    assert proof.evidence["frames_in_2_s_after"] == {"a.priv0": 0, "a.biz0": 0}


def test_a_node_that_still_talks_is_a_mismatch() -> None:
    """A process that is gone does not prove it when frames still come from the node's ports."""

    async def scenario() -> Proof:
        async with fake_bed(BOTH, also_dead=True) as fake:
            return await prove(NodeKill("a"), fake)

    proof = asyncio.run(scenario())
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None)
    assert proof.evidence["process_gone"] is True


def test_a_port_that_was_silent_before_proves_nothing() -> None:
    """Silence after the kill means something only when each port was heard before."""

    async def scenario() -> Proof:
        async with fake_bed(["a.priv0"]) as fake:
            return await prove(NodeKill("a"), fake)

    assert asyncio.run(scenario()).verdict is FaultVerdict.INCONCLUSIVE


def test_healing_switches_a_dead_node_on_and_refuses_a_living_one() -> None:
    """A node that was never down cannot be healed, and the error says so."""

    async def scenario() -> None:
        async with fake_bed(()) as fake:
            node, bed = fake.nodes["a"], cast("Bed", fake)
            with pytest.raises(TestbedError, match="Node a was to be switched on again, but it is running"):
                await NodeKill("a").heal(bed)
            assert not node.was_healed
            await node.machine.kill()
            await NodeKill("a").heal(bed)
            assert node.was_healed

    asyncio.run(scenario())


def test_confirming_without_preparing_is_an_error_of_the_caller() -> None:
    """Without the healthy state there is nothing to compare with."""
    with pytest.raises(AssertionError, match="prepare comes first"):
        asyncio.run(NodeKill("a").confirm(cast("Bed", None)))
