"""Pause detection: the hardware clock runs on while a machine is paused, the monotonic clock does not.

A paused and continued node sees no gap in its own time, so nothing else in it can know that its right may have ended
(docs/safety.md, S26). The hardware clock counts whole seconds and may be set by somebody: a false alarm costs
one exchange of heartbeats, so every unexplained advance counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_DRIFT_S = 30.0  # the comparison starts anew so often: 2 % of drift between the clocks stays far below a pause


@dataclass(slots=True)
class PauseWatch:
    """Compares the advance of two clocks since an anchor."""

    limit_s: float
    second_s: float = 1.0
    _anchor: tuple[float, float] | None = field(init=False, default=None)
    _seen: float | None = field(init=False, default=None)

    def update(self, now: float, rtc_s: float) -> float:
        """Take one reading; returns for how many seconds the machine stood still, 0 when it did not."""
        drift_s = _DRIFT_S * self.second_s
        if self._seen == rtc_s and self._anchor is not None and now - self._anchor[0] < drift_s:
            return 0.0
        anchor, seen = self._anchor, self._seen
        if anchor is None or seen is None or now - anchor[0] >= drift_s:
            self._anchor, self._seen = (now, rtc_s), rtc_s
            return 0.0 if seen is None or anchor is None else self._gap(anchor, now, rtc_s)
        self._seen = rtc_s
        gap_s = self._gap(anchor, now, rtc_s)
        if gap_s or (rtc_s - anchor[1]) - (now - anchor[0]) < -self.limit_s:
            self._anchor = (now, rtc_s)  # found, or the clock was set back: it must hide no pause after it
        return gap_s

    def _gap(self, anchor: tuple[float, float], now: float, rtc_s: float) -> float:
        gap_s = (rtc_s - anchor[1]) - (now - anchor[0])
        return gap_s if gap_s > self.limit_s else 0.0
