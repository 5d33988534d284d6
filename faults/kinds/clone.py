"""A disk is an older copy of itself: somebody took a copy of it while its node ran, and puts that in later.

The copy is of one instant, as after a power cut in which everything that the disk had taken was kept. What was written
since is gone for good: healing gives nothing back. This module must never exchange a disk under a running node.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from pathlib import Path

from faults.kinds.disk import COMPARED_BYTES, DiskFault, disk_of
from testbed.bed import Bed
from testbed.disk.server import NbdClient, NbdDisk
from testbed.errors import UsageError


class DiskSetBack(DiskFault):
    """The disk is replaced by an older copy of itself, of the moment from which its step counts; its node is off."""

    name = "disk.set_back"

    def __init__(self, target: str, disk: str = "vdb") -> None:
        super().__init__(target, disk)
        self._copy: Path | None = None
        self._copied_at_s = 0.0
        self._differs_at: int | None = None
        self._newer = b""  # what the disk had there, as a digest

    async def prepare(self, bed: Bed) -> None:
        """Take the copy."""
        await super().prepare(bed)
        self._copy = Path(tempfile.mkdtemp(prefix="disk-set-back-"))
        await disk_of(bed, self.target, self.disk).save(self._copy)
        self._copied_at_s = time.monotonic()

    async def inject(self, bed: Bed) -> None:
        """Put it in; refuses while the node is on."""
        if bed.nodes[self.target].is_on:
            raise UsageError(f"node {self.target} is on; a disk is exchanged while its node is off")
        await super().inject(bed)

    async def start(self, disk: NbdDisk) -> None:
        """Exchange them, and find the first place where they differ."""
        assert self._copy is not None, "prepared"
        before = await _digests(disk)
        await disk.load(self._copy)
        after = await _digests(disk)
        pairs = enumerate(zip(before, after, strict=True))
        self._differs_at = next((number for number, (new, old) in pairs if new != old), None)
        if self._differs_at is not None:
            self._newer = before[self._differs_at]

    async def see(self, disk: NbdDisk, evidence: dict[str, object]) -> bool | None:
        """A client reads something else than before the exchange; nobody can say where nothing was written since."""
        injected_s = self._injected_at_s or time.monotonic()
        evidence |= {"older_by_s": round(injected_s - self._copied_at_s, 3), "differs_at_mib": self._differs_at}
        if self._differs_at is None:
            return None
        return await _digest(disk, self._differs_at) != self._newer

    async def end(self, disk: NbdDisk) -> None:
        """What was written since the copy is gone; nothing can be given back."""

    async def remove_instruments(self, bed: Bed) -> None:
        """Throw the copy away."""
        del bed
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)


async def _digests(disk: NbdDisk) -> list[bytes]:
    """What a client reads on the whole disk, piece by piece, each as a digest."""
    return [await _digest(disk, number) for number in range(-(-disk.size // COMPARED_BYTES))]


async def _digest(disk: NbdDisk, number: int) -> bytes:
    offset = number * COMPARED_BYTES
    async with NbdClient(disk.socket) as client:
        piece = await client.read(offset, min(COMPARED_BYTES, disk.size - offset))
    return hashlib.sha256(piece).digest()


FAULTS = (DiskSetBack,)
