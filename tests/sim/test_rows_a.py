"""Group A of the fault catalogue: the loss of a node."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from tests.playbook import WEB, A, B
from tests.sim.rows import PLAIN, POWER, REBOOT_S, SAFE, SEEDS, WITNESS, Row
from tests.sim.site import SimSite


@pytest.mark.parametrize("seed", SEEDS)
def test_a1_power_cut_of_the_primary(seed: int) -> None:
    """B finds the peer lost within 6 s, promotes at about 17 s and starts the VM; A returns as backup."""
    row = Row(WITNESS, seed)
    row.off(A)
    row.passes(30.0)
    assert row.passed(B, "peer_lost") <= 6.0
    row.taken_over(by_s=20.0, not_before_s=15.5)
    row.recovers()
    assert row.served_by() == B


@pytest.mark.parametrize("seed", SEEDS)
def test_a1_power_reads_off(seed: int) -> None:
    """With a BMC that shows A's power as off, B commands the start of the VM within 7 s."""
    row = Row(POWER, seed)
    row.off(A)
    row.passes(30.0)
    row.taken_over(by_s=7.5)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_a1_backup_must_switch_it_off(seed: int) -> None:
    """When A is silent but has power, B switches it off and commands the start of the VM after about 10 s."""
    row = Row(POWER, seed)
    row.breaks("node.pause", "a")
    row.passes(30.0)
    assert row.world.bmcs[A].cuts >= 1
    row.taken_over(by_s=11.5)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_a1_without_witness_or_bmc(seed: int) -> None:
    """Policy availability alone gives B the right after the whole take-over wait."""
    row = Row(PLAIN, seed)
    row.off(A)
    row.passes(30.0)
    row.taken_over(by_s=20.0, not_before_s=15.5)
    row.recovers()


@pytest.mark.parametrize("site", [WITNESS, POWER, PLAIN, SimSite(gateway=False)])
@pytest.mark.parametrize("seed", SEEDS)
def test_a2_power_cut_of_the_backup(seed: int, site: SimSite) -> None:
    """A's I/O is frozen for at most 8 s, then A goes on alone; nothing restarts; B is updated when it returns."""
    row = Row(site, seed)
    row.off(B)
    row.passes(30.0)
    row.untouched()
    assert "peer_lost" in row.alerts(A)
    row.recovers()
    row.untouched()


@pytest.mark.parametrize("site", [WITNESS, PLAIN, SAFE, SimSite(witnesses=2, power=True, policy="safety")])
@pytest.mark.parametrize("seed", SEEDS)
def test_a6_both_lose_power(seed: int, site: SimSite) -> None:
    """Equal epochs: the previous primary starts the VMs, without an operator."""
    row = Row(site, seed)
    row.breaks("power.cut_both", "a+b")
    row.passes(20.0)
    row.recovers(60.0)
    assert row.served_by() == A


@pytest.mark.parametrize("seed", SEEDS)
def test_a7_backup_dies_while_vms_boot_there(seed: int) -> None:
    """A crashes, B takes over and crashes too: A alone waits; B alone starts the VMs."""
    row = Row(WITNESS, seed)
    row.off(A)
    row.world.run_until(lambda: bool(row.world.machines[B].domains), 30.0)
    row.off(B)
    row.passes(5.0)
    row.world.machines[A].power_on()
    row.passes(120.0)
    assert row.served_by() is None
    row.never_on(A)
    row.world.machines[A].power_off()
    row.world.machines[B].power_on()
    row.passes(60.0)
    assert row.served_by() == B
    row.recovers()
    assert row.served_by() == B


def _crashes(row: Row, times: int) -> None:
    """Let A crash and come back again and again; B keeps or takes the service."""
    for _ in range(times):
        row.off(A)
        row.passes(25.0)
        row.world.machines[A].power_on()
        row.passes(45.0)


def test_a8_crash_loop_of_the_primary() -> None:
    """At the limit of six crashes A is in quarantine: no failover target; Reset Device re-admits it."""
    row = Row(WITNESS)
    _crashes(row, 7)
    assert row.served_by() == B
    assert "quarantined" in row.alerts(B)
    assert row.world.machines[B].record.quarantined
    assert not row.world.protected()
    row.off(B)
    row.passes(60.0)
    row.never_on(A)
    row.world.machines[B].power_on()
    row.passes(60.0)
    assert row.served_by() == B
    row.world.operator(B, "reset-device", A)
    row.passes(60.0)
    assert row.world.answers[-1].done
    row.recovers(60.0)


def test_a10_primary_dies_during_resync() -> None:
    """B's copy is Inconsistent: B never promotes; the VMs start on A when it returns."""
    row = Row(WITNESS)
    back = row.off(B)
    row.passes(40.0)
    row.world.resync_factor = 100.0
    row.heals(back)
    row.world.run_until(lambda: row.world.resources[WEB].sides[B].syncing != "", 60.0)
    row.passes(2.0)
    row.off(A)
    row.passes(120.0)
    row.never_on(B)
    assert row.served_by() is None
    assert {"takeover_refused", "no_good_copy", "waits"} & {*row.alerts(B)}
    row.world.resync_factor = 1.0
    row.recovers()
    assert row.served_by() == A


def test_a11_crash_loop_of_the_backup() -> None:
    """The VMs stay untouched each time, and B is in quarantine at the limit; resyncs do not pile up."""
    row = Row(WITNESS)
    for _ in range(7):
        row.off(B)
        row.passes(25.0)
        row.world.machines[B].power_on()
        row.passes(45.0)
        assert row.served_by() == A
    row.untouched()
    assert "quarantined" in row.alerts(A)
    resyncs = [at for at, who, name in row.world.milestones if who == A and name == "resync_started"]
    assert len(resyncs) <= 7
    row.world.operator(A, "reset-device", B)
    row.passes(REBOOT_S)
    row.recovers()
    assert not [at for at, who, command in row.world.commands if who == B and isinstance(command, c.StartDomain)]
