"""The disk with a node's own records is dead and stays so: its peer serves, or serves on, and nobody waits for it.

A consent that cannot be made durable changes nothing, and a right that cannot be made durable is left to the peer.
"""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core.model import DiskState, NodeId
from tests.playbook import WEB, A, B
from tests.sim.inject import Fault
from tests.sim.rows import PLAIN, POWER, SAFE, WITNESS, Row
from tests.sim.site import SimSite

SEEDS = (1, 2, 3)
SITES = pytest.mark.parametrize("site", [PLAIN, SAFE, WITNESS, POWER], ids=["plain", "safe", "witness", "power"])
DEATHS = pytest.mark.parametrize("death", ["hangs", "errors", "refuses"])
STALL_MAX_S = 9.0  # the time-out of DRBD, and the second of the consent


def _record_dies(row: Row, node: NodeId, death: str) -> Fault:
    """Let the disk with a node's records hang, end each write with an error, or be read-only."""
    if death == "hangs":
        return row.breaks("disk.hang", node, disk="vda")
    return row.breaks("store.errors", node, share=1.0) if death == "errors" else row.breaks("store.refuses", node)


def _goes_on(row: Row) -> None:
    """Somebody serves, and writes are acknowledged."""
    assert row.served_by() is not None, row.world.summary()
    before = len(row.world.acknowledged)
    row.passes(20.0)
    assert len(row.world.acknowledged) > before, row.world.summary()


@DEATHS
@SITES
@pytest.mark.parametrize("seed", SEEDS)
def test_owner_reboots(seed: int, site: SimSite, death: str) -> None:
    """A cannot record that it is in service: B serves within 120 s (row E23)."""
    row = Row(site, seed)
    died = _record_dies(row, A, death)
    row.breaks("power.reset", "a")
    row.passes(120.0)
    _goes_on(row)
    row.heals(died)
    row.recovers()


@DEATHS
@SITES
@pytest.mark.parametrize("seed", SEEDS)
def test_owner_cannot_record_the_consent(seed: int, site: SimSite, death: str) -> None:
    """The private link is cut: A does not ask for what it could not keep, and somebody serves within 120 s."""
    row = Row(site, seed)
    died = _record_dies(row, A, death)
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(100.0)
    _goes_on(row)
    row.heals(died, cut)
    row.recovers()


@DEATHS
@SITES
@pytest.mark.parametrize("seed", SEEDS)
def test_backup_cannot_record_its_consent(seed: int, site: SimSite, death: str) -> None:
    """The private link is cut: A goes on within 9 s, not started anew (I7)."""
    row = Row(site, seed)
    died = _record_dies(row, B, death)
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(100.0)
    row.untouched(stall_s=STALL_MAX_S)
    _goes_on(row)
    row.heals(died, cut)
    row.recovers()


@SITES
@pytest.mark.parametrize("seed", SEEDS)
def test_all_disks_of_the_backup_hang(seed: int, site: SimSite) -> None:
    """One controller of B hangs, with its records and its copy: A goes on within 9 s (I7)."""
    row = Row(site, seed)
    hung = [row.breaks("disk.hang", "b", disk=disk) for disk in ("vda", "vdb")]
    row.passes(100.0)
    row.untouched(stall_s=STALL_MAX_S)
    _goes_on(row)
    row.heals(*hung)
    row.recovers()


@DEATHS
@SITES
@pytest.mark.parametrize("off_s", [10.0, 40.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_backup_is_ill_and_the_owner_returns(seed: int, off_s: float, site: SimSite, death: str) -> None:
    """B could not take over, or does not know whether it has: A is back, and serves within 120 s (row E24)."""
    row = Row(site, seed)
    died = _record_dies(row, B, death)
    off = row.off(A)
    row.passes(off_s)
    row.heals(off)
    row.passes(120.0)
    _goes_on(row)
    row.heals(died)
    row.recovers()


@DEATHS
@pytest.mark.parametrize("site", [WITNESS, POWER], ids=["witness", "power"])
@pytest.mark.parametrize("seed", SEEDS)
def test_backup_that_cannot_record_takes_nothing_away(seed: int, site: SimSite, death: str) -> None:
    """B, whose root disk is dead, asks nobody for a right; when it dies of that, A comes back and serves (row E24)."""
    row = Row(site, seed)
    _record_dies(row, B, death)
    off = row.off(A)
    row.passes(40.0)
    assert not [*row.since(B, c.AskWitness), *row.since(B, c.CutPeerPower)], row.world.summary()
    row.off(B)
    row.heals(off)
    row.passes(120.0)
    if site is WITNESS:  # elsewhere an owner without the lone right waits for its peer
        assert row.served_by() == A, row.world.summary()


@DEATHS
@pytest.mark.parametrize("seed", SEEDS)
def test_owner_that_cannot_record_leaves_the_witness_to_its_backup(seed: int, death: str) -> None:
    """All links between the nodes are cut, and A could not keep a grant: it does not ask for one, and B serves."""
    row = Row(WITNESS, seed)
    died = _record_dies(row, A, death)
    cuts = row.apart()
    row.passes(60.0)
    assert row.served_by() == B, row.world.summary()
    row.heals(died, *cuts)
    row.recovers()


@pytest.mark.parametrize("death", ["hangs", "errors"])
@pytest.mark.parametrize("site", [PLAIN, SAFE], ids=["plain", "safe"])
@pytest.mark.parametrize("seed", SEEDS)
def test_copy_is_kept_until_the_consent_is_durable(seed: int, site: SimSite, death: str) -> None:
    """B lets A go on by its word, but its own copy is not marked for a consent that is not on its disk."""
    row = Row(site, seed)
    _record_dies(row, B, death)
    row.breaks("link.cut", "a.priv0")
    for _ in range(80):
        row.passes(0.5)
        side, record = row.world.resources[WEB].sides[B], row.world.machines[B].record
        marked = side.disk in (DiskState.OUTDATED, DiskState.INCONSISTENT)
        assert not marked or record.peer_outdated, row.world.summary()


@DEATHS
@pytest.mark.parametrize("kill", [False, True], ids=["same daemon", "new daemon"])
@pytest.mark.parametrize(
    "site", [PLAIN, SAFE, SimSite(power=True, policy="safety")], ids=["plain", "safe", "safe power"]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_backup_keeps_its_word(seed: int, site: SimSite, kill: bool, death: str) -> None:
    """A went on alone by B's word and dies; B's disk works again, its daemon may be a new one: B never serves alone."""
    row = Row(site, seed)
    died = _record_dies(row, B, death)
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(15.0)
    before = len(row.world.acknowledged)
    row.passes(10.0)
    assert len(row.world.acknowledged) > before
    biz = row.breaks("link.cut", "b.biz0")
    if kill:
        row.breaks("process.kill", "b/daemon")
    off = row.off(A)
    row.heals(died)
    row.passes(2.0)
    row.heals(biz)
    row.passes(120.0)
    row.never_on(B)
    row.heals(off, cut)
    row.recovers()


@DEATHS
@SITES
@pytest.mark.parametrize("seed", SEEDS)
def test_owner_keeps_its_word(seed: int, site: SimSite, death: str) -> None:
    """A left the service to B by its word, and returns alone with a disk that works again: B's writes are not lost."""
    row = Row(site, seed)
    died = _record_dies(row, A, death)
    row.breaks("power.reset", "a")
    row.passes(120.0)
    assert row.served_by() == B or site is not PLAIN, row.world.summary()
    row.heals(died)
    row.isolated(B)
    row.breaks("power.reset", "a")
    off = row.off(B)
    row.passes(120.0)
    row.heals(off)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_owner_with_a_dead_record_is_not_moved_while_all_is_well(seed: int) -> None:
    """It serves and is mirrored: it needs no record now, so nothing is stopped; it is told as soon as it is noticed."""
    row = Row(PLAIN, seed)
    row.breaks("store.errors", "a", share=1.0)
    row.breaks("guest.crash", "web")
    row.passes(60.0)
    assert row.served_by() == A
    assert not row.since(B, c.PromoteDisk)
