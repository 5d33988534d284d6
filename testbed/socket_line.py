"""Lines over a socket: what a line is, how long it may be, and what is said when something else comes.

Whoever talks in lines with another program does it through here: in asyncio (`LineSocket`), by waiting (`exchange`,
`received`), or in a loop of its own (`Splitter`). What a line holds is mostly one JSON object (`packed`, `parsed`). The
plugin of a disk and the helper of ipmi_sim start with this, each in a Python of its own: what asyncio alone needs comes
late. It must never take a part of a line for the line, or keep all that somebody writes.
"""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

LINE_BYTES_MAX = 1 << 20  # unless two sides agree on another limit
SHOWN_BYTES_MAX = 200  # of a line that cannot be read, in an error message
READ_BYTES = 1 << 16


class LineError(OSError):
    """No line came that is whole and as agreed; the text says what came instead."""


def packed(
    message: Mapping[str, object], *, bytes_max: int = LINE_BYTES_MAX, default: Callable[[Any], object] | None = None
) -> bytes:
    """Return a JSON object as a line; raises LineError when the other side would not take it, so long is it."""
    line = json.dumps(message, default=default).encode()
    if len(line) > bytes_max:
        raise LineError(f"a line of {len(line)} bytes is too long for the other side, which takes {bytes_max}")
    return line


def parsed(line: bytes) -> dict[str, Any]:
    """Return the JSON object that a line holds; raises LineError."""
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise LineError(f"a line came that is no UTF-8: {_shown(line)}") from error
    except (ValueError, RecursionError) as error:
        raise LineError(f"a line came that is no JSON ({error}): {_shown(line)}") from error
    if not isinstance(value, dict):
        raise LineError(f"a line came that is JSON and no object: {_shown(line)}")
    return value


class Splitter:
    """Whole lines out of bytes as they come."""

    def __init__(self, bytes_max: int = LINE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are whole now, without their line ends."""
        self._rest += data
        if b"\n" not in data:
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return lines

    @property
    def waiting(self) -> int:
        """How many bytes have come of a line that has no end yet."""
        return len(self._rest)

    @property
    def endless(self) -> bool:
        """Whether that line is longer than a line may be: do not listen any more, or `cut` it."""
        return len(self._rest) > self._bytes_max

    def cut(self) -> bytes:
        """Return what has come of that line, and take what follows for another one."""
        cut, self._rest = bytes(self._rest), bytearray()
        return cut


class LineSocket:
    """A connection in asyncio on which lines go there and back; `bytes_max` is the limit of the reader."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, *, bytes_max: int = LINE_BYTES_MAX) -> None:
        self.reader = reader
        self.writer = writer
        self._bytes_max = bytes_max

    async def read(self, *, timeout_s: float | None = None) -> bytes:
        """Return the next line, without its line end; the caller has a deadline where this gets none.

        Raises:
            LineError: no whole line came in time, or something else did.
            ConnectionError: the connection was lost.
        """
        if timeout_s is None:
            return _whole(await self._next())
        from testbed import pace  # noqa: PLC0415 - it brings asyncio

        try:
            async with pace.timeout(timeout_s):
                return _whole(await self._next())
        except TimeoutError as error:
            raise LineError(f"no whole line came within {pace.scaled(timeout_s):g} s") from error

    async def lines(self) -> AsyncIterator[bytes]:
        """Hand out each line until the other side ends the connection; raises as `read`."""
        while line := await self._next():
            yield _whole(line)

    async def _next(self) -> bytes:
        try:
            return await self.reader.readline()
        except ValueError as error:  # longer than the limit of the reader, with or without an end
            raise LineError(_endless(self._bytes_max)) from error

    def write(self, line: bytes) -> None:
        """Write a line; its line end is added."""
        self.writer.write(line + b"\n")

    async def send(self, line: bytes) -> None:
        """Write a line and wait while the other side has too much to read; raises ConnectionError."""
        self.write(line)
        await self.writer.drain()

    @property
    def closing(self) -> bool:
        """True when nothing can be written any more."""
        return self.writer.is_closing()

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return  # the other side, a killed process, was gone first


async def connect(path: str | Path, *, bytes_max: int = LINE_BYTES_MAX) -> LineSocket:
    """Connect to a unix socket; raises OSError when nobody listens."""
    from asyncio import open_unix_connection  # noqa: PLC0415 - those who wait need no asyncio

    return LineSocket(*await open_unix_connection(path, limit=bytes_max), bytes_max=bytes_max)


def exchange(path: str, line: bytes, *, timeout_s: float, bytes_max: int = LINE_BYTES_MAX) -> bytes:
    """Write one line to a unix socket, wait, and return the line that is answered, without its line end.

    Raises:
        LineError: no whole line came in time, or something else did.
        OSError: nobody listens, or the connection was lost.
    """
    until_s = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(path)
            connection.sendall(line + b"\n")
            for answer in received(connection, until_s=until_s, bytes_max=bytes_max):
                return answer
        except TimeoutError as error:
            raise LineError(f"no whole line came within {timeout_s:g} s") from error
    raise LineError(_ended(0))


def received(
    connection: socket.socket, *, until_s: float | None = None, bytes_max: int = LINE_BYTES_MAX
) -> Iterator[bytes]:
    """Wait for each line, without its line end, until the other side ends the connection.

    Raises:
        LineError: it ended in the middle of a line, or wrote one that is too long.
        TimeoutError: the monotonic time `until_s` has come.
        OSError: the connection was lost.
    """
    splitter = Splitter(bytes_max)
    while True:
        if until_s is not None:
            connection.settimeout(max(until_s - time.monotonic(), 1e-6))  # 0 would not wait at all
        data = connection.recv(READ_BYTES)
        for line in splitter.feed(data):
            if len(line) > bytes_max:
                raise LineError(_endless(bytes_max))
            yield line
        if splitter.endless:
            raise LineError(_endless(bytes_max))
        if not data and splitter.waiting:
            raise LineError(_ended(splitter.waiting))
        if not data:
            return


def _whole(data: bytes) -> bytes:
    if not data.endswith(b"\n"):
        raise LineError(_ended(len(data)))
    return data[:-1]


def _ended(count: int) -> str:
    where = f"in the middle of a line, after {count} bytes" if count else "without a line"
    return f"the other side closed the connection {where}"


def _endless(bytes_max: int) -> str:
    return f"a line came that has more than {bytes_max} bytes"


def _shown(line: bytes) -> str:
    return f"{line[:SHOWN_BYTES_MAX]!r}{' ...' if len(line) > SHOWN_BYTES_MAX else ''}"
