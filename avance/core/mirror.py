"""The mirror of this node's data disks in the pair: what is told of it, and what the peer is needed for.

A node that has no current half asks the peer what it keeps of it; and where the peer has the good copy of every volume,
the old halves become an empty mirror that takes it in full (decision 0019). The rules about halves: `core/halves.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avance.core import alerts, copies
from avance.core import commands as c
from avance.core.model import Alert, MirrorState, MirrorView, Outcome, PairState

if TYPE_CHECKING:
    from avance.core.decision import Draft
    from avance.core.engine import Engine

COMMANDS = ("KeepMirrorNote", "UseMirrorNote", "ReuseHalves", "TrustMirror")
_RUNS = (MirrorState.CURRENT, MirrorState.UNPROVEN)


@dataclass(slots=True)
class MirrorCare:
    """What this node knows of its mirror, and the one command about it that is in flight."""

    view: MirrorView = field(default_factory=MirrorView)
    busy: str | None = None
    retry_at: float = 0.0


def changed(engine: Engine, draft: Draft, view: MirrorView, now: float) -> None:
    """Take in what is known of the mirror, and tell of it at once."""
    care = engine.mirror
    before, care.view = care.view, view
    if (view.note, view.kept) != (before.note, before.kept):
        engine.next_heartbeat_at = now  # the peer has to know it before anything more happens here
    if (before.state, before.halves, before.detail) == (view.state, view.halves, view.detail):
        return
    told = _alert(before, view)
    draft.say(f"mirror {view.state}: {view.halves} of {view.of} halves {view.detail}".rstrip(), alert=told)
    if view.state in _RUNS and before.state not in _RUNS:
        for unit in engine.units.values():
            unit.failures = 0 if not unit.prepared else unit.failures  # without a mirror nothing could be prepared


def _alert(before: MirrorView, view: MirrorView) -> Alert | None:
    if view.state not in _RUNS:
        return alerts.mirror_refused(view) if before.state is not view.state else None
    lost = before.halves if before.state in _RUNS else view.of
    if view.halves < lost:
        return alerts.mirror_degraded(view)
    whole = view.halves == view.of and before.state in _RUNS and before.halves < view.of
    return alerts.mirror_whole(view) if whole else None


def done(engine: Engine, draft: Draft, command: str, outcome: Outcome, detail: str, now: float) -> None:
    """Note the outcome of a command about the mirror; what it changed came as an event of its own."""
    care = engine.mirror
    assert care.busy == command, f"{command} ended, but {care.busy} was in flight"
    care.busy = None
    if outcome is not Outcome.OK:
        care.retry_at = now + engine.setup.timers.retry_s
        draft.say(f"{command} ended {outcome}: {detail}")


def judge_mirror(engine: Engine, draft: Draft, now: float) -> None:
    """Give the next command about the mirror, one at a time."""
    care = engine.mirror
    if care.busy is not None or now < care.retry_at:
        return
    command = _next(engine, draft, now)
    if command is not None:
        care.busy = type(command).__name__
        draft.command(command)


def _next(engine: Engine, draft: Draft, now: float) -> c.NodeCommand | None:
    view, peer = engine.mirror.view, engine.peer
    if engine.unproven and engine.solo and (engine.override or engine.record.chosen == engine.record.epoch):
        return c.TrustMirror()  # a person vouches for the data that is here
    if peer is None or view.state is MirrorState.UNKNOWN or not engine.liveness.peer_alive(now):
        return None
    if peer.mirror[0] and peer.mirror[0] != view.kept:
        return c.KeepMirrorNote(peer.mirror[0])
    if not view.note and peer.mirror[1]:
        return c.UseMirrorNote(peer.mirror[1])
    if engine.pair is not PairState.PAIRED or engine.is_owner or not engine.units:
        return None
    if view.state is MirrorState.UNPROVEN and all(unit.invalidated for unit in engine.units.values()):
        return c.TrustMirror()
    if view.state in (MirrorState.OLD, MirrorState.DOUBT) and all(
        copies.peer_is_good(engine.record, peer, vm) for vm in engine.units
    ):
        draft.say("the peer has every good copy: what is left here is emptied", alert=alerts.mirror_reused())
        return c.ReuseHalves()
    return None
