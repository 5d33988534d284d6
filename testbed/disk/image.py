"""The file behind a disk: a plain raw image, or a sparse overlay over an image that is only read.

It runs inside nbdkit (see `core`), so it uses the standard library only. Which blocks of an overlay were written
stands in a map beside it, because a hole cannot be told from written zeros on every file system. Overlay and map are
in the host's page cache at once, so they survive the end of the disk server. It must never write to the image below.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
from pathlib import Path

BLOCK = 4096  # bytes of an overlay that one byte of its map stands for
COPY_BYTES = 2**20


def copy_sparse(source: int, target: int, size: int) -> None:
    """Copy the data of one file into an empty one and leave its holes holes."""
    os.truncate(target, size)
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        end = os.lseek(source, at, os.SEEK_HOLE)
        while at < end:
            chunk = os.pread(source, min(COPY_BYTES, end - at), at)
            os.pwrite(target, chunk, at)
            at += len(chunk)


def _copy_file(source: Path, target: Path, size: int) -> None:
    """Copy a file into another one in place, so that whoever has the other open sees the copy."""
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.truncate(writing, 0)
            copy_sparse(reading, writing, size)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


class DiskImage:
    """Bytes that are read and written at places; raises OSError when a file cannot be opened."""

    def __init__(self, path: Path, size: int | None = None, backing: Path | None = None) -> None:
        self.path = path
        self.backing = backing
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if size is not None:
            os.truncate(self._fd, size)
        self._size = os.fstat(self._fd).st_size
        self._below = -1
        if backing is not None:
            self._below = os.open(backing, os.O_RDONLY | os.O_CLOEXEC)
            self._map_size = -(-self._size // BLOCK)
            self._map = self._open_map()

    @property
    def map_path(self) -> Path:
        """Where the map of an overlay is."""
        return self.path.with_name(self.path.name + ".map")

    def _open_map(self) -> mmap.mmap:
        fd = os.open(self.map_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.truncate(fd, self._map_size)
            return mmap.mmap(fd, self._map_size)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the files."""
        os.close(self._fd)
        if self._below >= 0:
            self._map.close()
            os.close(self._below)

    def read(self, count: int, offset: int) -> bytearray:
        """Return what is there; behind the end of the image there are zeros."""
        content = bytearray()
        if self._below < 0:
            content += os.pread(self._fd, count, offset)
        else:
            blocks = self._map[offset // BLOCK : -(-(offset + count) // BLOCK)]
            at = offset // BLOCK * BLOCK
            for is_written, group in itertools.groupby(blocks):
                end = at + BLOCK * len(list(group))
                first, last = max(at, offset), min(end, offset + count)
                part = os.pread(self._fd if is_written else self._below, last - first, first)
                content += part + bytes(last - first - len(part))
                at = end
        content.extend(bytes(count - len(content)))
        return content

    def write(self, data: bytes, offset: int) -> None:
        """Put bytes in their place; the rest of a block that is written for the first time comes from below."""
        if self._below >= 0 and data:
            end = offset + len(data)
            for block in {offset // BLOCK, (end - 1) // BLOCK}:
                is_partial = offset > block * BLOCK or end < (block + 1) * BLOCK
                if is_partial and not self._map[block]:
                    os.pwrite(self._fd, os.pread(self._below, BLOCK, block * BLOCK), block * BLOCK)
                    os.truncate(self._fd, self._size)  # the last block may reach beyond the disk
        os.pwrite(self._fd, data, offset)
        if self._below >= 0 and data:
            first, last = offset // BLOCK, -(-(offset + len(data)) // BLOCK)
            self._map[first:last] = b"\1" * (last - first)

    def save(self, target: Path) -> None:
        """Copy this file, and the map of an overlay, to another place; the image below is not copied."""
        _copy_file(self.path, target, self._size)
        if self._below >= 0:
            _copy_file(self.map_path, target.with_name(target.name + ".map"), self._map_size)

    def load(self, source: Path) -> None:
        """Take the content of a saved file, and of its map; raises OSError when there is none."""
        _copy_file(source, self.path, self._size)
        if self._below >= 0:
            saved = source.with_name(source.name + ".map").read_bytes()
            if len(saved) != self._map_size:
                raise OSError(errno.EINVAL, f"the map beside {source} belongs to another disk")
            self._map[:] = saved
