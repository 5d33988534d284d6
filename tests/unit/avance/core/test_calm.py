"""When a calm pair wakes; tests/sim/twins/test_ticks.py compares what it decides with one of ten ticks a second."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import inf

import pytest

from avance.core import calm
from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import LinkState, MirrorState, MirrorView, NodeId, PairState, Record, Timers
from avance.core.takeover import Allowed
from tests.playbook import BIZ, PRIV, WEB, A, B, Playbook, calm_pair

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


@cache
def frozen_pair() -> bytes:
    """Return a calm pair as bytes, from which an equal one is made much faster than by living through its time."""
    return pickle.dumps(calm_pair())


@pytest.mark.parametrize("what", NOT_CALM)
def test_whatever_is_under_way_keeps_time_fine(what: str) -> None:
    """A pair is calm only while nothing is wanted, doubted, awaited or just done."""
    book: Playbook = pickle.loads(frozen_pair())
    engine = book.engine
    assert engine.rests(book.now)
    assert engine.liveness.unbroken_until() > book.now
    NOT_CALM[what](engine)
    assert not engine.rests(book.now)


def test_same_view_is_said_with_the_same_value() -> None:
    """What a node says of itself is one value until something of it changes, so it is encoded once."""
    book = calm_pair()
    first = book.engine.view(book.now)
    book.pass_time(2.0, peer_alive=True)
    assert book.engine.view(book.now) is first
    book.engine.sight.durable.record = Record(9, A)
    assert book.engine.view(book.now) is not first
