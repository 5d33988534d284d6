"""Time: the monotonic clock for decisions, the wall clock only for words that people read."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

HARDWARE_CLOCK = Path("/sys/class/rtc/rtc0/since_epoch")
HARDWARE_CLOCK_DEVICE = Path("/dev/rtc0")  # only one process can have it open
HARDWARE_CLOCK_S = 0.2  # between two readings where the clock does not tell of its seconds by itself
_READING_BYTES_MAX = 32
_RTC_UIE_ON = 0x7003  # rtc(4): an interrupt at each new second


def now_s() -> float:
    """Return monotonic seconds, in whole microseconds; the only time that decisions see."""
    return time.monotonic_ns() // 1000 / 1e6


def wall_text() -> str:
    """Return the wall-clock time for a log line or an alert."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


class HardwareClock:
    """The clock on a battery (rtc(4)): it runs on while the machine is paused, which monotonic time does not.

    It interrupts at each new second. While a machine is paused, such an interrupt waits for it, so `descriptor` is
    readable within milliseconds after the pause. It is None where the clock cannot do that, or where another program
    has the device open.

    A context manager, because it keeps its files open; without such a clock it gives None.
    """

    def __init__(self, path: Path = HARDWARE_CLOCK, device: Path = HARDWARE_CLOCK_DEVICE) -> None:
        self._path = path
        self._device = device
        self._time: int | None = None
        self.descriptor: int | None = None

    def __enter__(self) -> Self:
        """Open the clock, if there is one, and let it tell of each second, if it can."""
        with contextlib.suppress(OSError):
            self._time = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            descriptor = os.open(self._device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.ioctl(descriptor, _RTC_UIE_ON)
            except OSError:
                os.close(descriptor)
                raise
            self.descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; the kernel ends the interrupts with the last file."""
        for descriptor in (self._time, self.descriptor):
            if descriptor is not None:
                os.close(descriptor)
        self._time = self.descriptor = None

    def heard(self) -> bool:
        """Take what made `descriptor` readable; False when it will never tell of a second again."""
        try:
            return self.descriptor is not None and os.read(self.descriptor, _READING_BYTES_MAX) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def read_s(self) -> float | None:
        """Return its whole seconds, or None when it gives none."""
        if self._time is None:
            return None
        try:
            return float(os.pread(self._time, _READING_BYTES_MAX, 0))
        except (OSError, ValueError):
            return None
