"""Crash-loop quarantine: a device that fails too often is kept out of service until a person resets it.

The rule of the fault-tolerant Stratus machines: the mean time between the last failures, over at least so many samples,
is below a threshold. Times are monotonic seconds of this daemon; it must never decide what quarantine means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

SAMPLES_MIN = 6


class Policy(StrEnum):
    """What a site does with a node that fails: judge by the threshold, keep it out at once, or always take it back."""

    THRESHOLD = "threshold"
    NEVER = "never"
    ALWAYS = "always"


@dataclass(slots=True)
class CrashLoop:
    """Counts the failures of one device."""

    mean_s: float
    samples: int = SAMPLES_MIN
    policy: Policy = Policy.THRESHOLD
    _failures: list[float] = field(init=False, default_factory=list)
    _tripped: bool = field(init=False, default=False)

    @property
    def tripped(self) -> bool:
        """The device is in quarantine: it stays there until it is reset."""
        return self._tripped

    def failed(self, now: float) -> bool:
        """Note a failure; true when the device is to be put into quarantine."""
        self._failures = [*self._failures, now][-self.samples :]
        if self.policy is Policy.NEVER:
            self._tripped = True
        elif self.policy is Policy.THRESHOLD and len(self._failures) == self.samples:
            mean_s = (self._failures[-1] - self._failures[0]) / (self.samples - 1)
            self._tripped = self._tripped or mean_s < self.mean_s
        return self._tripped

    def trip(self) -> None:
        """Keep the device out: an earlier run had done so."""
        self._tripped = True

    def recent(self, now: float) -> int:
        """How many of the noted failures are younger than the threshold."""
        return sum(now - at < self.mean_s for at in self._failures)

    def reset(self) -> None:
        """Forget everything: a person has reset the device."""
        self._failures.clear()
        self._tripped = False
