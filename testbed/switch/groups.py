"""Counts the frames to many (broadcast and multicast) that devices send into the switch, by port and source address.

It is the eye of the oracle "at most 10 multicasts per node, second and link". One event a second for each (port,
source) that sent any, with the most that fell into any one second, so that nothing hides between two seconds of the
clock. It looks at what *enters*, also when a cut stops it there. It must never judge, and never cost a frame to one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

WINDOW_NS = 1_000_000_000
KEPT_FRAMES_MAX = 4096  # times that are kept for one (port, source); a storm shows as this many, which is enough

Emit = Callable[[dict[str, object]], None]


@dataclass(slots=True)
class _Source:
    first_ns: int = 0
    last_ns: int = 0
    frames: int = 0
    cut: int = 0
    peak: int = 0
    peak_from_ns: int = 0
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT_FRAMES_MAX))


class Groups:
    """The counts of one listener since its last report."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._sources: dict[tuple[str, bytes], _Source] = {}
        self._report_ns = 0

    def frame(self, port: str, frame: bytes, now_ns: int, *, cut: bool) -> None:
        """Count one frame to many that entered at the port; `cut` says that a rule stopped it there."""
        key = (port, frame[6:12])
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = _Source()
        recent = source.recent
        recent.append(now_ns)
        while now_ns - recent[0] >= WINDOW_NS:
            recent.popleft()
        if not source.frames:
            source.first_ns = now_ns
        source.last_ns = now_ns
        source.frames += 1
        source.cut += cut
        if len(recent) > source.peak:
            source.peak, source.peak_from_ns = len(recent), recent[0]

    def flush(self, now_ns: int) -> None:
        """Report what was counted, at most once a second; the times of the last second are kept for the next one."""
        if now_ns - self._report_ns < WINDOW_NS:
            return
        self._report_ns = now_ns
        sources, self._sources = self._sources, {}
        for (port, mac), source in sources.items():
            if source.frames:
                self._emit({
                    "event": "multicast", "port": port, "mac": mac.hex(":"), "first_s": source.first_ns / 1e9,
                    "last_s": source.last_ns / 1e9, "frames": source.frames, "cut": source.cut,
                    "peak": source.peak, "peak_from_s": source.peak_from_ns / 1e9,
                })  # fmt: skip
            if now_ns - source.recent[-1] < WINDOW_NS:
                self._sources[port, mac] = _Source(recent=source.recent)

    def finish(self) -> None:
        """Report what is left, at once."""
        self._report_ns = 0
        self.flush(time.monotonic_ns())
