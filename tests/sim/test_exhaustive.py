"""Every order of receipt, echo and loss on two links: the backup never takes the right before the old primary is dead.

The sizes are stated as they are, so that a world that has become smaller is noticed.
"""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.guard import Guard, Standing
from avance.core.rights import Right
from avance.wire.heartbeat import Heartbeat
from tests.sim.exhaustive import Adapter, Found, Rules, explore, moves

pytestmark = pytest.mark.timeout(900)


def holds(found: Found, interleavings: int) -> None:
    """Demand that nothing broke the rule, and that no less was tried than stated."""
    print(found.text())
    assert not found.broken, found.broken[0]
    assert found.interleavings >= interleavings, found.text()


def test_every_order_on_one_link_at_a_time() -> None:
    """Five slots of 3 s, in each one of nine moves: 59,049 interleavings."""
    holds(explore(Rules(moves(crossed=False), 5)), 9**5)


def test_every_order_with_answers_on_the_other_link() -> None:
    """Three slots with thirteen moves, among them a heartbeat on one link that is answered on the other: 2,197."""
    holds(explore(Rules(moves(crossed=True), 3)), 13**3)


def test_every_order_with_a_restart_of_the_backups_daemon() -> None:
    """The backup's daemon is started anew in any of three slots; what it echoes unbelieved counts, too: 972."""
    holds(explore(Rules(moves(crossed=False), 3, restarts=True)), 9**3 + 3 * 9**2)


def test_every_order_with_a_pause_that_nobody_notices() -> None:
    """The old primary stands still for 3 s, its watchdog too, in any of three slots: that still fits into the wait."""
    holds(explore(Rules(moves(crossed=False), 3, stands_s=3.0)), 9**3 + 3 * 9**2)


def test_border_of_the_unnoticed_pause() -> None:
    """The small world is sharp: a pause of 6 s, which the product notices, would break the rule."""
    assert explore(Rules(moves(crossed=False), 2, stands_s=6.0)).broken


def test_clock_that_is_not_started_anew_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defect of before: the wait is counted from the first silence only."""
    monkeypatch.setattr(Right, "_heard_again", lambda _right, _sight: None)
    assert explore(Rules(moves(crossed=False), 3)).broken


def test_echo_of_the_unbelieved_that_is_not_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one: a daemon that was started anew echoes what it does not believe yet, and does not count it."""
    real = Adapter.takes

    def takes(self: Adapter, beat: Heartbeat) -> e.HeartbeatSeen | e.HeartbeatUnproven | None:
        event = real(self, beat)
        return None if isinstance(event, e.HeartbeatUnproven) else event

    monkeypatch.setattr(Adapter, "takes", takes)
    found = explore(Rules(moves(crossed=False), 4, restarts=True))
    assert found.broken
    assert all(any("started anew" in word for word in path) for _, path in found.broken)


def test_watchdog_that_is_fed_to_the_end_of_the_lease_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an unnoticed pause the lease alone is too long: 6 + 10 + 3 > 17."""
    real = Guard._feed

    def feed(self: Guard, standing: Standing, now: float) -> list[tuple[c.Command, str]]:
        standing.lease_age_s = 0.0
        return real(self, standing, now)

    monkeypatch.setattr(Guard, "_feed", feed)
    assert explore(Rules(moves(crossed=False), 2, stands_s=3.0)).broken
