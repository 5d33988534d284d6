"""A bed of one node that is a real QEMU with a tiny guest in ring 0 on a real switch: no Xen and no Linux in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from testbed.bed import Bed
from testbed.errors import MachineError
from testbed.history import History
from testbed.node.machine import Machine
from testbed.node.spec import DirectBoot, DiskSpec, MachineSpec, NicSpec
from testbed.process import run
from testbed.switch.client import Switch
from testbed.wait import wait_for_record, wait_until

SOURCE = Path(__file__).with_name("tiny_guest.S")
LINKS = ("priv0", "biz0")
SEGMENTS = {"priv0": ["a.priv0", "b.priv0"], "biz0": ["a.biz0", "b.biz0"]}
BOOT_TIMEOUT_S = 20.0
needs_qemu = [
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
    pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler for the tiny guest"),
]


class TinyAgent:
    """Stands for the out-of-band channel: whatever is to run in the node, the guest is told to panic."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def must_succeed(self, argv: Sequence[str], *, timeout_s: float) -> str:
        """Type the one command that the guest knows."""
        assert "sysrq-trigger" in argv[-1]
        assert timeout_s > 0
        await self._machine.console.send(b"c")
        return ""


@dataclass
class TinyNode:
    """A node whose guest sends a hundred frames a second on each link and answers on its console."""

    name: str
    directory: Path
    kernel: Path
    switch: Switch
    history: History
    disks: tuple[DiskSpec, ...]
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    machine: Machine = field(init=False)

    @property
    def is_on(self) -> bool:
        """True while the QEMU process runs."""
        return self.machine.alive

    def spec(self) -> MachineSpec:
        """Its hardware."""
        nics = []
        for number, link in enumerate(LINKS):
            local, remote = self.switch.device_sockets(f"{self.name}.{link}")
            local.unlink(missing_ok=True)
            nics.append(NicSpec(link, f"52:54:00:00:00:{number:02x}", local, remote))
        boot = DirectBoot(self.kernel, "", self.kernel, "", self.kernel)
        return MachineSpec(
            name=self.name, socket_dir=self.directory, artefact_dir=self.directory, memory_mib=32, accel="tcg",
            boot=boot, disks=self.disks, nics=tuple(nics),
        )  # fmt: skip

    async def power_on(self) -> None:
        """Start a process, as a machine that is switched on."""
        await self.stack.aclose()
        self.machine = await self.stack.enter_async_context(Machine(self.spec(), self.history))
        vars(self.machine)["guest"] = TinyAgent(self.machine)
        await self.machine.cont()

    async def wait_booted(self, timeout_s: float) -> None:
        """Wait until the guest answers on its console."""
        mark = self.history.mark()

        async def answers() -> bool:
            if not self.is_on:
                raise MachineError(f"the tiny node {self.name} is off")
            await self.machine.console.send(b"p")
            lines = [entry for entry in self.history.since(mark) if entry.source == f"console.{self.name}"]
            return any(entry.fields["text"] == "pong" for entry in lines)

        await wait_until(answers, what="the tiny guest", timeout_s=min(timeout_s, BOOT_TIMEOUT_S), poll_s=0.05)


@dataclass
class TinyBed:
    """The parts of a bed that faults of a node use."""

    switch: Switch
    history: History
    directory: Path
    nodes: dict[str, TinyNode]

    @property
    def bed(self) -> Bed:
        """The same, as the faults want it."""
        return cast("Bed", self)


@asynccontextmanager
async def tiny_bed(disks: tuple[DiskSpec, ...] = ()) -> AsyncIterator[TinyBed]:
    """A bed whose node a is up."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
        directory = Path(name)
        kernel = directory / "guest"
        await run(["as", "--32", "-o", f"{kernel}.o", str(SOURCE)], timeout_s=30)
        link = ["ld", "-m", "elf_i386", "-Ttext", "0x100000", "--oformat", "binary", "-o", str(kernel), f"{kernel}.o"]
        await run(link, timeout_s=30)
        async with Switch(directory, SEGMENTS, history=history, log=directory / "log") as switch:
            node = TinyNode("a", directory, kernel, switch, history, disks)
            async with node.stack:
                await node.power_on()
                await wait_for_record(
                    history,
                    lambda entry: entry.source == "console.a" and entry.fields["text"] == "guest up",
                    what="the tiny guest",
                    timeout_s=BOOT_TIMEOUT_S,
                )
                yield TinyBed(switch, history, directory, {"a": node})
