"""A real power cut of nodes: machines off at one instant, and of what their disks had not flushed a part is lost.

The order makes it real: all disks stop first, so that nothing on its way to them becomes durable; then QEMU is killed;
then each disk loses a seeded part of its cache; then the disks go on, and refuse for ever what the dead QEMU had still
sent. It must never leave a disk holding, whatever failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

from testbed.disk.server import NbdDisk
from testbed.errors import TestbedError, first_error


class _Killable(Protocol):
    async def kill(self) -> None: ...


class PoweredNode(Protocol):
    """What is needed of a node: its name, its QEMU and its disk servers by the name of the disk."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def machine(self) -> _Killable:
        """Its QEMU."""

    @property
    def storage(self) -> Mapping[str, NbdDisk]:
        """Its disks."""


def disk_seed(seed: int, node: str, disk: str) -> int:
    """The seed of one disk's loss, so that the disks of a RAID lose different writes."""
    return Random(f"{seed}/{node}/{disk}").getrandbits(32)


async def cut_power(nodes: Sequence[PoweredNode], *, seed: int, keep: float, tear: bool) -> float:
    """Cut the power of these nodes at one instant and return its time; their disks answer again afterwards.

    Of what was not flushed each write is kept with the probability `keep`; with `tear` one more may be torn.
    """
    disks = {(node.name, name): disk for node in nodes for name, disk in node.storage.items()}
    try:
        async with asyncio.TaskGroup() as tasks:
            for disk in disks.values():
                tasks.create_task(disk.command("hold"))
        at_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for node in nodes:
                tasks.create_task(node.machine.kill())
        async with asyncio.TaskGroup() as tasks:
            for (node_name, name), disk in disks.items():
                seed_of_disk = disk_seed(seed, node_name, name)
                tasks.create_task(disk.command("cut", seed=seed_of_disk, keep=keep, tear=tear))
    except BaseExceptionGroup as errors:
        names = ", ".join(node.name for node in nodes)
        raise TestbedError(f"The power of {names} was not cut: {first_error(errors)}") from errors
    finally:
        for disk in disks.values():
            if disk.alive:
                await disk.command("release")
    return at_s
