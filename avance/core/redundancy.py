"""One copy only: how long the VMs of this node have had no second copy, and whether the only one is on its last disk.

Whatever the reason is, people hear of it: this is the net below all alerts that name a cause.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avance.core import alerts
from avance.core.decision import Draft
from avance.core.model import DiskState, DiskView, MirrorView, Timers, VmId

_ONE_COPY_S = 60.0  # a restart of the backup and its resynchronisation are over before


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What must be known of the pair. `serves`: the VMs that run here. `disks`: what DRBD says of every volume.

    `heard`: the peer speaks. `mirror`: the data disks of this node.
    """

    serves: frozenset[VmId]
    disks: dict[VmId, DiskView | None]
    heard: bool
    mirror: MirrorView


@dataclass(slots=True)
class Redundancy:
    """Since when each VM that runs here has had one copy only."""

    timers: Timers
    _since: dict[VmId, float] = field(default_factory=dict)

    def judge(self, facts: CopyFacts, draft: Draft, now: float) -> None:
        """Tell of a VM with one copy only, of one that has two again, and of an only copy on the last disk."""
        for vm, view in facts.disks.items():
            if view is not None and view.in_sync:
                self._in_sync(vm, draft)
            elif vm in facts.serves:
                self._alone(vm, view, facts, draft, now)
            else:
                self._since.pop(vm, None)

    def forget(self, vm: VmId, draft: Draft) -> None:
        """The VM was removed."""
        self._since.pop(vm, None)
        draft.in_order(f"one_copy {vm}", f"last_disk {vm}")

    def _in_sync(self, vm: VmId, draft: Draft) -> None:
        self._since.pop(vm, None)
        if f"one_copy {vm}" in draft.told:
            draft.say(f"{vm} has two copies again", alert=alerts.two_copies(vm))
        draft.in_order(f"one_copy {vm}", f"last_disk {vm}")

    def _alone(self, vm: VmId, view: DiskView | None, facts: CopyFacts, draft: Draft, now: float) -> None:
        alone_s = now - self._since.setdefault(vm, now)
        here = view is not None and view.disk is DiskState.UP_TO_DATE
        if here and 0 < facts.mirror.halves < facts.mirror.of and alone_s >= self.timers.stable_s:
            draft.once(f"last_disk {vm}", alerts.last_disk(vm))
        if alone_s >= _ONE_COPY_S * self.timers.second_s:
            draft.once(f"one_copy {vm}", alerts.one_copy(vm, _why(view, heard=facts.heard)))


def _why(view: DiskView | None, *, heard: bool) -> str:
    """Say what is known of the other copy."""
    if view is None:
        return "DRBD does not say anything of it"
    if view.disk is not DiskState.UP_TO_DATE:
        return f"the copy of this node is {view.disk}"
    if not heard:
        return "the other node is not heard"
    if view.replication in ("SyncSource", "PausedSyncS"):
        return f"the copy of the other node is still being filled ({view.replication})"
    if view.connection != "Connected":
        return f"the other node is heard, but the copies are not connected ({view.connection})"
    return f"the copy of the other node is {view.peer_disk}"


__all__ = ["CopyFacts", "Redundancy"]
