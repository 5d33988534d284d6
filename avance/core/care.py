"""Care for the witnesses while all is well: teach them the epoch, notice which ones answer, elect who is in office.

One that is of no use for long is told: who takes over when it is needed then is a matter of luck.

It must never ask for a grant: that is core/arbitration.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from avance.core import arbiters
from avance.core import commands as c
from avance.core.decision import Draft
from avance.core.model import NodeId, NodePart, Record, Timers
from avance.core.results import WitnessTaught

_TEACH_S = 2.0  # a witness that was restarted is of use again after two of these
_FRESH_S = 6.0  # a witness that answered so long ago still counts as reached


@dataclass(slots=True)
class Care:
    """What this node knows of its witnesses."""

    timers: Timers
    names: tuple[str, ...]
    _taught_at: dict[str, float] = field(default_factory=dict)
    _asked_at: dict[str, float] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)
    _since: float | None = None
    _missed_from: dict[str, float] = field(default_factory=dict)  # the first question that was of no use
    _told: set[str] = field(default_factory=set)

    def teach(self, record: Record, *, paired: bool, now: float, alone: bool = False) -> list[c.Command]:
        """Return what the witnesses should be told now."""
        self._since = now if self._since is None else self._since
        if record.owner is None:
            return []
        commands: list[c.Command] = []
        teach_s = _TEACH_S * self.timers.second_s
        for name in self.names:
            if name in self._busy or now < self._asked_at.get(name, now) + (teach_s if name in self._asked_at else 0):
                continue
            self._busy.add(name)
            self._asked_at[name] = now
            self._missed_from.setdefault(name, now)
            commands.append(c.TeachWitness(name, record.epoch, record.owner, paired, alone))
        return commands

    def done(self, name: str, result: WitnessTaught, now: float) -> None:
        """Note whether a witness took what it was told; one that is still untaught could not grant."""
        self._busy.discard(name)
        if result.taught:
            self._taught_at[name] = now
            self._missed_from.pop(name, None)

    def rest(self) -> None:
        """Nobody is taught while this node is not in service: no silence is counted from before."""
        self._missed_from.clear()

    def tell(self, draft: Draft, now: float) -> None:
        """Tell people of a witness that has been of no use for long, and that it is of use again."""
        limit_s = self.timers.witness_lost_s
        for name in self.names:
            if name in self._told and name in self.up(now):
                self._told.discard(name)
                draft.part(NodePart.WITNESS, "", name)
            elif name not in self._told and now - self._missed_from.get(name, now) >= limit_s:
                self._told.add(name)
                draft.part(
                    NodePart.WITNESS,
                    f"Witness {name} has not answered this node for {limit_s:g} s, or does not know the epoch. Look at"
                    " its machine and at the way to it: without it fewer faults end in a takeover",
                    name,
                )

    def up(self, now: float) -> tuple[str, ...]:
        """The witnesses that this node reaches and that could grant."""
        fresh_s = _FRESH_S * self.timers.second_s
        return tuple(name for name in self.names if now - self._taught_at.get(name, -fresh_s * 2) < fresh_s)

    def lost(self, now: float) -> tuple[str, ...]:
        """The witnesses that this node has missed for so long that others take their office."""
        since = now if self._since is None else self._since
        limit_s = self.timers.witness_lost_s
        return tuple(name for name in self.names if now - self._taught_at.get(name, since) >= limit_s)

    def unchanged_until(self, now: float) -> float:
        """Until when time alone changes neither which witnesses are up nor which are lost."""
        since = now if self._since is None else self._since
        fresh_s = _FRESH_S * self.timers.second_s
        ends = [self._taught_at[name] + fresh_s for name in self.names if name in self._taught_at]
        ends += [self._taught_at.get(name, since) + self.timers.witness_lost_s for name in self.names]
        ends += [missed + self.timers.witness_lost_s for missed in self._missed_from.values()]
        return min((end for end in ends if end > now), default=inf)

    def elect(
        self, mine: Record, theirs: Record, me: NodeId, *, peer_up: tuple[str, ...], now: float
    ) -> tuple[str, ...] | None:
        """Return the arbiters that this node should make durable now, or None; both nodes are paired."""
        if mine.owner != me:
            return theirs.arbiters if theirs.arbiters != mine.arbiters else None
        if mine.arbiters != theirs.arbiters:
            return None  # the backup follows first
        up, lost = self.up(now), self.lost(now)
        both = tuple(name for name in up if name in peer_up)
        target = arbiters.wanted(mine.arbiters, me, configured=self.names, up=both, lost=lost)
        return None if set(target) == set(mine.arbiters) else arbiters.step(mine.arbiters, target)
