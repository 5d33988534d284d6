"""The handle on the TCP probe's process: starts it, books its attempts, and says plainly when there is none.

TCP needs a real stack: what a client sees after an outage is decided by its kernel's retransmissions, and those of an
imitation would prove nothing ([0014](../docs/decisions/0014-a-tcp-client-with-the-kernels-stack.md)). Where the host
does not allow one, `problem` says why and the run goes on. It must never turn "could not measure" into "was served".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed.client.attempts import Attempts, OnChange, keep_schedule
from testbed.client.outage import AttemptOutcome
from testbed.client.tcp_host import TcpOrders
from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.process import Child
from testbed.site import ROOT
from testbed.socket_line import LINE_BYTES_MAX, LineError, LineSocket, parsed
from testbed.wait import OwnedTask, wait_until

NEW, LONG = "tcp_new", "tcp_long"
START_S = 15.0
EXPIRE_PERIOD_S = 0.1


@dataclass
class ConnectionSpan:
    """When one connection of the long-lived client was open; `how` is None while it lives."""

    opened_at_s: float
    ended_at_s: float | None = None
    how: str | None = None


class TcpProbe:
    """The running TCP probe as an async context manager; `problem` is None while it measures."""

    def __init__(
        self, orders: TcpOrders, *, log: Path, changes: Mapping[str, OnChange], history: History | None = None
    ) -> None:
        self.problem: str | None = "it has not said a word"
        self.attempts = {
            NEW: Attempts(orders.new_interval_s, orders.timeout_s, changes.get(NEW)),
            LONG: Attempts(orders.long_interval_s, orders.timeout_s, changes.get(LONG)),
        }
        self.reasons: dict[str, Counter[str]] = {NEW: Counter(), LONG: Counter()}
        self.connections: list[ConnectionSpan] = []
        self.not_opened: list[float] = []
        self._orders = orders
        self._history = history
        # The package is found from any working directory, also when it is not installed.
        argv = [sys.executable, "-m", "testbed.client.tcp_host", json.dumps(asdict(orders))]
        self._child = Child(argv, name="tcp-probe", log=log, cwd=ROOT)
        self._stack = contextlib.AsyncExitStack()
        self._answered = False
        self._leaving = False

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            for path in (self._orders.control, self._orders.own):
                stack.callback(Path(path).unlink, missing_ok=True)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            listener.bind(self._orders.control)
            listener.listen(1)
            await stack.enter_async_context(OwnedTask(self._read(listener), name="tcp-probe-reports"))
            await stack.enter_async_context(self._child)
            await self._wait_first_word()
            await stack.enter_async_context(
                OwnedTask(keep_schedule(EXPIRE_PERIOD_S, lambda _at_s: self._expire()), name="tcp-probe-expiry")
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        self._end()
        await self._stack.aclose()

    @property
    def pid(self) -> int:
        """The process id of the probe."""
        return self._child.pid

    def connection_fields(self, since_s: float, zero_at_s: float) -> dict[str, object]:
        """What became of the connection that was open at `since_s`, and when the client had one again."""
        span = next((span for span in reversed(self.connections) if span.opened_at_s <= since_s), None)
        if span is None or (span.ended_at_s is not None and span.ended_at_s < since_s):
            return {"fate": "there was none"}
        if span.ended_at_s is None:
            return {"fate": "survived"}
        ended_at_s = span.ended_at_s
        after = next((other for other in self.connections if other.opened_at_s >= ended_at_s), None)
        until_s = float("inf") if after is None else after.opened_at_s
        return {
            "fate": span.how,
            "ended_s": round(ended_at_s - zero_at_s, 4),
            "reconnected_s": None if after is None else round(after.opened_at_s - zero_at_s, 4),
            "tries_in_vain": sum(ended_at_s <= at_s < until_s for at_s in self.not_opened),
        }

    async def _wait_first_word(self) -> None:
        """Wait until the program says whether it can measure; whatever happens instead is the problem."""

        async def over() -> bool:
            return self._answered or not self._child.alive

        try:
            await wait_until(over, what="the first word of the TCP probe", timeout_s=START_S, poll_s=0.02)
        except WaitTimeout as error:
            self.problem = str(error)
        if not self._child.alive and self.problem is not None and not self._answered:
            self.problem = f"its process ended at once; its last words: {self._child.last_words()}"

    async def _read(self, listener: socket.socket) -> None:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        line = LineSocket(*await asyncio.open_unix_connection(sock=connection, limit=LINE_BYTES_MAX))
        why = "its process ended during the run"
        try:
            with contextlib.suppress(ConnectionError):
                async for report in line.lines():
                    self._take(parsed(report))
        except LineError as error:
            why = f"its report broke off during the run ({error})"
        finally:
            line.writer.close()
        if self.problem is None and not self._leaving:
            self._end()
            self.problem = f"{why}; its last words: {self._child.last_words()}"
            if self._history is not None:
                self._history.record_at(time.monotonic(), "probe.tcp", "ended", why=self.problem)

    def _take(self, message: dict[str, Any]) -> None:
        """One line of the program: its first word, the fate of a connection, a request sent, or its outcome."""
        if "unavailable" in message:
            self.problem, self._answered = str(message["unavailable"]), True
        elif "ready" in message:
            self.problem, self._answered = None, True
        elif "connection" in message:
            self._connection(str(message["connection"]), float(message["t_s"]), message.get("how"))
        elif "intended_s" in message:
            number = self.attempts[message["level"]].open(message["intended_s"], message["sent_s"])
            assert number == message["number"], "a report of the TCP probe is missing"
        else:
            level, outcome = str(message["level"]), AttemptOutcome(message["outcome"])
            self.attempts[level].settle(message["number"], outcome, message.get("done_s"), time.monotonic())
            if "why" in message:
                self.reasons[level][message["why"]] += 1

    def _connection(self, what: str, t_s: float, how: str | None) -> None:
        if what == "opened":
            self.connections.append(ConnectionSpan(t_s))
        elif what == "ended":
            self.connections[-1].ended_at_s, self.connections[-1].how = t_s, how
        else:
            self.not_opened.append(t_s)
        if self._history is not None:
            self._history.record_at(t_s, f"probe.{LONG}", f"connection_{what.replace(' ', '_')}", how=how)

    def _expire(self) -> None:
        for attempts in self.attempts.values():
            attempts.expire(time.monotonic())

    def _end(self) -> None:
        for attempts in self.attempts.values():
            attempts.end()
