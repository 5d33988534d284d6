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


class Aim(StrEnum):
    """What a fault is aimed at, with examples; a fault that says nothing (`aim`) is aimed at a node."""

    NODE = "node (a, primary)"
    PAIR = "pair (a+b)"
    PORT = "port (a.priv0, primary.biz0)"
    PROCESS = "node/process (a/daemon, primary/guest)"
    VM = "VM (web)"
    WITNESS = "witness (w1)"
    HOST = "host"


class Trait(StrEnum):
    """What a fault says of itself (`traits`) because the other faults of a schedule have to know it."""

    SWITCHES_OFF = "its node is off until it is healed"
    STANDS_STILL = "its node stands still until it is healed"
    HOLDS_MACHINE = "it lets its machine stand and go on, at once or in turns: the end of one is the end of another"
    SILENCES_QMP = "QEMU answers no command while it is there"
    HANGS_DISK = "a disk takes requests and answers none"
    DRAINS_DISKS = "QEMU waits for its disks in it, for ever if one hangs"
    RELEASES_DISKS = "it lets a disk go on that hangs"
    NEEDS_QMP = "it is a command to QEMU"
    ASKS_NO_NODE = "it needs no help of its node, so that it is possible on one that stands still"


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
    """One fault on one target.

    Its class may also have `aim`, `traits`, and `needs`, which names what the host must have (`faults/capability.py`).
    """

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
