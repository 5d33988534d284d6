"""Relatives of faults that were found: the same kind in another place, with another cause, or with two of them at once.

The judges watch all the time that nothing acknowledged is missing where a VM starts, and that one node writes.
"""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core.cure import CURES_MAX
from avance.core.model import PairState
from avance.core.restarts import FAILURES_MAX
from tests.playbook import DB, WEB, A, B
from tests.sim.inject import Fault
from tests.sim.links import LINKS
from tests.sim.rows import PLAIN, POWER, SAFE, WITNESS, Row
from tests.sim.site import SimSite

SEEDS = (1, 2, 3)
HALVES = SimSite(witnesses=1, halves=True)
PAIRS = SimSite(witnesses=1, vms=(WEB, DB))
EVERY = pytest.mark.parametrize("site", [WITNESS, PLAIN, SAFE, POWER], ids=["witness", "plain", "safe", "power"])
EACH = pytest.mark.parametrize("seed", SEEDS)


def breaks(row: Row, *faults: str) -> list[Fault]:
    """Inject faults that are named in one text, target behind the name."""
    return [row.breaks(*fault.split()) for fault in faults]


# ---------------------------------------------------------------- an old half of a mirror


def _swap_halves(row: Row, node: str, *, away_s: float = 8.0) -> tuple[Fault, Fault]:
    """One half is away for a while; as it comes back, the other one dies."""
    first = row.breaks("half.gone", node, disk="vdb", press=False)
    row.passes(away_s)
    second = row.breaks("half.gone", node, disk="vdc", press=False)
    row.heals(first)
    return first, second


@pytest.mark.parametrize("after_s", [0.0, 2.0, 8.0, 15.0, 25.0])
@EACH
def test_owner_dies_before_the_old_half_of_the_backup_was_filled(seed: int, after_s: float) -> None:
    """The backup starts on its old half, and the owner dies at any moment of its filling: never served from the old."""
    row = Row(HALVES, seed)
    _, second = _swap_halves(row, "b")
    row.breaks("power.reset", "b")
    row.passes(after_s)
    dead = row.off(A)
    row.passes(90.0)
    row.heals(dead, second)
    row.recovers()


@pytest.mark.parametrize("node", ["a", "b"])
@EACH
def test_other_half_dies_while_the_first_is_rebuilt(seed: int, node: str) -> None:
    """A half that is being rebuilt is no copy: the node that has only this one serves nothing from it."""
    row = Row(HALVES, seed)
    first = row.breaks("half.gone", node, disk="vdb", press=False)
    row.passes(20.0)
    row.heals(first)
    row.passes(0.5)  # md copies
    second = row.breaks("half.gone", node, disk="vdc", press=False)
    row.breaks("power.cut_both", "a+b")
    for machine in row.world.machines.values():
        machine.power_on()
    row.passes(120.0)
    row.heals(second)
    row.recovers()


@EACH
def test_both_nodes_have_an_old_half_after_a_power_cut(seed: int) -> None:
    """Halves were swapped on both nodes before both lost their power: what is served has every acknowledged write."""
    row = Row(HALVES, seed)
    seconds = [_swap_halves(row, node)[1] for node in ("a", "b")]
    row.breaks("power.cut_both", "a+b")
    for machine in row.world.machines.values():
        machine.power_on()
    row.passes(120.0)
    row.heals(*seconds)
    row.recovers()


# ---------------------------------------------------------------- who has a good copy?


@EVERY
@EACH
def test_backups_old_disk_returns_while_the_primary_is_dead(seed: int, site: SimSite) -> None:
    """The backup has no disk while A writes; A dies, and the backup comes back with its old one: it serves nothing."""
    row = Row(site, seed)
    gone = row.breaks("disk.gone", "b", press=False)
    row.passes(20.0)
    dead = row.off(A)
    row.passes(5.0)
    row.heals(gone)
    row.breaks("power.reset", "b")
    row.passes(120.0)
    row.never_on(B)
    row.heals(dead)
    row.recovers()


@EVERY
@pytest.mark.parametrize("second", ["power.reset a", "process.kill a/daemon", "link.cut a.priv0", "power.cut b"])
def test_disk_that_hangs_and_answers_again(site: SimSite, second: str) -> None:
    """DRBD let the primary's disk go because it hung, and it is whole but old when it answers again."""
    row = Row(site)
    hung = row.breaks("disk.hang", "a", disk="vdb", press=False)
    row.passes(8.0)
    (other,) = breaks(row, second)
    row.passes(10.0)
    row.heals(hung)
    row.passes(60.0)
    row.heals(other)
    row.recovers()


@pytest.mark.parametrize("second", ["guest.crash db", "power.reset a", "power.cut b", "link.no_streams priv0"])
@EACH
def test_two_vms_lose_their_disk(seed: int, second: str) -> None:
    """Both VMs of a node are without a disk there: neither is judged by the other one's copy."""
    row = Row(PAIRS, seed)
    gone = row.breaks("disk.gone", "a")
    row.passes(2.0)
    (other,) = breaks(row, second)
    row.passes(60.0)
    row.heals(gone, other)
    row.recovers()


# ---------------------------------------------------------------- the clock of a takeover


def _waits(seed: int) -> Row:
    """Return a backup that waits for a primary that only its watchdog stops, and that cannot reach the witness."""
    row = Row(WITNESS, seed)
    row.world.boot_s = (30.0, 30.0)
    row.world.machines[A].useless |= {"pause", "reset"}
    row.breaks("witness.cut", "a/w1")
    for link in LINKS:
        row.breaks("link.apart", link, only_from="b")
    row.passes(1.0)
    for link in LINKS:
        row.breaks("link.apart", link, only_from="a")
    return row


def _one_each_way(row: Row) -> None:
    """One heartbeat of A gets to B, and then one of B, with its echo, to A."""
    world, network = row.world, row.world.network
    for node in (A, B):
        network.singles[node, LINKS[0]] = 1
        world.run_until(lambda node=node: not network.singles[node, LINKS[0]], 2.0)  # type: ignore[misc]  # a default
    row.passes(0.1)


@pytest.mark.parametrize("wait_s", [4.2, 5.4, 7.0])
@EACH
def test_backups_daemon_starts_anew_and_hears_the_primary_once_more(seed: int, wait_s: float) -> None:
    """The run that echoed is not the run that decides: the wait begins with the last receipt all the same."""
    row = _waits(seed)
    row.passes(wait_s)
    _one_each_way(row)
    row.breaks("process.kill", "b/daemon")
    row.passes(60.0)
    starts = row.since(B, c.StartDomain)
    assert not starts or starts[0] >= row.resets(A)[0], (starts, row.resets(A))


@pytest.mark.parametrize("wait_s", [5.4, 7.0, 8.8])
@EACH
def test_backup_stands_still_just_after_it_echoed(seed: int, wait_s: float) -> None:
    """The backup's machine is paused after its echo left: it waits in the time of the primary, not less."""
    row = _waits(seed)
    row.passes(wait_s)
    _one_each_way(row)
    at = row.at
    still = row.breaks("node.pause", "b")
    row.passes(3.0)
    row.heals(still)
    row.at = at
    row.passes(60.0)
    starts = row.since(B, c.StartDomain)
    assert not starts or starts[0] >= row.resets(A)[0], (starts, row.resets(A))


@pytest.mark.parametrize("hold_s", [4.0, 8.0, 12.0, 15.0])
@EACH
def test_frames_that_were_held_back_come_late(seed: int, hold_s: float) -> None:
    """A switch holds every frame and lets all go at once while the backup waits: old frames prove nothing new."""
    row = Row(WITNESS, seed)
    row.world.machines[A].useless |= {"pause", "reset"}
    row.breaks("witness.cut", "a/w1")
    held = [row.breaks("link.hold_and_release", f"{node}.{link}") for node in ("a", "b") for link in LINKS]
    row.passes(hold_s)
    row.heals(*held)
    for link in LINKS:
        row.breaks("link.apart", link)
    row.passes(60.0)
    row.recovers()


# ---------------------------------------------------------------- what a node does not know


@EACH
def test_domain_that_cannot_be_destroyed_is_not_handed_over(seed: int) -> None:
    """A lost its disk and hands over, but its domain stays: B starts nothing beside it, and A resets itself."""
    row = Row(WITNESS, seed)
    undead = row.breaks("domain.undead", "a")
    row.breaks("disk.gone", "a")
    row.passes(90.0)
    starts = row.since(B, c.StartDomain)
    assert row.resets(A), row.world.summary()
    assert not starts or starts[0] >= row.resets(A)[0], (starts, row.resets(A))
    row.heals(undead)
    row.recovers()


@pytest.mark.parametrize("tool", ["xl", "all"])
@EACH
def test_tools_hang_in_a_split(seed: int, tool: str) -> None:
    """Both wrote, and neither can look at its domains when they meet: both stop acknowledging all the same."""
    row = Row(PLAIN, seed)
    apart = row.apart()
    row.passes(60.0)
    hung = breaks(row, f"tool.hang a/{tool}", f"tool.hang b/{tool}")
    row.heals(*apart)
    row.passes(40.0)
    before = {node: row.acknowledged_by(node) for node in (A, B)}
    row.passes(30.0)
    assert before == {node: row.acknowledged_by(node) for node in (A, B)}
    assert not any(row.world.machines[node].runs_free for node in (A, B))
    row.heals(*hung)
    row.passes(60.0)
    assert {row.pair(node) for node in (A, B)} == {PairState.SPLIT}


@EACH
def test_owner_that_starts_and_cannot_look_lets_nothing_run_beside_its_peer(seed: int) -> None:
    """A's daemon starts anew, xl hangs, and the links are cut: what may run there has stopped before B starts it."""
    row = Row(WITNESS, seed)
    breaks(row, "tool.hang a/xl", "process.kill a/daemon")
    row.passes(1.0)
    row.isolated(A)
    row.passes(60.0)
    starts = row.since(B, c.StartDomain)
    assert starts, row.world.summary()
    assert row.resets(A), row.world.summary()
    assert starts[0] >= row.resets(A)[0], (starts, row.resets(A))
    row.recovers()


# ---------------------------------------------------------------- one fault stays


def started_beside(ill: str, site: SimSite) -> Row:
    """Return a pair that lost its power and has started again, five minutes ago, with this fault for good."""
    row = Row(site)
    row.breaks("power.cut_both", "a+b")
    breaks(row, ill)
    for machine in row.world.machines.values():
        machine.power_on()
    row.passes(300.0)
    return row


@EVERY
@pytest.mark.parametrize("ill", ["tool.hang b/drbd", "store.refuses b", "disk.slow b", "domain.undead b"])
def test_owner_starts_with_its_last_disk_beside_an_ill_backup(site: SimSite, ill: str) -> None:
    """Both lost their power, and the backup comes back ill for good: the owner, which is sound, serves."""
    row = started_beside(ill, site)
    assert row.served_by() == A, row.world.summary()


@EVERY
@pytest.mark.parametrize("ill", ["tool.hang a/drbd", "tool.hang a/xl", "store.refuses a"])
def test_backup_serves_beside_an_owner_that_starts_ill(site: SimSite, ill: str) -> None:
    """Both lost their power, and the owner comes back ill for good: the backup, which is sound, serves."""
    row = started_beside(ill, site)
    assert row.served_by() == B, row.world.summary()


# ---------------------------------------------------------------- what repeats


@pytest.mark.parametrize("port", ["a.biz0", "b.biz0", "b.priv0"])
def test_any_cable_that_comes_and_goes_is_damped(port: str) -> None:
    """Thirty falls in half an hour: three restarts at most, the VM stays, and the alerts are few."""
    row = Row(WITNESS)
    before = len(row.world.alerts)
    for _ in range(30):
        cut = row.breaks("link.cut", port)
        row.passes(4.0)
        row.heals(cut)
        row.passes(56.0)
    assert all(len(machine.resets) <= CURES_MAX for machine in row.world.machines.values())
    assert len(row.world.alerts) - before <= 4 * 30, row.alerts()[-20:]
    row.untouched(stall_s=20.0)
    row.recovers()


def test_two_guests_that_die_at_each_boot() -> None:
    """Each has its own count, and neither costs the other one a start."""
    row = Row(PAIRS)
    loops = breaks(row, "guest.crash_loop web", "guest.crash_loop db")
    row.passes(900.0)
    for vm in (WEB, DB):
        starts = [
            who for _, who, command in row.world.commands if isinstance(command, c.StartDomain) and command.vm == vm
        ]
        assert len(starts) <= 2 * FAILURES_MAX, starts
    assert row.alerts().count("vm_left") <= 2 * 2
    assert not any(machine.resets for machine in row.world.machines.values())
    row.heals(*loops)
    for node in (A, B):
        row.world.operator(node, "reset-device", node)
    row.passes(60.0)
    row.recovers()


@pytest.mark.parametrize("what", ["witness.cut a/w1", "bmc.unreachable a", "gateway.cut b", "tool.hang b/xl"])
def test_a_helper_that_comes_and_goes_is_told_a_bounded_number_of_times(what: str) -> None:
    """An hour of it restarts nothing, and says less than an alert for each of its falls."""
    row = Row(POWER)
    before = len(row.world.alerts)
    for _ in range(30):
        (fault,) = breaks(row, what)
        row.passes(60.0)
        row.heals(fault)
        row.passes(60.0)
    assert not any(machine.resets for machine in row.world.machines.values())
    assert len(row.world.alerts) - before <= 60, row.alerts()[-20:]
    row.untouched()
