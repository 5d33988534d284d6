"""A calm pair sleeps from deadline to deadline, and decides what it would have decided with ten ticks a second."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import pytest

from avance.core import calm
from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Decision, Engine
from avance.core.model import DiskRole, LinkName, LinkState, MirrorState, MirrorView, NodeId, PairState, Record, Timers
from avance.core.takeover import Allowed
from tests.playbook import BIZ, PRIV, WEB, A, B, Playbook, ended, in_sync, paired, peer_gone

BOUND_S = 0.3  # a tick of either side, the 0.05 s of an outcome, and a tick after that
LENGTH_S = 30.0


def calm_pair(me: NodeId = A, **changes: Any) -> Playbook:  # noqa: ANN401 - fields of the set-up
    """Return a node of a pair that has been protected for long enough to be calm."""
    book = paired(me, watchdog=True, **changes)
    book.pass_time(15.0, peer_alive=True)
    book.hears(e.Tick())
    book.now += 0.1
    book.peer_says()
    book.hears(e.Tick())
    assert book.engine.calm_until_s > book.now
    return book


# ---------------------------------------------------------------- when it wakes


@pytest.mark.parametrize("me", [A, B])
def test_calm_node_sleeps_until_its_next_heartbeat(me: NodeId) -> None:
    """Nothing but the heartbeat is due while all is well, and a receipt does not change that."""
    book = calm_pair(me)
    assert book.engine.wake_at(book.now) == book.engine.next_heartbeat_at
    book.now = book.engine.next_heartbeat_at
    sent = [
        command for command in book.engine.handle(e.Tick(), book.now).commands if isinstance(command, c.SendHeartbeat)
    ]
    assert len(sent) == 1
    due = book.engine.wake_at(book.now)
    assert due == book.now + 0.5
    book.now += 0.2
    book.peer_says()
    assert book.engine.wake_at(book.now) == due


def test_silence_is_noticed_at_its_very_moment() -> None:
    """The last receipt, echo and lease of each link bound the sleep: what silence brings is not late."""
    book = calm_pair()
    heard_at = book.now
    while book.engine.liveness.state(PRIV) is LinkState.UP:
        book.now = book.engine.wake_at(book.now)
        book.hears(e.Tick())
    assert book.now == heard_at + 2.0
    assert book.engine.wake_at(book.now) == pytest.approx(book.now + 0.1)


def test_one_silent_link_is_noticed_at_its_very_moment() -> None:
    """The other link's heartbeats do not hide it."""
    book = calm_pair()
    heard_at, next_s = book.now, book.now + 0.25
    while book.engine.liveness.state(PRIV) is LinkState.UP:
        book.now = min(book.engine.wake_at(book.now), next_s)
        if book.now == next_s:
            book.peer_says(links=(BIZ,))
            next_s += 0.5
        else:
            book.hears(e.Tick())
    assert book.now == heard_at + 2.0


def test_everything_is_judged_each_second_or_so() -> None:
    """What calm has overlooked, should there ever be such a thing, is noticed soon: some turns are whole ones."""
    book = calm_pair()
    book.engine.units[WEB].busy, book.engine.address.held = None, False  # behind the back of every rule
    began_s, given = book.now, list[c.Command]()
    while not any(isinstance(command, c.HoldAddress) for command in given):
        book.now = book.engine.wake_at(book.now)
        given = book.hears(e.Tick())
        book.peer_says()
    assert book.now - began_s <= 1.2 + 0.5


def test_hardware_clock_is_always_judged() -> None:
    """A tick that carries it is a whole turn: a pause is never overlooked."""
    book = calm_pair()
    book.hears(e.Tick(1000.0))
    book.now += 0.3
    book.hears(e.Tick(1004.0))
    assert "stood still for about 4 s" in book.reasons
    assert book.engine.calm_until_s == calm.NOT_CALM


@pytest.mark.parametrize("dilation", [1.0, 4.0, 40.0])
def test_loop_is_never_so_slow_that_the_watchdog_starves(dilation: float) -> None:
    """However long the heartbeats are, a turn comes each 1.2 s: one that is 2 s late is not trusted."""
    names = ("heartbeat_s", "suspect_s", "link_down_s", "peer_lost_s", "lease_s", "watchdog_s", "takeover_wait_s",
             "margin_s", "grant_s")  # fmt: skip
    base = Timers()
    timers = replace(base, **{name: getattr(base, name) * dilation for name in names})
    book = calm_pair(timers=timers)
    assert book.engine.wake_at(book.now) - book.now <= 1.2
    assert calm.short_s(timers.heartbeat_s) <= 0.5


Change = Callable[[Engine], None]
NOT_CALM: dict[str, Change] = {
    "pair": lambda engine: setattr(engine.sight.pairing, "pair", PairState.WAITING),
    "protected": lambda engine: setattr(engine.sight.units, "protected", False),
    "saving": lambda engine: setattr(engine.sight.durable, "saving", engine.record),
    "unsure": lambda engine: setattr(engine.sight.durable, "unsure", engine.record),
    "store": lambda engine: setattr(engine.sight.durable, "dirty", True),
    "save retry": lambda engine: setattr(engine.sight.durable, "retry_at", inf),
    "stable": lambda engine: setattr(engine.sight.partner, "stable_at", inf),
    "just paired": lambda engine: setattr(engine.sight.partner, "paired_at", engine.next_heartbeat_at),
    "zeroed": lambda engine: engine.sight.units.zeroed.add(WEB),
    "address busy": lambda engine: setattr(engine.address, "busy", True),
    "address": lambda engine: setattr(engine.address, "held", False),
    "address retry": lambda engine: setattr(engine.address, "retry_at", inf),
    "granted": lambda engine: setattr(engine.right, "granted", Allowed("x", 4, "y")),
    "asked by DRBD": lambda engine: engine.fence.asks.update({1: WEB}),
    "wants": lambda engine: setattr(engine.right, "wants", 4),
    "override": lambda engine: setattr(engine.right, "override", True),
    "peer wants": lambda engine: setattr(engine.sight.partner, "view", replace(engine.sight.partner.view, wants=4)),  # type: ignore[type-var]
    "unreplicated": lambda engine: setattr(engine.right, "unreplicated", ("x", 1.0)),
    "cure": lambda engine: setattr(engine.cure, "due", "x"),
    "dropped": lambda engine: setattr(engine.cure, "dropped_at", 1.0),
    "yields": lambda engine: setattr(engine.sight.pairing, "yields", True),
    "mismatch": lambda engine: setattr(engine.sight.partner, "mismatch_from_s", 1.0),
    "lone right": lambda engine: setattr(engine.sight.durable, "record", replace(engine.record, peer_outdated=True)),
    "split": lambda engine: setattr(engine.sight.durable, "record", replace(engine.record, split=True)),
    "quarantined": lambda engine: setattr(engine.sight.durable, "record", replace(engine.record, quarantined=True)),
    "discard": lambda engine: setattr(engine.sight.durable, "record", replace(engine.record, discard=(WEB,))),
    "arbitration": lambda engine: engine.right.arbitration.begin(4),
    "paused": lambda engine: setattr(engine.guard, "paused", None),
    "busy": lambda engine: setattr(engine.units[WEB], "busy", "ConnectDisk"),
    "failures": lambda engine: setattr(engine.units[WEB], "failures", 1),
    "gone": lambda engine: setattr(engine.units[WEB], "gone", True),
    "unprepared": lambda engine: setattr(engine.units[WEB], "prepared", False),
    "unknown disk": lambda engine: setattr(engine.units[WEB], "disk_known", False),
    "unknown domain": lambda engine: setattr(engine.units[WEB], "looked", False),
    "mirror busy": lambda engine: setattr(engine.sight.mirror, "busy", "KeepMirrorNote"),
    "mirror retry": lambda engine: setattr(engine.sight.mirror, "retry_at", inf),
    "mirror in doubt": lambda engine: setattr(engine.sight.mirror, "view", MirrorView(MirrorState.UNPROVEN)),
    "settling": lambda engine: setattr(engine.units[WEB], "settled_at", inf),
}


@pytest.mark.parametrize("what", NOT_CALM)
def test_whatever_is_under_way_keeps_time_fine(what: str) -> None:
    """A pair is calm only while nothing is wanted, doubted, awaited or just done."""
    book = calm_pair()
    engine = book.engine
    assert engine.rests(book.now)
    assert engine.liveness.unbroken_until() > book.now
    NOT_CALM[what](engine)
    assert not engine.rests(book.now)


# ---------------------------------------------------------------- the same decisions


@dataclass
class Told:
    """What an engine decided, with the times at which it did."""

    marks: list[tuple[str, float]] = field(default_factory=list)
    gates: list[tuple[float | None, float]] = field(default_factory=list)
    feeds: list[float] = field(default_factory=list)
    turns: int = 0

    def note(self, decision: Decision, now: float) -> None:
        """Take one more decision in."""
        self.turns += 1
        self.marks += [(name, now) for name in decision.milestones]
        for command in decision.commands:
            if isinstance(command, c.OpenGate):
                self.gates.append((command.until_s, now))
            elif isinstance(command, c.FeedWatchdog):
                self.feeds.append(now)
            elif not isinstance(command, c.SendHeartbeat | c.TeachWitness | c.ReadGeneration | c.ReadInFlight):
                self.marks.append((type(command).__name__, now))


@dataclass(frozen=True)
class Receipt:
    """A heartbeat of the peer that arrives; without an echo, or with an old one."""

    at_s: float
    link: LinkName
    echo_age_s: float | None


def silences(seed: int) -> list[Receipt]:
    """Return what arrives in half a minute: links that fall silent, lose only the echo, or bring it late."""
    draw = random.Random(seed)
    receipts = []
    whole = (
        10.0,
        10.0 + draw.choice((2.2, 4.0, 5.5, 7.0, 9.0, LENGTH_S)),
        draw.choice(("silent", "no echo", "late echo")),
    )
    for link in (PRIV, BIZ):
        holes = []
        for _ in range(draw.randrange(3)):
            start_s, long_s = draw.uniform(0.0, LENGTH_S), draw.choice((0.6, 1.9, 2.1, 3.2, 5.5, 6.5, 20.0))
            holes.append((start_s, start_s + long_s, draw.choice(("silent", "silent", "no echo", "late echo"))))
        holes.append(whole)  # the same on both links
        phase = draw.uniform(0.0, 0.5)
        for number in range(int(LENGTH_S / 0.5)):
            at_s = phase + number * 0.5 + draw.uniform(0.0, 0.02)
            kinds = {kind for start, end, kind in holes if start <= at_s < end}
            if "silent" in kinds:
                continue
            age_s = None if "no echo" in kinds else draw.uniform(1.0, 4.5) if "late echo" in kinds else 0.3
            receipts.append(Receipt(at_s, link, age_s))
    return sorted(receipts, key=lambda one: one.at_s)


def what_came_of(command: c.Command, role: DiskRole) -> list[e.Event]:
    """Return how a command ends in this world: well, and with nobody else on the networks."""
    if isinstance(command, c.Told):
        return []
    if isinstance(command, c.ProbeNeighbours):
        return [e.NeighboursSeen(gateway=None, claimed=()), ended(command)]
    if isinstance(command, c.DisconnectDisk):
        return [ended(command), e.DiskChanged(WEB, replace(peer_gone(role), connection="StandAlone"))]
    if isinstance(command, c.ConnectDisk):
        return [ended(command), e.DiskChanged(WEB, in_sync(role))]
    return [ended(command, detail="taught 3 a" if isinstance(command, c.TeachWitness) else "")]


def played(book: Playbook, receipts: list[Receipt], *, calmly: bool) -> Told:
    """Play receipts to an engine, and an outcome for each command; ticks each tenth, or only when it asks for them.

    The reference is told everything in whole turns (white box), so that the short way of a receipt is compared, too.
    """
    engine, told, zero_s = book.engine, Told(), book.now
    role = DiskRole.PRIMARY if engine.is_owner else DiskRole.SECONDARY
    handle = engine.handle if calmly else engine._turn
    outcomes: list[tuple[float, e.Event]] = []
    waiting, now = list(receipts), zero_s
    tick_at = now
    while now < zero_s + LENGTH_S:
        receipt_at = zero_s + waiting[0].at_s if waiting else inf
        now = min(tick_at, receipt_at, outcomes[0][0] if outcomes else inf)
        event: e.Event = e.Tick()
        if outcomes and outcomes[0][0] == now:
            event = outcomes.pop(0)[1]
        elif receipt_at == now:
            one = waiting.pop(0)
            event = e.HeartbeatSeen(one.link, book.peer, None if one.echo_age_s is None else now - one.echo_age_s)
        decision = handle(event, now)
        told.note(decision, now)
        outcomes += [(now + 0.05, event) for command in decision.commands for event in what_came_of(command, role)]
        tick_at = engine.wake_at(now) if calmly else (now + 0.1 if isinstance(event, e.Tick) else tick_at)
    return told


MET: dict[tuple[NodeId, tuple[str, ...]], set[str]] = {
    (A, ()): {"peer_lost", "takeover_decided", "SaveRecord"},
    (A, ("w1",)): {"peer_lost", "peer_returned", "takeover_decided", "PauseVms", "UnpauseVms", "ResetNode"},
    (B, ()): {"peer_lost", "peer_returned", "DisconnectDisk", "ConnectDisk", "takeover_decided", "StartDomain"},
    (B, ("w1",)): {"peer_lost", "peer_returned", "DisconnectDisk", "ConnectDisk"},
}


@pytest.mark.parametrize(("me", "witnesses"), MET)
def test_deadlines_decide_what_ticks_decide(me: NodeId, witnesses: tuple[str, ...]) -> None:
    """Over many silences: the same commands at the same times, no later feed, and the same gate while all is calm."""
    kinds: set[str] = set()
    fine_turns = own_turns = 0
    book = calm_pair(me, witnesses=witnesses)
    for seed in range(30):
        receipts = silences(seed)
        fine, own = (played(deepcopy(book), receipts, calmly=calmly) for calmly in (False, True))
        for name in {name for name, _ in fine.marks + own.marks}:
            fine_s, own_s = ([at_s for what, at_s in told.marks if what == name] for told in (fine, own))
            assert len(own_s) == len(fine_s), (seed, name)
            assert max(abs(one - other) for one, other in zip(own_s, fine_s, strict=True)) <= BOUND_S, (seed, name)
            kinds.add(name)
        until_s = min([at_s for _, at_s in fine.marks + own.marks], default=inf) - BOUND_S
        gates = [[gate for gate, at_s in told.gates if at_s < until_s] for told in (fine, own)]
        assert gates[0] == gates[1], seed
        ends_s = max(fine.feeds[-1], own.feeds[-1]) - 1.1  # what is fed at the very end may have its fellow after it
        early = [fed_s for fed_s in own.feeds if fed_s < ends_s]
        assert all(min(abs(fed_s - other) for other in fine.feeds) <= 1.1 for fed_s in early), seed
        assert own.feeds[-1] <= fine.feeds[-1] + 1.1 + BOUND_S, seed
        fine_turns, own_turns = fine_turns + fine.turns, own_turns + own.turns
    assert kinds >= MET[me, witnesses], "the silences were long enough to matter"
    assert own_turns < fine_turns, "it sleeps"


def test_same_view_is_said_with_the_same_value() -> None:
    """What a node says of itself is one value until something of it changes, so it is encoded once."""
    book = calm_pair()
    first = book.engine.view(book.now)
    book.pass_time(2.0, peer_alive=True)
    assert book.engine.view(book.now) is first
    book.engine.sight.durable.record = Record(9, A)
    assert book.engine.view(book.now) is not first
