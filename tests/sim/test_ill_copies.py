"""The right to write follows the good copy: primaries without a disk, old disks and other disks that come back.

The judges watch all the time that nothing acknowledged is missing where a VM starts, and that no guest has an error
followed by a success.
"""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import DiskState, PairState
from tests.playbook import BIZ, WEB, A, B
from tests.sim.history import recover
from tests.sim.inject import Fault
from tests.sim.rows import PLAIN, POWER, SAFE, TWO, WITNESS, Row
from tests.sim.site import SimSite

SEEDS = (1, 2, 3)
SITES = {"witness": WITNESS, "two": TWO, "plain": PLAIN, "safe": SAFE, "power": POWER}
SITE_NAMES = ("witness", "plain", "power", "safe")
SECONDS = ("process.kill a/daemon", "link.cut a.priv0", "power.cut b", "power.cut a", "power.cut_both a+b")


def _without_a_disk(site: SimSite, seed: int, **given: object) -> tuple[Row, Fault]:
    """Return a pair whose primary has lost its disk and acknowledged some writes over the link."""
    row = Row(site, seed)
    gone = row.breaks("disk.gone", "a", **given)
    before = len(row.world.acknowledged)
    row.passes(5.0)
    assert len(row.world.acknowledged) > before
    return row, gone


def _second(row: Row, what: str) -> Fault:
    name, target = what.split()
    return row.breaks(name, target)


@pytest.mark.parametrize("what", SECONDS)
@pytest.mark.parametrize("site", SITE_NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_primary_without_a_disk_and_one_more_fault(seed: int, site: str, what: str) -> None:
    """What was acknowledged over the link is served again, or nothing is: the old disk never (rows E18, E19)."""
    row, gone = _without_a_disk(SITES[site], seed)
    second = _second(row, what)
    row.passes(60.0)
    row.heals(gone)
    row.passes(60.0)
    if what.split(maxsplit=1)[0] != "process.kill":
        row.heals(second)
    row.recovers()


@pytest.mark.parametrize("after_s", [0.5, 2.0, 5.0, 15.0])
@pytest.mark.parametrize("site", SITE_NAMES)
def test_private_link_is_cut_soon_after_the_disk_is_gone(site: str, after_s: float) -> None:
    """However soon the cut comes: the only good copy is never outdated for a node that has none."""
    row = Row(SITES[site])
    row.breaks("disk.gone", "a")
    row.passes(after_s)
    row.breaks("link.cut", "a.priv0")
    worst = DiskState.UP_TO_DATE
    for _ in range(120):
        row.passes(0.5)
        side = row.world.resources[WEB].sides[B]
        worst = side.disk if side.disk in (DiskState.OUTDATED, DiskState.INCONSISTENT) else worst
    assert worst is DiskState.UP_TO_DATE
    row.recovers()


@pytest.mark.parametrize("back", ["old", "clone", "foreign"])
@pytest.mark.parametrize("site", SITE_NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_another_disk_comes_back_where_the_backup_is_dead(seed: int, site: str, back: str) -> None:
    """Only A returns, with a disk that is not the newest copy: its VM waits for B, and the alert names B (E19)."""
    row, gone = _without_a_disk(SITES[site], seed, back=back)
    dead = row.off(B)
    row.heals(gone)
    row.passes(120.0)
    assert not row.since(A, c.StartDomain)
    row.heals(dead)
    row.passes(60.0)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("site", SITE_NAMES)
def test_both_disks_die_one_after_the_other(seed: int, site: str) -> None:
    """A's disk, then B's: the I/O stands still until a copy is there, and the guest sees no error (row E4)."""
    row, gone = _without_a_disk(SITES[site], seed)
    other = row.breaks("disk.gone", "b")
    row.passes(60.0)
    assert not row.world.judges.errors
    row.heals(other, gone)
    row.passes(60.0)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_io_is_resumed_where_no_data_are(seed: int) -> None:
    """DRBD goes on without data when it is told to, and the guest's writes end with errors: nobody tells it to."""
    row, _ = _without_a_disk(WITNESS, seed)
    row.off(B)
    row.passes(60.0)
    assert not row.world.judges.errors
    assert not row.since(A, c.ResumeDisk)


@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize("seed", SEEDS)
def test_loss_of_a_data_disk_is_told_at_once(seed: int, node: str) -> None:
    """DRBD dropped a disk: somebody hears of it within 10 s, and nobody says protected."""
    row = Row(WITNESS, seed)
    before = len(row.world.alerts)
    row.breaks("disk.gone", node)
    row.passes(10.0)
    assert row.world.alerts[before:]
    assert not row.world.protected()


@pytest.mark.parametrize("what", ["power.reset b", "guest.crash web"])
def test_primary_without_a_disk_and_a_small_fault(what: str) -> None:
    """A's disk is dead and its VM works on B's copy; B restarts, or the guest crashes: somebody serves again."""
    row, _ = _without_a_disk(WITNESS, 1)
    row.passes(55.0)
    _second(row, what)
    row.passes(120.0)
    assert row.served_by() is not None, row.world.summary()


@pytest.mark.parametrize("seed", SEEDS)
def test_service_moves_to_the_copy(seed: int) -> None:
    """The node with the good copy is on: it serves within 120 s, and the pair says that it runs on one copy."""
    row, _ = _without_a_disk(WITNESS, seed)
    row.breaks("link.cut", "a.priv0")
    row.passes(120.0)
    assert row.served_by() == B, row.world.summary()


@pytest.mark.parametrize("site", SITE_NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_io_that_never_ends_is_ended_by_a_reset(seed: int, site: str) -> None:
    """B has no disk, and a cut makes DRBD lose a flush of A's VM (decision 0017): A resets itself and serves."""
    row = Row(SITES[site], seed)
    gone = row.breaks("disk.gone", "b")
    row.passes(15.0)
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(8.0)
    row.world.resources[WEB].sides[A].lost_flush = True
    row.at = row.world.now
    row.passes(120.0)
    assert row.resets(A)
    assert row.served_by() == A, row.world.summary()
    row.heals(gone, cut)
    row.recovers()


@pytest.mark.parametrize("site", SITE_NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_lone_writer_loses_its_disk_and_meets_its_outdated_peer(seed: int, site: str) -> None:
    """The cut comes first, then A's disk is lost and returns: the two copies become one again (E18, other order)."""
    row = Row(SITES[site], seed)
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(8.0)  # B restarts for a cure just now, and does not hear of A's new generation
    gone = row.breaks("disk.gone", "a")
    row.passes(30.0)
    row.heals(cut)
    row.passes(20.0)
    row.heals(gone)
    row.recovers()


@pytest.mark.parametrize("site", SITE_NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_lone_writer_whose_drbd_tools_hang_loses_its_disk(seed: int, site: str) -> None:
    """A writes alone, but nobody could read its new generation: its record still names the one that B has."""
    row = Row(SITES[site], seed)
    cut, hang = row.breaks("link.cut", "a.priv0"), row.breaks("tool.hang", "a/drbd")
    row.passes(20.0)
    gone = row.breaks("disk.gone", "a")
    row.heals(cut)
    row.passes(12.0)
    row.heals(hang)
    row.passes(60.0)
    row.heals(gone)
    row.recovers()


@pytest.mark.parametrize("site", ["witness", "two", "plain"])
@pytest.mark.parametrize("seed", SEEDS)
def test_lone_owner_whose_disk_dies_while_drbd_is_still_connected(seed: int, site: str) -> None:
    """B's daemon is silent and its DRBD mirrors on: what A acknowledged over the link is on B, and A's disk is old."""
    row = Row(SITES[site], seed)
    row.breaks("process.stop", "b/daemon")
    row.world.run_until(lambda: row.pair(A).value == "ALONE", 12.0)
    gone = row.breaks("disk.gone", "a", back="old")
    row.passes(1.0)
    dead = row.off(B)
    row.passes(1.0)
    row.heals(gone)
    row.passes(120.0)
    row.heals(dead)
    row.recovers()


@pytest.mark.parametrize("site", ["witness", "plain", "power"])
@pytest.mark.parametrize("seed", SEEDS)
def test_lone_right_came_too_late_for_the_disk(seed: int, site: str) -> None:
    """B consents in the breath in which A's disk dies: B's copy has everything, and serves when both are back."""
    row = Row(SITES[site], seed)
    cut = row.breaks("link.cut", "a.priv0")
    row.world.run_until(lambda: row.epoch(B) == 2, 20.0)
    gone = row.breaks("disk.gone", "a")
    row.heals(cut)
    row.passes(20.0)
    row.heals(gone)
    row.recovers()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_operator_may_serve_an_outdated_copy(seed: int, restart: bool) -> None:
    """A wrote alone and is lost for good: a person may take B's older copy, and A's version waits to be chosen."""
    row = Row(WITNESS, seed)
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(30.0)
    dead = row.off(A)
    if restart:
        row.heals(row.breaks("power.reset", "b"))
    row.passes(40.0)
    assert row.served_by() is None
    row.world.judges.vouched(B)
    row.world.operator(B, "override", A)
    row.passes(30.0)
    assert row.served_by() == B, row.world.summary()
    row.heals(dead, cut)
    row.passes(60.0)
    assert row.served_by() == B, row.world.summary()
    assert row.pair(A) is PairState.SPLIT
    row.world.operator(A, "keep", B)
    row.world.judges.chose(B)
    row.recovers()
    assert row.served_by() == B


@pytest.mark.parametrize("seed", SEEDS)
def test_late_word_of_a_node_that_is_off_stops_nobody(seed: int) -> None:
    """A was granted an epoch and is off; its last word reaches B while B takes the same epoch from an operator."""
    row = Row(WITNESS, seed)
    row.apart()
    row.world.run_until(lambda: row.world.machines[A].record.solo(A), 30.0)
    word = row.world.engine(A).view(row.world.machines[A].mono())
    row.off(A)
    row.passes(30.0)
    assert row.served_by() is None
    row.world.judges.vouched(B)
    row.world.operator(B, "override", A)
    row.passes(0.01)
    daemon = row.world.machines[B].daemon
    assert daemon is not None
    assert daemon.engine.sight.durable.saving is not None, "the right is on its way to the disk"
    daemon.deliver(e.HeartbeatSeen(BIZ, word, None))
    row.passes(30.0)
    assert row.served_by() == B, row.world.summary()


@pytest.mark.parametrize("seed", SEEDS)
def test_lone_owner_with_a_new_daemon_is_proven_by_the_peer(seed: int) -> None:
    """A wrote alone, lost its disk, and its daemon was started anew: but the generations show it."""
    row = Row(WITNESS, seed)
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(30.0)
    gone = row.breaks("disk.gone", "a")
    row.passes(2.0)
    row.breaks("process.kill", "a/daemon")
    row.passes(10.0)
    row.heals(gone, cut)
    row.recovers()
    assert row.served_by() == A


@pytest.mark.parametrize("seed", SEEDS)
def test_where_both_copies_may_lack_something_a_person_chooses(seed: int) -> None:
    """Both disks are lost while DRBD's streams are cut, of equal generations: nothing is served before."""
    row = Row(SAFE, seed)
    cut = row.breaks("link.no_streams", "priv0")
    row.passes(2.0)
    other = row.breaks("disk.gone", "b", back="old")
    row.passes(1.0)
    gone = row.breaks("disk.gone", "a", back="old")
    row.passes(20.0)
    row.heals(other, gone, cut)
    row.passes(60.0)
    assert row.served_by() is None, row.world.summary()
    assert not row.since(A, c.StartDomain)
    assert not row.since(B, c.StartDomain)
    recover(row.world, 240.0)
    assert row.world.judges.asked
    row.world.judges.end()
