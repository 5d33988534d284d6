"""Each fault of hardware and BMC is there while injected, gone after its heal, and a mismatch when nothing was done.

The node is a real QEMU with a boot sector, so that its power can really be cut; its BMC is the one of the bed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from faults.fault import Fault, FaultVerdict, Proof
from faults.kinds.hardware.bmc import BmcDeadWithNode, BmcLying, BmcSlow, BmcUnreachable, runs
from faults.kinds.hardware.sensors import FanStopped, MemoryFault, Overheating, PowerSupplyLost, read_over_lan
from faults.life import Life
from testbed.bed import Bed
from testbed.bmc.bmc import Bmc, NodePower
from testbed.bmc.client import IpmiClient, IpmiFailed
from testbed.disk.server import NbdDisk
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.node.machine import Machine
from testbed.node.spec import DiskSpec, MachineSpec
from testbed.switch.client import Switch
from testbed.topology import Topology
from testbed.wait import wait_until
from tests.unit.testbed.bmc.bmc_bench import bmc_bench

pytestmark = [
    pytest.mark.selftest,
    pytest.mark.skipif(shutil.which("ipmi_sim") is None, reason="ipmi_sim is not installed"),
    pytest.mark.skipif(shutil.which("ipmitool") is None, reason="ipmitool is not installed"),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]

FAULTS: dict[str, Callable[[], Fault]] = {
    "hardware.fan_stopped": lambda: FanStopped("a", fan=2),
    "hardware.power_supply_lost": lambda: PowerSupplyLost("a", supply=2),
    "hardware.overheating": lambda: Overheating("a", where="inlet", celsius=45),
    "hardware.memory_error": lambda: MemoryFault("a", correctable=False),
    "bmc.unreachable": lambda: BmcUnreachable("a"),
    "bmc.slow": lambda: BmcSlow("a", delay_s=1.0),
    "bmc.lying": lambda: BmcLying("a"),
    "bmc.dead_with_node": lambda: BmcDeadWithNode("a"),
}
# It does nothing at all: interrupts off, halt.
SECTOR = bytes.fromhex("fa f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"


@dataclass
class TrivialNode:
    """A node without Linux."""

    directory: Path
    history: History
    stack: AsyncExitStack
    machines: list[Machine] = field(default_factory=list)
    name: str = "a"
    storage: dict[str, NbdDisk] = field(default_factory=dict)  # its one disk is a plain file

    @property
    def machine(self) -> Machine:
        """The current QEMU."""
        return self.machines[-1]

    @property
    def is_on(self) -> bool:
        """True while it runs."""
        return bool(self.machines) and self.machine.alive

    async def power_on(self, incoming: Path | None = None) -> None:
        """Make a QEMU with a wire to its BMC, and let it run."""
        disk = self.directory / "root.img"
        disk.write_bytes(SECTOR.ljust(1 << 20, b"\0"))
        spec = MachineSpec(
            name="a", socket_dir=self.directory, artefact_dir=self.directory, memory_mib=32, accel="tcg", boot=None,
            disks=(DiskSpec("vda", disk, "raw"),), bmc=True, incoming=incoming,
        )  # fmt: skip
        self.machines.append(await self.stack.enter_async_context(Machine(spec, self.history)))
        await self.machine.cont()

    async def wait_booted(self, _timeout_s: float) -> None:
        """There is nothing that boots."""


@dataclass
class HardwareBed:
    """The parts of a bed that these faults use."""

    switch: Switch
    history: History
    client: Endpoint
    nodes: dict[str, TrivialNode]
    bmcs: dict[str, Bmc]
    topology: Topology = field(default_factory=Topology)

    @property
    def bed(self) -> Bed:
        """The same, as the faults want it."""
        return cast("Bed", self)


@asynccontextmanager
async def hardware_bed() -> AsyncIterator[HardwareBed]:
    """A node that runs, with a BMC that both the client and the node reach."""
    async with AsyncExitStack() as stack:
        later: list[TrivialNode] = []

        class Late(NodePower):
            """The power of a node that is made after its BMC."""

            def __init__(self) -> None:
                pass

            def is_on(self) -> bool:
                """Find the node now."""
                self._node = later[0]
                return super().is_on()

        bench = await stack.enter_async_context(bmc_bench(Late()))
        node = TrivialNode(bench.directory, bench.history, stack)
        later.append(node)
        await node.power_on()
        assert bench.bmc.power.is_on()

        async def connected() -> bool:
            return bench.bmc.wire.connected

        await wait_until(connected, what="the node on the wire of its BMC", timeout_s=10, poll_s=0.02)
        yield HardwareBed(bench.switch, bench.history, bench.client, {"a": node}, {"a": bench.bmc})


async def _nothing(_bed: Bed) -> None:
    """Inject nothing: the sabotage."""


async def _run(name: str, *, sabotaged: bool) -> tuple[Proof, Proof, bool]:
    async with hardware_bed() as small:
        fault = FAULTS[name]()
        assert fault.name == name
        if sabotaged:
            vars(fault)["inject"] = _nothing
        life = Life(fault, small.bed)
        proof = await life.prove()
        alive = small.nodes["a"].is_on
        await life.heal()
        assert small.nodes["a"].is_on
        again = FAULTS[name]()
        vars(again)["inject"] = _nothing
        return proof, await Life(again, small.bed).prove(), alive


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_hardware_is_there_and_goes_away(name: str) -> None:
    """It is confirmed from another port of the switch and by the process table; after the heal nobody finds it."""
    proof, healed, alive = asyncio.run(_run(name, sabotaged=False))
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert proof.injected_at_s is not None
    assert alive == (name != "bmc.dead_with_node")
    assert healed.verdict is FaultVerdict.MISMATCH, healed.evidence


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_hardware_that_does_nothing_is_a_mismatch(name: str) -> None:
    """The order was given and nothing came of it; and no node was switched off to find that out."""
    proof, _, alive = asyncio.run(_run(name, sabotaged=True))
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None), proof.evidence
    assert alive


def test_the_power_commands_of_a_bmc_reach_a_real_machine() -> None:
    """Off ends the process, on makes a new one, reset keeps it, and the status follows the process table."""

    async def scenario() -> None:
        async with hardware_bed() as small:
            node, bmc = small.nodes["a"], small.bmcs["a"]
            first = node.machine.pid
            async with bench_client(small) as client:
                assert await client.power_is_on()
                await client.command("chassis", "power", "off")
                assert (node.is_on, runs(first, "qemu"), await client.power_is_on()) == (False, False, False)
                await client.command("chassis", "power", "on")
                assert (node.is_on, await client.power_is_on(), node.machine.pid != first) == (True, True, True)
                await client.command("chassis", "power", "reset")
                assert node.is_on
                await node.machine.kill()  # nobody told the BMC
                assert not await client.power_is_on()
            asked = [entry.fields["question"] for entry in small.history if entry.kind == "power_asked"]
            assert asked == [["set", "power", "0"], ["set", "power", "1"], ["set", "reset", "1"]]
            assert bmc.has_power

    asyncio.run(scenario())


def test_who_has_no_password_gets_nothing() -> None:
    """A wrong password is refused by the BMC, none at all (cipher suite 0) before ipmi_sim would let it in."""

    async def scenario() -> None:
        async with hardware_bed() as small:
            node, bmc = small.nodes["a"], small.bmcs["a"]
            async with IpmiClient(small.client, bmc.address, user=bmc.user, password="wrong") as stranger:
                for suite in ("3", "0"):
                    with pytest.raises(IpmiFailed, match="Unable to establish"):
                        await stranger.command("-C", suite, "chassis", "power", "off", patience_s=1, retries=1)
            assert bmc.lan.counters.refused > 0
            assert node.is_on

    asyncio.run(scenario())


def bench_client(small: HardwareBed) -> IpmiClient:
    """A client of the BMC."""
    bmc = small.bmcs["a"]
    return IpmiClient(small.client, bmc.address, user=bmc.user, password=bmc.password)


def test_a_restored_machine_finds_the_bmc_of_its_new_run() -> None:
    """Its memory is saved beside one BMC and loaded beside a fresh one, to which its interface connects."""

    async def scenario() -> tuple[int, int]:
        async with hardware_bed() as small:
            node, bmc = small.nodes["a"], small.bmcs["a"]
            first, memory = bmc.pid, node.directory / "memory"
            await node.machine.stop()
            await node.machine.save_memory(memory)
            await node.machine.quit()
            await bmc.lose_power()
            await bmc.get_power()
            known = bmc.wire.bytes_from_node
            await node.power_on(memory)
            assert await node.machine.status() == "running"

            async def spoke() -> bool:
                return bmc.wire.connected and bmc.wire.bytes_from_node > known

            await wait_until(spoke, what="the restored node on the wire of its BMC", timeout_s=10, poll_s=0.05)
            return first or 0, bmc.pid or 0

    first, second = asyncio.run(scenario())
    assert 0 < first != second > 0


def test_a_bmc_that_lost_its_power_keeps_its_log_and_finds_its_node_again() -> None:
    """The sensors read what they did before, the old events are there, and the running node connects again."""

    async def scenario() -> tuple[list[str], list[str], int]:
        async with hardware_bed() as small:
            fault, bmc = FanStopped("a"), small.bmcs["a"]
            life = Life(fault, small.bed)
            assert (await life.prove()).verdict is FaultVerdict.CONFIRMED
            async with bench_client(small) as client:
                before = await client.events()
                await bmc.lose_power()
                assert await client.ping(0.3) is None
                assert not bmc.wire.connected
                await bmc.get_power()

                async def connected() -> bool:
                    return bmc.wire.connected

                await wait_until(connected, what="the node on the wire of its BMC", timeout_s=10, poll_s=0.05)
                after = await client.events()
            return before, after, (await read_over_lan(small.bed, "a", "Fan 1")).value

    before, after, speed = asyncio.run(scenario())
    assert after[: len(before)] == before
    assert speed == 0
