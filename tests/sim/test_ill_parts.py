"""Gate, watchdog and service address of a node fail or vanish: it is told, and the pair is not called protected.

The VM runs on all the time. Nothing of this moves a service; it takes away what stops a node that cannot stop itself.
"""

from __future__ import annotations

import pytest

from avance.core.model import NodeId, NodePart
from tests.playbook import A, B
from tests.sim.judges import Violation
from tests.sim.plan import PART_FAULTS, draw
from tests.sim.rows import PLAIN, SEEDS, WITNESS, Row

KNOWN_S = 6.0  # a look each 5 s, and a heartbeat
GUARDS = [("gate.gone", NodePart.GATE), ("watchdog.dead", NodePart.WATCHDOG)]


def says_protected(row: Row) -> list[bool]:
    """Return whether each node says protected."""
    return [row.world.engine(node).protected for node in (A, B)]


@pytest.mark.parametrize(("fault", "guard"), GUARDS)
@pytest.mark.parametrize("node", [A, B])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_guard_vanishes_and_comes_back(seed: int, node: NodeId, fault: str, guard: NodePart) -> None:
    """Both nodes know it a few seconds later, its node alone tells of it, and the VM does not notice."""
    row = Row(WITNESS, seed)
    broken = row.breaks(fault, node)
    row.passes(KNOWN_S)
    assert says_protected(row) == [False, False]
    other = B if node == A else A
    assert f"{guard}_failed" in row.alerts(node)
    assert f"{guard}_failed" not in row.alerts(other)
    assert row.world.engine(other).sight.peer.unguarded == (guard,)
    row.passes(60.0)
    assert says_protected(row) == [False, False]
    row.heals(broken)
    row.passes(KNOWN_S)
    assert says_protected(row) == [True, True]
    assert f"{guard}_restored" in row.alerts(node)
    row.untouched()


@pytest.mark.parametrize(("fault", "guard"), GUARDS)
@pytest.mark.parametrize("node", [A, B])
def test_a_node_starts_without_a_guard(node: NodeId, fault: str, guard: NodePart) -> None:
    """It serves, or stands by, as ever; the pair is protected only after somebody has mended it."""
    row = Row()
    row.breaks(fault, node)
    row.breaks("power.reset", node)
    row.passes(120.0)
    assert row.served_by() is not None
    assert says_protected(row) == [False, False]
    assert row.world.engine(node).sight.parts.unguarded == (guard,)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_deleted_service_address_is_put_back_and_told(seed: int) -> None:
    """The clients find it again within seconds, and both the loss and its end are told."""
    row = Row(WITNESS, seed)
    row.breaks("address.gone", A)
    assert not row.world.machines[A].address
    row.passes(KNOWN_S)
    assert row.world.machines[A].address
    assert [code for code in row.alerts() if code.startswith("address")] == ["address_failed", "address_restored"]
    row.untouched()


def test_an_address_that_is_deleted_on_the_backup_was_never_there() -> None:
    """Nothing is put where it must not be."""
    row = Row()
    row.breaks("address.gone", B)
    row.passes(KNOWN_S)
    assert not row.world.machines[B].address
    assert not [code for code in row.alerts() if code.startswith("address")]


def test_a_hung_node_with_a_dead_watchdog_writes_no_more() -> None:
    """Two faults at once: its VM stands there beside the new one, but its disk is frozen and its gate closed."""
    row = Row()
    row.breaks("watchdog.dead", A)
    row.passes(KNOWN_S)
    row.breaks("process.stop", f"{A}/daemon")
    row.passes(60.0)
    assert row.served_by() == B
    before = row.acknowledged_by(A)
    assert not row.world.machines[A].reaches_clients
    row.passes(20.0)
    assert row.acknowledged_by(A) == before
    row.recovers()


def test_the_judge_of_guards_bites() -> None:
    """A pair that goes on saying protected without a gate is found out."""
    row = Row(PLAIN)
    row.world.machines[B].unguarded_from_s = row.world.now  # the node itself sees nothing
    with pytest.raises(Violation, match="I13"):
        row.passes(30.0)


def test_random_plans_draw_such_faults() -> None:
    """Each of them, on both nodes, for a while and to stay."""
    found = [fault for seed in range(600) for fault in draw(seed).faults if fault.name in PART_FAULTS]
    assert {fault.name for fault in found} == {*PART_FAULTS}
    assert {fault.target for fault in found} == {"a", "b"}
    assert any(fault.stays for fault in found)
    assert any(fault.for_s for fault in found)
