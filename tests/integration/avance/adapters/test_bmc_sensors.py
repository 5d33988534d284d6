"""Proves the reading of sensors with what a node has: its kernel's IPMI driver, its KCS interface and a real ipmi_sim.

A small machine with the node's kernel and root runs the adapter of this checkout, again and again, and prints what it
tells. It boots without Xen and without the rest of the product.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from images import cpio, product
from testbed.bmc.bmc import Bmc
from testbed.bmc.sensors import CORRECTABLE, FAILED, PRESENT, UNCORRECTABLE
from testbed.node import image
from testbed.node.image import Image
from testbed.node.spec import IPMI_INTERRUPT, IPMI_PORT
from testbed.process import Child
from testbed.wait import wait_until
from tests.integration.node_root import first_program
from tests.unit.testbed.bmc.bmc_bench import LampPower, bmc_bench

BOOT_S, SEEN_S = 300.0, 60.0
AS_PROGRAM = (
    "modprobe -aq ipmi_si ipmi_devintf; PYTHONDONTWRITEBYTECODE=1 "
    "PYTHONPATH=/run/checkout /usr/bin/python3 /run/checkout/story.py"
)
# Each line: what was told (null: nothing), then the seconds of processor that it took.
STORY = """
import asyncio, json, time
from avance.adapters.bmc_sensors import BmcSensors

async def story():
    told = []
    sensors = BmcSensors(told.append, 1.0)
    while True:
        begun = time.process_time()
        await sensors.look()
        took = time.process_time() - begun
        print("STORY", json.dumps([told.pop().wrong if told else None, round(took, 4)]), flush=True)
        await asyncio.sleep(0.2)

asyncio.run(story())
"""

# Without `no_timer_check` a kernel counts ticks for a moment at its start, and panics where the host gave it none.
KERNEL_WORDS = (
    "console=ttyS0 quiet loglevel=3 panic=-1 no_timer_check mitigations=off random.trust_cpu=on ipv6.disable=1"
)


@dataclass
class Story:
    """What the machine has told so far."""

    console: Path
    machine: Child

    def lines(self) -> list[tuple[list[list[str]] | None, float]]:
        """Every whole line."""
        text = self.console.read_text(errors="replace")
        told = [line.partition("STORY ")[2] for line in text.splitlines(keepends=True) if "STORY [" in line]
        return [tuple(json.loads(line)) for line in told if line.endswith("\n")]

    async def tells(self, *wrong: tuple[str, str, str] | None, timeout_s: float = SEEN_S) -> None:
        """Wait until it tells this, in a reading that began after now; a single None: that it tells nothing."""
        expected = None if wrong == (None,) else [list(one or ()) for one in wrong]
        after = len(self.lines()) + (2 if self.lines() else 0)

        async def told() -> bool:
            assert self.machine.alive, self.console.read_text(errors="replace")[-2000:]
            return len(self.lines()) > after and self.lines()[-1][0] == expected

        await wait_until(told, what=f"{wrong}, told by the machine", timeout_s=timeout_s, poll_s=0.1)


@pytest.fixture(scope="module")
def node_image() -> Image:
    """The image of this checkout; built when it is missing."""
    return asyncio.run(image.ensure())


@asynccontextmanager
async def told_by(node_image: Image, bmc: Bmc, directory: Path) -> AsyncIterator[Story]:
    """Run the machine with this BMC."""
    code = {path.relative_to(product.REPOSITORY): path for path in product.files_below(product.PRODUCT)}
    folders = sorted({parent for path in code for parent in path.parents if parent.name})
    parts = [
        cpio.file("init", first_program("/checkout", AS_PROGRAM), executable=True),
        cpio.directory("checkout"),
        *(cpio.directory(f"checkout/{folder}") for folder in folders),
        *(cpio.file(f"checkout/{name}", path.read_bytes()) for name, path in code.items()),
        cpio.file("checkout/story.py", STORY.encode()),
    ]
    ramdisk, console = directory / "initrd", directory / "console"
    ramdisk.write_bytes(node_image.boot.initrd.read_bytes() + cpio.archive(parts))
    argv = [
        "qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults",
        "-display", "none", "-no-reboot", "-serial", "stdio",
        "-chardev", f"socket,id=ipmi,path={bmc.wire.path},reconnect=1",
        "-device", "ipmi-bmc-extern,id=bmc,chardev=ipmi",
        "-device", f"isa-ipmi-kcs,id=kcs,bmc=bmc,ioport={IPMI_PORT:#x},irq={IPMI_INTERRUPT}",
        "-kernel", str(node_image.boot.kernel), "-initrd", str(ramdisk),
        "-append", KERNEL_WORDS,
        "-drive", f"if=virtio,file={node_image.root},format=raw,readonly=on",
    ]  # fmt: skip
    async with Child(argv, name="the machine with a BMC", log=console) as machine:
        yield Story(console, machine)


@pytest.mark.timeout(2 * BOOT_S)
def test_a_node_reads_the_sensors_of_its_bmc(node_image: Image, tmp_path: Path) -> None:
    """Each fault of the hardware is told by the words of the table while it is there, and nothing else is."""
    cases = (
        ("Fan 1", 0, ("fan", "Fan 1", "lost")),
        ("Fan 2", 2100, ("fan", "Fan 2", "low")),
        ("PSU 2", PRESENT | FAILED, ("power supply", "PSU 2", "failed")),
        ("CPU Temp", 85, ("temperature", "CPU Temp", "high")),
        ("CPU Temp", 95, ("temperature", "CPU Temp", "critical")),
        ("Inlet Temp", 47, ("temperature", "Inlet Temp", "fatal")),
        ("Memory", CORRECTABLE, ("memory", "Memory", "correctable")),
        ("Memory", UNCORRECTABLE, ("memory", "Memory", "uncorrectable")),
    )

    async def scenario() -> None:
        async with bmc_bench(LampPower()) as bench, told_by(node_image, bench.bmc, tmp_path) as story:
            await story.tells(timeout_s=BOOT_S)
            for sensor, value, wrong in cases:
                bench.bmc.show(sensor, value)
                await story.tells(wrong)
                bench.bmc.set_normal(sensor)
            await story.tells()
            for sensor, value, _ in cases[:3]:
                bench.bmc.show(sensor, value)
            await story.tells(*(wrong for _, _, wrong in cases[:3]))

    asyncio.run(scenario())


@pytest.mark.timeout(2 * BOOT_S)
def test_a_bmc_without_power_says_nothing(node_image: Image, tmp_path: Path) -> None:
    """It is never taken for one that says that all is well; it is read again when it is back."""

    async def scenario() -> None:
        async with bmc_bench(LampPower()) as bench, told_by(node_image, bench.bmc, tmp_path) as story:
            bench.bmc.show("Fan 1", 0)
            await story.tells(("fan", "Fan 1", "lost"), timeout_s=BOOT_S)
            await bench.bmc.lose_power()
            await story.tells(None)
            assert [] not in [wrong for wrong, _ in story.lines()]
            await bench.bmc.get_power()
            await story.tells(("fan", "Fan 1", "lost"))

    asyncio.run(scenario())
