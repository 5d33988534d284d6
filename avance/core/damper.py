"""A damper: something that repeats may happen so often within a time, and is left alone then (decision 0026).

It is a value: `counted` returns another one. What is done instead, and what is told, belongs to the one who asks. It
must never hold back what ends a right, what takes one, or what starts a VM for the first time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

HOUR_S = 3600.0  # the window of all dampers; times the dilation
_STEPS_MAX = 64  # more doublings than any limit needs; far below what a float can hold


@dataclass(frozen=True, slots=True)
class Damper:
    """At most `most` times within `window_s`; `times` are the last ones, monotonic seconds, the oldest first."""

    most: int
    window_s: float
    times: tuple[float, ...] = ()

    def counted(self, now: float) -> Damper:
        """Return the damper after it has happened once more; of more than `most` times the last ones are kept."""
        return replace(self, times=(*self.times, now)[-self.most :])

    def full(self, now: float) -> bool:
        """It has happened as often as it may, and must not happen now."""
        return len(self.times) >= self.most and now < self.free_at

    @property
    def free_at(self) -> float:
        """When it may happen again; -inf while it may at any time."""
        return self.times[-self.most] + self.window_s if len(self.times) >= self.most else -inf

    def recent(self, now: float) -> int:
        """How often it has happened within the window."""
        return sum(now < at + self.window_s for at in self.times)

    def anew(self) -> Damper:
        """Return it as it was at first: a person has said so, or the reason has gone."""
        return replace(self, times=())


def doubled(first_s: float, times: int, limit_s: float) -> float:
    """Return a pause that doubles each time and has a limit; `times` may be as large as it likes."""
    return min(first_s * 2.0 ** min(max(times, 0), _STEPS_MAX), limit_s)


__all__ = ["HOUR_S", "Damper", "doubled"]
