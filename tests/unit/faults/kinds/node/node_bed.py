"""A bed of one node that is a small process and talks on a real switch: what the unit tests of its faults share."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from testbed.history import History
from testbed.process import Child
from testbed.switch.client import DirectionCounters, PortState, Switch
from testbed.topology import Topology
from testbed.wait import OwnedTask
from tests.unit.testbed.wire import EVERYBODY, MAC_A, SEGMENTS, Device, ether

BOTH = ("a.priv0", "a.biz0")


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
    topology: Topology = field(default_factory=Topology)

    async def talk(self, ports: Iterable[str]) -> None:
        """Send from these ports while the node lives."""
        while self.nodes["a"].is_on:
            for port in () if self.is_mute else ports:
                self.devices[port].send(ether(EVERYBODY, MAC_A))
            await asyncio.sleep(0.005)


@dataclass
class CountingSwitch:
    """A switch without a process: each look at it finds that the node's ports which talk sent some more frames."""

    talking: Iterable[str]
    also_dead: bool = False
    each_look: int = 4
    bed: FakeBed | None = None
    frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BOTH, 0))

    async def ports(self) -> dict[str, PortState]:
        """The counters."""
        assert self.bed is not None
        if (self.also_dead or self.bed.nodes["a"].is_on) and not self.bed.is_mute:
            for port in self.talking:
                self.frames[port] += self.each_look
        nothing = DirectionCounters(True, 0, 0, 0, 0, 0, None)
        return {
            port: PortState(port, port.partition(".")[2], replace(nothing, frames=count), nothing, 0)
            for port, count in self.frames.items()
        }


@asynccontextmanager
async def counted_bed(talking: Iterable[str], *, also_dead: bool = False) -> AsyncIterator[FakeBed]:
    """The same bed without a switch process, for what needs no real frames: it is there at once."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
        child = Child(["sh", "-c", "sleep 60; true", "qemu"], name="qemu", log=Path(name) / "qemu.log")
        async with child:
            switch = CountingSwitch(talking, also_dead=also_dead)
            nodes = {"a": FakeNode(FakeMachine(child, history))}
            switch.bed = FakeBed(cast("Switch", switch), history, nodes, {})
            yield switch.bed


@asynccontextmanager
async def fake_bed(talking: Iterable[str]) -> AsyncIterator[FakeBed]:
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
        await stack.enter_async_context(OwnedTask(bed.talk(talking), name="node a"))
        yield bed
