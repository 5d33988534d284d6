"""The workload's log, read from a disk instead of from the service: which ids are there, and which boot wrote them.

The format is that of images/workload/record.h: one record in each sector from the first one on, and the log ends at
the first sector that holds no valid record, as it does for the workload itself. A record behind that end is in nobody's
reach and is counted apart. It must never take what is no log for an empty one.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import groupby

from testbed.replica.compare import CHUNK_BYTES, Reader
from testbed.replica.layout import ReplicaError

RECORD_BYTES = 512
MAGIC = b"WORKLOG1"
_HEAD = struct.Struct("<8sQ48s24s")
_CHECKSUM_AT = RECORD_BYTES - 4


@dataclass(frozen=True)
class Boot:
    """Records in a row that one boot of the VM wrote."""

    boot: str
    first: int
    count: int


@dataclass(frozen=True)
class Log:
    """What a log holds; `boots` are its writers in order, `damage` says why it ends where it should not, if so."""

    ids: tuple[str, ...]
    boots: tuple[Boot, ...]
    unreachable: int = 0
    damage: str = ""

    @property
    def returning_boots(self) -> tuple[str, ...]:
        """Boots that wrote again after another one had written: two VMs wrote to this disk at the same time.

        The last run does not count: it may be what a crashed boot had written ahead and nobody has overwritten yet.
        """
        seen: set[str] = set()
        again: list[str] = []
        for run in self.boots[:-1]:
            if run.boot in seen:
                again.append(run.boot)
            seen.add(run.boot)
        return tuple(dict.fromkeys(again))


def make_record(index: int, write_id: str, boot: str) -> bytes:
    """The sector that the workload would write; for planted violations."""
    body = _HEAD.pack(MAGIC, index, write_id.encode("ascii"), boot.encode("ascii")).ljust(_CHECKSUM_AT, b"\0")
    return body + struct.pack("<I", zlib.crc32(body))


def parse_record(sector: bytes, index: int) -> tuple[str, str] | None:
    """(id, boot) of a valid record with this index, or None."""
    magic, found, write_id, boot = _HEAD.unpack_from(sector)
    if magic != MAGIC or found != index:
        return None
    if struct.unpack_from("<I", sector, _CHECKSUM_AT)[0] != zlib.crc32(sector[:_CHECKSUM_AT]):
        return None
    return _text(write_id), _text(boot)


async def read_log(disk: Reader, size: int, name: str) -> Log:
    """Read the log at the front of a disk of this size; raises ReplicaError when there is none."""
    records: list[tuple[str, str]] = []
    unreachable, is_over, damage = 0, False, ""
    for offset in range(0, size - size % RECORD_BYTES, CHUNK_BYTES):
        chunk = await disk.read(offset, min(CHUNK_BYTES, size - size % RECORD_BYTES - offset))
        at = 0
        while not is_over and at < len(chunk):
            sector = chunk[at : at + RECORD_BYTES]
            record = parse_record(sector, len(records))
            if record is None:
                is_over, damage = True, _damage(sector, len(records), name)
                break
            records.append(record)
            at += RECORD_BYTES
        unreachable += _records_in(chunk, at, offset)
    if damage and not records and not unreachable:
        raise ReplicaError(damage)
    if unreachable and not damage:
        damage = f"{name}: the log ends at record {len(records)}, but {unreachable} records stand behind its end"
    runs = [(boot, list(group)) for boot, group in groupby(range(len(records)), key=lambda index: records[index][1])]
    return Log(
        ids=tuple(write_id for write_id, _ in records),
        boots=tuple(Boot(boot, indexes[0], len(indexes)) for boot, indexes in runs),
        unreachable=unreachable,
        damage=damage,
    )


def _records_in(chunk: bytes, at: int, offset: int) -> int:
    """Valid records in the rest of a chunk; the search for the magic skips what is empty at the speed of memory."""
    count = 0
    while (at := chunk.find(MAGIC, at)) >= 0:
        if at % RECORD_BYTES == 0:
            index = (offset + at) // RECORD_BYTES
            count += parse_record(chunk[at : at + RECORD_BYTES], index) is not None
        at += len(MAGIC)
    return count


def _damage(sector: bytes, index: int, name: str) -> str:
    """Why a sector is neither a record nor empty, or the empty text."""
    if not any(sector):
        return ""
    expected = f"{name}, sector {index}: expected a record of the workload or zeros"
    magic, found, *_ = _HEAD.unpack_from(sector)
    if magic != MAGIC:
        return f"{expected}, found {sector[:8]!r} where {MAGIC!r} should be"
    if found != index:
        return f"{expected}, found the record of index {found}"
    return f"{expected}, found a record with a wrong checksum: torn or damaged"


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii", errors="replace")
