"""Silence is judged as designed: links by echo, the peer by any receipt, and not while this node stood still."""

from __future__ import annotations

import pytest

from avance.core.liveness import Liveness
from avance.core.model import LinkState, Timers
from tests.playbook import BIZ, PRIV


def fresh() -> Liveness:
    """Return the liveness of a node that has just started."""
    return Liveness(Timers(), (PRIV, BIZ))


def until(liveness: Liveness, start: float, end: float) -> list[tuple[float, LinkState]]:
    """Judge in steps of 0.1 s and return when the private link changed."""
    changes = []
    for step in range(round((end - start) * 10) + 1):
        now = start + step / 10
        changes += [(round(now - start, 1), after) for link, _, after in liveness.update(now) if link == PRIV]
    return changes


def test_link_goes_suspect_then_down() -> None:
    """A link without an echo is suspect after 2 s and down after 3 s."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 50.0, 50.0)
    assert until(liveness, 50.0, 56.0) == [(0.0, LinkState.UP), (2.0, LinkState.SUSPECT), (3.0, LinkState.DOWN)]


def test_peer_is_lost_after_silence_on_every_link() -> None:
    """The peer is lost 5 s after the last receipt on any link, not before."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 50.0, 50.0)
    liveness.heartbeat_seen(BIZ, None, 52.0)
    until(liveness, 52.0, 56.9)
    assert not liveness.peer_lost(56.9)
    assert liveness.peer_lost(57.0)


def test_peer_never_heard_is_not_lost() -> None:
    """A node that never heard its peer must not take it for dead."""
    liveness = fresh()
    until(liveness, 0.0, 100.0)
    assert not liveness.peer_lost(100.0)


def test_one_way_fault_takes_the_link_down() -> None:
    """A peer that hears us no more repeats its last echo: that is no new echo, and the link goes down."""
    liveness = fresh()
    for step in range(60):
        liveness.heartbeat_seen(PRIV, 50.0, 50.0 + step / 10)
        liveness.update(50.0 + step / 10)
    assert liveness.states[PRIV] is LinkState.DOWN
    assert not liveness.peer_alive()
    assert not liveness.peer_lost(56.0), "it is still heard, so it is not dead"


def test_receipt_without_echo_gives_no_link() -> None:
    """A mere receipt neither raises a link nor renews the lease."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, None, 50.0)
    liveness.update(50.0)
    assert not liveness.peer_alive()
    assert liveness.lease_from_s is None


def test_lease_counts_from_the_send_time() -> None:
    """The lease begins when the echoed heartbeat was sent, and an older echo never shortens it."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 48.0, 50.0)
    liveness.heartbeat_seen(BIZ, 47.0, 50.0)
    assert liveness.lease_from_s == 48.0


def test_own_standstill_is_no_evidence() -> None:
    """A node that stood still for a minute starts to listen anew before it calls the peer lost."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 50.0, 50.0)
    until(liveness, 50.0, 51.0)
    liveness.update(111.0)
    assert not liveness.peer_lost(111.0)
    until(liveness, 111.0, 115.9)
    assert not liveness.peer_lost(115.9)
    assert liveness.peer_lost(116.1)
    assert liveness.lease_from_s == 50.0, "the own right is not prolonged by sleeping"


def test_echo_from_the_future_is_a_programmer_error() -> None:
    """An echo of something that was not sent yet stops the daemon."""
    with pytest.raises(AssertionError, match="cannot precede"):
        fresh().heartbeat_seen(PRIV, 51.0, 50.0)


def test_a_pair_needs_a_link() -> None:
    """A node without links cannot be paired."""
    with pytest.raises(AssertionError, match="at least one link"):
        Liveness(Timers(), ())
