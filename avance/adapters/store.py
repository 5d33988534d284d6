"""The durable record: two copies on disk, written one after the other (avance/twice.py).

The disk may hang: writing happens in a thread with a deadline, and a write that missed it has an unknown outcome. A
new write never begins before that one has ended, so an old record can never come late and replace a newer one. Where
the file system is read-only, as the kernel has it when its disk is dead, no copy is touched: the save has FAILED, and
nobody has to doubt what is there.
"""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

from avance.core.model import Outcome, Record
from avance.core.results import Done
from avance.twice import TwoCopies
from avance.wire import record as wire

STATE_DIR = Path("/var/lib/avance")
_NAMES = ("record.a", "record.b")
_PROBE = "record.probe"
_DEADLINE_S = 4.0
_LOST = (
    "this node does not know which epoch is valid and starts no VM. Put a good copy back, or install the release that "
    "wrote them, or replace the node"
)


class _ReadOnly(OSError):
    """The file system takes nothing, so that nothing was begun."""


class RecordStore:
    """The port `Store` on two files of one directory."""

    def __init__(self, directory: Path, dilation: float) -> None:
        self._directory = directory
        self._copies = TwoCopies((directory / _NAMES[0], directory / _NAMES[1]), wire.decode, _LOST)
        self._deadline_s = _DEADLINE_S * dilation
        self._seq = 0
        self._writing = asyncio.Lock()
        self._late: asyncio.Future[None] | None = None

    @property
    def problem(self) -> str:
        """What is wrong with one of the copies while the other one is good; "" while both are."""
        return self._copies.problem

    @property
    def found(self) -> str:
        """What was wrong with one of the copies at the start, and is mended."""
        return self._copies.found

    def load(self) -> Record:
        """Return the newest valid copy; a node that never had one starts with an empty record.

        Raises:
            StoreError: there are copies, but none that can be used: this node must not start VMs.
        """
        self._seq, record = self._copies.load(mend=True) or (0, Record())
        return record

    async def save(self, record: Record) -> Done:
        """Make the record durable in both copies."""
        async with self._writing:
            if self._late is not None:
                await asyncio.wait({self._late}, timeout=self._deadline_s)
                if not self._late.done():
                    return Done(Outcome.UNKNOWN, "an earlier write still hangs, this one was not begun")
                self._late.exception()  # its outcome was reported as unknown already
                self._late = None
            self._seq += 1
            raw = wire.encode(record, self._seq)
            write = asyncio.get_running_loop().run_in_executor(None, self._save, raw)
            await asyncio.wait({write}, timeout=self._deadline_s)
            if not write.done():
                self._late = write
                return Done(Outcome.UNKNOWN, f"the disk did not answer within {self._deadline_s:g} s")
            error = write.exception()
            if isinstance(error, _ReadOnly):
                return Done(Outcome.FAILED, f"{self._directory}: {error.strerror}; nothing was written")
            if isinstance(error, OSError):
                return Done(Outcome.UNKNOWN, f"{self._directory}: {error}")
            write.result()
            return Done(Outcome.OK)

    def _save(self, raw: bytes) -> None:
        """Write the copies, but not where no file can be made: that is known before anything is touched."""
        probe = self._directory / _PROBE
        try:
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            probe.unlink()
        except OSError as error:
            if error.errno == errno.EROFS:
                raise _ReadOnly(errno.EROFS, os.strerror(errno.EROFS)) from error
        self._copies.save(raw)
