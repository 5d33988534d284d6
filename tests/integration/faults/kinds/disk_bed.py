"""A bed of two nodes with real disk servers and a real switch, whose machines are small processes: shared by tests."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from testbed.bed import Bed
from testbed.disk.server import DiskIoError, NbdClient, NbdDisk
from testbed.history import History
from testbed.process import Child
from testbed.switch.client import Switch
from testbed.topology import Topology
from testbed.wait import OwnedTask
from tests.unit.testbed.wire import EVERYBODY, MAC_A, SEGMENTS, Device, ether

SIZE = 1 << 20
DISKS = ("vdb", "vdc")
PORTS = {"a": ("a.priv0", "a.biz0"), "b": ("b.priv0", "b.biz0")}
TRAFFIC_AT = SIZE - 8192  # where the guest writes


@dataclass
class SmallMachine:
    """A process that the kernel shows as a QEMU, and what such a machine counts for its disk vdb."""

    name: str
    child: Child
    history: History
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.child.pid

    async def kill(self) -> None:
        """End and record it."""
        await self.child.kill()
        self.history.record(f"machine.{self.name}", "killed", pid=self.child.pid, returncode=-9)

    async def execute(self, command: str, *, timeout_s: float) -> object:
        """Answer the one question that the faults ask."""
        assert command == "query-blockstats"
        assert timeout_s > 0
        names = ("failed_rd_operations", "failed_wr_operations", "failed_flush_operations", "wr_operations")
        stats = {name: self.counts.get(name, 0) for name in names}
        return [{"qdev": "/machine/peripheral/vdb/virtio-backend", "stats": stats}]


@dataclass
class SmallNode:
    """A node with disk servers."""

    name: str
    directory: Path
    history: History
    storage: dict[str, NbdDisk]
    stack: AsyncExitStack
    machine: SmallMachine = field(init=False)
    starts: int = 0

    @property
    def is_on(self) -> bool:
        """True while the process runs."""
        return self.machine.child.alive

    async def power_on(self) -> None:
        """Start a process."""
        child = Child(["sh", "-c", "sleep 60; true", "qemu"], name="qemu", log=self.directory / f"qemu-{self.name}.log")
        await self.stack.enter_async_context(child)
        self.machine = SmallMachine(self.name, child, self.history)
        self.starts += 1

    async def wait_booted(self, _timeout_s: float) -> None:
        """Be there at once."""

    async def write_on(self, client: NbdClient) -> None:
        """Write two sectors again and again, as the guest of this node."""
        number = 0
        while True:
            number += 1
            try:
                await client.write(TRAFFIC_AT, bytes([number % 256]) * 1024)
                self.machine.counts["wr_operations"] = number
            except DiskIoError:
                self.machine.counts["failed_wr_operations"] = self.machine.counts.get("failed_wr_operations", 0) + 1
            await asyncio.sleep(0.02)


@dataclass
class DiskBed:
    """The parts of a bed that disk and power faults use."""

    switch: Switch
    history: History
    nodes: dict[str, SmallNode]
    directory: Path
    is_mute: bool = False
    topology: Topology = field(default_factory=Topology)

    @property
    def bed(self) -> Bed:
        """The same, as the faults want it."""
        return cast("Bed", self)

    def disk(self, name: str = "vdb", node: str = "a") -> NbdDisk:
        """One disk server."""
        return self.nodes[node].storage[name]

    async def talk(self, devices: dict[str, Device]) -> None:
        """Send from each port of a node that is on."""
        while True:
            for node, ports in PORTS.items():
                for port in ports if not self.is_mute and node in self.nodes and self.nodes[node].is_on else ():
                    with suppress(BlockingIOError):  # the switch is busy: this frame is not sent
                        devices[port].send(ether(EVERYBODY, MAC_A))
            await asyncio.sleep(0.005)

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[None]:
        """Let the guest of node a write to vdb."""
        async with NbdClient(self.disk().socket, timeout_s=60.0) as client:
            with suppress(ConnectionError):
                async with OwnedTask(self.nodes["a"].write_on(client), name="guest"):
                    yield


@asynccontextmanager
async def disk_bed(nodes: Sequence[str] = ("a",), disks: Sequence[str] = DISKS) -> AsyncIterator[DiskBed]:
    """A bed whose nodes are on and talk on each link."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-")))
        history = stack.enter_context(History())
        switch = await stack.enter_async_context(Switch(directory, SEGMENTS, history=history, log=directory / "log"))
        bed = DiskBed(switch, history, {}, directory)
        for node in nodes:
            servers = {}
            for disk in disks:
                server = NbdDisk(
                    f"{node}-{disk}", directory / f"{node}-{disk}.raw", SIZE, sockets=directory, log=directory / "d.log"
                )
                servers[disk] = await stack.enter_async_context(server)
            bed.nodes[node] = SmallNode(node, directory, history, servers, stack)
            await bed.nodes[node].power_on()
        devices = {port: Device(directory, port) for node in nodes for port in PORTS[node]}
        for device in devices.values():
            stack.callback(device.socket.close)
        await stack.enter_async_context(OwnedTask(bed.talk(devices), name="nodes"))
        yield bed
