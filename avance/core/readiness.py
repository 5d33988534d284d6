"""Readiness: what the backup foresees, should the primary die now, kept up to date; people hear of it before.

The backup judges once a minute, and when something changes that the forecast rests on (core/rehearsal.py). It tells the
owner, unless both foresee the same anyway. A VM that is not ready for long is told. It must never be a reason for a
takeover, a move or a stop, nor against one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from avance.core import alerts
from avance.core import commands as c
from avance.core.care import Care
from avance.core.decision import Draft
from avance.core.model import Forecast, NodeId, NodePart, Outcome, PeerView, VmId
from avance.core.rehearsal import Expected, Lack, Own, in_words, rehearse, usual
from avance.core.restarts import Restarts
from avance.core.results import Result
from avance.core.rights import Right
from avance.core.sight import Sight

AGAIN_S = 60.0  # between two judgements, while nothing changes
TOLD_S = 60.0  # so long a VM must not be ready before people hear of it
FILLS_S = 600.0  # ... if its copy is being filled: that ends by itself, and the pair says so
_NOBODY = ""  # the story that no VM would start, because this node would not take over


@dataclass(slots=True)
class Readiness:
    """What this node foresees as the backup; `said` is what its peer cannot know, `free_mib` what Xen has free here."""

    second_s: float
    free_mib: int | None = None
    forecast: Forecast | None = None
    said: Forecast | None = None
    next_s: float = inf  # when time alone brings something
    _due_s: float = inf
    _basis: tuple[object, ...] = ()
    _begun_s: dict[VmId, float] = field(default_factory=dict)
    _took_s: dict[VmId, float] = field(default_factory=dict)  # the last start of each VM on this node
    _since: dict[str, tuple[str, float]] = field(default_factory=dict)  # what is not ready, why, and since when
    _told: set[str] = field(default_factory=set)

    def done(self, command: c.VmCommand, result: Result, now: float) -> None:
        """Note how long a start took."""
        if isinstance(command, c.StartDomain):
            begun_s = self._begun_s.pop(command.vm, None)
            if begun_s is not None and result.outcome is Outcome.OK:
                self._took_s[command.vm] = round(now - begun_s, 1)

    def look(self, sight: Sight, right: Right, care: Care, restarts: Restarts, draft: Draft, now: float) -> None:
        """Judge anew when it is due, and tell of what has not been ready for long."""
        for command in draft.commands:
            if isinstance(command, c.StartDomain):
                self._begun_s[command.vm] = now
        peer = sight.agreeing(now)
        if peer is None or sight.durable.owner or not sight.units.by_name:
            self.forecast, self.said, self._basis, self.next_s = None, None, (), inf
            self._since.clear()
            return
        basis = self._rests_on(sight, peer, right, care, restarts, now)
        if basis != self._basis or now >= self._due_s:
            self._basis, self._due_s = basis, now + AGAIN_S * self.second_s
            self.forecast = self._judged(sight, peer, right, care, restarts, now)
            common = self.forecast == usual(sight, sight.setup.me) and self.forecast.ready
            self.said = None if common else self.forecast
        self._tell(sight, draft, now)

    def seen(self, sight: Sight, now: float) -> tuple[NodeId, Forecast] | None:
        """Return the backup and what is foreseen, the same on both nodes; None while nobody stands by."""
        peer = sight.agreeing(now)
        if peer is None or not sight.units.by_name:
            return None
        if sight.durable.owner:
            return peer.node, peer.forecast or usual(sight, peer.node)
        return None if self.forecast is None else (sight.setup.me, self.forecast)

    def _rests_on(
        self, sight: Sight, peer: PeerView, right: Right, care: Care, restarts: Restarts, now: float
    ) -> tuple[object, ...]:
        units = sight.units.by_name
        return (
            sight.durable.record,
            sight.durable.failing_from_s is None,
            peer.record.quarantined,
            care.up(now),
            sight.parts.works(NodePart.BMC),
            self._cut_off(right, now),
            self.free_mib,
            tuple((name, unit.spec.memory_mib, unit.disk, unit.domain_running) for name, unit in units.items()),
            tuple(sorted(sight.behind | sight.unread)),
            tuple(vm for vm in units if restarts.fails(vm, now)),
        )

    def _judged(
        self, sight: Sight, peer: PeerView, right: Right, care: Care, restarts: Restarts, now: float
    ) -> Forecast:
        units = sight.units.by_name
        failing = [vm for vm in units if restarts.fails(vm, now)]
        left = frozenset(vm for vm in failing if restarts.left(vm, now))
        starts_s = {vm: took_s for vm, took_s in self._took_s.items() if vm in units}
        expected = Expected(
            granting=care.up(now),
            bmc=sight.parts.works(NodePart.BMC),
            gateway=not self._cut_off(right, now),
        )
        return rehearse(sight, peer, expected, Own(self.free_mib, left, frozenset(failing) - left, starts_s))

    def _cut_off(self, right: Right, now: float) -> bool:
        """No gateway answered a moment ago. It is looked for in a silence only, so an older no says nothing."""
        seen = right.arbitration
        fresh = seen.looked_at is not None and now - seen.looked_at < AGAIN_S * self.second_s
        return fresh and seen.gateway is False

    def _tell(self, sight: Sight, draft: Draft, now: float) -> None:
        assert self.forecast is not None, "it was judged"
        lacks, units = _lacking(self.forecast, sight), sight.units.by_name
        self._since = {key: entry for key, entry in self._since.items() if entry[0] == lacks.get(key)}
        self.next_s = self._due_s
        for key, lack in lacks.items():
            _, since_s = self._since.setdefault(key, (lack, now))
            due_s = since_s + (FILLS_S if lack == Lack.FILLING else TOLD_S) * self.second_s
            if key not in self._told and now >= due_s:
                self._told.add(key)
                reasons = "; ".join(self.forecast.reasons)
                why, action = in_words(lack) if key else (reasons, "Mend what stands against it")
                told = alerts.not_ready(key, sight.setup.me, sight.setup.peer_id, why, action)
                draft.say(told.text, alert=told)
            elif key not in self._told:
                self.next_s = min(self.next_s, due_s)
        for key in sorted(self._told - lacks.keys()):
            self._told.discard(key)
            if key == _NOBODY or key in units:
                again = alerts.ready_again(key, sight.setup.me)
                draft.say(again.text, alert=again)


def _lacking(forecast: Forecast, sight: Sight) -> dict[str, str]:
    """Return what is not ready and why; that no copy is good is told VM by VM."""
    found = {str(one.vm): one.lacks for one in forecast.vms if one.lacks}
    copies = (Lack.QUARANTINE, Lack.FILLING, Lack.BEHIND)
    if forecast.seconds is None and not all(found.get(vm) in copies for vm in sight.units.by_name):
        found[_NOBODY] = "refused"
    return found


__all__ = ["AGAIN_S", "FILLS_S", "TOLD_S", "Readiness"]
