"""Restarts of a VM that keeps failing: some here, then one on the other node, then it is left (decision 0026).

A failure is a domain that was gone by itself, or a creation that failed. A guest that restarts itself, or switches
itself off, has not failed (core/ends.py). Both are a reason to try the other node. Only
the first is a reason to leave the VM: a creation that fails says something about this node, costs nobody anything, and
is tried again after a pause (`core/unit.py`). One whose outcome is unknown says nothing. The count holds nothing back
but the next start on this node: not a stop, not a takeover, and not the first start after either.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from avance.core import alerts, copies
from avance.core import commands as c
from avance.core import events as e
from avance.core.damper import HOUR_S, Damper
from avance.core.decision import Draft
from avance.core.model import Outcome, PeerView, VmId, VmState
from avance.core.results import Result
from avance.core.sight import Sight

FAILURES_MAX = 5  # on one node within an hour; a sound guest does not die as often
_ELSEWHERE = 1  # where the other node has given up: a VM that is sound needs no second try


@dataclass(slots=True)
class Restarts:
    """How often each VM has failed on this node lately."""

    second_s: float
    failures: dict[VmId, Damper] = field(default_factory=dict)  # domains that were gone by themselves
    in_vain: dict[VmId, Damper] = field(default_factory=dict)  # creations that failed, since the last one that did not
    away: bool = False  # the right was the peer's a moment ago
    equal_in: int = 0  # the epoch in which both copies of all VMs were equal, and no VM was to be had here

    def domain_changed(self, sight: Sight, event: e.DomainChanged, draft: Draft, now: float) -> None:
        """Let the VM note what Xen says of its domain, and count a failure."""
        if sight.units.domain_changed(event, draft):
            self.failed(event.vm, now)

    def done(self, command: c.VmCommand, result: Result, now: float) -> None:
        """Count a creation that failed; one that did not shows that this node can create the VM."""
        if isinstance(command, c.StartDomain) and result.outcome is Outcome.FAILED:
            self._count(self.in_vain, command.vm, now)
        elif isinstance(command, c.StartDomain) and result.outcome is Outcome.OK:
            self.in_vain.pop(command.vm, None)

    def said(self, view: PeerView, now: float, ends: str) -> PeerView:
        """Return the view with what is rarely said: VMs that fail here, and why this node resets itself."""
        failing = tuple(vm for vm in {**self.failures, **self.in_vain} if self.fails(vm, now))
        left = tuple(vm for vm in failing if self.left(vm, now))
        unmade = tuple(vm for vm in failing if vm not in left)
        return replace(view, left=left, unmade=unmade, ends=ends) if failing or ends else view

    def failed(self, vm: VmId, now: float) -> None:
        """Count a domain that was gone by itself."""
        self._count(self.failures, vm, now)

    def _count(self, counts: dict[VmId, Damper], vm: VmId, now: float) -> None:
        counts[vm] = counts.get(vm, Damper(FAILURES_MAX, HOUR_S * self.second_s)).counted(now)

    def forget(self, vm: VmId, draft: Draft) -> None:
        """The VM was removed."""
        self.failures.pop(vm, None)
        self.in_vain.pop(vm, None)
        draft.in_order(f"left {vm}")

    def anew(self) -> None:
        """A person says that what failed is mended."""
        self.failures.clear()
        self.in_vain.clear()

    def count(self, vm: VmId, now: float) -> int:
        """How often a VM was gone by itself here within the hour."""
        return _recent(self.failures, vm, now)

    def times(self, vm: VmId, now: float) -> int:
        """How often a VM has failed here within the hour: it was gone, or could not be created."""
        return self.count(vm, now) + _recent(self.in_vain, vm, now)

    def left(self, vm: VmId, now: float, *, left_there: bool = False) -> bool:
        """This node starts the VM no more; `left_there`: nor does the other one."""
        return bool(self.failures) and self.count(vm, now) >= (_ELSEWHERE if left_there else FAILURES_MAX)

    def fails(self, vm: VmId, now: float) -> bool:
        """The VM has failed here so often that the other node should try."""
        return self.times(vm, now) >= FAILURES_MAX

    def held(self, sight: Sight, vm: VmId, now: float) -> bool:
        """The VM is not started here now."""
        return bool(self.failures) and self.left(vm, now, left_there=_left_there(sight.agreeing(now), vm))

    def elsewhere(self, sight: Sight, now: float) -> str | None:
        """As the owner: say why the VMs should be tried on the other node, or None.

        All of them move together, so where a VM runs here, nothing moves. Both copies have to be equal, or to have been
        so when the last VM began to fail: since then nobody has written.
        """
        peer, record, units = sight.agreeing(now), sight.durable.record, sight.units.by_name
        if not (self.failures or self.in_vain) or any(unit.state is VmState.RUNNING for unit in units.values()):
            self.equal_in = 0
            return None
        if peer is None or not sight.durable.owner or record.quarantined or record.split:
            return None
        filled = sight.filled
        wanted = [vm for vm in filled if units[vm].spec.runs]
        failed = [vm for vm in wanted if self.fails(vm, now)]
        if not failed or len(failed) < len(wanted) or any(_left_there(peer, vm) or vm in peer.unmade for vm in failed):
            return None
        if record.peer_outdated or peer.record.peer_outdated or sight.behind or sight.peer_behind:
            return None
        if sight.units.synced().issuperset(filled):
            self.equal_in = record.epoch
        good = all(copies.peer_is_good(record, peer, vm) for vm in filled)  # nobody has written since
        if self.equal_in != record.epoch or not good:
            return None
        return f"VM {failed[0]} has failed {self.times(failed[0], now)} times within an hour on this node"

    def tell(self, sight: Sight, draft: Draft, now: float, *, moves: bool) -> None:
        """As the owner: tell of each VM that is left, once; `moves`: the other node will try.

        A right that has come from the peer is a new beginning: each VM has all its tries here (decision 0026).
        """
        if self.away and sight.durable.owner:
            self.failures.clear()
        self.away, peer = not sight.durable.owner, sight.agreeing(now)
        alone = sight.silent(now) or sight.agreement.differs(sight.agreement_facts(now))
        sight.units.judge_ends(draft, now, entitled=sight.entitled, alone=alone)
        for vm in self.failures:
            there = _left_there(peer, vm)
            if not self.left(vm, now, left_there=there) or not sight.units.by_name[vm].spec.runs:
                draft.in_order(f"left {vm}")
            elif not moves and sight.entitled and sight.units.by_name[vm].state is not VmState.RUNNING:
                draft.once(f"left {vm}", alerts.vm_left(vm, sight.setup.me, self.count(vm, now), there=there))


def _recent(counts: dict[VmId, Damper], vm: VmId, now: float) -> int:
    damper = counts.get(vm)
    return 0 if damper is None else damper.recent(now)


def _left_there(peer: PeerView | None, vm: VmId) -> bool:
    """The other node starts the VM no more; only a peer that is heard counts."""
    return peer is not None and vm in peer.left


__all__ = ["FAILURES_MAX", "Restarts"]
