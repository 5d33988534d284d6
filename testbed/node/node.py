"""One node of the bed: its disks, its current QEMU process and the product's published commands.

A node survives its QEMU: after a kill `start` makes a new process on the same disks, as a machine that is switched on
again. The disk servers live as long as the node, so what a killed QEMU had written is there for the next one. This
module must never look at the product in any other way than through the contract of the image manifest.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.disk.server import NbdDisk
from testbed.errors import GuestCommandError, ImageError, MachineError, WaitTimeout, first_error
from testbed.history import History
from testbed.node.image import Image
from testbed.node.machine import Machine
from testbed.node.spec import MachineSpec, NbdDiskSpec, NicSpec
from testbed.process import tail
from testbed.switch.client import Switch
from testbed.topology import DISK_NAMES, Topology
from testbed.wait import wait_until

ROOT_DISK = "vda"
DATA_DISK_BYTES = 512 << 20
DOCUMENT_DIR = "/run"
STATUS_TIMEOUT_S = 30.0
BOOT_POLL_S = 0.25
AGENT_TIMEOUT_S = 5.0  # then it is looked whether QEMU still runs, and the agent is asked again


@dataclass(frozen=True)
class Place:
    """Where the files of a node go."""

    sockets: Path
    artefacts: Path
    disks: Path


class Node:
    """One node; `close` ends whatever runs. `storage` holds its disk servers by the name of the disk."""

    def __init__(
        self, name: str, image: Image, place: Place, switch: Switch, history: History, *, accel: str, topology: Topology
    ) -> None:
        self.name = name
        self.image = image
        self._place = place
        self._switch = switch
        self._history = history
        self._accel = accel
        self._topology = topology
        self.storage: dict[str, NbdDisk] = {}
        self._machine: Machine | None = None
        self._machine_stack = AsyncExitStack()
        self._disk_stack = AsyncExitStack()

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
        """The file of one of the node's disks in this run; the root's holds only what differs from the image's root."""
        return self._place.disks / f"{self.name}-{name}.raw"

    @property
    def journal_log(self) -> Path:
        """Where everything is kept that came of the node's journal, over all its processes."""
        return self._place.artefacts / f"journal-{self.name}.jsonl"

    def spec(self, incoming: Path | None = None) -> MachineSpec:
        """The node's hardware; `make_disks` comes first."""
        nics = []
        for link, mac in self._topology.node_macs[self.name].items():
            local, remote = self._switch.device_sockets(f"{self.name}.{link}")
            nics.append(NicSpec(link, mac, local, remote))
        return MachineSpec(
            name=self.name,
            socket_dir=self._place.sockets,
            artefact_dir=self._place.artefacts,
            memory_mib=self.image.memory_mib_for(self._topology),
            accel=self._accel,
            boot=self.image.boot,
            disks=tuple(NbdDiskSpec(name, self.storage[name].socket) for name in DISK_NAMES),
            nics=tuple(nics),
            incoming=incoming,
            watchdog=True,
            bmc=True,
            processors=self._topology.processors,
        )

    async def make_disks(self, saved: Mapping[str, Path] | None = None) -> None:
        """Make fresh disks behind their servers, blank but for the root, or with the content of saved ones."""
        await self.close()
        if not self.image.root.exists():
            raise ImageError(f"The root image {self.image.root} is gone; no disk was made. Build the image again.")
        for directory in (self._place.disks, self._place.artefacts):
            directory.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                for name in DISK_NAMES:
                    tasks.create_task(self._make_disk(name, None if saved is None else saved[name]))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    async def _make_disk(self, name: str, saved: Path | None) -> None:
        path = self.disk(name)
        for old in (path, path.with_name(path.name + ".map")):
            old.unlink(missing_ok=True)
        backing = self.image.root if name == ROOT_DISK else None
        server = NbdDisk(
            f"{self.name}-{name}", path, DATA_DISK_BYTES if backing is None else backing.stat().st_size,
            sockets=self._place.sockets, log=self._place.artefacts / f"disk-{self.name}-{name}.log", backing=backing,
        )  # fmt: skip
        self.storage[name] = await self._disk_stack.enter_async_context(server)
        if saved is not None:
            await server.load(saved)

    async def start(self, incoming: Path | None = None) -> None:
        """Make a QEMU process; it stays paused until `machine.cont()`."""
        await self._end_machine()
        for port in self._topology.ports(self.name):
            self._switch.device_sockets(port)[0].unlink(missing_ok=True)
        self._machine = await self._machine_stack.enter_async_context(Machine(self.spec(incoming), self._history))

    async def power_on(self) -> None:
        """Start the node from its disks and let it run."""
        await self.start()
        await self.machine.cont()

    async def close(self) -> None:
        """End the node's process, if there is one, and its disk servers."""
        try:
            await self._end_machine()
        finally:
            self.storage.clear()
            stack, self._disk_stack = self._disk_stack, AsyncExitStack()
            await stack.aclose()

    async def _end_machine(self) -> None:
        self._machine = None
        stack, self._machine_stack = self._machine_stack, AsyncExitStack()
        await stack.aclose()

    async def status(self, *, timeout_s: float = STATUS_TIMEOUT_S) -> dict[str, Any]:
        """Ask the product on this node for its status document, over the control port if the image has one.

        Raises GuestCommandError with the reason when the daemon is not there, hangs or cannot say.
        """
        question = self.image.questions.get("status")
        if question is not None:
            return await self.machine.control.ask(question, timeout_s=timeout_s)
        text = await self.machine.guest.must_succeed(list(self.image.product.status), timeout_s=timeout_s)
        try:
            document: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise GuestCommandError(
                f"The product on node {self.name} answered its status with no JSON: {text[:200]!r}"
            ) from error
        return document

    async def keep_inputs(self) -> None:
        """Copy what the product's daemon was told into the artefacts, beside the journal that it can replay.

        Raises:
            GuestCommandError: the node refused.
        """
        path = self.image.product.inputs
        if not path or not self.is_on:
            return
        for name in (path + ".1", path):  # what was rotated away, if anything, comes first
            found = await self.machine.guest.run(["test", "-e", name], timeout_s=AGENT_TIMEOUT_S)
            if found.returncode == 0:
                kept = self.journal_log.with_name(f"inputs-{self.name}.jsonl{name.removeprefix(path)}")
                kept.write_bytes(await self.machine.guest.read_file(name))

    async def wait_booted(self, timeout_s: float) -> None:
        """Wait until the product on this node answers; raises MachineError when QEMU ends before."""

        async def answers() -> dict[str, Any]:
            if not self.is_on:
                raise MachineError(f"Node {self.name} cannot boot: {self._why_off()}")
            await self.machine.guest.connect(AGENT_TIMEOUT_S)
            return await self.status()

        await wait_until(
            answers,
            what=f"node {self.name} booted",
            timeout_s=timeout_s,
            poll_s=BOOT_POLL_S,
            tolerate=(GuestCommandError, WaitTimeout),
        )

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
