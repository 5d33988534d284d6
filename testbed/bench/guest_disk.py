"""Measures sequential writes of one emulated node: a disk behind the disk server against a plain qcow2 file.

Both disks belong to the same running node, and its own `dd` writes them in turns, so that whatever slows the guest
slows both. The first pass over a region (nothing is allocated yet) is kept apart from later ones. The plain file's
flushes stay in the host's page cache (`cache=unsafe`), because the disk server never syncs its image either: the data
paths are compared, not the host's disk. It must never be used as a test: it measures, others judge.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import NamedTuple

from testbed.bed import Bed
from testbed.disk.server import NbdDisk
from testbed.errors import GuestCommandError, MachineError, WaitTimeout
from testbed.node.agent import GuestAgent
from testbed.node.machine import Machine
from testbed.node.spec import DiskSpec, NbdDiskSpec
from testbed.process import run
from testbed.topology import DISK_NAMES
from testbed.wait import wait_until

MIB = 2**20
PASS_MIB = 128
BOOT_TIMEOUT_S = 240.0
PASS_TIMEOUT_S = 120.0
SERVER, PLAIN = "server", "plain"
DEVICES = {way: f"/dev/vd{chr(ord('a') + len(DISK_NAMES) + place)}" for place, way in enumerate((SERVER, PLAIN))}
_COPIED = re.compile(r"^(\d+) bytes .*copied, ([0-9.e+-]+) s", re.MULTILINE)


class Kind(NamedTuple):
    """One way to write: requests of this size, past the guest's page cache or through it with a flush at the end."""

    name: str
    block_bytes: int
    flag: str


KINDS = (
    Kind("1 MiB direct", MIB, "oflag=direct"),
    Kind("64 KiB direct", 64 * 1024, "oflag=direct"),
    Kind("1 MiB with fsync", MIB, "conv=fsync"),
    Kind("64 KiB with fsync", 64 * 1024, "conv=fsync"),
)


@dataclass(frozen=True)
class Pass:
    """One region written once from its begin to its end."""

    kind: str
    way: str
    is_fresh: bool
    bytes_per_s: float


@dataclass(frozen=True)
class GuestDiskBench:
    """The median speeds of both ways, in bytes a second."""

    server: float
    plain: float

    @property
    def ratio(self) -> float:
        """How much of the speed of a plain file the disk server reaches."""
        return self.server / self.plain


def order(turn: int) -> list[tuple[str, bool]]:
    """Who writes when: both fresh, then both ways twice more; who begins changes from turn to turn."""
    first, second = (SERVER, PLAIN) if turn % 2 == 0 else (PLAIN, SERVER)
    return [(first, True), (second, True), *((way, False) for way in (second, first, first, second))]


def dd_argv(device: str, kind: Kind, at_mib: int, mib: int) -> list[str]:
    """The command that writes so many MiB of zeros from a place on."""
    blocks = MIB // kind.block_bytes
    return [
        "env", "LC_ALL=C", "dd", "if=/dev/zero", f"of={device}", f"bs={kind.block_bytes}", f"count={mib * blocks}",
        f"seek={at_mib * blocks}", kind.flag,
    ]  # fmt: skip


def speed(words: str, expected_bytes: int) -> float:
    """Bytes a second of what dd said at its end; raises GuestCommandError when it says nothing or wrote less."""
    found = _COPIED.search(words)
    if found is None or int(found[1]) != expected_bytes or float(found[2]) <= 0:
        raise GuestCommandError(
            f"dd did not say that it wrote {expected_bytes} bytes, so nothing was measured: {words}"
        )
    return expected_bytes / float(found[2])


def compare(passes: Sequence[Pass]) -> dict[tuple[str, bool], GuestDiskBench]:
    """The medians by kind and by whether the region was fresh; only what was written both ways."""
    found = {}
    for kind, is_fresh in dict.fromkeys((item.kind, item.is_fresh) for item in passes):
        alike = [item for item in passes if (item.kind, item.is_fresh) == (kind, is_fresh)]
        speeds = {way: [item.bytes_per_s for item in alike if item.way == way] for way in (SERVER, PLAIN)}
        if all(speeds.values()):
            medians = {way: statistics.median(values) for way, values in speeds.items()}
            found[kind, is_fresh] = GuestDiskBench(medians[SERVER], medians[PLAIN])
    return found


async def measure(bed: Bed, *, turn: int = 0, mib: int = PASS_MIB) -> list[Pass]:
    """Boot one node of a cold bed with two more disks and let it write both in each way; the node is off afterwards."""
    node = bed.nodes["a"]
    size_mib = mib * (len(KINDS) + 1)  # the last region is for warming up
    directory = bed.options.artefacts / "disks"
    await node.make_disks()
    plain, image = directory / "bench.qcow2", directory / "bench.raw"
    try:
        await run(["qemu-img", "create", "-q", "-f", "qcow2", str(plain), f"{size_mib}M"], timeout_s=PASS_TIMEOUT_S)
        async with AsyncExitStack() as stack:
            log = bed.options.artefacts / "disk-bench.log"
            server = await stack.enter_async_context(
                NbdDisk("bench", image, size_mib * MIB, sockets=bed.sockets, log=log)
            )
            spec = node.spec()
            more = (NbdDiskSpec("bench-server", server.socket), DiskSpec("bench-plain", plain, cache="unsafe"))
            machine = await stack.enter_async_context(Machine(replace(spec, disks=(*spec.disks, *more)), bed.history))
            await machine.cont()
            await _booted(machine.guest, bed.image.product.status)
            passes = await _passes(machine.guest, turn, mib)
            written = (await server.state())["bytes_written"]
            expected = sum(item.way == SERVER for item in passes) * mib * MIB
            if written < expected or plain.stat().st_size < len(KINDS) * mib * MIB:
                raise MachineError(
                    f"Only {written} of {expected} bytes came to the disk server, and the plain file has "
                    f"{plain.stat().st_size}: the guest wrote elsewhere, so nothing was measured."
                )
        return passes
    finally:
        await node.close()
        for path in (plain, image):
            path.unlink(missing_ok=True)


async def _booted(guest: GuestAgent, status: tuple[str, ...]) -> None:
    """Wait for the agent and the product, so that the boot is over when the first pass begins."""
    await guest.connect(BOOT_TIMEOUT_S)
    await wait_until(
        lambda: guest.must_succeed(list(status), timeout_s=30.0),
        what="the product on the node to answer",
        timeout_s=BOOT_TIMEOUT_S,
        poll_s=0.5,
        tolerate=(GuestCommandError, WaitTimeout),
    )


async def _passes(guest: GuestAgent, turn: int, mib: int) -> list[Pass]:
    passes = []
    for device in DEVICES.values():
        await _write(guest, device, KINDS[0], len(KINDS) * mib, mib)
    for place, kind in enumerate(KINDS):
        for way, is_fresh in order(turn + place):
            bytes_per_s = await _write(guest, DEVICES[way], kind, place * mib, mib)
            passes.append(Pass(kind.name, way, is_fresh, bytes_per_s))
    return passes


async def _write(guest: GuestAgent, device: str, kind: Kind, at_mib: int, mib: int) -> float:
    argv = dd_argv(device, kind, at_mib, mib)
    done = await guest.run(argv, timeout_s=PASS_TIMEOUT_S)
    if done.returncode != 0:
        raise GuestCommandError(f"{' '.join(argv)} failed with code {done.returncode}: {done.stderr.strip()}")
    return speed(done.stderr, mib * MIB)
