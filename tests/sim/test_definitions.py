"""A VM is added, changed or removed while the pair is in trouble: the other one goes on, and what is removed is gone.

All judges of the simulator watch all the time.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avance.core import commands as c
from avance.core.model import NodeId, PairState, VmId, VmState
from tests.playbook import PRIV, WEB, A, B
from tests.sim import definitions
from tests.sim.definitions import what_is_left
from tests.sim.inject import Fault
from tests.sim.rows import PLAIN, STALL_MAX_S, WITNESS, Row
from tests.sim.site import SimSite
from tests.sim.world import World

DB, NEW = VmId("db"), VmId("new")
SEEDS = (1, 2)
SITES = {"witness": SimSite(witnesses=1, vms=(WEB, DB)), "plain": SimSite(vms=(WEB, DB))}
GONE_S = 90.0  # one try that failed, and a minute to the next


def added(world: World, first: NodeId) -> None:
    """Add one."""
    definitions.add(world, NEW, first)


def changed(world: World, first: NodeId) -> None:
    """Change one of the two."""
    definitions.change(world, WEB, first)


def removed(world: World, first: NodeId) -> None:
    """Remove one of the two."""
    definitions.remove(world, WEB, first)


Give = Callable[[World, NodeId], None]
GIVEN: tuple[Give, ...] = (added, changed, removed)
every = pytest.mark.parametrize("give", GIVEN, ids=[give.__name__ for give in GIVEN])
seeds = pytest.mark.parametrize("seed", SEEDS)
sites = pytest.mark.parametrize("site", SITES)


def pair(site: str, seed: int) -> Row:
    """Return a protected pair with two VMs, both on A."""
    return Row(SITES[site], seed)


def db_starts(row: Row) -> int:
    """How often the other VM was started since the row began."""
    return sum(vm == DB for _, _, vm in row.world.judges.starts)


def ends_well(row: Row, give: Give) -> None:
    """Everything is healed: the VMs that there are are protected, and nothing is left of one that was removed."""
    row.recovers()
    row.passes(GONE_S)
    if give is removed:
        assert not what_is_left(row.world, WEB), row.world.summary()
    for node in (A, B):
        machine, engine = row.world.machines[node], row.world.engine(node)
        assert engine.sight.config_hash == machine.config_hash == definitions.document(row.world).hash
        assert tuple(engine.units) == row.world.site.vms
        assert machine.daemon is not None
        assert not machine.daemon.leftovers.unfinished
    assert row.world.protected()
    row.world.judges.end()


@every
@seeds
@pytest.mark.parametrize("first", [A, B])
def test_in_a_protected_pair(first: NodeId, seed: int, give: Give) -> None:
    """The other VM does not notice it, nobody is reset, and the rest of the pair is protected within a minute."""
    row = pair("witness", seed)
    give(row.world, first)
    row.passes(60.0)
    assert row.world.protected(), row.world.summary()
    assert db_starts(row) == 0
    assert row.world.judges.longest_stall_s <= STALL_MAX_S
    assert not row.resets(A)
    assert not row.resets(B)
    assert row.epoch(A) == row.epoch(B) == 1, "nobody went on alone"
    ends_well(row, give)


@every
@seeds
@pytest.mark.parametrize("first", [A, B])
def test_while_the_copies_are_made_equal(first: NodeId, seed: int, give: Give) -> None:
    """B is back and takes what it lacks: the other VM's resynchronisation goes on."""
    row = pair("witness", seed)
    off = row.off(B)
    row.passes(40.0)
    row.world.resync_factor = 4.0
    row.heals(off)
    row.world.run_until(lambda: row.world.resources[WEB].sides[A].syncing != "", 60.0)
    give(row.world, first)
    row.passes(30.0)
    assert row.served_by() == (None if give is removed else A)
    assert db_starts(row) == 0
    ends_well(row, give)


@every
@seeds
@sites
def test_while_the_backup_is_dead(site: str, seed: int, give: Give) -> None:
    """What is removed is gone from A, and B takes it in when it is back, before it connects anything."""
    row = pair(site, seed)
    off = row.off(B)
    row.passes(30.0)
    give(row.world, A)
    row.passes(60.0)
    assert db_starts(row) == 0
    assert row.world.runner(DB) == A
    if give is removed:
        assert what_is_left(row.world, WEB) == ["b: volume", "b: record", "b: daemon"]
    row.heals(off)
    row.passes(60.0)
    ends_well(row, give)


@every
@pytest.mark.parametrize("after_s", [0.0, 8.0, 16.0, 40.0])
@pytest.mark.parametrize("first", [A, B])
def test_around_a_takeover(first: NodeId, after_s: float, give: Give) -> None:
    """A dies just after B, or a moment before, has taken it in: one of the two documents counts, and B serves it."""
    row = pair("witness", 1)
    if first == A:
        row.passes(after_s / 20)
        give(row.world, A)
        row.passes(after_s / 20)
    off = row.off(A)
    if first == B:
        row.passes(after_s)
        give(row.world, B)
    row.passes(90.0)
    assert row.world.runner(DB) == B, row.world.summary()
    row.heals(off)
    row.passes(60.0)
    ends_well(row, give)


@every
@seeds
@pytest.mark.parametrize("first", [A, B])
def test_while_io_stands_still(first: NodeId, seed: int, give: Give) -> None:
    """DRBD asks whether the peer is out of the way, and one of the VMs that it asks for is removed."""
    row = pair("plain", seed)
    row.breaks("link.no_streams", "priv0")
    for _ in range(400):
        row.passes(0.05)
        if row.world.resources[WEB].sides[A].suspended:
            break
    assert row.world.resources[WEB].sides[A].suspended
    give(row.world, first)
    row.passes(40.0)
    assert row.world.runner(DB) == A, row.world.summary()
    assert db_starts(row) == 0
    ends_well(row, give)


@seeds
@pytest.mark.parametrize("zeroed_s", [0.5, 200.0])
@pytest.mark.parametrize("cut", ["link.no_streams priv0", "link.cut a.priv0"])
def test_new_volume_keeps_nobody_from_going_on(cut: str, zeroed_s: float, seed: int) -> None:
    """It is being zeroed, or was, and the copies have never met, when the replication breaks: the others go on."""
    row = pair("plain", seed)
    row.world.command_s[c.PrepareVolume] = (zeroed_s, zeroed_s + 1.0)
    row.world.network.no_streams[PRIV] += 1
    definitions.add(row.world, NEW, A)
    row.passes(3.0)
    row.breaks(*cut.split())
    row.passes(30.0)
    assert row.world.runner(DB) == row.world.runner(WEB) == A, row.world.summary()
    assert db_starts(row) == 0
    row.world.network.no_streams[PRIV] -= 1
    row.world.command_s.clear()
    row.heals()
    ends_well(row, added)


@every
@sites
@pytest.mark.parametrize("first", [A, B])
@pytest.mark.parametrize("cut", ["a.priv0", "a.biz0", "apart"])
def test_while_a_link_is_cut(cut: str, first: NodeId, site: str, give: Give) -> None:
    """One link, either; or both nodes apart, each of which may be the one that is told."""
    row = pair(site, 1)
    if cut == "apart":
        row.apart()
    else:
        row.breaks("link.cut", cut)
    row.passes(25.0)
    give(row.world, first)
    row.passes(60.0)
    if cut == "apart" and site == "plain":
        return  # the documented hole: an operator chooses between two versions
    assert row.world.runner(DB) == A, row.world.summary()
    assert db_starts(row) == 0
    ends_well(row, give)


@seeds
@pytest.mark.parametrize("wait_s", [0.0, 0.6, 1.5, 3.0])
def test_removed_while_it_starts(wait_s: float, seed: int) -> None:
    """Its guest has died and it is started anew, or B takes it over: the creation ends, and its domain is destroyed."""
    row = pair("witness", seed)
    row.world.command_s[c.StartDomain] = (1.0, 3.0)
    row.breaks("guest.crash", "web")
    row.passes(wait_s)
    removed(row.world, A)
    row.passes(30.0)
    assert not row.world.machines[A].holds(WEB)
    assert db_starts(row) == 0
    ends_well(row, removed)


@seeds
@pytest.mark.parametrize("wait_s", [0.1, 1.0, 3.0, 5.0])
def test_removed_soon_after_it_was_added(wait_s: float, seed: int) -> None:
    """Its volume is just being made, attached, connected, or its domain created."""
    row = pair("witness", seed)
    definitions.add(row.world, NEW, A)
    row.passes(wait_s)
    definitions.remove(row.world, NEW, B)
    row.passes(GONE_S)
    assert not what_is_left(row.world, NEW), row.world.summary()
    assert db_starts(row) == 0
    assert row.world.protected()


@seeds
@pytest.mark.parametrize("node", [A, B])
@pytest.mark.parametrize("wait_s", [0.05, 1.0, 2.0])
def test_daemon_is_started_anew_in_the_middle(wait_s: float, node: NodeId, seed: int) -> None:
    """The next run finds a tombstone and goes on; the domain that it may find is no VM to it."""
    row = pair("witness", seed)
    removed(row.world, A)
    row.passes(wait_s)
    row.breaks("process.kill", f"{node}/daemon")
    row.passes(60.0)
    assert db_starts(row) == 0
    ends_well(row, removed)


@pytest.mark.parametrize("tool", ["xl", "drbd", "lvm"])
def test_tool_hangs_while_it_is_removed(tool: str) -> None:
    """It is tried again until the tool works; the other VM runs on where that tool is not needed."""
    row = pair("witness", 1)
    hang = row.breaks("tool.hang", f"a/{tool}")
    removed(row.world, A)
    row.passes(100.0)
    daemon = row.world.machines[A].daemon
    assert daemon is not None
    assert daemon.leftovers.failures > 0
    assert what_is_left(row.world, WEB)
    row.heals(hang)
    row.passes(GONE_S)
    ends_well(row, removed)


def test_removed_domain_that_cannot_be_destroyed_is_stopped_as_any_other() -> None:
    """It is no VM any more, and it may still write: when the right of A ends, A ends (S28)."""
    row = Row(WITNESS)
    row.breaks("domain.undead", "a")
    removed(row.world, A)
    row.passes(30.0)
    assert row.world.machines[A].runs(WEB)
    assert not row.resets(A), "while A has the right, it harms nobody"
    row.isolated(A)
    row.passes(20.0)
    assert row.resets(A)


@sites
def test_removed_domain_that_cannot_be_destroyed_costs_nobody_the_second_node(site: str) -> None:
    """It writes to nothing that anybody serves: B was away, has taken what it lacked, and serves when A dies."""
    row = pair(site, 1)
    row.breaks("domain.undead", "a")
    removed(row.world, A)
    row.passes(20.0)
    row.misses_a_while(B)
    assert not row.world.machines[A].record.peer_outdated
    row.off(A)
    row.passes(60.0)
    assert row.world.runner(DB) == B, row.world.summary()
    ends_well(row, removed)


def test_last_vm_is_removed_and_another_one_is_added() -> None:
    """A pair without VMs protects nothing and is ready for the next one, which may have the old name."""
    row = Row(PLAIN)
    removed(row.world, B)
    row.passes(GONE_S)
    assert not what_is_left(row.world, WEB)
    assert not any(row.world.engine(node).protected for node in (A, B))
    assert row.pair(A) is row.pair(B) is PairState.PAIRED
    definitions.add(row.world, WEB, A)
    row.passes(60.0)
    assert row.served_by() == A, row.world.summary()
    row.recovers()


@seeds
def test_pair_without_a_vm_survives_as_any_other(seed: int) -> None:
    """Its nodes die, and come back; its right moves, and the next VM runs where it is."""
    row = Row(WITNESS, seed)
    removed(row.world, A)
    row.passes(GONE_S)
    off = row.off(A)
    row.passes(60.0)
    row.heals(off)
    row.passes(40.0)
    definitions.add(row.world, NEW, A)
    row.passes(60.0)
    row.recovers()
    assert row.world.runner(NEW) is not None


@seeds
def test_disk_stays_until_the_peer_has_removed_the_vm(seed: int) -> None:
    """B removes first, and A, which runs the VM, cannot hear it for a while: its I/O does not stand still for that."""
    row = pair("witness", seed)
    stop = row.breaks("process.stop", "a/daemon")
    definitions.remove(row.world, WEB, B)
    row.passes(2.0)
    assert row.world.resources[WEB].sides[B].up
    row.heals(stop)
    row.passes(30.0)
    assert row.epoch(A) == 1
    assert db_starts(row) == 0
    ends_well(row, removed)


@seeds
def test_peer_that_still_names_the_vm_is_harmless(seed: int) -> None:
    """B keeps its old document for long, and hears A all the time: the other VM is served, also by B in the end."""
    row = pair("witness", seed)
    world, machine = row.world, row.world.machines[B]
    removed(world, A)
    newest, world.document = world.document, None  # B does not take it in
    row.passes(60.0)
    assert world.runner(DB) == A
    assert WEB in world.engine(B).units
    assert not world.machines[A].holds(WEB)
    assert world.resources[WEB].sides[A].up, "its disk waits for B"
    world.document = newest
    definitions._take(world, machine, newest)  # type: ignore[arg-type]
    row.passes(GONE_S)
    ends_well(row, removed)


@seeds
def test_vm_that_was_left_is_removed(seed: int) -> None:
    """It had failed too often on both nodes: nothing of that outlives it, and the other VM was never stopped."""
    row = pair("witness", seed)
    loop: Fault = row.breaks("guest.crash_loop", "web")
    row.passes(120.0)
    assert "vm_left" in row.alerts(A)
    removed(row.world, A)
    row.passes(60.0)
    engine = row.world.engine(A)
    assert not engine.restarts.failures
    assert not any(WEB in key for key in engine.told)
    assert engine.units[DB].state is VmState.RUNNING
    row.heals(loop)
    ends_well(row, removed)
