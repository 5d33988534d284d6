"""The open-loop client: a request on a fixed schedule, whatever became of the ones before it.

Latency counts from the *intended* time of sending, so that a stalled service cannot hide behind a client that waits for
it. Each request has its own source port, so that an `ERR` (which names no request) can be told apart. The probe must
never slow down when the service does, never send a write twice, and its own lateness is measured, because a late probe
makes a run invalid.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from testbed import pace
from testbed.client.attempts import Attempts
from testbed.client.ledger import Datagram, Ledger, UdpClient
from testbed.client.outage import (
    PATIENCE_S,
    RUN_OF_SUCCESSES,
    Attempt,
    AttemptOutcome,
    Outage,
    OutageSummary,
    find_outages,
)
from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.wait import OwnedTask

INTERVAL_S = 0.05
TIMEOUT_S = PATIENCE_S
_SLOT_ROUNDS = 3  # a source port is used again only after three time limits, so that a late ERR finds its own request

T = TypeVar("T")


class Probe:
    """The running probe as an async context manager: it writes with a ledger, and only pings without one.

    Interval and time limit are for dilation 1: a slower pair is asked less often, and has longer for its answer.
    """

    def __init__(
        self,
        client: UdpClient,
        ip: str,
        port: int,
        run: str,
        *,
        ledger: Ledger | None,
        history: History | None = None,
        source: str = "probe",
        interval_s: float = INTERVAL_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.interval_s = pace.scaled(interval_s)
        self.timeout_s = pace.scaled(timeout_s)
        self.run = run
        self.pong_totals: list[tuple[int, int]] = []
        self.boots: list[str] = []
        self._client = client
        self._ip, self._port = ip, port
        self._patience_s = timeout_s
        self._ledger = ledger
        self._history = history
        self._source = source  # of its records
        self._attempts = Attempts(self.interval_s, self.timeout_s, lambda kind, fields: self._record(kind, **fields))
        self._stopping = False
        self._sources: list[int] = []

    async def __aenter__(self) -> Self:
        for slot in range(_SLOT_ROUNDS * int(self.timeout_s / self.interval_s + 1)):
            source = self._client.free_port()
            self._client.listen(source, self._handler(slot))
            self._sources.append(source)
        self._task = OwnedTask(self._work(), name=f"probe-{self.run}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._task.cancel()
        finally:
            self._abandon()
            for source in self._sources:
                self._client.stop_listening(source)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All requests so far, in the order of the schedule."""
        return self._attempts.all

    @property
    def is_up(self) -> bool | None:
        """True after K good answers in a row, False from the first bad one on, None before either."""
        return self._attempts.is_up

    async def stop(self) -> None:
        """Send no more requests and wait until each one was answered or its time has run out."""
        self._stopping = True
        await self._task.finish(self._patience_s + 1.0)

    def summary(self, *, since_s: float = float("-inf")) -> OutageSummary:
        """The client's view until now; the outages and the longest gap are those after `since_s`."""
        return self._attempts.summary(since_s=since_s)

    async def wait_first_ok(self, timeout_s: float) -> float:
        """Wait until the service answers K requests in a row; returns the time of the first of these answers."""
        return await self._wait(self._first_ok_at, f"{RUN_OF_SUCCESSES} answers in a row", timeout_s)

    async def wait_recovered(self, timeout_s: float, *, since_s: float) -> Outage:
        """Wait for an outage that was not over at `since_s` to begin and to end; returns it."""
        return await self._wait(lambda: self._recovered(since_s), "an outage to begin and to end", timeout_s)

    async def _wait(self, look: Callable[[], T | None], what: str, timeout_s: float) -> T:
        try:
            async with pace.timeout(timeout_s):
                while (found := look()) is None:
                    self._attempts.changed.clear()
                    await self._attempts.changed.wait()
                return found
        except TimeoutError as error:
            limit_s = pace.scaled(timeout_s)
            raise WaitTimeout(f"Waited {limit_s:g} s for {what} of {self._ip}; {self._last_seen()}.") from error

    def _first_ok_at(self) -> float | None:
        run: list[float] = []
        for attempt in self._attempts.all:
            if attempt.outcome is AttemptOutcome.OK and attempt.done_at_s is not None:
                run.append(attempt.done_at_s)
                if len(run) == RUN_OF_SUCCESSES:
                    return min(run)
            else:
                run.clear()
        return None

    def _recovered(self, since_s: float) -> Outage | None:
        outages = find_outages(
            self._attempts.all, now_s=time.monotonic(), prompt_s=self._attempts.prompt_s, since_s=since_s
        )
        for outage in outages:
            if outage.ended_at_s is not None:
                return outage
        return None

    def _last_seen(self) -> str:
        good = [attempt.done_at_s for attempt in self._attempts.all if attempt.done_at_s is not None]
        if not good:
            return f"none of {len(self._attempts)} requests was answered"
        ago_s = time.monotonic() - max(good)
        return f"{len(good)} of {len(self._attempts)} requests were answered, the last one {ago_s:.2f} s ago"

    async def _work(self) -> None:
        start_at_s = time.monotonic()
        while not self._stopping or self._attempts.has_open:
            now_s = time.monotonic()
            while not self._stopping and start_at_s + len(self._attempts) * self.interval_s <= now_s:
                self._send(start_at_s + len(self._attempts) * self.interval_s)
            self._expire(now_s)
            next_at_s = start_at_s + len(self._attempts) * self.interval_s
            await asyncio.sleep(self.interval_s if self._stopping else max(0.0, next_at_s - time.monotonic()))

    def _send(self, intended_at_s: float) -> None:
        verb = "PING" if self._ledger is None else "PUT"
        sent_at_s = time.monotonic()
        number = self._attempts.open(intended_at_s, sent_at_s)
        if self._ledger is not None:
            self._ledger.invoked(self._id(number), sent_at_s)
        source = self._sources[number % len(self._sources)]
        self._client.udp_send(self._ip, self._port, source, f"{verb} {self._id(number)}".encode())

    def _abandon(self) -> None:
        """Nobody waits for what is still in flight: unknown to the ledger, and neither good nor bad for the outage."""
        for number in self._attempts.end():
            if self._ledger is not None:
                self._ledger.info(self._id(number), time.monotonic())

    def _expire(self, now_s: float) -> None:
        """Give up what had no answer in time."""
        for number in self._attempts.overdue(now_s):
            self._settle(number, AttemptOutcome.INFO, None)
            if self._ledger is not None:
                self._ledger.info(self._id(number), now_s)
        self._attempts.expire(now_s)

    def _handler(self, slot: int) -> Callable[[Datagram, float], None]:
        def received(datagram: Datagram, t_s: float) -> None:
            words = datagram.payload.decode("ascii", errors="replace").split()
            number = self._number(slot, words)
            if number is not None:
                self._answered(number, words, t_s)

        return received

    def _number(self, slot: int, words: list[str]) -> int | None:
        """The request that the answer belongs to: by its id, or for an ERR the newest one of its source port."""
        if words[:1] == ["ERR"]:
            return self._attempts.newest(slot, len(self._sources))
        if len(words) < 2 or not words[1].startswith(f"{self.run}-"):
            return None
        text = words[1].removeprefix(f"{self.run}-")
        return int(text) if text.isdigit() and int(text) < len(self._attempts) else None

    def _answered(self, number: int, words: list[str], t_s: float) -> None:
        attempt = self._attempts[number]
        if attempt.outcome in {AttemptOutcome.OK, AttemptOutcome.FAIL}:
            return  # a duplicate of the network
        match words:
            case ["OK", _, index] if self._ledger is not None and index.isdigit():
                self._ledger.ok(self._id(number), int(index), t_s)
            case ["PONG", _, boot, total] if self._ledger is None and total.isdigit():
                self._ponged(number, boot, int(total))
                self._settle(number, AttemptOutcome.OK, t_s, boot=boot)
                return
            case ["ERR", *text]:
                if self._ledger is not None:
                    self._ledger.fail(self._id(number), " ".join(text), t_s)
                self._settle(number, AttemptOutcome.FAIL, None)
                return
            case _:
                return
        self._settle(number, AttemptOutcome.OK, t_s)

    def _ponged(self, number: int, boot: str, total: int) -> None:
        self.pong_totals.append((number, total))
        if boot not in self.boots:
            self.boots.append(boot)
            self._record("boot", boot=boot, total=total)

    def _settle(self, number: int, outcome: AttemptOutcome, done_at_s: float | None, **more: object) -> None:
        before = self._attempts[number]
        is_late = before.outcome is AttemptOutcome.INFO
        latency_s = None if done_at_s is None else done_at_s - before.intended_at_s
        self._record(
            "late" if is_late else outcome.value,
            number=number,
            latency_s=latency_s,
            **({} if is_late else {"intended_s": before.intended_at_s}),
            **more,
        )
        self._attempts.settle(number, outcome, done_at_s, time.monotonic())

    def _record(self, kind: str, **fields: object) -> None:
        if self._history is not None:
            self._history.record(self._source, kind, run=self.run, **fields)

    def _id(self, number: int) -> str:
        return f"{self.run}-{number}"
