"""Group C of the fault catalogue: the public networks; and the health of both nodes, which decides who has the VMs."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import NodeId
from tests.playbook import WEB, A, B
from tests.sim.rows import PLAIN, SAFE, SEEDS, WITNESS, Row
from tests.sim.site import SimSite

EVERY = [WITNESS, PLAIN, SAFE, SimSite(witnesses=1, power=True)]
MOVED_S = 60.0  # 2 s until it counts, 30 s held, then the VM moves while it runs
CLEAR_S = 65.0


def moved(row: Row, *, to: NodeId, by_s: float = MOVED_S) -> None:
    """The VM went on once, on that node, after a live move: nobody was reset, and nothing was started."""
    started = row.since(to, c.ResumeDomain)
    assert len(started) == 1, started
    assert started[0] <= by_s, started
    assert row.served_by() == to, row.world.summary()
    assert not row.resets(A)
    assert not row.resets(B)
    assert "vms_move" in row.alerts(A if to == B else B)
    assert not row.since(A, c.StartDomain)
    assert not row.since(B, c.StartDomain)


@pytest.mark.parametrize("site", EVERY)
@pytest.mark.parametrize("seed", SEEDS)
def test_c1_public_network_of_the_primary(seed: int, site: SimSite) -> None:
    """A's public port fails, B's is good: the VM moves to B, once, and stays there when the port is mended."""
    row = Row(site, seed)
    fault = row.breaks("link.carrier_loss", "a.biz0")
    row.passes(MOVED_S)
    moved(row, to=B)
    assert row.alerts(A).count("network_lost") == 1
    row.heals(fault)
    row.passes(300.0)
    moved(row, to=B)
    assert row.alerts(A).count("network_lost_over") == 1
    row.recovers()
    assert row.served_by() == B, "nobody fails back for health"


@pytest.mark.parametrize("seed", SEEDS)
def test_c1_during_a_resynchronisation(seed: int) -> None:
    """B's copy is not equal yet: the VM waits for it where it is, and moves then."""
    row = Row(WITNESS, seed)
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(60.0)
    row.world.resync_factor = 400.0
    row.heals(cut)
    row.world.run_until(lambda: row.world.resources[WEB].sides[B].syncing != "", 300.0)
    row.breaks("link.carrier_loss", "a.biz0")
    row.passes(90.0)
    row.untouched()
    assert "vms_stay" in row.alerts(A)
    row.world.resync_factor = 1.0  # for the next one
    row.world.run_until(lambda: row.served_by() == B, 600.0)
    row.recovers()


@pytest.mark.parametrize("site", EVERY)
def test_c2_public_network_of_the_backup(site: SimSite) -> None:
    """It is reported, and nothing moves."""
    row = Row(site)
    row.breaks("link.carrier_loss", "b.biz0")
    row.passes(300.0)
    row.untouched()
    assert "network_lost" in row.alerts(B)
    row.recovers()
    row.untouched()


@pytest.mark.parametrize("seed", SEEDS)
def test_c3_public_network_of_both(seed: int) -> None:
    """The switch is dead: no node is better, so nothing moves; each says so of itself."""
    row = Row(WITNESS, seed)
    row.breaks("link.carrier_loss", "a.biz0")
    row.passes(1.0)
    row.breaks("link.carrier_loss", "b.biz0")
    row.passes(300.0)
    row.untouched()
    assert "network_lost" in row.alerts(A)
    assert "network_lost" in row.alerts(B)
    assert "vms_stay" not in row.alerts()
    row.recovers()


def test_c3_the_backup_is_mended_first() -> None:
    """Then it is better, and half a minute later it has the VMs."""
    row = Row(WITNESS)
    row.breaks("link.carrier_loss", "a.biz0")
    theirs = row.breaks("link.carrier_loss", "b.biz0")
    row.passes(100.0)
    row.untouched()
    row.at = row.world.now
    row.heals(theirs)
    row.passes(CLEAR_S + MOVED_S)
    moved(row, to=B, by_s=CLEAR_S + MOVED_S)


@pytest.mark.parametrize("seed", SEEDS)
def test_c4_the_backup_is_worse(seed: int) -> None:
    """A loses its network; B has lost its network and a half of its mirror: the VM stays, and P8 is kept."""
    row = Row(SimSite(witnesses=1, halves=True), seed)
    row.breaks("link.carrier_loss", "b.biz0")
    row.breaks("half.gone", "b", disk="vdb")
    row.passes(30.0)
    row.breaks("link.carrier_loss", "a.biz0")
    row.passes(200.0)
    row.untouched()


@pytest.mark.parametrize("seed", SEEDS)
def test_c4_the_backup_is_as_ill(seed: int) -> None:
    """A loses its network, and B has lost a half of its mirror: neither is better, so nothing moves."""
    row = Row(SimSite(witnesses=1, halves=True), seed)
    row.breaks("half.gone", "b", disk="vdb")
    row.passes(30.0)
    row.breaks("link.carrier_loss", "a.biz0")
    row.passes(200.0)
    row.untouched()
    assert "vms_stay" not in row.alerts()


def test_c5_flapping_public_port() -> None:
    """Two seconds up and five down, for ten minutes: one move at most, and one alert."""
    row = Row(WITNESS)
    for _ in range(85):
        fault = row.breaks("link.carrier_loss", "a.biz0")
        row.passes(5.0)
        row.heals(fault)
        row.passes(2.0)
    row.at = 0.0
    assert len(row.since(B, c.ResumeDomain)) == 1
    assert row.alerts(A).count("network_lost") == 1
    assert row.served_by() == B
    row.recovers()


def after_two_moves() -> Row:
    """Return a pair whose VM went there and back within the hour, and whose A has no public network once more."""
    row = Row(WITNESS)
    for node, other in ((A, B), (B, A)):
        fault = row.breaks("link.carrier_loss", f"{node}.biz0")
        row.passes(MOVED_S)
        moved(row, to=other)
        row.heals(fault)
        row.passes(CLEAR_S)
    row.breaks("link.carrier_loss", "a.biz0")
    return row


def test_c5_ports_that_fail_in_turn() -> None:
    """The third move within an hour waits, and a person is told why."""
    row = after_two_moves()
    row.passes(120.0)
    assert row.served_by() == A
    assert "vms_stay" in row.alerts(A)
    assert "2 times within an hour" in "".join(row.world.trace)
    row.passes(3600.0)
    assert row.served_by() == B, "an hour later it may move again"
    row.recovers()


def test_c5_a_person_says_that_it_is_mended() -> None:
    """Then the VM may move at once again."""
    row = after_two_moves()
    row.passes(60.0)
    assert row.served_by() == A
    daemon = row.world.machines[A].daemon
    assert daemon is not None
    daemon.deliver(e.OperatorAsked("reset-device", A, 1))
    row.passes(30.0)
    assert row.served_by() == B


@pytest.mark.parametrize("seed", SEEDS)
def test_p8_half_a_mirror_of_the_primary_restarts_nothing(seed: int) -> None:
    """No client misses anything, so the VM moves while it runs."""
    row = Row(SimSite(witnesses=1, halves=True), seed)
    row.breaks("half.gone", "a", disk="vdb")
    row.passes(120.0)
    moved(row, to=B)


def test_c8_and_the_private_link_fails_in_the_middle() -> None:
    """Whatever breaks while the VM is on its way: one node runs it, nothing is lost, and it serves again."""
    for after_s in (31.5, 32.0, 32.3, 32.6, 33.0, 33.5, 34.0, 35.0):
        for what, target in (("link.cut", "a.priv0"), ("power.cut", "a"), ("power.cut", "b"), ("process.kill", "b")):
            row = Row(WITNESS)
            row.breaks("link.carrier_loss", "a.biz0")
            row.passes(after_s)
            row.breaks(what, target)
            row.passes(60.0)
            row.recovers()
            assert row.served_by() is not None, (after_s, what)


def test_the_daemon_comes_back_and_sees_the_dead_port() -> None:
    """A carrier that was lost before the daemon began counts as well."""
    row = Row(WITNESS)
    row.breaks("link.carrier_loss", "a.biz0")
    row.breaks("process.kill", "a")
    row.passes(MOVED_S + 15.0)
    assert row.served_by() == B
    assert row.world.engine(A).health.ailments
    assert WEB in row.world.engine(B).units
