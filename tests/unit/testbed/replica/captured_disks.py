"""The data disks of a real pair after a crash of its primary, resynchronised and quiet; and how to damage a copy.

Captured from both nodes (Debian 12, kernel 6.1, LVM 2.03.16, DRBD 8.4.11): 863 records by two boots of the VM. Only the
name of the volume was changed afterwards, with LVM's checksums. A file holds the sectors that are not zero, each behind
its offset.
"""

from __future__ import annotations

import asyncio
import functools
import lzma
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from testbed.replica.compare import Replica, open_replica
from testbed.replica.worklog import RECORD_BYTES

DATA = Path(__file__).parent / "data"
DISK_BYTES = 512 << 20
PAGE_BYTES = 1 << 20
SECTOR_BYTES = 512
VOLUME_AT = 2 << 20  # 1 MiB of md, 1 MiB of LVM: the first byte of the VM's volume on a disk
VOLUME_BYTES, DATA_BYTES = 36 << 20, 37_707_776
DRBD_AT = VOLUME_AT + VOLUME_BYTES - 4096
LVM_AT = (1 << 20) + 4096  # behind md's own: the header of LVM's text
KEPT_AT = VOLUME_AT + VOLUME_BYTES  # of a version that is kept beside the volume
RECORDS, FIRST_BOOT_RECORDS = 863, 248


class MemoryDisk:
    """A mostly empty disk in memory."""

    def __init__(self, pages: dict[int, bytearray], size: int = DISK_BYTES) -> None:
        self.pages, self.size = pages, size

    async def read(self, offset: int, count: int) -> bytes:
        """Exactly these bytes."""
        if offset + count > self.size:
            raise OSError(f"the disk ends at {self.size}")
        return b"".join(self._part(*cut) for cut in cuts(offset, count))

    def _part(self, page: int, start: int, end: int) -> bytes:
        return bytes(self.pages[page][start:end]) if page in self.pages else bytes(end - start)

    def write(self, offset: int, data: bytes) -> None:
        """Damage or replace bytes."""
        done = 0
        for page, start, end in cuts(offset, len(data)):
            self.pages.setdefault(page, bytearray(PAGE_BYTES))[start:end] = data[done : done + end - start]
            done += end - start


def cuts(offset: int, count: int) -> Iterator[tuple[int, int, int]]:
    """The parts of a range as (page, start, end)."""
    while count:
        page, start = divmod(offset, PAGE_BYTES)
        end = min(PAGE_BYTES, start + count)
        yield page, start, end
        offset, count = offset + end - start, count - (end - start)


@functools.cache
def original(name: str) -> MemoryDisk:
    """What a captured file holds; never to be changed."""
    data = lzma.decompress((DATA / f"{name}.xz").read_bytes())
    disk, step = MemoryDisk({}), 8 + SECTOR_BYTES
    for at in range(0, len(data), step):
        disk.write(struct.unpack_from("<Q", data, at)[0], data[at + 8 : at + step])
    return disk


def captured(name: str) -> MemoryDisk:
    """A fresh copy of a captured disk such as `a-vdb`."""
    return MemoryDisk({number: page.copy() for number, page in original(name).pages.items()})


def write_image(name: str, path: Path) -> None:
    """A captured disk as a raw file, as long as its last bytes."""
    write_disk(original(name), path)


def write_disk(disk: MemoryDisk, path: Path) -> None:
    """A disk as a raw file, as long as its last bytes."""
    with path.open("wb") as file:
        for number, page in disk.pages.items():
            file.seek(number * PAGE_BYTES)
            file.write(page)


def with_kept_version(name: str, volume: str = "avance-web.kept-2") -> MemoryDisk:
    """A captured disk with DRBD's data told to be 1 MiB, and beside its volume a copy, as `avance keep` makes one."""
    disk, header = captured(name), bytearray(original(name).pages[1][LVM_AT - PAGE_BYTES :][:512])
    disk.write(DRBD_AT, struct.pack(">Q", PAGE_BYTES // SECTOR_BYTES))
    offset, size, _, flags = struct.unpack_from("<QQII", header, 40)
    text = bytes(disk.pages[1][LVM_AT + offset - PAGE_BYTES :][: size - 1]).decode()  # its last byte is a zero
    start = text.index("avance-web {")
    section = text[start : text.index("\n}\n}\n", start) + 4]
    copy = section.replace("avance-web", volume).replace('"pv0", 0', '"pv0", 9')
    made = text.replace(section, f"{section}\n{copy}").encode() + b"\0"
    struct.pack_into("<QQII", header, 40, offset, len(made), _lvm_checksum(made), flags)
    struct.pack_into("<I", header, 0, _lvm_checksum(bytes(header[4:])))
    disk.write(LVM_AT, bytes(header))
    disk.write(LVM_AT + offset, made)
    for at in (VOLUME_AT, DRBD_AT // PAGE_BYTES * PAGE_BYTES):
        disk.write(at + VOLUME_BYTES, bytes(disk.pages[at // PAGE_BYTES]))
    return disk


def _lvm_checksum(data: bytes) -> int:
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


class Pair:
    """Copies of all four disks, with means to damage them."""

    def __init__(self, *, quick: bool = True) -> None:
        """With `quick`, DRBD's data are told to be 1 MiB: it holds all records, and a comparison takes no time."""
        self.disks = {node: {disk: captured(f"{node}-{disk}") for disk in ("vdb", "vdc")} for node in ("a", "b")}
        if quick:
            for node in self.disks:
                self.write(node, DRBD_AT - VOLUME_AT, struct.pack(">Q", PAGE_BYTES // SECTOR_BYTES))

    def write(self, node: str, offset: int, data: bytes, *, disks: tuple[str, ...] = ("vdb", "vdc")) -> None:
        """Change bytes of the volume on a node, on both halves of its mirror or on some."""
        for disk in disks:
            self.disks[node][disk].write(VOLUME_AT + offset, data)

    def write_record(self, node: str, index: int, sector: bytes) -> None:
        """Change one record of the log on a node."""
        self.write(node, index * RECORD_BYTES, sector)

    def open(self, node: str) -> Replica:
        """The replica of a node."""
        return asyncio.run(open_replica(node, self.disks[node], "web"))

    def both(self) -> list[Replica]:
        """The replicas of both nodes."""
        return [self.open("a"), self.open("b")]
