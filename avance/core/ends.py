"""How a VM comes to its end: a person wants it, its guest does, or it fails (docs/safety.md, S47).

Whether a VM is to run is part of its definition (`wanted`), on which both nodes agree. A guest that has switched itself
off stays off: Xen lists what is left of the domain, with the reason, until it is destroyed. That outlives the daemon.
So it is kept until both nodes hold that the VM is off. A guest that restarts itself is started again, and has not
failed. An end whose reason nobody knows is a failure.

What is known of it lives here. `core/unit.py` gives the commands of each VM, `core/restarts.py` counts the failures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from avance.core import alerts
from avance.core import commands as c
from avance.core import events as e
from avance.core.circumstances import Goal
from avance.core.damper import doubled
from avance.core.decision import Draft
from avance.core.model import DomainEnd, Outcome, VmId, VmState, Wanted
from avance.core.unit import VmUnit

SHUT_DOWN_S = 60.0  # for a guest that was asked to shut down; then it is left running, and people are told
_AGAIN_S = 5.0  # between two times that it is asked, or that what is wanted is proposed; the latter grows ...
_AGAIN_MAX_S = 40.0  # ... up to this
_ALIVE = (VmState.STARTING, VmState.RUNNING)
_LEFT_ALONE = (Wanted.SHUT_DOWN, Wanted.OFF_BY_GUEST)  # what runs is not ended by force for these
_COMING = (VmState.RECEIVING, VmState.RECEIVED)


@dataclass(frozen=True, slots=True)
class _Stop:
    """A guest that is to shut down: since when, when it is asked next, None: it was; `late`: people were told."""

    since_s: float
    ask_at: float | None
    late: bool = False


@dataclass(slots=True)
class Ends:
    """What ends here, or has ended, beside the failures; `off`: guests that have switched themselves off."""

    second_s: float
    off: set[VmId] = field(default_factory=set)
    _stops: dict[VmId, _Stop] = field(default_factory=dict)
    _proposals: dict[VmId, tuple[float, int]] = field(default_factory=dict)  # when the next one is due, how many were

    # ------------------------------------------------------------ what is told

    def changed(self, event: e.DomainChanged, unit: VmUnit, draft: Draft, *, lost: bool) -> bool:
        """Note what Xen says of a domain; `lost`: it ran a moment ago. Returns whether the VM has failed."""
        vm, before = event.vm, event.vm in self.off
        off = not event.running and event.ended is DomainEnd.POWEROFF and unit.spec.runs
        self.off = self.off | {vm} if off else self.off - {vm}
        if off and not before:
            draft.say(f"the guest of {vm} has switched itself off", alert=alerts.off_by_guest(vm))
        if not lost or off:
            return False
        if not unit.spec.runs:
            draft.say(f"{vm} is off, as it is wanted")
            return False
        if event.ended is DomainEnd.REBOOT:
            draft.say(f"the guest of {vm} restarts itself: it is started again, and has not failed")
            return False
        draft.say(f"the domain of {vm} is gone", alert=alerts.vm_crashed(vm))
        return True

    def asked(self, vm: VmId, outcome: Outcome, now: float) -> None:
        """Note whether a guest was asked to shut down."""
        if vm in self._stops:
            again_at = None if outcome is Outcome.OK else now + _AGAIN_S * self.second_s
            self._stops[vm] = replace(self._stops[vm], ask_at=again_at)

    def forget(self, vm: VmId, draft: Draft) -> None:
        """Something else is wanted of the VM, or it was removed."""
        self.off -= {vm}
        self._stops.pop(vm, None)
        self._proposals.pop(vm, None)
        draft.in_order(f"runs_on {vm}")

    # ------------------------------------------------------------ what follows

    def goal(self, pair: Goal, unit: VmUnit) -> Goal:
        """Return what is wanted of one VM, where the pair wants `pair` of all VMs of this node.

        One that moves here while it runs is let in first. What it is to do then is decided then.
        """
        if pair is not Goal.RUN or unit.state in _COMING:
            return pair
        if unit.spec.name in self.off:
            return Goal.HOLD
        if unit.spec.runs:
            return pair
        return Goal.HOLD if unit.state in _ALIVE and unit.spec.wanted in _LEFT_ALONE else Goal.STOP

    def shuts(self, unit: VmUnit, now: float) -> bool:
        """The guest is to be asked to shut down now."""
        stop = self._stops.get(unit.spec.name)
        return stop is not None and stop.ask_at is not None and now >= stop.ask_at

    def judge(self, units: Iterable[VmUnit], draft: Draft, now: float, *, entitled: bool, alone: bool) -> None:
        """As the owner: see to guests that shut down, and propose what is wanted where the guests decide it.

        `alone`: the peer cannot agree now.
        """
        for unit in units:
            vm = unit.spec.name
            self._judge_stop(unit, draft, now, entitled=entitled)
            wanted = self._wanted(unit) if entitled else unit.spec.wanted
            due_at, times = self._proposals.get(vm, (now, 0))
            if wanted is unit.spec.wanted:
                self._proposals.pop(vm, None)
            elif now >= due_at:
                pause_s = doubled(_AGAIN_S, times, _AGAIN_MAX_S) * self.second_s
                self._proposals[vm] = (now + pause_s, times + 1)
                draft.command(c.ProposeWanted(vm, wanted, alone))

    def _wanted(self, unit: VmUnit) -> Wanted:
        """Return what is wanted of a VM, as its guest decides.

        One that runs was started by a node that had not heard that its guest had switched itself off before.
        """
        if unit.spec.name in self.off:
            return Wanted.OFF_BY_GUEST
        runs = unit.spec.wanted is Wanted.OFF_BY_GUEST and unit.state is VmState.RUNNING and unit.domain_running
        return Wanted.RUNNING if runs else unit.spec.wanted

    def _judge_stop(self, unit: VmUnit, draft: Draft, now: float, *, entitled: bool) -> None:
        vm = unit.spec.name
        if not entitled or unit.spec.wanted is not Wanted.SHUT_DOWN or unit.state is not VmState.RUNNING:
            if self._stops.pop(vm, None) is not None:
                draft.in_order(f"runs_on {vm}")
            return
        stop = self._stops.setdefault(vm, _Stop(now, now))
        if not stop.late and now >= stop.since_s + SHUT_DOWN_S * self.second_s:
            self._stops[vm] = replace(stop, ask_at=None, late=True)
            draft.once(f"runs_on {vm}", alerts.runs_on(vm, SHUT_DOWN_S * self.second_s))

    @property
    def rests(self) -> bool:
        """Nothing is asked, awaited or proposed."""
        return not self.off and not self._proposals and all(stop.late for stop in self._stops.values())


__all__ = ["SHUT_DOWN_S", "Ends"]
