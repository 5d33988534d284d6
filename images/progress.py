"""Tell a waiting person what the build does; this module must never decide anything."""

import sys
import threading
import time
from collections.abc import Callable

QUIET_LIMIT_S = 10.0


class Progress:
    """Writes one line per event to stderr, with the seconds since the start of the build."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        """Start the clock; `write` receives whole lines (stderr when it is not given)."""
        self._started_s = time.monotonic()
        self._write = write or sys.stderr.write
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def elapsed_s(self) -> float:
        """Return the seconds since the build began."""
        return time.monotonic() - self._started_s

    def cancel(self) -> None:
        """Ask every step of the build that is still at work to stop."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        """Tell whether the build was asked to stop."""
        return self._cancelled.is_set()

    def say(self, text: str) -> None:
        """Write one line, also when several layers are built at the same time."""
        with self._lock:
            self._write(f"images [{self.elapsed_s():6.1f} s] {text}\n")
            if self._write is sys.stderr.write:
                sys.stderr.flush()
