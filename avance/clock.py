"""Time: the monotonic clock for decisions, the wall clock only for words that people read."""

from __future__ import annotations

import asyncio
import datetime as dt
import time

from avance.core.events import Tick
from avance.ports import Sink

TICK_S = 0.1  # how finely silence and deadlines are noticed


def now_s() -> float:
    """Return monotonic seconds; the only time that decisions see."""
    return time.monotonic()


def wall_text() -> str:
    """Return the wall-clock time for a log line or an alert."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


async def tick(sink: Sink) -> None:
    """Send a Tick at a steady pace, for ever."""
    while True:
        sink(Tick())
        await asyncio.sleep(TICK_S)
