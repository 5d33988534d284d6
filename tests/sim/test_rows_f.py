"""Group F of the fault catalogue: resynchronisation."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from tests.playbook import DB, WEB, A, B
from tests.sim.rows import SEEDS, WITNESS, Row
from tests.sim.site import SimSite


@pytest.mark.parametrize("seed", SEEDS)
def test_f1_source_dies_during_resync(seed: int) -> None:
    """B's copy is Inconsistent: it never promotes, not even by a grant; the VMs start on A when it returns."""
    row = Row(WITNESS, seed)
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(60.0)
    row.world.resync_factor = 100.0
    row.heals(cut)
    row.world.run_until(lambda: row.world.resources[WEB].sides[B].syncing != "", 300.0)
    row.passes(3.0)
    row.off(A)
    row.passes(90.0)
    row.never_on(B)
    row.world.resync_factor = 1.0
    row.recovers()
    assert row.served_by() == A


def test_f6_no_resync_although_copies_differ() -> None:
    """DRBD connects without a resync and with blocks out of sync: nobody says protected before a full resync."""
    row = Row(WITNESS)
    back = row.off(B)
    row.passes(30.0)
    row.world.resources[WEB].no_resync = 1
    row.heals(back)
    row.passes(60.0)
    assert row.since(A, c.ResyncDisk), row.world.summary()
    assert row.world.protected()
    row.recovers()
    assert row.world.log(A) == row.world.log(B)


@pytest.mark.parametrize("seed", SEEDS)
def test_f8_stale_backup_comes_first(seed: int) -> None:
    """A was alone and reboots; B comes up first and waits, because A has the newer epoch."""
    row = Row(WITNESS, seed)
    row.off(B)
    row.passes(30.0)
    row.off(A)
    row.world.machines[B].power_on()
    row.passes(120.0)
    row.never_on(B)
    row.world.machines[A].power_on()
    row.passes(60.0)
    assert row.served_by() == A
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_f13_resources_are_independent(seed: int) -> None:
    """Each VM's resource is promoted for itself: one that cannot be started on B does not hold the other one back.

    The catalogue puts VM1 on A and VM2 on B. This product has one owner and one epoch for all VMs of a pair, so both
    run on A here, and a copy that is out of date on B costs B the right to all of them.
    """
    row = Row(SimSite(witnesses=1, vms=(WEB, DB)), seed)
    assert row.world.runner(DB) == A
    row.world.machines[B].broken_vms.add(DB)
    row.off(A)
    row.passes(60.0)
    assert row.world.runner(WEB) == B
    assert row.world.runner(DB) is None
    assert [command.vm for _, who, command in row.world.commands if who == B and isinstance(command, c.PromoteDisk)][
        :2
    ] == [WEB, DB]
    row.world.machines[B].broken_vms.clear()
    row.recovers()
