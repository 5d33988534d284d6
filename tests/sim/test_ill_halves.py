"""One half of a node's mirror is gone, then the other one: an old half is never taken for the current one (S35)."""

from __future__ import annotations

import pytest

from avance.core import halves
from avance.core.halves import Half, Note
from avance.core.model import MirrorState
from tests.playbook import A, B
from tests.sim.history import run
from tests.sim.mirror import Mirror
from tests.sim.plan import draw
from tests.sim.rows import SEEDS, Row
from tests.sim.site import SimSite

SITE = SimSite(witnesses=1, halves=True)


def _mirror(row: Row, node: str) -> Mirror:
    mirror = row.world.machines[A if node == "a" else B].mirror
    assert mirror is not None
    return mirror


def _old_half_alone(seed: int, node: str) -> Row:
    """A half of a node was away for a while; as it comes back, the other one dies and the node starts anew."""
    row = Row(SITE, seed)
    first = row.breaks("half.gone", node, disk="vdb", press=False)
    row.passes(8.0)
    row.breaks("half.gone", node, disk="vdc", press=False)
    row.heals(first)
    row.breaks("power.reset", node)
    return row


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_half_is_told_and_taken_back(seed: int) -> None:
    """For the pair nothing has happened: it stays protected, and the half is rebuilt when it answers."""
    row = Row(SITE, seed)
    away = row.breaks("half.gone", "b", disk="vdc", press=False)
    row.passes(3.0)
    assert "mirror_degraded" in row.alerts(B)
    assert row.world.protected()
    row.heals(away)
    row.passes(20.0)
    assert "mirror_whole" in row.alerts(B)
    assert len(_mirror(row, "b").used) == halves.HALVES
    row.world.judges.end()


@pytest.mark.parametrize("seed", SEEDS)
def test_old_half_of_the_backup_is_emptied_not_used(seed: int) -> None:
    """Only the old half is there at the start: it is refused, emptied and filled from the owner, which dies then."""
    row = _old_half_alone(seed, "b")
    row.passes(90.0)
    assert {"mirror_refused", "mirror_reused"} <= {*row.alerts(B)}
    assert row.world.protected()
    row.breaks("power.cut", "a")
    row.passes(60.0)
    assert row.served_by() == B
    row.world.judges.end()


@pytest.mark.parametrize("seed", SEEDS)
def test_old_half_of_the_owner_is_not_used(seed: int) -> None:
    """The owner comes back with its old half only: the service is on the other node's copy, and nothing is lost."""
    row = _old_half_alone(seed, "a")
    row.passes(120.0)
    assert row.served_by() == B
    row.recovers()


def test_old_half_of_a_lone_node_waits_for_the_newer_one() -> None:
    """Its peer is off: nothing is served from the old half, and the newer one ends the wait."""
    row = Row(SITE)
    row.breaks("power.cut", "b")
    row.passes(30.0)
    first = row.breaks("half.gone", "a", disk="vdb", press=False)
    row.passes(8.0)
    second = row.breaks("half.gone", "a", disk="vdc", press=False)
    row.heals(first)
    row.breaks("power.reset", "a")
    row.passes(60.0)
    assert _mirror(row, "a").state is MirrorState.OLD
    assert row.served_by() is None
    row.heals(second)
    row.passes(60.0)
    assert row.served_by() == A
    row.world.judges.end()


def test_random_plans_find_an_old_half_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that takes any half of its array loses writes in one of the first plans with halves."""

    def any_half(half: Half, note: Note) -> bool:
        return half.array == note.array

    plans = [plan for plan in map(draw, range(500)) if plan.site.halves]
    assert all(run(plan).violation is None for plan in plans[:5])
    monkeypatch.setattr(halves, "is_current", any_half)
    assert any("I6" in str(run(plan).violation) or "I2" in str(run(plan).violation) for plan in plans)
