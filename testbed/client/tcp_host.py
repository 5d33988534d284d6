"""The program of the TCP probe: a host with this kernel's TCP on a port of the switch, and two clients on it.

It is a process of its own for two reasons: a private network can only be entered by a whole process, and its schedule
does not suffer from the testbed's other work. It reports each attempt as a line of JSON and keeps nothing. It must
never outlive the testbed, judge what it sees, or hide that this host cannot give it a network.

* The client of `tcp_new` makes a connection for each request, as a browser does.
* The client of `tcp_long` has one connection for all. It gives the connection up only when it is reset, closed, or when
  nothing was heard for a long time; then it connects again and again until it has a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.client.attempts import keep_schedule
from testbed.lan import private_net
from testbed.socket_line import LineSocket, connect, packed

_FRAME_BYTES_MAX = 16_384
_BATCH_FRAMES = 64


@dataclass(frozen=True)
class TcpOrders:
    """What the testbed wants; travels as JSON in the program's one argument."""

    control: str
    own: str
    switch: str
    mac: str
    ip: str
    prefix: int
    target: str
    port: int
    new_interval_s: float
    long_interval_s: float
    timeout_s: float
    give_up_s: float


Say = Callable[..., None]


class Pump:
    """Carries frames between the private network and the switch; what has no room is lost, as on a wire."""

    def __init__(self, frames: socket.socket, own: str, switch: str) -> None:
        self.lost = 0
        self._frames = frames
        self._switch = switch
        self._port = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        Path(own).unlink(missing_ok=True)
        self._port.bind(own)

    def __enter__(self) -> Self:
        """Begin; the loop does the rest."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._port.fileno(), self._carry, self._port, self._frames.send)
        loop.add_reader(self._frames.fileno(), self._carry, self._frames, self._out)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for source in (self._port, self._frames):
            asyncio.get_running_loop().remove_reader(source.fileno())
        self._port.close()

    def _out(self, frame: bytes) -> int:
        return self._port.sendto(frame, self._switch)

    def _carry(self, source: socket.socket, send: Callable[[bytes], int]) -> None:
        for _ in range(_BATCH_FRAMES):
            try:
                frame = source.recv(_FRAME_BYTES_MAX)
            except OSError:  # nothing more to read
                return
            try:
                send(frame)
            except OSError:
                self.lost += 1


class NewConnections:
    """A connection for each request; each attempt has its own time limit, which covers connecting and the answer."""

    def __init__(self, orders: TcpOrders, say: Say, tasks: asyncio.TaskGroup) -> None:
        self._orders = orders
        self._say = say
        self._tasks = tasks
        self._count = 0

    def attempt(self, intended_s: float) -> None:
        """Begin one attempt."""
        number, self._count = self._count, self._count + 1
        self._say(level="tcp_new", number=number, intended_s=intended_s, sent_s=time.monotonic())
        self._tasks.create_task(self._ask(number))

    async def _ask(self, number: int) -> None:
        try:
            async with asyncio.timeout(self._orders.timeout_s):
                line = LineSocket(*await asyncio.open_connection(self._orders.target, self._orders.port))
                try:
                    line.write(b"PING n%d" % number)
                    words = (await line.read()).split()
                finally:
                    line.writer.transport.abort()
        except TimeoutError:
            self._say(level="tcp_new", number=number, outcome="info", why="no answer in time")
        except OSError as error:
            self._say(level="tcp_new", number=number, outcome="fail", why=_why(error))
        else:
            good = words[:2] == [b"PONG", b"n%d" % number]
            done_s = time.monotonic() if good else None
            why = {} if good else {"why": "a wrong answer"}
            self._say(level="tcp_new", number=number, outcome="ok" if good else "fail", done_s=done_s, **why)


class LongConnection:
    """One connection for all requests."""

    def __init__(self, orders: TcpOrders, say: Say) -> None:
        self._orders = orders
        self._say = say
        self._count = 0
        self._line: LineSocket | None = None
        self._unanswered: deque[tuple[int, float]] = deque()

    def attempt(self, intended_s: float) -> None:
        """Send the next request on the connection as it is; without one the request fails at once."""
        number, self._count = self._count, self._count + 1
        now_s = time.monotonic()
        self._say(level="tcp_long", number=number, intended_s=intended_s, sent_s=now_s)
        if self._line is None:
            self._say(level="tcp_long", number=number, outcome="fail", why="not connected")
            return
        self._unanswered.append((number, now_s))
        self._line.write(b"PING l%d" % number)
        if now_s - self._unanswered[0][1] > self._orders.give_up_s:
            self._line.writer.transport.abort()

    async def stay_connected(self) -> None:
        """Connect, read until the connection ends, say how it ended, and so on."""
        while True:
            try:
                async with asyncio.timeout(self._orders.timeout_s):
                    target = await asyncio.open_connection(self._orders.target, self._orders.port)
                self._line = LineSocket(*target)
                self._say(level="tcp_long", connection="opened", t_s=time.monotonic())
                how = await self._read(self._line)
                self._say(level="tcp_long", connection="ended", t_s=time.monotonic(), how=how)
            except TimeoutError:
                self._say(level="tcp_long", connection="not opened", t_s=time.monotonic(), how="no answer in time")
            except OSError as error:
                self._say(level="tcp_long", connection="not opened", t_s=time.monotonic(), how=_why(error))
            finally:
                if self._line is not None:
                    self._line.writer.transport.abort()
                    self._line = None
                self._unanswered.clear()
            await asyncio.sleep(self._orders.long_interval_s)

    async def _read(self, service: LineSocket) -> str:
        """Take answers until the connection ends; returns how."""
        try:
            async for line in service.lines():
                words = line.split()
                if len(words) > 1 and words[0] == b"PONG" and words[1][:1] == b"l" and words[1][1:].isdigit():
                    self._answered(int(words[1][1:]))
        except ConnectionResetError:
            return "reset"
        except OSError as error:
            return _why(error)
        return "given up" if service.closing else "closed"

    def _answered(self, number: int) -> None:
        while self._unanswered and self._unanswered[0][0] <= number:
            self._unanswered.popleft()
        self._say(level="tcp_long", number=number, outcome="ok", done_s=time.monotonic())


def _why(error: OSError) -> str:
    """The kernel's words for an error: asyncio has its own, which name the address again."""
    return (os.strerror(error.errno) if error.errno else str(error) or type(error).__name__).lower()


async def work(orders: TcpOrders, frames: socket.socket | None, problem: str) -> None:
    """Report to the testbed and measure until it closes the connection."""
    testbed = await connect(orders.control)

    def say(**fields: object) -> None:
        testbed.write(packed(fields))

    with contextlib.suppress(ConnectionError):
        if frames is None:
            say(unavailable=problem)
            await testbed.writer.drain()
            return
        with Pump(frames, orders.own, orders.switch):
            say(ready=True)
            await _measure(orders, say, testbed.reader)


async def _measure(orders: TcpOrders, say: Say, reader: asyncio.StreamReader) -> None:
    """Run both clients until the testbed closes its connection."""
    async with asyncio.TaskGroup() as tasks:
        new, long = NewConnections(orders, say, tasks), LongConnection(orders, say)
        own = [
            tasks.create_task(keep_schedule(orders.new_interval_s, new.attempt)),
            tasks.create_task(keep_schedule(orders.long_interval_s, long.attempt)),
            tasks.create_task(long.stay_connected()),
        ]
        await reader.read()  # the end of the testbed, or of its need
        for task in own:
            task.cancel()


def main(text: str) -> None:
    """Enter the private network first: only a process without a loop and threads can."""
    orders = TcpOrders(**json.loads(text))
    frames, problem = None, ""
    try:
        frames = private_net.enter(orders.mac, orders.ip, orders.prefix)
    except private_net.NotPossibleError as error:
        problem = str(error)
    asyncio.run(work(orders, frames, problem))


if __name__ == "__main__":
    main(sys.argv[1])
