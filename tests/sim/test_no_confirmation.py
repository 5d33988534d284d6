"""What looks like a proof and is none: an order that was accepted, a late reading, one node's word, an old lease.

Like the worst cases, each of these histories is one that a seeded defect of the product outlived before it was written.
"""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core.model import PairState
from tests.playbook import BIZ, PRIV, A, B
from tests.sim.rows import POWER, SEEDS, WITNESS, Row
from tests.sim.site import NODES, SimSite
from tests.sim.world import World

STEP_S = 0.005


@pytest.mark.parametrize("seed", SEEDS)
def test_accepted_order_is_no_proof(seed: int) -> None:
    """Both BMCs accept to switch a node off and do nothing: with policy `safety` nobody goes on."""
    row = Row(SimSite(policy="safety", power=True), seed)
    for bmc in row.world.bmcs.values():
        bmc.lying += 1
    apart = row.apart()
    row.passes(30.0)
    assert row.since(A, c.CutPeerPower)
    row.never_on(B)
    assert row.epoch(A) == row.epoch(B)
    for bmc in row.world.bmcs.values():
        bmc.lying -= 1
    row.heals(*apart)
    row.recovers()


def _elected_on_one_side(seed: int) -> World:
    """Return a protected world that is cut apart when A has elected its witness and B has not heard of it."""
    world = World(seed, site=POWER)
    witness = world.arbiters["w1"]
    witness.down += 1
    for node in NODES:
        world.boot(node)
    world.run_until(world.protected, 25.0)
    assert not world.machines[A].record.arbiters
    witness.down -= 1
    for _ in range(int(20.0 / STEP_S)):
        saving = world.engine(A).sight.durable.saving
        if saving is not None and saving.arbiters:
            break
        world.run(STEP_S)
    for link in (PRIV, BIZ):
        for node in NODES:
            world.network.apart[node, link] += 1
    world.run(1.0)
    assert world.machines[A].record.arbiters
    assert not world.machines[B].record.arbiters
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_power_that_reads_off_late_says_nothing_of_the_past(seed: int) -> None:
    """A has gone on alone by its witness, and loses its power later: B knows of no arbiter, and must not go on."""
    world = _elected_on_one_side(seed)
    world.run(6.0)
    assert world.engine(A).pair is PairState.ALONE, world.summary()
    begun = world.now
    world.machines[A].power_off()
    world.run(30.0)
    late = [command for at, node, command in world.commands if node == B and at >= begun]
    assert not [command for command in late if isinstance(command, c.PromoteDisk)], world.trace[-20:]


@pytest.mark.parametrize("seed", SEEDS)
def test_one_node_cannot_teach_a_witness(seed: int) -> None:
    """A was granted the epoch by a witness that then forgets it. B, which has not heard of it, teaches the old one."""
    row = Row(WITNESS, seed)
    row.breaks("link.apart", "priv0", only_from="b")
    row.breaks("link.apart", "biz0", only_from="b")
    for _ in range(int(15.0 / STEP_S)):
        commands = [command for at, who, command in row.world.commands if who == A and at >= row.at]
        if any(isinstance(command, c.SaveRecord) and command.record.peer_outdated for command in commands):
            break
        row.passes(STEP_S)
    row.breaks("link.apart", "priv0", only_from="a")
    row.breaks("link.apart", "biz0", only_from="a")
    row.world.network.far_cut[A, "w1"] = 1
    row.heals(row.breaks("witness.wiped", "w1"))
    assert row.pair(B) is PairState.PAIRED
    row.passes(30.0)
    assert row.pair(A) is PairState.ALONE
    row.never_on(B)
    assert row.served_by() == A


@pytest.mark.parametrize("seed", SEEDS)
def test_lease_of_before_a_pause_counts_no_more(seed: int) -> None:
    """A was paused with its clocks, B has taken over, and A hears nobody when it goes on: it stops by itself."""
    row = Row(WITNESS, seed)
    row.apart()
    paused = row.breaks("node.pause", "a")
    row.passes(30.0)
    assert row.served_by() == B
    row.heals(paused)
    row.passes(1.5)
    assert not row.world.machines[A].runs(row.world.site.vms[0]), row.world.summary()
    row.passes(10.0)
    assert row.served_by() == B
