"""A person gives definitions once, on either node, in the middle of trouble; what the person hears is true in the end.

All judges of the simulator watch all the time.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core.model import NodeId, PairState, Stand, Version, VmId
from tests.playbook import WEB, A, B
from tests.sim import agreed, definitions
from tests.sim.agreed import holds_the_same
from tests.sim.definitions import what_is_left
from tests.sim.inject import heal_all
from tests.sim.rows import PLAIN, STALL_MAX_S, Row
from tests.sim.site import SimSite, peer_of

DB, NEW = VmId("db"), VmId("new")
TWO_VMS = SimSite(witnesses=1, vms=(WEB, DB))
seeds = pytest.mark.parametrize("seed", range(2))
nodes = pytest.mark.parametrize("node", [A, B])


def ends_well(row: Row, *asks: int) -> None:
    """Everything is healed: both nodes hold the same, and each answer that was given is true."""
    heal_all(row.world)
    row.world.run_until(lambda: holds_the_same(row.world), 300.0)
    row.recovers()
    assert holds_the_same(row.world)
    version = row.world.machines[A].stand.version
    lineage = {one.hash for one in (*row.world.machines[A].stand.history, version)}
    for number in asks:
        answer = agreed.answered(row.world, number)
        given = [hashed for hashed, offer in row.world.offers.items() if offer.number // 1000 == number]
        if answer is not None and given:
            assert (given[0] in lineage) is answer.done, answer


@seeds
@nodes
def test_a_vm_is_added_changed_and_removed(node: NodeId, seed: int) -> None:
    """In a protected pair, on either node, given once: the VM that was there does not notice, and the other works."""
    row = Row(PLAIN, seed)
    asks = []
    for add, change, remove in ((NEW, None, None), (None, NEW, None), (None, None, NEW)):
        asks.append(agreed.ask(row.world, node, add, change=change, remove=remove))
        row.passes(60.0)
        assert row.world.protected(), row.world.summary()
        assert holds_the_same(row.world)
        node = peer_of(node)
    assert [agreed.answered(row.world, number).done for number in asks] == [True] * 3  # type: ignore[union-attr]
    assert not what_is_left(row.world, NEW)
    assert not [vm for _, _, vm in row.world.judges.starts if vm == WEB]
    assert row.world.judges.longest_stall_s <= STALL_MAX_S
    assert not row.resets(A)
    assert not row.resets(B)
    ends_well(row, *asks)


@seeds
@nodes
@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.7, 1.5])
@pytest.mark.parametrize("how", ["process.kill", "power.cut", "apart"])
def test_trouble_in_the_middle(how: str, after_s: float, node: NodeId, seed: int) -> None:
    """A daemon, a node or the links die a moment after a change was given: both nodes agree when they are back."""
    row = Row(TWO_VMS, seed)
    number = agreed.ask(row.world, B, NEW)
    row.passes(after_s)
    if how == "apart":
        row.apart()
    else:
        row.breaks(how, f"{node}/daemon" if how == "process.kill" else str(node))
    row.passes(45.0)
    ends_well(row, number)


@seeds
@nodes
def test_one_node_alone(node: NodeId, seed: int) -> None:
    """The other one is dead: what needs both is refused; alone it counts here, and there when the other is back."""
    row = Row(TWO_VMS, seed)
    other = peer_of(node)
    early = agreed.ask(row.world, node, NEW, alone=True)
    row.passes(3.0)
    assert not agreed.answered(row.world, early).done, "the other one could agree"  # type: ignore[union-attr]
    off = row.off(other)
    row.passes(40.0)
    refused = agreed.ask(row.world, node, NEW)
    row.passes(5.0)
    alone = agreed.ask(row.world, node, NEW, alone=True)
    row.passes(5.0)
    answers = [agreed.answered(row.world, number) for number in (refused, alone)]
    assert [answer is not None and answer.done for answer in answers] == [False, True]
    assert row.world.machines[node].vms == (WEB, DB, NEW)
    row.heals(off)
    row.passes(60.0)
    assert row.world.machines[other].vms == (WEB, DB, NEW)
    ends_well(row, refused, alone)
    assert row.world.protected()


@seeds
def test_two_persons_at_the_same_moment(seed: int) -> None:
    """One change on each node: one of them counts on both nodes, and the other person is told to look."""
    row = Row(TWO_VMS, seed)
    asks = [agreed.ask(row.world, A, NEW), agreed.ask(row.world, B, change=DB)]
    row.passes(30.0)
    answers = [agreed.answered(row.world, number) for number in asks]
    assert [answer is not None and answer.done for answer in answers] in ([True, False], [False, True])
    ends_well(row, *asks)


@seeds
def test_changed_apart(seed: int) -> None:
    """Both nodes were changed alone: nothing is overwritten, both tell it, and a person ends it."""
    row = Row(TWO_VMS, seed)
    cut = row.apart()
    row.passes(40.0)
    asks = [agreed.ask(row.world, A, change=DB, alone=True), agreed.ask(row.world, B, NEW, alone=True)]
    row.passes(10.0)
    asks.append(agreed.ask(row.world, B, change=NEW, alone=True))
    row.passes(10.0)
    assert [agreed.answered(row.world, number).done for number in asks] == [True] * 3  # type: ignore[union-attr]
    row.heals(*cut)
    row.passes(60.0)
    assert row.world.machines[A].stand.version != row.world.machines[B].stand.version
    for node in (A, B):
        assert "definitions_differ" in row.alerts(node)
    assert row.served_by() == A
    taken = agreed.take(row.world, A)
    row.passes(30.0)
    assert agreed.answered(row.world, taken).done  # type: ignore[union-attr]
    ends_well(row, taken)
    assert row.world.machines[A].vms == (WEB, DB, NEW)


@seeds
@nodes
def test_another_site_needs_a_start_of_both_daemons(node: NodeId, seed: int) -> None:
    """One after the other: the nodes are paired in between, although only one works with it; nothing stops."""
    row = Row(TWO_VMS, seed)
    world, given = row.world, replace(definitions.document(row.world), number=1)
    new = Stand(Version(1, given.hash), (world.machines[A].stand.version,))
    world.offers[given.hash], both = given, tuple(world.machines.values())
    for machine in both:
        machine.stand = new
        assert machine.engine is not None
        machine.engine.sight.agreement.stand = new
    for one in (node, peer_of(node)):
        machine = world.machines[one]
        machine.config_hash = new.version.hash
        machine.kill_daemon()
        world.run(8.0)
        world.run_until(lambda: all(one.engine and one.engine.pair is PairState.PAIRED for one in both), 60.0)
    world.run_until(world.protected, 120.0)
    assert not world.judges.starts
    assert not row.resets(A)
