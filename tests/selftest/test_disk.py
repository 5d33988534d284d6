"""Each disk fault is there while injected, gone after its heal, and a mismatch when its injector does nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.disk import (
    DiskBitRot,
    DiskFault,
    DiskFull,
    DiskGone,
    DiskHang,
    DiskLostWrite,
    DiskMetadataError,
    DiskReadError,
    DiskReturnAfterAbsence,
    DiskSlow,
    DiskSlowHeavyTailed,
    DiskTornWrite,
    DiskWriteError,
    DiskWrong,
    machine_failures,
    try_read,
)
from faults.kinds.node.power import cut_power
from faults.life import Life
from testbed.bed import Bed
from testbed.disk.server import NbdClient, NbdDisk
from testbed.errors import MachineError
from testbed.history import History
from testbed.node import machine as machine_module
from testbed.node.machine import Machine
from testbed.node.qmp import QmpLost
from testbed.node.spec import DiskSpec, MachineSpec, NbdDiskSpec
from testbed.wait import wait_for_record
from tests.integration.faults.kinds.disk_bed import DiskBed, disk_bed

pytestmark = [
    pytest.mark.selftest,
    pytest.mark.skipif(shutil.which("nbdkit") is None, reason="nbdkit is not installed"),
]

FAULTS: dict[str, Callable[[Path], DiskFault]] = {
    "disk.gone": lambda _other: DiskGone("a"),
    "disk.read_error": lambda _other: DiskReadError("a", offset=4096, length=512),
    "disk.write_error": lambda _other: DiskWriteError("a"),
    "disk.metadata_error": lambda _other: DiskMetadataError("a", "vdb", offset=65536, length=4096),
    "disk.full": lambda _other: DiskFull("a"),
    "disk.hang": lambda _other: DiskHang("a"),
    "disk.slow": lambda _other: DiskSlow("a", delay_s=0.2),
    "disk.slow_heavy_tailed": lambda _other: DiskSlowHeavyTailed("a", seed=5),
    "disk.bit_rot": lambda _other: DiskBitRot("a", offset=8192, length=2048, seed=3),
    "disk.lost_write": lambda _other: DiskLostWrite("a"),
    "disk.torn_write": lambda _other: DiskTornWrite("a"),
    "disk.return_after_absence": lambda _other: DiskReturnAfterAbsence("a", absence_s=0.2, seed=1),
    "disk.wrong_disk": lambda other: DiskWrong("a", image=other),
}


async def _nothing(_bed: Bed) -> None:
    """Inject nothing: the sabotage."""


async def _run(name: str, *, sabotaged: bool) -> tuple[Proof, str, int]:
    async with disk_bed() as small:
        other = small.directory / "other.raw"
        other.write_bytes(b"foreign".ljust(1 << 20, b"!"))
        fault = FAULTS[name](other)
        assert fault.name == name
        if sabotaged:
            vars(fault)["inject"] = _nothing
        async with small.traffic():
            life = Life(fault, small.bed)
            proof = await life.prove()
            await life.heal()
            state = await small.disk().state()
            armed = state["rules"] + state["rotten"] + state["is_held"] + state["is_gone"] + state["is_slow"]
            return proof, await try_read(small.disk(), 4096), armed


@pytest.mark.parametrize("name", FAULTS)
def test_a_disk_fault_is_there_and_then_gone(name: str) -> None:
    """A client of its own, or the writes of the guest, show the fault; after the heal nothing is armed."""
    proof, read_after, armed = asyncio.run(_run(name, sabotaged=False))
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert proof.injected_at_s is not None
    assert (read_after, armed) == ("ok", 0)


@pytest.mark.parametrize("name", FAULTS)
def test_a_disk_fault_that_does_nothing_is_a_mismatch(name: str) -> None:
    """The order was given and nothing came of it: the evidence does not follow the order."""
    proof, _, _ = asyncio.run(_run(name, sabotaged=True))
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None), proof.evidence


# A machine: its boot sector writes sector 8 of its second disk again and again, and says "w" or, when refused, "E".
# A refused write makes the BIOS put 0 into the number of sectors, so the loop puts 1 there each time.
CODE = (
    "31c08ed88ec0fb c606327c01be307c b281b80043 cd13 baf803 b077 7302 b045 ee b00a ee bb0200 b90000 e2fe 4b 75f8 ebd7"
)
ADDRESS_PACKET = bytes.fromhex("1000 0100 007c 0000 0800000000000000")
SECTOR_8 = bytes.fromhex(CODE).ljust(0x30, b"\0") + ADDRESS_PACKET
BOOT = SECTOR_8.ljust(510, b"\0") + b"\x55\xaa"
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")


def _spec(small: DiskBed, disk: NbdDisk) -> MachineSpec:
    root = small.directory / "root.img"
    root.write_bytes(BOOT.ljust(1 << 20, b"\0"))
    return MachineSpec(
        name="a", socket_dir=small.directory, artefact_dir=small.directory, memory_mib=32, accel="tcg", boot=None,
        disks=(DiskSpec("vda", root, "raw"), NbdDiskSpec("vdb", disk.socket)),
    )  # fmt: skip


async def _says(history: History, text: str) -> None:
    await wait_for_record(
        history,
        lambda entry: entry.source == "console.a" and entry.fields["text"] == text,
        what=f"the guest to say {text}",
        timeout_s=20,
        after=history.mark(),
    )


def _put_in(small: DiskBed, machine: Machine) -> None:
    """Make a real machine the one of node a."""
    vars(small.nodes["a"])["machine"] = cast("object", machine)
    vars(machine)["child"] = vars(machine)["_child"]


@needs_qemu
def test_a_real_machine_sees_error_and_hang_and_goes_on_after_both() -> None:
    """QEMU's own counters and the guest's words agree with the client of the disk server."""

    async def scenario() -> tuple[Proof, Proof, dict[str, int] | None]:
        async with disk_bed(disks=["vdb"]) as small, Machine(_spec(small, small.disk()), small.history) as machine:
            _put_in(small, machine)
            await machine.cont()
            await _says(small.history, "w")
            error = DiskWriteError("a", offset=4096, length=512)
            async with Life(error, small.bed) as life:
                await life.prepare()
                await life.inject()
                await _says(small.history, "E")
                first = await life.confirm()
            await _says(small.history, "w")
            async with Life(DiskHang("a"), small.bed) as life:
                second = await life.prove()
                assert await machine.status() == "running"  # a question does not drain
            await _says(small.history, "w")
            return first, second, await machine_failures(small.bed, "a", "vdb")

    error, hang, counts = asyncio.run(scenario())
    assert (error.verdict, hang.verdict) == (FaultVerdict.CONFIRMED, FaultVerdict.CONFIRMED)
    assert counts is not None
    assert counts["failed_wr_operations"] > 0
    machine_after = error.evidence["machine_after"]
    assert isinstance(machine_after, dict)
    assert machine_after["failed_wr_operations"] > 0


@needs_qemu
@pytest.mark.parametrize("way_out", ["release", "yank", "kill"])
def test_a_machine_wedged_by_a_hanging_disk_gets_out(way_out: str) -> None:
    """A draining command wedges QEMU; releasing the disk, a yank out of band and SIGKILL each end it."""

    async def scenario() -> None:
        async with disk_bed(disks=["vdb"]) as small, Machine(_spec(small, small.disk()), small.history) as machine:
            await machine.cont()
            await _says(small.history, "w")
            await small.disk().command("hold")
            with pytest.raises(QmpLost, match="wedged by hanging I/O"):
                await machine.execute("stop", timeout_s=0.5)
            with pytest.raises(QmpLost):
                await machine.execute("query-status", timeout_s=0.5)
            if way_out == "kill":
                await machine.kill()
                assert not machine.alive
                return
            if way_out == "yank":
                victim = {"type": "block-node", "node-name": "nbd-vdb"}
                await machine.qmp.execute("yank", {"instances": [victim]}, oob=True)
            else:
                await small.disk().command("release")
            assert await machine.status() == "paused"

    asyncio.run(scenario())


@needs_qemu
@pytest.mark.parametrize("order", ["quit", "stop"])
def test_a_wedged_machine_is_yanked_by_the_order_that_it_does_not_obey(
    order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quit ends it and stop pauses it although a disk hangs, and what the node said until then is kept."""
    monkeypatch.setattr(machine_module, "REAP_TIMEOUT_S", 1.0)

    async def scenario() -> tuple[bool, list[object], str]:
        async with disk_bed(disks=["vdb"]) as small:
            async with Machine(_spec(small, small.disk()), small.history) as machine:
                await machine.cont()
                await _says(small.history, "w")
                await small.disk().command("hold")
                if order == "quit":
                    await machine.quit()
                    assert not machine.alive
                else:
                    await machine.stop(timeout_s=0.5)
                    assert await machine.status() == "paused"
            yanked = [entry.fields["disks"] for entry in small.history if entry.kind == "yanked"]
            return machine.alive, yanked, machine.console.log.read_text(encoding="utf-8")

    alive, yanked, console = asyncio.run(asyncio.wait_for(scenario(), 30))
    assert not alive
    assert yanked == [["vdb"]]
    assert "] w\n" in console


@needs_qemu
@pytest.mark.parametrize("order", ["quit", "stop", "leave"])
def test_a_machine_that_a_yank_does_not_reach_is_killed(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A QEMU process that the host has stopped answers nobody; the console of its life is kept all the same."""
    monkeypatch.setattr(machine_module, "REAP_TIMEOUT_S", 0.5)
    monkeypatch.setattr(machine_module, "YANK_TIMEOUT_S", 0.5)

    async def scenario() -> tuple[int, str]:
        async with disk_bed(disks=["vdb"]) as small:
            async with Machine(_spec(small, small.disk()), small.history) as machine:
                await machine.cont()
                await _says(small.history, "w")
                os.kill(machine.pid, signal.SIGSTOP)
                if order == "quit":
                    await machine.quit()
                elif order == "stop":
                    with pytest.raises(MachineError, match=r"did not stop in 0\.5 s and was killed; the node is off"):
                        await machine.stop(timeout_s=0.5)
                assert machine.alive == (order == "leave")
            return machine.pid, machine.console.log.read_text(encoding="utf-8")

    pid, console = asyncio.run(asyncio.wait_for(scenario(), 30))
    assert not Path(f"/proc/{pid}").exists()
    assert "] w\n" in console


@needs_qemu
def test_leaving_the_bed_does_not_wait_for_a_hanging_disk() -> None:
    """Machine and disk server end although requests hang, and nothing is left of them."""

    async def scenario() -> tuple[int, int]:
        async with disk_bed(disks=["vdb"]) as small:
            server = small.disk().pid
            async with Machine(_spec(small, small.disk()), small.history) as machine:
                await machine.cont()
                await _says(small.history, "w")
                await small.disk().command("hold")
            return server, machine.pid

    for pid in asyncio.run(asyncio.wait_for(scenario(), 60)):
        assert not Path(f"/proc/{pid}").exists()


@needs_qemu
def test_a_machine_whose_guest_knows_no_flush_loses_nothing_in_a_power_cut() -> None:
    """QEMU forces each write of such a guest to be durable, and the disk keeps its word when the power goes."""

    async def scenario() -> tuple[bytes, int, bool]:
        async with disk_bed(disks=["vdb"]) as small, Machine(_spec(small, small.disk()), small.history) as machine:
            _put_in(small, machine)
            await machine.cont()
            await _says(small.history, "w")
            await cut_power(small.bed, ["a"], seed=1, keep=0.0, tear=False)
            async with NbdClient(small.disk().socket) as client:
                return await client.read(4096, 512), (await small.disk().state())["fua"], machine.alive

    content, forced, alive = asyncio.run(scenario())
    assert (content, alive) == (BOOT, False)
    assert forced > 0
