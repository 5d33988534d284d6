"""Every second in the core is a dilated one: with all times multiplied by D an engine does the same, D times later.

A constant that was forgotten shows: the same random happenings then lead to other decisions.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import (
    DiskRole,
    DiskState,
    DiskView,
    NodeId,
    Outcome,
    PairState,
    PeerView,
    Record,
    Timers,
    VmState,
)
from tests.playbook import BIZ, PRIV, WEB, A, B, ended, in_sync, peer_gone, served, setup

D = 8.0  # a power of two: all products are exact
SITES: tuple[dict[str, object], ...] = (
    {"witnesses": ("w1",), "power": True, "gateway": True},
    {"power": True, "gateway": True},
    {"gateway": True},
    {"witnesses": ("w1", "w2"), "policy": "safety"},
)
STEPS_S = (0.0, 0.0625, 0.125, 0.125, 0.125, 0.25, 0.5, 1.0, 1.75, 3.0, 6.0)


def scaled(by: float, **changes: float) -> Timers:
    """Return the default timers of a dilation."""
    return replace(Timers(**{field.name: getattr(Timers(), field.name) * by for field in fields(Timers)}), **changes)


@dataclass
class Twin:
    """One engine at one dilation, and what it did."""

    engine: Engine
    by: float
    said: list[tuple[float, list[str], tuple[str, ...], PairState]]
    waiting: list[c.Command]

    def hears(self, event: e.Event, now: float) -> None:
        """Tell it one event at this undilated time."""
        if isinstance(event, e.HeartbeatSeen) and event.echoed_sent_s is not None:
            event = replace(event, echoed_sent_s=event.echoed_sent_s * self.by)
        if isinstance(event, e.HeartbeatSeen):
            event = replace(event, view=replace(event.view, dilation=self.by))
        if isinstance(event, e.Tick) and event.rtc_s is not None:
            event = e.Tick(event.rtc_s * self.by)
        decision = self.engine.handle(event, now * self.by)
        names = [self._name(command) for command in decision.commands]
        if names or decision.milestones:
            self.said.append((now, names, decision.milestones, self.engine.pair))
        told = c.SendHeartbeat | c.SendAlert | c.OpenGate | c.FeedWatchdog | c.ResetNode | c.AnswerFencePeer
        self.waiting += [command for command in decision.commands if not isinstance(command, told)]

    def _name(self, command: c.Command) -> str:
        if isinstance(command, c.OpenGate):
            return f"OpenGate({None if command.until_s is None else command.until_s / self.by})"
        if isinstance(command, c.SendHeartbeat):
            ends = "ends" if command.view.ends else ""  # the reason tells of seconds
            return f"SendHeartbeat({replace(command.view, dilation=1.0, ends=ends)}, {command.echoing})"
        if isinstance(command, c.SendAlert):
            return f"SendAlert({command.alert.code})"  # its text tells of seconds
        return type(command).__name__ if isinstance(command, c.ResetNode) else repr(command)


def twins(me: NodeId, site: dict[str, object], second_s: float = D) -> tuple[Twin, Twin]:
    """Return the same node at dilation 1 and at dilation D."""
    record = served(me, Record(3, A, arbiters=("witness:w1",) if "witnesses" in site else ()))
    one = Engine(setup(me, watchdog=True, timers=Timers(), **site), record)
    other = Engine(setup(me, watchdog=True, timers=scaled(D, second_s=second_s), dilation=D, **site), record)
    return Twin(one, 1.0, [], []), Twin(other, D, [], [])


class Happenings:
    """Random events that make sense; calm and silent times take turns, so that the clocks run out."""

    def __init__(self, seed: int, me: NodeId) -> None:
        self.random, self.me, self.peer = random.Random(seed), me, B if me == A else A
        self.rtc_ahead_s = 0.0
        self.heard = 1.0
        self.boot = 1
        self.record = Record(3, A, boot=f"{self.peer}-machine-1")

    def next(self, now: float, waiting: list[c.Command]) -> e.Event:
        """Return what happens now."""
        dice = self.random
        if dice.random() < 0.02:
            self.heard = dice.choice((0.0, 0.0, 0.1, 1.0))
        if dice.random() < 0.005:
            self.rtc_ahead_s += dice.choice((1.0, 5.0, 60.0))
        if dice.random() < 0.003:
            self.boot += 1
        kind = dice.random()
        if waiting and kind < 0.3:
            return self._outcome(waiting.pop(dice.randrange(len(waiting))))
        if kind < 0.55 and dice.random() < self.heard:
            return self._heartbeat(now)
        return self._rarer(now) if kind > 0.95 else e.Tick(now + self.rtc_ahead_s if kind < 0.8 else None)

    def _heartbeat(self, now: float) -> e.Event:
        dice = self.random
        link = dice.choice((PRIV, BIZ))
        if dice.random() < 0.05:
            return e.HeartbeatUnproven(link)
        pair = dice.choice((PairState.PAIRED,) * 9 + (PairState.WAITING,))
        view = PeerView(self.peer, f"boot-{self.boot}", "c0ffee", 1.0, pair, self.record, {WEB: VmState.RUNNING})
        sent_s = now - dice.choice((0.0, 0.25, 0.5, 1.5, 4.0))
        view = replace(view, machine=f"{self.peer}-machine-1", witnesses=("w1",), wants=dice.choice((0,) * 30 + (4,)))
        return e.HeartbeatSeen(link, view, None if dice.random() < 0.2 else sent_s)

    def _outcome(self, command: c.Command) -> e.CommandDone:
        outcome = self.random.choice((Outcome.OK,) * 6 + (Outcome.FAILED, Outcome.UNKNOWN))
        words = {
            "AskWitness": ("granted 4 b", "refused 4 a", "untaught 0 -"),
            "TeachWitness": ("taught 3 a",),
            "ReadPeerPower": ("off", "on", "on"),
            "CutPeerPower": ("off",),
        }
        return ended(command, outcome, self.random.choice(words.get(type(command).__name__, ("",))))

    def _rarer(self, now: float) -> e.Event:
        dice, role = self.random, DiskRole.PRIMARY if self.me == A else DiskRole.SECONDARY
        return dice.choice(
            (
                e.DiskChanged(WEB, in_sync(role)),
                e.DiskChanged(WEB, peer_gone(role, suspended=role is DiskRole.PRIMARY)),
                e.DiskChanged(WEB, DiskView(role, DiskState.DISKLESS)),
                e.DomainChanged(WEB, running=self.me == A),
                e.NeighboursSeen(gateway=dice.random() < 0.8, claimed=()),
                e.FencePeerAsked(WEB, int(now * 16)),
                e.DatagramsRefused(PRIV, "noise", 3),
                e.LinkChanged(PRIV, carrier=False),
            )
        )


def differs(me: NodeId, site: dict[str, object], seed: int, second_s: float = D) -> str | None:
    """Live through one random story at both dilations; returns the first difference."""
    one, other = twins(me, site, second_s)
    happenings, now = Happenings(seed, me), 128.0
    role = DiskRole.PRIMARY if me == A else DiskRole.SECONDARY
    first: list[e.Event] = [e.DiskChanged(WEB, in_sync(role)), e.DomainChanged(WEB, running=me == A)]
    for _ in range(500):
        event = first.pop(0) if first else happenings.next(now, one.waiting)
        one.hears(event, now)
        other.hears(event, now)
        if one.said[-1:] != other.said[-1:]:
            return f"at {now - 128.0:g} s, {event}:\n  {one.said[-1:]}\n  {other.said[-1:]}"
        now += happenings.random.choice(STEPS_S)
    return None


@pytest.mark.parametrize("site", SITES, ids=["witness", "power", "plain", "safety"])
@pytest.mark.parametrize("me", [A, B])
def test_dilated_engine_does_the_same_later(me: NodeId, site: dict[str, object]) -> None:
    """Whatever happens: with every time eight times as long the same things are done, eight times as late."""
    wrong = [(seed, found) for seed in range(12) if (found := differs(me, site, seed)) is not None]
    assert not wrong, f"seed {wrong[0][0]}: {wrong[0][1]}"


def test_a_second_that_is_not_dilated_shows() -> None:
    """The stories reach the constants of the core: where only those stay undilated, other things are done."""
    noticed = sum(differs(me, site, seed, 1.0) is not None for me in (A, B) for site in SITES for seed in range(3))
    assert noticed >= 12
