"""What is left of removed VMs is taken away: the domain at once, the disk when the end of its replication harms nobody.

A removed VM is a tombstone in the definitions until this is done on both nodes (docs/safety.md, S44). When it may go is
the core's business (`Sight.may_go`). A step that is done already is done, so all of it is tried again at each start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from avance.clock import now_s
from avance.core.leftover import MayGo
from avance.core.model import VmId
from avance.core.results import Done
from avance.ports import Disks, Hypervisor
from avance.vm_config import Tombstone

_LOOK_S = 1.0  # between two looks at what may go
AGAIN_S = 60.0  # from a step that failed to the next try; times the dilation
_TOLD_FROM = 2  # failures in a row: after a start the data disks are not there yet, and what was frozen ends by itself


@dataclass(slots=True)
class _Removal:
    """How far the removal of one VM is. `failing`: the step that failed last, so often in a row; `problem`: why."""

    minor: int
    stopped: bool = False
    cleared: bool = False
    again_at: float = 0.0
    failing: str = ""
    failures: int = 0
    problem: str = ""


class Leftovers:
    """The removed VMs of which something may be left on this node; `may_go` says what may be taken away now."""

    def __init__(
        self, hypervisor: Hypervisor, disks: Disks, may_go: Callable[[VmId], MayGo], *, dilation: float
    ) -> None:
        self._hypervisor, self._disks, self._may_go = hypervisor, disks, may_go
        self._again_s = AGAIN_S * dilation
        self._removals: dict[VmId, _Removal] = {}
        self._finished: set[VmId] = set()  # in this run, and their tombstones are still there
        self._more = asyncio.Event()

    @property
    def unfinished(self) -> tuple[VmId, ...]:
        """The removed VMs of which something is left here, or may be: their tombstones must stay."""
        return tuple(self._removals)

    @property
    def problem(self) -> str:
        """Why a removed VM is not gone from this node; "" while nothing fails again and again."""
        return "; ".join(
            f"the removed VM {vm} is not gone from this node yet: {removal.problem}. It is tried again each minute"
            for vm, removal in self._removals.items()
            if removal.failures >= _TOLD_FROM
        )

    def take_on(self, removed: Iterable[Tombstone]) -> None:
        """Take away what is left of these VMs: all the tombstones that there are."""
        tombstones = {tombstone.name: tombstone for tombstone in removed}
        self._finished &= tombstones.keys()
        for vm, tombstone in tombstones.items():
            if vm not in self._finished:
                self._removals.setdefault(vm, _Removal(tombstone.minor))
        self._more.set()

    async def run(self) -> None:
        """Do so for ever."""
        while True:
            await self._more.wait()
            for vm, removal in tuple(self._removals.items()):
                await self._go_on(vm, removal)
            if not self._removals:
                self._more.clear()
            else:
                await asyncio.sleep(_LOOK_S)

    async def _go_on(self, vm: VmId, removal: _Removal) -> None:
        """Do what may be done for one of them."""
        if now_s() < removal.again_at:
            return
        if not removal.stopped and self._may_go(vm).domain:
            removal.stopped = self._ended(removal, "domain", await self._hypervisor.clear(vm))
        if removal.stopped and not removal.cleared and self._may_go(vm).disk:
            # One that fails may do so because the domain holds the disk open: the next try begins with that.
            done = await self._disks.clear(vm, removal.minor)
            removal.cleared = removal.stopped = self._ended(removal, "disk", done)
        if removal.cleared and self._may_go(vm).forgotten:
            del self._removals[vm]
            self._finished.add(vm)

    def _ended(self, removal: _Removal, step: str, done: Done) -> bool:
        again = step == removal.failing
        if not done.ok:
            removal.failing, removal.failures = step, removal.failures + 1 if again else 1
            removal.problem, removal.again_at = done.detail, now_s() + self._again_s
        elif again:
            removal.failing, removal.failures, removal.problem = "", 0, ""
        return done.ok
