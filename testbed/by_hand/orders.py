"""The socket for orders of a bed that is up: who wants to look into it, or to break it, asks the process that holds it.

A connection carries one order, a line of JSON, and its answer, another line. An order that opens a *talk* (the console)
is answered by such a line as well; from then on both sides send plain bytes. Other packages add orders of their own.

The socket lies in the bed's own directory, which only its user can enter. A refused order must never change anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from testbed.errors import TestbedError, UsageError
from testbed.host.places import bed_sockets, running_bed
from testbed.socket_line import LINE_BYTES_MAX, LineError, LineSocket, connect, packed, parsed

SOCKET = "orders"
ORDER_TIMEOUT_S = 60.0  # who connects gives the order at once
ANSWER_BYTES_MAX = 128 << 20  # the guest agent returns 16 MiB of output at most, and JSON may write a byte as six
ANSWER_TIMEOUT_S = 2400.0  # a heal that boots a node takes minutes on a slow host, whose dilation is not known here

Order = Mapping[str, Any]
Answer = dict[str, Any]
Act = Callable[[Order], Awaitable[Answer]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Open = Callable[[Order], Awaitable[Talk]]


class Orders:
    """The orders that a bed takes, as an async context manager; leaving it ends every order that is under way."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / SOCKET
        self._acts: dict[str, Act] = {}
        self._talks: dict[str, Open] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=LINE_BYTES_MAX)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None, "orders were not taken"
        self._server.close()
        self.path.unlink(missing_ok=True)
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    @contextlib.contextmanager
    def taking(self, acts: Mapping[str, Act], talks: Mapping[str, Open] | None = None) -> Iterator[None]:
        """Take these orders too, while the context lasts."""
        mine, mine_too = dict(acts), dict(talks or {})
        assert not (mine.keys() | mine_too.keys()) & (self._acts.keys() | self._talks.keys()), "an order has one master"
        self._acts |= mine
        self._talks |= mine_too
        try:
            yield
        finally:
            for name in mine:
                del self._acts[name]
            for name in mine_too:
                del self._talks[name]

    async def act(self, order: Order) -> Answer:
        """Do what an order says, for those who are in this process; raises TestbedError."""
        return await self._acts[order["order"]](order)

    def takes(self, name: str) -> bool:
        """Whether there is such an order now."""
        return name in self._acts or name in self._talks

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served in a task"
        self._under_way.add(task)
        try:
            await self._answer(LineSocket(reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            return  # who asked has gone, and what was ordered is done; or the bed goes down
        finally:
            self._under_way.discard(task)
            writer.close()

    async def _answer(self, line: LineSocket) -> None:
        try:
            order = parsed(await line.read(timeout_s=ORDER_TIMEOUT_S))
        except LineError as error:
            await line.send(packed(_failed(f"This is no order: {error}.", refused=True)))
            return
        talk, answer = await self._done(order)
        try:
            told = packed(answer, bytes_max=ANSWER_BYTES_MAX, default=str)
        except LineError as error:
            told = packed(_failed(f"It was done, and nobody can be told: {error}.", refused=False))
        await line.send(told)
        if talk is not None:
            await talk(line.reader, line.writer)

    async def _done(self, order: Order) -> tuple[Talk | None, Answer]:
        """Do what an order says, and return the answer, with the talk that it opened."""
        talk: Talk | None = None
        try:
            name = order["order"]
            if name in self._talks:
                talk, answer = await self._talks[name](order), {}
            elif name in self._acts:
                answer = await self._acts[name](order)
            else:
                known = ", ".join(sorted(self._acts.keys() | self._talks.keys()))
                raise UsageError(f"There is no order {name!r} now; there are {known}.")
        except (ValueError, KeyError, TypeError) as error:
            return None, _failed(f"This is no order: {error!r}.", refused=True)
        except TestbedError as error:
            return None, _failed(str(error), refused=isinstance(error, UsageError))
        return talk, {"ok": True, **answer}


def _failed(why: str, *, refused: bool) -> Answer:
    return {"ok": False, "refused": refused, "error": why}


def control_socket() -> Path:
    """Return the socket of this user's bed; raises UsageError when none is up, or when it takes no orders."""
    directory = bed_sockets()
    if directory is None:
        raise UsageError("No bed is up for this user; start one with `testbed up` and leave it running.")
    path = directory / SOCKET
    if not path.exists():
        raise UsageError(f"The bed of this host takes no orders, only one of `testbed up` does. It is {running_bed()}.")
    return path


@asynccontextmanager
async def talking(
    socket: Path, order: Order, *, timeout_s: float = ANSWER_TIMEOUT_S
) -> AsyncIterator[tuple[Answer, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give an order and hand out its answer with the open connection, for an order that is a talk.

    Raises:
        UsageError: the order was refused and nothing has changed, or nobody takes orders at this socket.
        TestbedError: it was tried and failed, or its answer did not come in time.
    """
    try:
        asked = packed(order)
    except LineError as error:
        raise UsageError(f"The order {order['order']!r} was not given: {error}.") from error
    try:
        line = await connect(socket, bytes_max=ANSWER_BYTES_MAX)
    except OSError as error:
        raise UsageError(f"The bed that is up takes no orders ({error}); only one of `testbed up` does.") from error
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await line.send(asked)
                answer = parsed(await line.read())
        except TimeoutError as error:
            raise TestbedError(
                f"The bed did not answer the order {order['order']!r} in {timeout_s:g} s; what came of it is unknown."
            ) from error
        except OSError as error:
            raise TestbedError(
                f"The bed went down during the order {order['order']!r} ({error}); what came of it is unknown."
            ) from error
        if not answer["ok"]:
            raise (UsageError if answer["refused"] else TestbedError)(answer["error"])
        yield answer, line.reader, line.writer
    finally:
        line.writer.close()


async def ask(socket: Path, order: Order, *, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
    """Give an order to the bed behind a socket and return its answer; raises as `talking` does."""
    async with talking(socket, order, timeout_s=timeout_s) as (answer, _reader, _writer):
        return answer
