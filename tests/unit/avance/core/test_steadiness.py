"""A replication that breaks again and again is left alone, longer each time."""

from __future__ import annotations

from avance.core.model import DiskRole, DiskState, DiskView, Timers
from avance.core.steadiness import Steadiness
from tests.playbook import in_sync, peer_gone

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
TIMERS = Timers()
GOOD, GONE = in_sync(P), peer_gone(P)


def test_writer_whose_connection_breaks_again_and_again_is_left_alone_longer_each_time() -> None:
    """Two falls in a row while heartbeats pass, then 40 s, 80 s, 160 s; a steady minute ends it."""
    one, now, holds = Steadiness(), 0.0, []
    one.changed(GONE, GOOD, now, 1.0, carries=True)
    for _ in range(6):
        now += 7.0
        one.changed(GOOD, GONE, now, 1.0, carries=True)
        until = now
        while one.is_held(until, TIMERS):
            until += 1.0
        holds.append(until - now)
        one.changed(GONE, GOOD, now + 1.0, 1.0, carries=True)
    assert holds == [0.0, 40.0, 80.0, 160.0, 160.0, 160.0]
    one.changed(GOOD, GONE, now + 100.0, 1.0, carries=True)
    assert not one.unsteady


def test_breaks_that_have_another_reason_do_not_count() -> None:
    """The link is down, this node left by itself, or nobody writes: no fall of the replication."""
    left = DiskView(P, DiskState.UP_TO_DATE)
    for before, after, carries in ((GOOD, GONE, False), (GOOD, left, True), (in_sync(S), peer_gone(S), True)):
        one = Steadiness()
        for now in (0.0, 5.0, 10.0):
            one.changed(before, after, now, 1.0, carries=carries)
            one.changed(after, before, now + 1.0, 1.0, carries=True)
        assert not one.unsteady


def test_what_is_not_known_says_nothing() -> None:
    """DRBD's word before or after is missing."""
    one = Steadiness()
    for before, after in ((None, GONE), (GOOD, None), (None, None)):
        one.changed(before, after, 1.0, 1.0, carries=True)
    assert one == Steadiness()


def test_times_follow_the_dilation() -> None:
    """A slow computer waits as many times longer."""
    slow = Timers(second_s=4.0, link_hold_max_s=640.0)
    one = Steadiness(falls=2, fell_at=0.0)
    assert one.is_held(159.0, slow)
    assert not one.is_held(160.0, slow)
