"""Histories for one rule each: the moment at which nothing but this rule keeps two nodes from writing.

They are not rows of the catalogue. Most were written because a seeded defect of the product (tests/mutants) outlived
the rows and the random histories.
"""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core.model import DiskState, LinkState, PairState, Record
from tests.playbook import WEB, A, B
from tests.sim.drbd_side import Side
from tests.sim.rows import PLAIN, SEEDS, TWO, WITNESS, Row
from tests.sim.site import SimSite
from tests.sim.world import World


@pytest.mark.parametrize("seed", SEEDS)
def test_late_echo_gives_no_longer_lease(seed: int) -> None:
    """The lease counts from when a heartbeat was sent: one that is echoed late is worth the less."""
    row = Row(WITNESS, seed)
    for port in ("a.priv0", "a.biz0"):
        row.breaks("link.delay", port, delay_s=1.2)
    row.passes(10.0)
    for port in ("a.priv0", "a.biz0"):
        row.breaks("link.cut", port, direction="out")
    row.passes(30.0)
    paused = row.since(A, c.PauseVms)
    assert paused, row.world.summary()
    assert paused[0] <= 6.4
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_node_without_a_right_resets_itself(seed: int) -> None:
    """At the grant deadline, 8 s after its last echoed heartbeat was sent: it does not leave that to the watchdog."""
    row = Row(WITNESS, seed)
    row.isolated(A)
    row.passes(20.0)
    assert row.resets(A)[0] <= 8.5
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_watchdog_alone_stops_a_node(seed: int) -> None:
    """Neither can its VMs be paused nor does its own reset work: its watchdog ends it before the backup starts."""
    row = Row(WITNESS, seed)
    row.world.boot_s = (20.0, 30.0)
    row.world.machines[A].useless |= {"pause", "reset"}
    row.isolated(A)
    row.passes(30.0)
    assert 10.0 <= row.resets(A)[0] <= 13.5, "a fresh lease feeds it, and a fresh one is younger than 3 s"
    row.taken_over(by_s=20.0, not_before_s=row.resets(A)[0])
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_watchdog_and_a_dead_daemon(seed: int) -> None:
    """By policy, and A's watchdog does not bite: B sees that somebody still answers for the addresses, and waits."""
    row = Row(PLAIN, seed)
    row.world.machines[A].useless.add("watchdog")
    row.breaks("process.stop", "a/daemon")
    row.passes(60.0)
    row.never_on(B)
    assert "takeover_refused" in row.alerts(B)
    row.recovers()


@pytest.mark.parametrize("how", ["node.pause", "node.freeze"])
@pytest.mark.parametrize("seed", SEEDS)
def test_thawed_where_nobody_is_heard(seed: int, how: str) -> None:
    """A stands still with its cables cut, B takes over, and A goes on where it hears nobody: its VMs stop in 2 s."""
    row = Row(WITNESS, seed)
    fault = row.breaks(how, "a")
    row.isolated(A)
    row.passes(30.0)
    assert row.served_by() == B
    row.heals(fault)
    row.passes(2.0)
    assert not row.world.machines[A].runs(WEB)
    row.passes(20.0)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_old_echo_after_a_pause(seed: int) -> None:
    """The echo of a heartbeat that A sent before it stood still comes late: it is worth nothing."""
    row = Row(WITNESS, seed)
    held = [row.breaks("link.hold_and_release", port) for port in ("a.priv0", "a.biz0")]
    row.passes(0.7)
    fault = row.breaks("node.pause", "a")
    row.isolated(A)
    row.passes(30.0)
    assert row.served_by() == B
    row.heals(fault)
    row.passes(1.5)
    row.heals(*held)
    row.passes(2.0)
    assert not row.world.machines[A].runs(WEB)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_change_of_the_witness_at_each_step(seed: int) -> None:
    """Old, old and new, new: the links are cut after each single step of either node; one of them goes on at most."""
    for steps in (1, 2, 3, 4):
        row = Row(TWO, seed)
        row.breaks("witness.cut", "a/w1")
        seen = [_arbiters(row)]
        while len(seen) <= steps:
            assert row.world.now - row.at < 60.0, seen
            row.passes(0.01)
            if _arbiters(row) != seen[-1]:
                seen.append(_arbiters(row))
        row.apart()
        row.passes(60.0)
        assert len([node for node in (A, B) if row.world.machines[node].record.solo(node)]) <= 1
        row.recovers()


def _arbiters(row: Row) -> tuple[tuple[str, ...], ...]:
    return tuple(row.world.machines[node].record.arbiters for node in (A, B))


@pytest.mark.parametrize("seed", SEEDS)
def test_unused_grant_is_forgotten(seed: int) -> None:
    """B was granted an epoch, and A came back before B took it: at the next loss A gets the right and B none."""
    row = Row(WITNESS, seed)
    row.world.boot_s = (9.0, 9.2)
    row.breaks("power.reset", "a")
    row.passes(60.0)
    assert row.since(B, c.AskWitness), row.world.summary()
    assert row.world.protected()
    assert row.served_by() == A
    assert row.epoch(B) == row.epoch(A)
    row.apart()
    row.passes(60.0)
    row.never_on(B)
    assert row.served_by() == A
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_bare_machine_in_the_owners_place(seed: int) -> None:
    """It has none of the data: it is not paired with until a person says that the other node goes on."""
    row = Row(WITNESS, seed)
    row.breaks("power.cut_both", "a+b")
    machine = row.world.machines[A]
    machine.store.record = Record()
    row.world.resources[WEB].sides[A] = Side(machine)
    for node in (A, B):
        row.world.machines[node].power_on()
    row.passes(90.0)
    assert row.pair(A) is not PairState.PAIRED
    assert row.served_by() is None
    row.world.operator(B, "override", A)
    row.passes(60.0)
    assert row.served_by() == B
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_owner_asks_first(seed: int) -> None:
    """A is late with its question; the backup has left it the time, and the VM stays where it is."""
    row = Row(WITNESS, seed)
    row.apart()
    row.passes(4.0)
    stopped = row.breaks("process.stop_for", "a/daemon")
    row.passes(2.5)
    row.heals(stopped)
    row.passes(40.0)
    row.untouched()
    row.never_on(B)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_who_asks_does_not_teach_as_paired(seed: int) -> None:
    """B cannot consent and the witness's answers are lost: A must not let the witness forget what it may have given."""
    row = Row(WITNESS, seed)
    row.breaks("disk.hang", "b", disk="vda")
    row.breaks("witness.mute", "w1")
    row.breaks("link.cut", "a.priv0")
    row.passes(12.0)
    asked = row.since(A, c.AskWitness)
    assert len(asked) >= 2, row.world.summary()
    lessons = [
        command.paired
        for at, who, command in row.world.commands
        if who == A and isinstance(command, c.TeachWitness) and asked[0] <= at - row.at <= asked[-1]
    ]
    assert lessons
    assert True not in lessons
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_copy_is_not_good_before_its_owner_says_so(seed: int) -> None:
    """B is in sync again, but A's disk hangs before A gives up its right to write alone: B must not take over."""
    row = Row(WITNESS, seed)
    back = row.off(B)
    row.passes(30.0)
    row.heals(back)
    side = row.world.resources[WEB].sides[B]
    row.world.run_until(lambda: side.syncing != "", 60.0)
    row.breaks("disk.hang", "a", disk="vda")
    row.world.run_until(lambda: side.connection == "Connected" and side.disk is DiskState.UP_TO_DATE, 30.0)
    row.passes(1.0)
    assert row.world.machines[A].record.solo(A)
    row.apart()
    row.passes(60.0)
    row.never_on(B)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_accepted_order_is_no_confirmation(seed: int) -> None:
    """Policy safety, and A's BMC accepts the order to switch it off but does nothing: B has no right."""
    row = Row(SimSite(power=True, policy="safety"), seed)
    row.breaks("bmc.deaf", "a")
    row.breaks("bmc.unreachable", "b")
    row.apart()
    row.passes(60.0)
    assert row.since(B, c.CutPeerPower), row.world.summary()
    row.never_on(B)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_late_off_is_no_proof(seed: int) -> None:
    """The first witness is in office on A only; A goes on alone by it and loses its power: B must not follow."""
    row = Row(SimSite(witnesses=1, power=True), seed)
    elected_s = _until_elected(row, seed)
    _fresh(row, seed)
    row.passes(elected_s - 0.5)
    for link in ("priv0", "biz0"):
        row.breaks("link.apart", link, only_from="a")
    row.passes(1.0)
    assert _arbiters(row) == (("witness:w1",), ())
    row.world.run_until(lambda: row.acknowledged_by(A) > 2, 30.0)
    row.off(A)
    row.passes(60.0)
    row.never_on(B)
    row.recovers()


def _fresh(row: Row, seed: int) -> None:
    row.world = World(seed, site=row.world.site)
    for node in (A, B):
        row.world.boot(node)


def _until_elected(row: Row, seed: int) -> float:
    """Return how long after its first start a pair has its first arbiter in office."""
    _fresh(row, seed)
    return row.world.run_until(lambda: bool(row.world.machines[A].record.arbiters), 60.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_node_teaches_nothing(seed: int) -> None:
    """A witness that lost its storage hears one node of the pair only: it grants nothing, even to that one."""
    row = Row(WITNESS, seed)
    row.breaks("witness.cut", "b/w1")
    row.heals(row.breaks("witness.wiped", "w1"))
    row.passes(15.0)
    assert not row.world.arbiters["w1"].register.taught
    row.apart()
    row.passes(40.0)
    assert not row.world.arbiters["w1"].grants
    row.never_on(B)
    row.recovers()


@pytest.mark.parametrize("site", [WITNESS, PLAIN])
@pytest.mark.parametrize("seed", [1, 8, 33, 43])
def test_backup_that_consents_stays_away(seed: int, site: SimSite) -> None:
    """B was told to connect a moment ago when A asks for its consent: it must not meet A after it has outdated itself.

    Its copy would be good again while the record says that it is not, and A's `resume-io`, which came from the consent,
    could let the VM write alone after the right was given back.
    """
    row = Row(site, seed)
    row.world.supervisor_s = (6.5, 6.5)
    row.world.command_s |= {
        c.ResumeDisk: (1.0, 2.5),
        c.ConnectDisk: (0.05, 0.1),
        c.OutdateDisk: (0.05, 0.1),
        c.DisconnectDisk: (0.5, 1.5),
    }
    row.breaks("process.kill", "a/daemon")
    row.passes(40.0)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_one_restart_for_a_cure_until_it_is_cured(seed: int) -> None:
    """The private link comes back after B's restart and falls again before the copies are equal: B restarts no more."""
    row = Row(WITNESS, seed)
    row.world.resync_factor = 200.0
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(60.0)
    assert len(row.world.machines[B].resets) == 1
    row.heals(cut)
    row.passes(30.0)
    assert row.world.engine(B).sight.private_link() is LinkState.UP
    cut = row.breaks("link.cut", "a.priv0")
    row.passes(60.0)
    assert len(row.world.machines[B].resets) == 1, row.world.machines[B].resets
    row.heals(cut)
    row.world.resync_factor = 1.0
    row.recovers()


@pytest.mark.parametrize("at_s", [0.5, 3.0, 8.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_pause_that_is_too_short_to_be_noticed(seed: int, at_s: float) -> None:
    """Only its watchdog stops A, and that stands still with A for almost 3 s: the wait of B is long enough for it."""
    row = Row(WITNESS, seed)
    row.world.boot_s = (30.0, 30.0)
    row.world.command_s[c.StartDomain] = (0.5, 0.6)
    row.world.machines[A].useless |= {"pause", "reset"}
    row.isolated(A)
    at = row.at
    row.passes(at_s)
    fault = row.breaks("node.pause", "a")
    row.passes(2.9)
    row.heals(fault)
    row.at = at
    row.passes(40.0)
    row.taken_over(by_s=20.0, not_before_s=row.resets(A)[0])
