"""Faults of one disk of a node: gone, failing, hanging, slow, full, rotten, lying, exchanged.

Each is ordered on the control socket of the disk server, and believed only when a client of its own, which reads the
disk as a machine would, or the machine itself sees it. While a hang is armed, nothing here sends a command to QEMU
that drains its disks (`stop`, `quit`, `savevm`, `device_del`): its main loop would be wedged with them.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from faults.fault import Proof, Trait
from testbed import pace
from testbed.bed import Bed
from testbed.disk.server import DiskIoError, NbdClient, NbdDisk
from testbed.errors import MachineError, UsageError
from testbed.wait import wait_until

SECTOR = 512
PATIENCE_S = 1.0  # a healthy disk server answers in 1 ms, on a busy host in some 10 ms
HEAL_TIMEOUT_S = 10.0
TRAFFIC_TIMEOUT_S = 10.0  # a node that is used writes at least each few seconds
COMPARED_BYTES = 2**20


def disks_of(bed: Bed, node: str) -> Mapping[str, NbdDisk]:
    """Return the disk servers of a node, by the name of the disk."""
    if node not in bed.nodes:
        raise UsageError(f"there is no node {node!r}; there are: {', '.join(sorted(bed.nodes))}")
    if not bed.nodes[node].storage:
        raise UsageError(f"node {node} has no disks yet; a fault of a disk needs a bed that is up")
    return bed.nodes[node].storage


def disk_of(bed: Bed, node: str, disk: str) -> NbdDisk:
    """Return one disk server of a node."""
    disks = disks_of(bed, node)
    if disk not in disks:
        raise UsageError(f"node {node} has no disk {disk!r}; there are: {', '.join(sorted(disks))}")
    return disks[disk]


async def try_read(disk: NbdDisk, offset: int = 0, *, timeout_s: float = PATIENCE_S) -> str:
    """Read one sector by a client of its own and return `ok`, the name of the error, `no answer` or `no disk`."""
    try:
        async with NbdClient(disk.socket, timeout_s=timeout_s) as client:
            await client.read(offset, SECTOR)
    except TimeoutError:
        return "no answer"
    except DiskIoError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    except OSError:
        return "no disk"
    return "ok"


async def try_rewrite(disk: NbdDisk, offset: int) -> str:
    """Write the first sector of a range as it is; where the fault is there, nothing is written."""
    try:
        async with NbdClient(disk.socket, timeout_s=PATIENCE_S) as client:
            await client.write(offset, await client.read(offset, SECTOR))
    except TimeoutError:
        return "no answer"
    except DiskIoError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "ok"


async def machine_failures(bed: Bed, node: str, disk: str) -> dict[str, int] | None:
    """What QEMU has counted for this disk, or None when the node is off or does not answer; never drains."""
    if not bed.nodes[node].is_on:
        return None
    try:
        answer = await bed.nodes[node].machine.execute("query-blockstats", timeout_s=PATIENCE_S)
    except MachineError:
        return None
    assert isinstance(answer, list), "query-blockstats answers with a list"
    for entry in answer:
        if f"/{disk}/" in str(entry.get("qdev", "")):
            wanted = ("failed_rd_operations", "failed_wr_operations", "failed_flush_operations", "wr_operations")
            return {name: int(entry["stats"][name]) for name in wanted}
    return None


class DiskFault:
    """What the faults of one disk share: the healthy state, the evidence, and a heal that is verified by a read."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("nbdkit",)

    def __init__(self, target: str, disk: str = "vdb", *, offset: int = 0) -> None:
        self.target = target
        self.disk = disk
        self.offset = offset
        self._injected_at_s: float | None = None
        self._before: dict[str, Any] = {}
        self._machine_before: dict[str, int] | None = None
        self._read_before = ""

    async def prepare(self, bed: Bed) -> None:
        """Note the counters and see that the disk answers."""
        disk = disk_of(bed, self.target, self.disk)
        self._before = await disk.state()
        self._machine_before = await machine_failures(bed, self.target, self.disk)
        self._read_before = await try_read(disk, self.offset)

    async def inject(self, bed: Bed) -> None:
        """Order it from the disk server."""
        await self.start(disk_of(bed, self.target, self.disk))
        self._injected_at_s = time.monotonic()

    async def start(self, disk: NbdDisk) -> None:
        """Order the fault; each fault has its own order."""
        raise NotImplementedError

    async def end(self, disk: NbdDisk) -> None:
        """Take the order back."""
        await disk.command("clear_rules")

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """Look from outside and say whether the fault is there; None when nobody can say."""
        raise NotImplementedError

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when a disk that was healthy before now does what the fault says."""
        disk = disk_of(bed, self.target, self.disk)
        evidence: dict[str, object] = {"read_before": self._read_before}
        seen = await self.see(disk, evidence)
        state = await disk.state()
        evidence["disk_server"] = {
            key: state[key] - self._before[key]
            for key, value in self._before.items()
            if type(value) in (int, float) and state[key] != value
        }
        evidence["machine_before"] = self._machine_before
        evidence["machine_after"] = await machine_failures(bed, self.target, self.disk)
        return Proof.of(seen if self._read_before == "ok" else None, self._injected_at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Take the order back and verify it by a successful read; raises WaitTimeout when the disk stays broken."""
        disk = disk_of(bed, self.target, self.disk)
        await self.end(disk)

        async def healthy() -> bool:
            return await self.is_healthy(disk)

        await wait_until(
            healthy, what=f"disk {self.disk} of node {self.target} to be healthy again", timeout_s=HEAL_TIMEOUT_S
        )

    async def is_healthy(self, disk: NbdDisk) -> bool:
        """Say whether a client can use the disk."""
        return await try_read(disk, self.offset) == "ok"


class DiskGone(DiskFault):
    """The disk is pulled out: each request fails at once until it is put back with its cache as it was."""

    name = "disk.gone"

    async def start(self, disk: NbdDisk) -> None:
        """Pull it."""
        await disk.command("gone")

    async def end(self, disk: NbdDisk) -> None:
        """Put it back."""
        await disk.command("back")

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """A read fails."""
        evidence["read_now"] = outcome = await try_read(disk)
        return outcome in ("ESHUTDOWN", "EIO", "no disk")


class DiskReadError(DiskFault):
    """Reads that touch one range of the disk fail with a medium error; writes work."""

    name = "disk.read_error"
    operations: ClassVar[tuple[str, ...]] = ("read",)

    def __init__(self, target: str, disk: str = "vdb", *, offset: int = 0, length: int = 2**62) -> None:
        super().__init__(target, disk, offset=offset)
        self.length = length

    async def start(self, disk: NbdDisk) -> None:
        """Arm the range."""
        for operation in self.operations:
            await disk.command("rule", operation=operation, effect="error", first=self.offset, length=self.length)

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """A read in the range fails."""
        evidence["read_now"] = outcome = await try_read(disk, self.offset)
        return outcome == "EIO"


class DiskMetadataError(DiskReadError):
    """Reads and writes of one small range, where a file system or DRBD keeps its metadata, fail; the rest works."""

    name = "disk.metadata_error"
    operations = ("read", "write")

    def __init__(self, target: str, disk: str, *, offset: int, length: int) -> None:
        super().__init__(target, disk, offset=offset, length=length)


class DiskWriteError(DiskFault):
    """Writes to the disk, or to one range of it, and its flushes fail with a medium error; reads work."""

    name = "disk.write_error"
    number: ClassVar[int] = errno.EIO
    operations: ClassVar[tuple[str, ...]] = ("write", "flush")

    def __init__(self, target: str, disk: str = "vdb", *, offset: int = 0, length: int = 2**62) -> None:
        super().__init__(target, disk, offset=offset)
        self.length = length

    async def start(self, disk: NbdDisk) -> None:
        """Arm the range."""
        for operation in self.operations:
            await disk.command(
                "rule", operation=operation, effect="error", first=self.offset, length=self.length, number=self.number
            )

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """A write in the range is refused with the right error."""
        evidence["write_now"] = outcome = await try_rewrite(disk, self.offset)
        return outcome == errno.errorcode[self.number]

    async def is_healthy(self, disk: NbdDisk) -> bool:
        """A write of what is there works again."""
        return await try_rewrite(disk, self.offset) == "ok"


class DiskFull(DiskWriteError):
    """The (thinly provisioned) disk has no space left: each write fails with "no space", reads and flushes work."""

    name = "disk.full"
    number = errno.ENOSPC
    operations = ("write",)


class DiskHang(DiskFault):
    """The disk hangs: it takes requests and answers none, and goes on where it was when it is healed."""

    name = "disk.hang"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.HANGS_DISK})

    async def start(self, disk: NbdDisk) -> None:
        """Hold it; the answer says that no request is at work any more."""
        await disk.command("hold")

    async def end(self, disk: NbdDisk) -> None:
        """Let it go on."""
        await disk.command("release")

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """A read gets no answer."""
        evidence["read_now"] = outcome = await try_read(disk, self.offset)
        return outcome == "no answer"


class DiskSlow(DiskFault):
    """Each request to the disk takes a fixed time longer."""

    name = "disk.slow"
    asks: ClassVar[int] = 3

    def __init__(self, target: str, disk: str = "vdb", *, delay_s: float = 0.1, seed: int = 0) -> None:
        super().__init__(target, disk)
        self.delay_s = delay_s
        self.seed = seed

    async def start(self, disk: NbdDisk) -> None:
        """Delay it."""
        await disk.command("slow", fixed_s=self.delay_s, seed=self.seed)

    async def end(self, disk: NbdDisk) -> None:
        """Stop the delay, also for requests that wait now."""
        await disk.command("fast")

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """None of some reads is answered faster than the delay."""
        evidence["reads_s"] = took_s = await self._times(disk)
        return min(took_s) >= 0.9 * self.delay_s

    async def _times(self, disk: NbdDisk) -> list[float]:
        took_s = []
        async with NbdClient(disk.socket, timeout_s=60.0) as client:
            for _ in range(self.asks):
                begun_s = time.monotonic()
                await client.read(0, SECTOR)
                took_s.append(round(time.monotonic() - begun_s, 4))
        return took_s

    async def is_healthy(self, disk: NbdDisk) -> bool:
        """A read is answered in less than the delay."""
        begun_s = time.monotonic()
        outcome = await try_read(disk)
        return outcome == "ok" and time.monotonic() - begun_s < max(self.delay_s, 0.05)


class DiskSlowHeavyTailed(DiskSlow):
    """Each request takes longer, most a little and some very much (a seeded Pareto tail), as dying disks do."""

    name = "disk.slow_heavy_tailed"
    asks = 20

    def __init__(
        self, target: str, disk: str = "vdb", *, delay_s: float = 0.02, alpha: float = 1.2, limit_s: float = 2.0,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(target, disk, delay_s=delay_s, seed=seed)
        self.alpha = alpha
        self.limit_s = limit_s

    async def start(self, disk: NbdDisk) -> None:
        """Delay it by chance."""
        await disk.command("slow", fixed_s=self.delay_s, alpha=self.alpha, limit_s=self.limit_s, seed=self.seed)

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """No read is faster than the least delay, and the slowest took at least twice that."""
        evidence["reads_s"] = took_s = await self._times(disk)
        return min(took_s) >= 0.9 * self.delay_s and max(took_s) >= 2 * self.delay_s


class DiskBitRot(DiskFault):
    """One bit in each sector of a range has flipped, and the disk reports no error."""

    name = "disk.bit_rot"

    def __init__(self, target: str, disk: str = "vdb", *, offset: int, length: int = SECTOR, seed: int = 0) -> None:
        super().__init__(target, disk, offset=offset)
        self.length = length
        self.seed = seed
        self._sound = b""

    async def _content(self, disk: NbdDisk) -> bytes:
        async with NbdClient(disk.socket) as client:
            return await client.read(self.offset, self.length)

    async def prepare(self, bed: Bed) -> None:
        """Note the sound content too."""
        await super().prepare(bed)
        self._sound = await self._content(disk_of(bed, self.target, self.disk))

    async def start(self, disk: NbdDisk) -> None:
        """Flip the bits."""
        await disk.command("rot", offset=self.offset, length=self.length, seed=self.seed)

    async def end(self, disk: NbdDisk) -> None:
        """Flip back what was not written since."""
        await disk.command("unrot")

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """Exactly one bit differs in each sector; another number means that the node wrote there meanwhile."""
        now = await self._content(disk)
        flipped = sum((old ^ new).bit_count() for old, new in zip(self._sound, now, strict=True))
        evidence["bits_flipped"], expected = flipped, -(-self.length // SECTOR)
        return {0: False, expected: True}.get(flipped)


class DiskLostWrite(DiskFault):
    """The disk acknowledges some writes and does not store them."""

    name = "disk.lost_write"
    effect: ClassVar[str] = "lost"
    counter: ClassVar[str] = "acknowledged_lost"

    def __init__(self, target: str, disk: str = "vdb", *, offset: int = 0, length: int = 2**62, count: int = 1) -> None:
        super().__init__(target, disk, offset=offset)
        self.length = length
        self.count = count

    async def start(self, disk: NbdDisk) -> None:
        """Arm the next writes of the range."""
        await disk.command(
            "rule", operation="write", effect=self.effect, first=self.offset, length=self.length, left=self.count
        )

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """A write of the node was acknowledged and not (wholly) stored; nobody can say when none came."""
        deadline_s = time.monotonic() + pace.scaled(TRAFFIC_TIMEOUT_S)
        while True:
            state = await disk.state()
            wrong = state[self.counter] - self._before[self.counter]
            if wrong or time.monotonic() > deadline_s:
                break
            if state["writes"] - self._before["writes"] > self.count and self.length == 2**62:
                break
            await asyncio.sleep(0.05)
        evidence[self.counter] = wrong
        evidence["writes"] = writes = state["writes"] - self._before["writes"]
        return bool(wrong) if wrong or writes else None


class DiskTornWrite(DiskLostWrite):
    """The disk acknowledges a write of several sectors and stores only the first half of them."""

    name = "disk.torn_write"
    effect = "torn"
    counter = "acknowledged_torn"


class DiskReturnAfterAbsence(DiskFault):
    """The disk is pulled, loses what its cache had not flushed, and comes back after a while as if nothing was."""

    name = "disk.return_after_absence"

    def __init__(self, target: str, disk: str = "vdb", *, absence_s: float = 5.0, seed: int = 0) -> None:
        super().__init__(target, disk)
        self.absence_s = absence_s
        self.seed = seed
        self._during = ""

    async def start(self, disk: NbdDisk) -> None:
        """Pull it, let its cache go, look, and put it back."""
        await disk.command("gone")
        try:
            await disk.command("cut", seed=self.seed, keep=0.5, tear=False, ends_clients=False)
            self._during = await try_read(disk)
            await asyncio.sleep(self.absence_s)
        finally:
            await disk.command("back")

    async def end(self, disk: NbdDisk) -> None:
        """It is back already."""
        await disk.command("back")

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """It was not there, and it is there again."""
        evidence["read_during"] = self._during
        evidence["read_now"] = outcome = await try_read(disk)
        return self._during == "ESHUTDOWN" and outcome == "ok"


class DiskWrong(DiskFault):
    """Another disk is in the slot: an older copy of this one, or a foreign one."""

    name = "disk.wrong_disk"

    def __init__(self, target: str, disk: str = "vdb", *, image: Path) -> None:
        super().__init__(target, disk)
        self.image = image
        self._differs_at = 0

    async def prepare(self, bed: Bed) -> None:
        """Find a place where the two disks differ; refuses a disk with the same content."""
        await super().prepare(bed)
        disk = disk_of(bed, self.target, self.disk)
        if not self.image.is_file():
            raise UsageError(f"there is no disk image {self.image} to put into the slot of {self.disk}")
        async with NbdClient(disk.socket) as client:
            for offset in range(0, disk.size, COMPARED_BYTES):
                count = min(COMPARED_BYTES, disk.size - offset)
                if await client.read(offset, count) != self._other(offset, count):
                    self._differs_at = offset
                    return
        raise UsageError(f"{self.image} has the same content as disk {self.disk} of node {self.target}")

    def _other(self, offset: int, count: int) -> bytes:
        with self.image.open("rb") as stream:
            stream.seek(offset)
            return stream.read(count).ljust(count, b"\0")

    async def start(self, disk: NbdDisk) -> None:
        """Exchange them."""
        await disk.command("swap", image=str(self.image))

    async def end(self, disk: NbdDisk) -> None:
        """Put the right one back."""
        await disk.command("swap", image=str(disk.image))

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """Where they differ, a client reads the other disk."""
        count = min(COMPARED_BYTES, disk.size - self._differs_at)
        async with NbdClient(disk.socket) as client:
            same = await client.read(self._differs_at, count) == self._other(self._differs_at, count)
        evidence["reads_as_the_other_disk"], evidence["compared_at"] = same, self._differs_at
        return same


FAULTS = (
    DiskGone, DiskReadError, DiskWriteError, DiskMetadataError, DiskFull, DiskHang, DiskSlow, DiskSlowHeavyTailed,
    DiskBitRot, DiskLostWrite, DiskTornWrite, DiskReturnAfterAbsence, DiskWrong,
)  # fmt: skip
