"""Writes captured frames as pcapng: one interface per switch port, monotonic nanoseconds, comments on drops.

It exists because the switch must not import scapy. It must never delay the data path: it only appends to a buffered
file and refuses, with a count, what would make the file larger than its bound. It must never raise because of the disk
once it has begun: a disk that is full ends the capture, and the frames go on.
"""

from __future__ import annotations

import struct
from pathlib import Path

SIZE_BYTES_MAX = 256 * 1024 * 1024  # a forgotten capture must not fill the disk of the host
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_OPTION_COMMENT, _OPTION_NAME, _OPTION_FLAGS, _OPTION_RESOLUTION = 1, 2, 2, 9
_INBOUND, _OUTBOUND = 1, 2


class PcapngWriter:
    """An open capture file; frames beyond the size bound are counted and not written."""

    def __init__(self, path: Path, interfaces: list[str], *, size_bytes_max: int = SIZE_BYTES_MAX) -> None:
        """Create the file with one Ethernet interface per name."""
        self.path = path
        self.frames = 0
        self.refused = 0
        self.problem = ""  # why nothing is written any more, for a person
        self.size_bytes = 0
        self._size_bytes_max = size_bytes_max
        self._file = path.open("wb")
        self._append(_block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
        for name in interfaces:
            options = _option(_OPTION_NAME, name.encode()) + _option(_OPTION_RESOLUTION, b"\x09") + _option(0, b"")
            self._append(_block(_INTERFACE, struct.pack("<HHI", 1, 0, 0) + options))

    def write(self, interface: int, t_ns: int, frame: bytes, *, inbound: bool, comment: str = "") -> None:
        """Append one frame seen at the interface; the comment says why it was dropped, if it was."""
        if self.problem or self.size_bytes + len(frame) > self._size_bytes_max:
            self.refused += 1
            return
        options = _option(_OPTION_FLAGS, struct.pack("<I", _INBOUND if inbound else _OUTBOUND))
        if comment:
            options = _option(_OPTION_COMMENT, comment.encode()) + options
        head = struct.pack("<IIIII", interface, t_ns >> 32, t_ns & 0xFFFFFFFF, len(frame), len(frame))
        try:
            self._append(_block(_PACKET, head + _padded(frame) + options + _option(0, b"")))
        except OSError as error:
            self._failed(error)
            self.refused += 1
        else:
            self.frames += 1

    def flush(self) -> None:
        """Hand to the operating system what is still buffered."""
        try:
            self._file.flush()
        except OSError as error:
            self._failed(error)

    def close(self) -> None:
        """Finish the file; it can be read from now on, if there is no `problem`."""
        try:
            self._file.close()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self.problem = self.problem or error.strerror or str(error)

    def _append(self, block: bytes) -> None:
        self._file.write(block)
        self.size_bytes += len(block)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)
