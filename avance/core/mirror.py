"""The mirror of this node's data disks in the pair: what is told of it, and what the peer is needed for.

A node that has no current half asks the peer what it keeps of it; and where the peer has the good copy of every volume,
the old halves become an empty mirror that takes it in full (decision 0019). The rules about halves: `core/halves.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avance.core import alerts
from avance.core import commands as c
from avance.core.damper import doubled
from avance.core.decision import Draft
from avance.core.model import Alert, MirrorState, MirrorView
from avance.core.results import Done

_RUNS = (MirrorState.CURRENT, MirrorState.UNPROVEN)
_RETRY_FACTOR_MAX = 16  # a command that fails is tried again at least every 16 retry times


@dataclass(slots=True)  # not frozen, as PairFacts
class MirrorFacts:
    """What the mirror must know of the pair.

    `told`: the note of the peer's newest half, and what it keeps of ours; None while it is not heard. `vouched`: a
    person vouches for the data that is here. `backup`: this node is paired, has VMs, and does not own the epoch.
    `replaced`: every copy here is called worthless already. `peer_has_all`: the peer has the good copy of each volume.
    """

    told: tuple[str, str] | None
    vouched: bool
    backup: bool
    replaced: bool
    peer_has_all: bool


@dataclass(slots=True)
class MirrorCare:
    """What this node knows of its mirror, and the one command about it that is in flight."""

    retry_s: float = 2.0
    view: MirrorView = field(default_factory=MirrorView)
    busy: str | None = None
    retry_at: float = 0.0
    failures: int = 0

    def changed(self, view: MirrorView, draft: Draft) -> bool:
        """Take in what is known of the mirror, and tell of it at once; says whether it runs now and did not before."""
        before, self.view = self.view, view
        if (view.note, view.kept) != (before.note, before.kept):
            draft.tell_peer()
        if (before.state, before.halves, before.detail) == (view.state, view.halves, view.detail):
            return False
        told = _alert(before, view)
        draft.say(f"mirror {view.state}: {view.halves} of {view.of} halves {view.detail}".rstrip(), alert=told)
        return view.state in _RUNS and before.state not in _RUNS

    def done(self, command: c.MirrorCommand, result: Done, draft: Draft, now: float) -> None:
        """Note how a command about the mirror ended; what it changed came as an event of its own."""
        word = type(command).__name__
        assert self.busy == word, f"{word} ended, but {self.busy} was in flight"
        self.busy = None
        self.failures = 0 if result.ok else self.failures + 1
        if not result.ok:
            self.retry_at = now + doubled(self.retry_s, self.failures - 1, _RETRY_FACTOR_MAX * self.retry_s)
            draft.say(f"{word} ended {result.outcome}: {result.detail}")

    def free(self, now: float) -> bool:
        """Say whether a command may be given: the mirror is known, and none is under way or failed just now."""
        return self.view.state is not MirrorState.UNKNOWN and self.rests(now)

    def drive(self, facts: MirrorFacts, draft: Draft) -> None:
        """Give the next command about the mirror."""
        command = self._next(facts, draft)
        if command is not None:
            self.busy = type(command).__name__
            draft.command(command)

    def _next(self, facts: MirrorFacts, draft: Draft) -> c.MirrorCommand | None:
        view, told = self.view, facts.told
        if view.state is MirrorState.UNPROVEN and facts.vouched:
            return c.TrustMirror()
        if told is None:
            return None
        if told[0] and told[0] != view.kept:
            return c.KeepMirrorNote(told[0])
        if not view.note and told[1]:
            return c.UseMirrorNote(told[1])
        if not facts.backup:
            return None
        if view.state is MirrorState.UNPROVEN and facts.replaced:
            return c.TrustMirror()
        if view.state in (MirrorState.OLD, MirrorState.DOUBT) and facts.peer_has_all:
            draft.say("the peer has every good copy: what is left here is emptied", alert=alerts.mirror_reused())
            return c.ReuseHalves()
        return None

    def rests(self, now: float) -> bool:
        """Nothing about the mirror is under way."""
        return self.busy is None and now >= self.retry_at


def _alert(before: MirrorView, view: MirrorView) -> Alert | None:
    if view.state not in _RUNS:
        return alerts.mirror_refused(view) if before.state is not view.state else None
    lost = before.halves if before.state in _RUNS else view.of
    if view.halves < lost:
        return alerts.mirror_degraded(view)
    whole = view.halves == view.of and before.state in _RUNS and before.halves < view.of
    return alerts.mirror_whole(view) if whole else None


__all__ = ["MirrorCare", "MirrorFacts"]
