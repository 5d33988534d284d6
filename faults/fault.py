"""What a fault is: inject, prove, heal. A fault that cannot prove itself is not a fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from testbed.bed import Bed


class FaultVerdict(StrEnum):
    """Whether the fault was really there."""

    CONFIRMED = "confirmed"
    MISMATCH = "mismatch"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Proof:
    """The verdict, the monotonic time from which the fault was there, and the evidence by its source."""

    verdict: FaultVerdict
    injected_at_s: float | None
    evidence: Mapping[str, object] = field(default_factory=dict)


class Fault(Protocol):
    """One fault on one target."""

    @property
    def name(self) -> str:
        """What happens in the world, for example `node.kill`."""

    @property
    def target(self) -> str:
        """Where, for example `a`."""

    async def prepare(self, bed: Bed) -> None:
        """Take the evidence of the healthy state, before the injection."""

    async def inject(self, bed: Bed) -> None:
        """Do it."""

    async def confirm(self, bed: Bed) -> Proof:
        """Prove it from places other than the path of the command."""

    async def heal(self, bed: Bed) -> None:
        """Take it back, and verify that it is gone."""
