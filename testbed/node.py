"""One node of the bed: its disks, its current QEMU process and the product's published commands.

A node survives its QEMU: after a kill `start` makes a new process on the same disks, as a machine that is switched on
again. This module must never look at the product in any other way than through the contract of the image manifest.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import GuestCommandError, MachineError, WaitTimeout
from testbed.history import History
from testbed.image import Image
from testbed.machine import DiskSpec, Machine, MachineSpec, NicSpec
from testbed.process import run, tail
from testbed.site import NODE_MACS, PRIVATE, PUBLIC
from testbed.switch_client import Switch
from testbed.wait import wait_until

DISK_NAMES = ("vda", "vdb", "vdc")
DATA_DISK_MIB = 512
DOCUMENT_DIR = "/run"
STATUS_TIMEOUT_S = 30.0
IMG_TIMEOUT_S = 30.0
BOOT_POLL_S = 0.25
AGENT_TIMEOUT_S = 5.0  # then it is looked whether QEMU still runs, and the agent is asked again


@dataclass(frozen=True)
class Place:
    """Where the files of a node go."""

    sockets: Path
    artefacts: Path
    disks: Path


class Node:
    """One node; `close` ends whatever runs."""

    def __init__(self, name: str, image: Image, place: Place, switch: Switch, history: History, *, accel: str) -> None:
        self.name = name
        self.image = image
        self._place = place
        self._switch = switch
        self._history = history
        self._accel = accel
        self._machine: Machine | None = None
        self._stack = AsyncExitStack()

    @property
    def machine(self) -> Machine:
        """The current QEMU process; raises MachineError when the node is off."""
        if self._machine is None:
            raise MachineError(f"Node {self.name} is off; start it first.")
        return self._machine

    @property
    def is_on(self) -> bool:
        """True while a QEMU process of this node runs."""
        return self._machine is not None and self._machine.alive

    def disk(self, name: str) -> Path:
        """The image file of one of the node's disks in this run."""
        return self._place.disks / f"{self.name}-{name}.qcow2"

    def spec(self, incoming: Path | None = None) -> MachineSpec:
        """The node's hardware."""
        nics = []
        for link in (PRIVATE, PUBLIC):
            local, remote = self._switch.device_sockets(f"{self.name}.{link}")
            nics.append(NicSpec(link, NODE_MACS[self.name][link], local, remote))
        return MachineSpec(
            name=self.name,
            socket_dir=self._place.sockets,
            artefact_dir=self._place.artefacts,
            memory_mib=self.image.memory_mib,
            accel=self._accel,
            boot=self.image.boot,
            disks=tuple(DiskSpec(name, self.disk(name)) for name in DISK_NAMES),
            nics=tuple(nics),
            incoming=incoming,
            bmc=True,
        )

    async def make_disks(self, backing: dict[str, Path] | None = None) -> None:
        """Make fresh disks: blank data disks and a copy-on-write root, or copy-on-write layers over a snapshot's."""
        self._place.disks.mkdir(parents=True, exist_ok=True)
        for name in DISK_NAMES:
            path = self.disk(name)
            path.unlink(missing_ok=True)
            argv = ["qemu-img", "create", "-q", "-f", "qcow2"]
            if backing is not None:
                argv += ["-F", "qcow2", "-b", str(backing[name]), str(path)]
            elif name == "vda":
                argv += ["-F", "raw", "-b", str(self.image.root), str(path)]
            else:
                argv += [str(path), f"{DATA_DISK_MIB}M"]
            await run(argv, timeout_s=IMG_TIMEOUT_S)

    async def start(self, incoming: Path | None = None) -> None:
        """Make a QEMU process; it stays paused until `machine.cont()`."""
        if self._machine is not None:
            await self.close()
        for link in (PRIVATE, PUBLIC):
            self._switch.device_sockets(f"{self.name}.{link}")[0].unlink(missing_ok=True)
        self._machine = await self._stack.enter_async_context(Machine(self.spec(incoming), self._history))

    async def power_on(self) -> None:
        """Start the node from its disks and let it run."""
        await self.start()
        await self.machine.cont()

    async def close(self) -> None:
        """End the node's process, if there is one."""
        self._machine = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def status(self, *, timeout_s: float = STATUS_TIMEOUT_S) -> dict[str, Any]:
        """Ask the product on this node for its status document."""
        text = await self.machine.guest.must_succeed(list(self.image.product.status), timeout_s=timeout_s)
        try:
            document: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise GuestCommandError(
                f"The product on node {self.name} answered its status with no JSON: {text[:200]!r}"
            ) from error
        return document

    async def wait_booted(self, timeout_s: float) -> None:
        """Wait until the product on this node answers; raises MachineError when QEMU ends before."""

        async def answers() -> dict[str, Any]:
            if not self.is_on:
                raise MachineError(f"Node {self.name} cannot boot: {self._why_off()}")
            await self.machine.guest.connect(AGENT_TIMEOUT_S)
            return await self.status()

        await wait_until(
            answers, what=f"node {self.name} booted", timeout_s=timeout_s, poll_s=BOOT_POLL_S,
            tolerate=(GuestCommandError, WaitTimeout),
        )  # fmt: skip

    def _why_off(self) -> str:
        if self._machine is None:
            return "it was not started."
        log = self._machine.spec.qemu_log
        return f"its QEMU has ended. The last words ({log.name}):\n{tail(log)}"

    async def command(self, template: tuple[str, ...], document: dict[str, Any], *, timeout_s: float) -> None:
        """Give the product a document by one of its published commands."""
        path = f"{DOCUMENT_DIR}/{template[1]}.json"
        guest = self.machine.guest
        await guest.write_file(path, json.dumps(document).encode())
        argv = [word.format(node=self.name, file=path) for word in template]
        await guest.must_succeed(argv, timeout_s=timeout_s)
