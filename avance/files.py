"""Files: the one way in which the product writes what must survive a power cut, and reads what is small.

Whatever is in the place of a file, a pipe, a directory, a device without an end, costs an OSError and never the time or
the memory of who reads it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

SMALL_BYTES_MAX = 1 << 22  # of what is read at once; the largest such file is the configuration
TEXT_BYTES_MAX = 1 << 16  # of what the kernel, or this product, says in a word or two
_BLOCKS_BYTES = 8192  # a file that is kept has a whole number of these


def write_durably(path: Path, raw: bytes) -> None:
    """Replace a file so that after a power cut either the old or the new content is there, whole.

    Raises:
        OSError: the disk refused.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(_emptied(part), "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # on a full disk it would take the room of the next try
            part.unlink()
        raise
    sync_directory(path.parent)


def remove_durably(path: Path) -> None:
    """Let a file be gone, also after a power cut; one that is not there is gone.

    Raises:
        OSError: the disk refused, or it is no file.
    """
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a file that a power cut may take away.

    Raises:
        OSError: the disk refused, or it is no file.
        ValueError: the text has letters that no file can hold.
    """
    raw = text.encode()
    with open(_emptied(path), "wb") as file:
        file.write(raw)


def _emptied(path: Path) -> int:
    """Open a file for a new content; a pipe without a reader is an error, and nothing to wait for."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)


def sync_directory(path: Path) -> None:
    """Make durable which files a directory has.

    Raises:
        OSError: the disk refused.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def overwrite(path: Path, raw: bytes) -> None:
    """Write a text over the file that is there, where a full disk cannot refuse it; line ends fill it up.

    A power cut tears it: this is for a file that has a twin and a checksum. If that is impossible, or the size differs,
    a new one takes its place.

    Raises:
        OSError: the disk refused both; what the file holds is unknown.
    """
    padded = raw + b"\n" * (-len(raw) % _BLOCKS_BYTES)
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            fits = stat.S_ISREG(found.st_mode) and found.st_size == len(padded)
            if fits and os.pwrite(descriptor, padded, 0) == len(padded):
                os.fsync(descriptor)
                return
        finally:
            os.close(descriptor)
    write_durably(path, padded)


def read_small(path: Path, bytes_max: int = SMALL_BYTES_MAX) -> bytes:
    """Return what a file holds.

    Raises:
        OSError: it is not there, is no file, holds more, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        found = bytearray()
        while part := os.read(descriptor, bytes_max + 1 - len(found)):
            found += part
            if len(found) > bytes_max:
                raise OSError(errno.EFBIG, f"it holds more than {bytes_max} bytes", str(path))
        return bytes(found)
    finally:
        os.close(descriptor)


def read_text(path: Path, bytes_max: int = TEXT_BYTES_MAX) -> str:
    """Return what a short file says, without blanks around it; what is no text in it is replaced.

    Raises:
        OSError: as for `read_small`.
    """
    return read_small(path, bytes_max).decode(errors="replace").strip()
