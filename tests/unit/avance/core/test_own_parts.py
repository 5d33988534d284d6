"""Gate and watchdog belong to `protected`, on either node; what nobody has looked at counts as missing."""

from __future__ import annotations

import pytest

from avance.core import events as e
from avance.core.model import NodeId, NodePart, PairState
from avance.core.own_parts import OwnParts, guards_of
from tests.playbook import A, B, alerts, calm_pair, paired

GUARDS = (NodePart.GATE, NodePart.WATCHDOG)


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("me", [A, B])
def test_a_missing_guard_ends_the_protection_and_is_told(me: NodeId, guard: NodePart) -> None:
    """One alert, the peer hears it in the same turn, and nothing moves; when it is back, all is as before."""
    book = calm_pair(me)
    decision = book.engine.handle(e.PartSeen(guard, "It is gone"), book.now)
    assert not book.engine.protected
    assert "no longer protected" in decision.reasons
    assert alerts(list(decision.commands)) == [f"{guard}_failed"]
    views = [command.view for command in decision.commands if hasattr(command, "view")]
    assert [view.unguarded for view in views] == [(guard,)]
    assert book.engine.pair is PairState.PAIRED
    book.pass_time(5.0, peer_alive=True)
    assert not book.engine.protected, "no time makes it good"
    assert alerts(book.hears(e.PartSeen(guard, ""))) == [f"{guard}_restored", "protected"]
    assert book.engine.protected


@pytest.mark.parametrize("guard", GUARDS)
def test_the_peers_missing_guard_ends_the_protection(guard: NodePart) -> None:
    """It says so in its heartbeats; its own alert tells the reason."""
    book = calm_pair()
    assert alerts(book.peer_says(unguarded=(guard,))) == []
    assert not book.engine.protected
    assert alerts(book.peer_says(unguarded=())) == ["protected"]


def test_what_nobody_has_looked_at_counts_as_missing() -> None:
    """A daemon that has just started does not say that its node is guarded."""
    engine = paired(A, watchdog=True).engine
    assert engine.sight.parts.unguarded == ()
    fresh = OwnParts(engine.sight.parts.guards)
    assert fresh.unguarded == GUARDS


def test_a_site_without_a_watchdog_needs_the_gate_alone() -> None:
    """What a site does not have cannot fail."""
    assert guards_of(watchdog=False) == (NodePart.GATE,)
    book = paired(A)
    book.hears(e.PartSeen(NodePart.WATCHDOG, "no such device"))
    assert book.engine.protected


def test_other_parts_are_told_and_decide_nothing() -> None:
    """A journal that cannot be written makes no VM less safe."""
    book = paired(A)
    assert alerts(book.hears(e.PartSeen(NodePart.JOURNAL, "It cannot be written"))) == ["journal_failed"]
    assert book.engine.protected


def test_what_nobody_looked_at_does_not_work() -> None:
    """A part counts from the first look that found nothing wrong, until one that does."""
    book = paired(A)
    parts = book.engine.sight.parts
    assert not parts.works(NodePart.BMC)
    book.hears(e.PartSeen(NodePart.BMC, ""))
    assert parts.works(NodePart.BMC)
    book.hears(e.PartSeen(NodePart.BMC, "It does not answer"))
    assert not parts.works(NodePart.BMC)
