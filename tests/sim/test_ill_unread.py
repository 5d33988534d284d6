"""Nobody knows yet which data a disk holds: a right is neither given nor used before somebody has looked.

The writer's daemon stands still while its disk is lost, so no daemon notes that the writes go to the peer's copy only.
"""

from __future__ import annotations

import pytest

from avance.core import events as e
from avance.core.model import DiskState, PairState
from tests.playbook import WEB, A, B
from tests.sim.rows import PLAIN, POWER, WITNESS, Row
from tests.sim.site import SimSite

SITES = pytest.mark.parametrize("site", [PLAIN, WITNESS, POWER])
SEEDS = pytest.mark.parametrize("seed", [1, 4])


@pytest.mark.parametrize("ill", ["process.kill b/daemon", "process.stop b/daemon", "tool.hang b/drbd"])
@pytest.mark.parametrize("after_s", [0.2, 1.0])
@SITES
@SEEDS
def test_backup_that_has_not_read_its_own_generation(seed: int, site: SimSite, after_s: float, ill: str) -> None:
    """A comes back with its old disk and asks for consent; B's copy has the newer data, and B has to look first."""
    row = Row(site, seed)
    row.breaks("process.stop", "a/daemon")
    gone = row.breaks("disk.gone", "a", press=False)
    name, target = ill.split()
    other = row.breaks(name, target)
    row.passes(after_s)
    cut = row.breaks("link.cut", "a.priv0")
    row.heals(gone)
    row.breaks("power.reset", "a")
    if name != "process.kill":
        row.passes(8.0)
        row.heals(other)
    row.passes(120.0)
    row.heals(cut)
    row.recovers()


@pytest.mark.parametrize("late_s", [1.0, 3.0, 5.0])
@SITES
@SEEDS
def test_owner_whose_second_daemon_finds_a_disk_attached(seed: int, site: SimSite, late_s: float) -> None:
    """A comes up with its old disk and without a link; its daemon is killed, and the next one finds the disk there."""
    row = Row(site, seed)
    row.breaks("process.stop", "a/daemon")
    gone = row.breaks("disk.gone", "a", press=False)
    row.passes(4.0)
    cut, biz = row.isolated(A)
    row.heals(gone)
    row.breaks("power.reset", "a")
    row.world.run_until(lambda: row.world.machines[A].engine is not None, 60.0)
    row.passes(late_s)
    row.breaks("process.kill", "a/daemon")
    row.heals(biz)
    row.passes(120.0)
    row.heals(cut)
    row.recovers()


@pytest.mark.parametrize("after_s", [0.5, 2.0, 5.0])
@SITES
@SEEDS
def test_old_disk_returns_behind_a_dead_private_link(seed: int, site: SimSite, after_s: float) -> None:
    """A is reset soon after the loss, its old disk is there again, and B cannot be reached by DRBD."""
    row = Row(site, seed)
    row.breaks("process.stop", "a/daemon")
    gone = row.breaks("disk.gone", "a", press=False)
    row.passes(after_s)
    cut = row.breaks("link.cut", "a.priv0")
    row.heals(gone)
    row.breaks("power.reset", "a")
    row.passes(120.0)
    row.heals(cut)
    row.recovers()


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("site", [PLAIN, WITNESS])
@SEEDS
def test_lone_owner_that_is_a_guest_hands_over(seed: int, site: SimSite, cut: bool) -> None:
    """B's daemon stood still and DRBD mirrored on; A, alone by right, loses its disk for good: B's copy has it all."""
    row = Row(site, seed)
    stopped = row.breaks("process.stop", "b/daemon")
    row.world.run_until(lambda: row.pair(A) is PairState.ALONE, 12.0)
    row.breaks("disk.gone", "a")
    row.passes(1.0)
    row.heals(stopped)
    if cut:
        row.passes(60.0)
        row.breaks("link.cut", "a.priv0")
    row.passes(120.0)
    assert row.served_by() is not None, row.world.summary()
    row.world.judges.end_with_a_fault()


@pytest.mark.parametrize("site", [PLAIN, WITNESS])
@SEEDS
def test_stream_of_drbd_breaks_while_the_writer_is_alone(seed: int, site: SimSite) -> None:
    """While A heard nothing of DRBD, B was filled, and A's disk was lost: what was written since is on B only."""
    row = Row(site, seed)
    streams = row.breaks("link.no_streams", "priv0")
    row.passes(15.0)
    machine = row.world.machines[A]
    hang = row.breaks("tool.hang", "a/drbd")  # `drbdsetup events2` has ended and cannot be started again
    assert machine.daemon is not None
    machine.daemon.deliver(e.DiskStreamReset())
    machine.daemon.reported.clear()
    row.heals(streams)
    ours, theirs = (row.world.resources[WEB].sides[node] for node in (A, B))
    row.world.run_until(lambda: ours.connection == "Connected" and not (ours.syncing or ours.dirty), 60.0)
    assert theirs.disk is DiskState.UP_TO_DATE
    row.passes(1.0)
    gone = row.breaks("disk.gone", "a", press=False)
    row.passes(0.6)
    dead = row.off(B)
    row.passes(8.0)
    row.heals(hang)
    machine.daemon._first_report()
    row.passes(1.0)
    row.heals(gone)
    row.breaks("power.reset", "a")
    row.passes(60.0)
    row.heals(dead)
    row.recovers()


@pytest.mark.parametrize("site", [SimSite(policy="safety"), WITNESS], ids=["safe", "witness"])
@pytest.mark.parametrize("killed_after_s", [0.2, 0.6, 1.5])
@SEEDS
def test_writer_is_frozen_when_its_daemon_starts_anew(seed: int, killed_after_s: float, site: SimSite) -> None:
    """Nobody has read the generation of A's copy, which stands still; B may have been granted the next epoch by then.

    The private link stays cut. A reads what it has, B compares and consents, and A goes on.
    """
    row = Row(site, seed)
    mute = [row.breaks("witness.mute", "w1")] if site.witnesses else []  # A is frozen before it is granted anything
    _, biz = row.apart()
    side = row.world.resources[WEB].sides[A]
    row.world.run_until(lambda: side.suspended, 8.0)
    row.heals(*mute)
    row.passes(killed_after_s)
    row.breaks("process.kill", "a/daemon")
    row.passes(5.0)
    row.heals(biz)
    row.passes(100.0)
    assert row.served_by() is not None, row.world.summary()
    row.recovers()
