"""The lines that a node writes: its serial console (Xen and dom0), and the product's journal on a virtio-serial port.

Each line is stamped on arrival with the host's monotonic clock, saved, and put into the history. Nothing is
interpreted here, and no line is dropped: what is no JSON object on the journal port is recorded as malformed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING, Self

from testbed.socket_line import LineError, LineSocket, Splitter, connect, parsed
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
        self._line: LineSocket | None = None
        self._task: OwnedTask | None = None
        self.listeners: list[Callable[[bytes], None]] = []

    async def start(self) -> None:
        self._line = await connect(self._path)
        self._task = OwnedTask(self._read(self._line.reader), name=self._name)

    async def stop(self) -> None:
        """Read what is left of a dead process's output, then close."""
        task, self._task = self._task, None
        line, self._line = self._line, None
        if task is not None:
            await task.cancel()
        if line is not None:
            await line.close()

    async def finish(self) -> None:
        if self._task is not None:
            await self._task.finish(DRAIN_TIMEOUT_S)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        splitter = Splitter(LINE_BYTES_MAX)
        while True:
            try:
                data = await reader.read(READ_BYTES)
            except ConnectionError:
                data = b""
            t_s = time.monotonic()
            for hear in tuple(self.listeners):
                hear(data)
            lines = splitter.feed(data)
            if splitter.endless or (splitter.waiting and not data):
                lines.append(splitter.cut())
            for line in lines:
                self._take(t_s, line)
            if not data:
                return

    async def send(self, data: bytes) -> None:
        assert self._line is not None, f"{self._name} is not connected"
        self._line.writer.write(data)
        await self._line.writer.drain()


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
            entry = parsed(line)
        except LineError as error:
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
