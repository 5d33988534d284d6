"""The only waiter of the testbed: every wait has a deadline, and a time-out says what was awaited and last seen.

Limits are those of a host of speed 1: `testbed.pace` makes them longer. Waits on the history are driven by its events;
polling is left for what cannot send events (a command in a node, a socket that is not there yet).

It must never wait without a limit, and never turn a time-out into a value.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from testbed import pace
from testbed.errors import TestbedError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType

    from testbed.history import History, HistoryRecord

T = TypeVar("T")
POLL_S = 0.1
SEEN_CHARS_MAX = 400  # of the last thing seen, in an error message


class ForbiddenSeen(TestbedError):
    """Something that must not happen happened while something else was awaited; the text names both."""


def _short(text: str) -> str:
    return text if len(text) <= SEEN_CHARS_MAX else text[:SEEN_CHARS_MAX] + " ..."


async def wait_for_record(
    history: History,
    predicate: Callable[[HistoryRecord], bool],
    *,
    what: str,
    timeout_s: float,
    forbidden: Callable[[HistoryRecord], bool] | None = None,
    after: int = 0,
    relevant: Callable[[HistoryRecord], bool] | None = None,
) -> HistoryRecord:
    """Return the first record from index `after` on that fulfils the predicate.

    `relevant` chooses which records may be shown as the last thing seen. Raises WaitTimeout at the deadline, and
    ForbiddenSeen as soon as a forbidden record comes first.
    """
    begun_at = time.monotonic()
    index = after
    last: HistoryRecord | None = None
    try:
        async with pace.timeout(timeout_s):
            while True:
                for entry in history.since(index):
                    index = entry.index + 1
                    if relevant is None or relevant(entry):
                        last = entry
                    if predicate(entry):
                        return entry
                    if forbidden is not None and forbidden(entry):
                        waited_s = time.monotonic() - begun_at
                        seen = _short(entry.text(history.zero_at_s))
                        raise ForbiddenSeen(f"While waiting for {what} ({waited_s:.1f} s so far) this happened: {seen}")
                await history.wait_beyond(index)
    except TimeoutError as error:
        seen = "nothing" if last is None else _short(last.text(history.zero_at_s))
        limit_s = pace.scaled(timeout_s)
        raise WaitTimeout(f"Waited {limit_s:g} s for {what}; it did not come. Last thing seen: {seen}") from error


async def wait_until(
    probe: Callable[[], Awaitable[T]],
    *,
    what: str,
    timeout_s: float,
    poll_s: float = POLL_S,
    tolerate: tuple[type[Exception], ...] = (),
) -> T:
    """Call the probe until its result is true and return that result.

    Errors of the tolerated kinds mean "not yet" and are shown as the last thing seen. Raises WaitTimeout at the
    deadline.
    """
    last = "nothing (the first question was never answered)"
    try:
        async with pace.timeout(timeout_s):
            while True:
                try:
                    value = await probe()
                except tolerate as error:
                    last = f"{type(error).__name__}: {error}"
                else:
                    if value:
                        return value
                    last = repr(value)
                await asyncio.sleep(poll_s)
    except TimeoutError as error:
        raise WaitTimeout(
            f"Waited {pace.scaled(timeout_s):g} s for {what}; it did not come. Last thing seen: {_short(last)}"
        ) from error


class OwnedTask:
    """One background task that belongs to the object that made it and ends with it; for readers that outlive a call."""

    def __init__(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        self._task = asyncio.create_task(work, name=name)  # noqa: TID251 - owned, awaited and cancelled by this class

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cancel()

    async def finish(self, timeout_s: float) -> bool:
        """Let the task end by itself within the limit; return whether it did, and raise what it raised."""
        done, _ = await asyncio.wait({self._task}, timeout=pace.scaled(timeout_s))
        if done:
            self._task.result()
        return bool(done)

    async def cancel(self) -> None:
        """Cancel the task and wait until it is gone; what it raised before is raised here."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()
