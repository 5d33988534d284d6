"""xenstored over its socket, in the daemon's own loop: no program is started, and a daemon that hangs blocks nobody.

Whoever asks waits until a deadline and no longer. A lost connection is made anew by the next question; what an old one
answers late is passed over, because each question has a number of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from avance.wire import xenstore as wire
from avance.wire.quoted import quoted


class Xenstore:
    """One connection to xenstored; `changed` is called whenever a domain began or ended."""

    def __init__(self, changed: Callable[[], None], path: str = wire.SOCKET, *, answer_s: float = 2.0) -> None:
        self._changed = changed
        self._path = path
        self._answer_s = answer_s
        self._connecting = asyncio.Lock()
        self._line: _Line | None = None

    async def read(self, node: str) -> str | None:
        """Return the value of a node of the store, None when there is no such node.

        Raises:
            OSError: xenstored did not answer in time, or with an error.
        """
        try:
            async with asyncio.timeout(self._answer_s):
                line = await self._connected()
                answer = await line.ask(wire.READ, node)
        except TimeoutError as error:
            raise TimeoutError(f"xenstored did not answer within {self._answer_s:g} s") from error
        if answer.kind == wire.READ:
            return answer.payload.decode(errors="replace")
        reason = answer.payload.rstrip(b"\0")
        if reason == wire.MISSING:
            return None
        raise OSError(f"xenstored refused to read {node}: {quoted(reason.decode(errors='replace'))}")

    async def _connected(self) -> _Line:
        async with self._connecting:
            if self._line is None or self._line.lost:
                loop = asyncio.get_running_loop()
                _, line = await loop.create_unix_connection(lambda: _Line(self._changed), self._path)
                self._line = line
                for node in wire.SPECIAL_WATCHES:
                    line.tell(wire.WATCH, node, node)
            return self._line

    def close(self) -> None:
        """Give the connection up; the next question makes a new one."""
        if self._line is not None:
            self._line.end()
            self._line = None


class _Line(asyncio.Protocol):
    """What comes over one connection: answers for those who wait, and events."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._transport: asyncio.WriteTransport | None = None
        self._rest = b""
        self._number = 0
        self._asked: dict[int, asyncio.Future[wire.Message]] = {}
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError(f"xenstored closed the connection ({exc or 'no reason'})"))
        self._asked.clear()

    def data_received(self, data: bytes) -> None:
        try:
            messages, self._rest = wire.unpack(self._rest + data)
        except ValueError:
            self.end()
            return
        for message in messages:
            if message.kind == wire.WATCH_EVENT:
                self._changed()
                continue
            waiting = self._asked.pop(message.request, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    def tell(self, kind: int, *texts: str) -> int:
        """Send a message whose answer nobody waits for; returns its number."""
        assert self._transport is not None
        self._number += 1
        self._transport.write(wire.pack(kind, self._number, *texts))
        return self._number

    async def ask(self, kind: int, *texts: str) -> wire.Message:
        """Send a message and wait for its answer.

        Raises:
            ConnectionError: the connection ended before.
        """
        if self.lost:
            raise ConnectionError("xenstored closed the connection")
        number = self.tell(kind, *texts)
        waiting: asyncio.Future[wire.Message] = asyncio.get_running_loop().create_future()
        self._asked[number] = waiting
        try:
            return await waiting
        finally:
            self._asked.pop(number, None)

    def end(self) -> None:
        """Close the connection."""
        assert self._transport is not None
        self.lost = True
        self._transport.abort()
