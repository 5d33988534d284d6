"""Time: the monotonic clock for decisions, the wall clock only for words that people read."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

HARDWARE_CLOCK = Path("/sys/class/rtc/rtc0/since_epoch")
HARDWARE_CLOCK_S = 0.2  # between two readings of 1 ms each; a paused machine learns of its pause so much later at most
_READING_BYTES_MAX = 32


def now_s() -> float:
    """Return monotonic seconds, in whole microseconds; the only time that decisions see."""
    return time.monotonic_ns() // 1000 / 1e6


def wall_text() -> str:
    """Return the wall-clock time for a log line or an alert."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


class HardwareClock:
    """The clock on a battery (rtc(4)): it runs on while the machine is paused, which monotonic time does not.

    A context manager, because it keeps its file open; without such a clock it gives None.
    """

    def __init__(self, path: Path = HARDWARE_CLOCK) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Open the clock, if there is one."""
        with contextlib.suppress(OSError):
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def read_s(self) -> float | None:
        """Return its whole seconds, or None when it gives none."""
        if self._descriptor is None:
            return None
        try:
            return float(os.pread(self._descriptor, _READING_BYTES_MAX, 0))
        except (OSError, ValueError):
            return None
