"""A VM was added whose volume one node cannot make: it lacks the room, or its disks. The other VMs lose nothing.

To such a volume nothing was ever written, so no rule waits for its copies (docs/safety.md, S44).
"""

from __future__ import annotations

import pytest

from avance.core.model import NodeId, PairState, VmId
from tests.playbook import WEB, A, B
from tests.sim import definitions
from tests.sim.drbd import Resource
from tests.sim.history import split
from tests.sim.rows import PLAIN, WITNESS, Row
from tests.sim.site import SimSite

NEW = VmId("new")
seeds = pytest.mark.parametrize("seed", [1, 2, 3])
sites = pytest.mark.parametrize("site", [PLAIN, WITNESS], ids=["plain", "witness"])


def pair(site: SimSite, seed: int, lacking: NodeId = B) -> Row:
    """Return a pair to which a VM was added just now; one node cannot make its volume."""
    row = Row(site, seed)
    resource = Resource(row.world, NEW, row.world.machines)
    row.world.resources[NEW] = resource
    resource.sides[lacking].gone = True
    definitions.add(row.world, NEW, A)
    row.passes(20.0)
    assert row.served_by() == A
    assert not row.world.protected(), "the new VM has no copy, and that is said"
    return row


def ends_well(row: Row) -> None:
    """There is room: everything is protected, the new VM as well."""
    for side in row.world.resources[NEW].sides.values():
        side.gone = False
    row.recovers()
    assert row.world.runner(NEW) is not None


@seeds
@sites
def test_the_right_to_write_alone_ends_when_the_other_copies_are_equal(site: SimSite, seed: int) -> None:
    """B was away and has taken what it lacked; then A dies, and B serves."""
    row = pair(site, seed)
    row.misses_a_while(B)
    assert not row.world.machines[A].record.peer_outdated
    row.off(A)
    row.passes(60.0)
    assert row.served_by() == B, row.world.summary()
    ends_well(row)


@seeds
def test_old_halves_are_emptied_and_filled(seed: int) -> None:
    """B has no mirror when the VM is added, only an old half: it is emptied, and B can take over both VMs."""
    row = Row(SimSite(witnesses=1, halves=True), seed)
    first = row.breaks("half.gone", "b", disk="vdb", press=False)
    row.passes(8.0)
    row.breaks("half.gone", "b", disk="vdc", press=False)
    row.heals(first)
    row.breaks("power.reset", "b")
    definitions.add(row.world, NEW, A)
    row.passes(120.0)
    assert row.world.protected(), row.world.summary()
    row.off(A)
    row.passes(60.0)
    assert row.served_by() == row.world.runner(NEW) == B, row.world.summary()


@seeds
@sites
@pytest.mark.parametrize("death", ["store.errors", "store.refuses"])
def test_the_owner_that_cannot_write_its_record_hands_over(death: str, site: SimSite, seed: int) -> None:
    """A starts anew and cannot record that it serves: B has every good copy, and serves."""
    row = pair(site, seed)
    died = row.breaks(death, "a", **({"share": 1.0} if death == "store.errors" else {}))
    row.breaks("power.reset", "a")
    row.passes(120.0)
    assert row.served_by() == B, row.world.summary()
    row.heals(died)
    ends_well(row)


@seeds
@sites
def test_a_vm_that_cannot_be_created_here_is_created_there(site: SimSite, seed: int) -> None:
    """A lacks what it needs to create the old VM: it moves to B."""
    row = pair(site, seed)
    row.world.machines[A].broken_vms.add(WEB)
    row.world.machines[A].end_domain(WEB, crashed=True)
    row.passes(120.0)
    assert row.served_by() == B, row.world.summary()
    row.world.machines[A].broken_vms.clear()
    ends_well(row)


@seeds
def test_the_version_that_is_given_up_is_replaced(seed: int) -> None:
    """Both nodes wrote, and a person keeps A's version: B has nothing of the new VM to put aside, and is filled."""
    row = pair(PLAIN, seed)
    cut = row.apart()
    row.passes(30.0)
    row.heals(*cut)
    row.passes(20.0)
    assert split(row.world), row.world.summary()
    row.world.judges.chose(A)
    for node in (A, B):
        row.world.operator(node, "keep", A)
    row.passes(90.0)
    assert row.pair(A) is row.pair(B) is PairState.PAIRED
    assert row.served_by() == A, row.world.summary()
    assert not row.world.machines[A].record.peer_outdated


@seeds
@sites
def test_the_vms_leave_a_node_that_clients_do_not_reach(site: SimSite, seed: int) -> None:
    """The public network of A is dead: what has two equal copies moves to B, and the new VM holds nothing back."""
    row = pair(site, seed)
    row.breaks("link.carrier_loss", "a.biz0")
    row.passes(60.0)
    assert row.served_by() == B
    ends_well(row)
