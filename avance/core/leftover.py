"""A VM that was removed, and of which something may still be here: its domain, or a command that is under way.

It is no VM any more: nothing starts it, and nothing waits for it. But a domain that is there could write and send, so
whoever stops writers counts it until it is known to be gone (docs/safety.md, S44).
"""

from __future__ import annotations

from dataclasses import dataclass

from avance.core.unit import VmUnit

_CREATES = "StartDomain"


@dataclass(frozen=True, slots=True)
class MayGo:
    """What of a removed VM may be taken away now: its `domain`; its `disk`, with the end of the replication.

    `forgotten`: this node's record does not name it any more.
    """

    domain: bool
    disk: bool
    forgotten: bool


@dataclass(slots=True)
class Leftover:
    """What is left of one removed VM. `busy`: its command in flight. `runs`: its domain is there, None: not known."""

    busy: str | None = None
    runs: bool | None = None

    @property
    def is_gone(self) -> bool:
        """Nothing of it can run here, or begin to."""
        return self.runs is False and self.busy is None

    def domain_changed(self, *, running: bool) -> None:
        """Note what Xen says; while a domain is being created, its absence says nothing."""
        self.runs = None if self.busy == _CREATES and not running else running

    def done(self) -> None:
        """Its command has ended, however; whether one that creates has left something behind has to be looked at."""
        self.runs = None if self.busy == _CREATES else self.runs
        self.busy = None


def left_of(unit: VmUnit) -> Leftover:
    """Return what is left of a VM that is removed now."""
    if unit.may_write or unit.domain_running:
        return Leftover(unit.busy, runs=True)
    return Leftover(unit.busy, runs=False if unit.looked or unit.untouched else None)


__all__ = ["Leftover", "MayGo", "left_of"]
