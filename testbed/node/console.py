"""The lines that a node writes: its serial console (Xen and dom0), and the product's journal on a virtio-serial port.

Each line is stamped on arrival with the host's monotonic clock, saved, and put into the history. Nothing is
interpreted here, and no line is dropped: what is not valid JSON on the journal port is recorded as malformed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Self

from testbed.wait import OwnedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from testbed.history import History

READ_BYTES = 65536
LINE_BYTES_MAX = 256 * 1024  # a console that writes no line end must not fill the memory
DRAIN_TIMEOUT_S = 2.0
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78]")


class _LineReader:
    """Reads lines from a unix socket until it ends, and hands each to a function with its time."""

    def __init__(self, socket_path: Path, take: Callable[[float, bytes], None], *, name: str) -> None:
        self._path = socket_path
        self._take = take
        self._name = name
        self._writer: asyncio.StreamWriter | None = None
        self._task: OwnedTask | None = None
        self.listeners: list[Callable[[bytes], None]] = []

    async def start(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(str(self._path))
        self._task = OwnedTask(self._read(reader), name=self._name)

    async def stop(self) -> None:
        """Read what is left of a dead process's output, then close."""
        task, self._task = self._task, None
        writer, self._writer = self._writer, None
        if task is not None:
            await task.cancel()
        if writer is not None:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                return  # the other side, a killed QEMU, was gone first

    async def finish(self) -> None:
        if self._task is not None:
            await self._task.finish(DRAIN_TIMEOUT_S)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while True:
            try:
                data = await reader.read(READ_BYTES)
            except ConnectionError:
                data = b""
            t_s = time.monotonic()
            for hear in tuple(self.listeners):
                hear(data)
            *lines, rest = (rest + data).split(b"\n")
            if rest and (not data or len(rest) > LINE_BYTES_MAX):
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._take(t_s, line)
            if not data:
                return

    async def send(self, data: bytes) -> None:
        assert self._writer is not None, f"{self._name} is not connected"
        self._writer.write(data)
        await self._writer.drain()


class ConsoleReader:
    """One serial console, a context manager; writes `console-<node>.log` and `console.<node>` records."""

    def __init__(
        self, socket_path: Path, history: History, artefact_dir: Path, *, node: str, zero_at_s: float | None = None
    ) -> None:
        self.log = artefact_dir / f"console-{node}.log"
        self._history = history
        self._source = f"console.{node}"
        self._zero_at_s = time.monotonic() if zero_at_s is None else zero_at_s
        self._file = self.log.open("a", buffering=1, encoding="utf-8")
        self._reader = _LineReader(socket_path, self._line, name=f"console-{node}")

    async def __aenter__(self) -> Self:
        try:
            await self._reader.start()
        except OSError:
            self._file.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._reader.stop()
        finally:
            self._file.close()

    def _line(self, t_s: float, raw: bytes) -> None:
        text = ESCAPES.sub(b"", raw).rstrip(b"\r").decode(errors="replace")
        self._file.write(f"[{t_s - self._zero_at_s:9.3f}] {text}\n")
        if text:
            self._history.record_at(t_s, self._source, "line", text=text)

    async def finish(self) -> None:
        """Read the tail that a process left when it ended."""
        await self._reader.finish()

    async def send(self, data: bytes) -> None:
        """Type on the console, for example a magic key sequence."""
        await self._reader.send(data)

    @contextlib.contextmanager
    def listening(self, hear: Callable[[bytes], None]) -> Iterator[None]:
        """Also hand each piece of output to a function, as it comes and with its escapes; b"" when it has ended."""
        self._reader.listeners.append(hear)
        try:
            yield
        finally:
            self._reader.listeners.remove(hear)


class JournalReader:
    """One product journal, a context manager; writes `journal-<node>.jsonl` and `journal.<node>` records."""

    def __init__(self, socket_path: Path, history: History, artefact_dir: Path, *, node: str) -> None:
        self.log = artefact_dir / f"journal-{node}.jsonl"
        self._history = history
        self._source = f"journal.{node}"
        self._file = self.log.open("ab", buffering=0)
        self._reader = _LineReader(socket_path, self._line, name=f"journal-{node}")
        self._seen = _lines_of(self.log)

    async def __aenter__(self) -> Self:
        try:
            await self._reader.start()
        except OSError:
            self._file.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._reader.stop()
        finally:
            self._file.close()

    def _line(self, t_s: float, raw: bytes) -> None:
        line = raw.strip(b"\r\x00")
        if not line:
            return
        if line in self._seen:
            return  # a restarted node sends its journal from the beginning: what was seen before did not happen again
        self._seen.add(line)
        self._file.write(line + b"\n")
        try:
            entry = json.loads(line)
        except ValueError as error:
            text = line.decode(errors="replace")
            self._history.record_at(t_s, self._source, "malformed", text=text, problem=str(error))
            return
        self._history.record_at(t_s, self._source, "entry", entry=entry)

    async def finish(self) -> None:
        """Read the tail that a process left when it ended."""
        await self._reader.finish()


def _lines_of(path: Path) -> set[bytes]:
    """The lines that were read before, from this node's earlier processes; each carries its boot and number."""
    return set(path.read_bytes().splitlines())
