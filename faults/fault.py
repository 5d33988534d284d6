"""What a fault says of itself: what happens, what proves it, what takes it back. The order of the parts is `life`'s.

A fault that cannot prove itself is not a fault. It never checks in which order its parts are called, and never cleans
up after itself: `faults.life.Life` does, and nothing else calls the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, Self, runtime_checkable

from testbed.bed import Bed


class FaultVerdict(StrEnum):
    """Whether the fault was really there."""

    CONFIRMED = "confirmed"
    MISMATCH = "mismatch"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Proof:
    """The verdict, the monotonic time from which the fault was there, and the evidence by its source.

    A confirmed fault has a time, and no other has one: nothing may be counted from a fault that nobody has seen.
    """

    verdict: FaultVerdict
    injected_at_s: float | None
    evidence: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_confirmed, has_time = self.verdict is FaultVerdict.CONFIRMED, self.injected_at_s is not None
        assert is_confirmed == has_time, f"{self.verdict} at {self.injected_at_s}"

    @classmethod
    def of(cls, seen: bool | None, at_s: float | None, evidence: Mapping[str, object]) -> Self:  # noqa: FBT001 - what was seen, not a switch
        """Return the proof of a fault that was seen from `at_s` on, was not there (False), or cannot be told (None)."""
        if seen is None:
            return cls(FaultVerdict.INCONCLUSIVE, None, evidence)
        return cls(FaultVerdict.CONFIRMED, at_s, evidence) if seen else cls(FaultVerdict.MISMATCH, None, evidence)


class Fault(Protocol):
    """One fault on one target."""

    @property
    def name(self) -> str:
        """What happens in the world, for example `node.kill`."""

    @property
    def target(self) -> str:
        """Where, for example `a`."""

    async def prepare(self, bed: Bed) -> None:
        """Take the evidence of the healthy state. Raises UsageError for what is impossible, before it changes anything.

        What it leaves in the bed to look with, `Instrumented` takes away.
        """

    async def inject(self, bed: Bed) -> None:
        """Do it."""

    async def confirm(self, bed: Bed) -> Proof:
        """Prove it from places other than the path of the command."""

    async def heal(self, bed: Bed) -> None:
        """Take it back, and verify that it is gone; raises otherwise. It also works after half an injection."""


@runtime_checkable
class Instrumented(Protocol):
    """A fault whose `prepare` leaves instruments in the bed, such as taps at the switch."""

    async def remove_instruments(self, bed: Bed) -> None:
        """Take them away, also when only a part of them was placed; the last call, after the heal if there is one."""
