"""What is in the places of the data disks: a half of a mirror, a blank disk, something foreign, or no answer.

It only reads, past every cache, and a disk that hangs holds nobody up: it counts as absent until it has answered.
"""

from __future__ import annotations

import asyncio
import mmap
import os

from avance.adapters.process import run
from avance.core.halves import Found, Half, Slots
from avance.core.model import Outcome
from avance.late import in_time
from avance.wire import md

_READ_S = 4.0  # a disk that takes longer counts as absent
_TOOL_S = 60.0
_NO_SIGNATURE, _SEVERAL = 2, 8  # blkid(8): it looked and found none, or more than one; with other codes it did not look


class DiskReader:
    """Looks at the same few disks again and again."""

    def __init__(self, disks: tuple[str, ...]) -> None:
        self._disks = disks
        self._reading: set[str] = set()

    async def slots(self) -> Slots:
        """Look at all of them at once."""
        found = await asyncio.gather(*(self.read(disk) for disk in self._disks))
        return dict(zip(self._disks, found, strict=True))

    async def read(self, disk: str) -> Half | Found:
        """Look at one of them; blank is one whose start is zero and in which blkid knows no signature."""
        if disk in self._reading:
            return Found.ABSENT  # an earlier read of it still hangs
        self._reading.add(disk)
        try:
            half, zero = await in_time(lambda: self._examine(disk), _READ_S)
        except (OSError, TimeoutError):
            return Found.ABSENT
        if half is not None:
            return half
        if not zero:
            return Found.FOREIGN
        known = await run(["blkid", "-p", disk], timeout_s=_TOOL_S)
        if known.outcome is Outcome.OK or known.code == _SEVERAL:
            return Found.FOREIGN
        return Found.BLANK if known.code == _NO_SIGNATURE else Found.ABSENT

    def _examine(self, disk: str) -> tuple[Half | None, bool]:
        try:
            half = md.parse_superblock(_direct(disk, md.SUPERBLOCK_AT, md.SUPERBLOCK_BYTES))
            return half, half is None and not any(_direct(disk, 0, md.LABEL_BYTES))
        finally:
            self._reading.discard(disk)


def _direct(disk: str, offset: int, count: int) -> bytes:
    """Read from the disk itself, past every cache: O_DIRECT wants an aligned buffer."""
    descriptor = os.open(disk, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, count) as buffer:
            got = os.preadv(descriptor, [buffer], offset)
            return bytes(buffer[:got])
    finally:
        os.close(descriptor)
