"""Group D of the fault catalogue: partitions and double faults."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import PairState
from tests.playbook import BIZ, WEB, A, B
from tests.sim import inject as faults
from tests.sim.history import recover, split
from tests.sim.rows import PLAIN, SAFE, SEEDS, TWO, WITNESS, Row
from tests.sim.site import SimSite


@pytest.mark.parametrize("seed", SEEDS)
def test_d1_all_links_cut_witness_reached(seed: int) -> None:
    """A keeps the service by the witness, B is refused; after healing B is updated; the VM never restarts."""
    row = Row(WITNESS, seed)
    row.apart()
    row.passes(60.0)
    row.untouched()
    row.never_on(B)
    assert row.world.machines[A].record.solo(A)
    row.recovers()
    row.untouched()


@pytest.mark.parametrize("site", [WITNESS, TWO, SimSite(witnesses=1, policy="safety")])
@pytest.mark.parametrize("seed", SEEDS)
def test_d2_primary_isolated(seed: int, site: SimSite) -> None:
    """A pauses its VMs at 6 s and is reset by 16 s at the latest; B gets the grant and promotes at about 17 s."""
    row = Row(site, seed)
    row.isolated(A)
    row.passes(30.0)
    paused = row.since(A, c.PauseVms)
    assert paused, row.world.summary()
    assert paused[0] <= 6.8
    assert row.resets(A)
    assert row.resets(A)[0] <= 16.5
    row.taken_over(by_s=20.0, not_before_s=15.5)
    row.recovers()
    assert row.served_by() == B


@pytest.mark.parametrize("site", [WITNESS, TWO])
@pytest.mark.parametrize("seed", SEEDS)
def test_d3_backup_isolated(seed: int, site: SimSite) -> None:
    """A goes on alone by a grant; B never promotes."""
    row = Row(site, seed)
    row.isolated(B)
    row.passes(90.0)
    row.untouched()
    row.never_on(B)
    row.recovers()
    row.untouched()


@pytest.mark.parametrize("seed", SEEDS)
def test_d5_private_link_cut_and_witness_down(seed: int) -> None:
    """Consent over biz0 needs no witness: the outcome of B1."""
    row = Row(WITNESS, seed)
    row.breaks("witness.down", "w1")
    row.breaks("link.cut", "a.priv0")
    row.passes(300.0)
    row.untouched()
    assert row.world.machines[A].record.solo(A)
    assert len(row.resets(B)) == 1
    row.recovers()


def _witness_long_down(seed: int, site: SimSite = WITNESS) -> Row:
    """Return a pair whose witness was down for so long that a survivor was elected."""
    row = Row(site, seed)
    for name in site.witness_names:
        row.breaks("witness.down", name)
    row.passes(90.0)
    assert row.world.protected()
    return row


@pytest.mark.parametrize("policy", ["availability", "safety"])
@pytest.mark.parametrize("seed", SEEDS)
def test_d6_all_links_cut_with_a_survivor(seed: int, policy: str) -> None:
    """The pre-elected survivor goes on, the other node stays stopped."""
    row = _witness_long_down(seed, SimSite(witnesses=1, policy=policy))
    row.apart()
    row.passes(120.0)
    row.untouched()
    row.never_on(B)
    row.recovers()
    row.untouched()


@pytest.mark.parametrize("policy", ["availability", "safety"])
@pytest.mark.parametrize("seed", SEEDS)
def test_d6_all_links_cut_without_a_survivor(seed: int, policy: str) -> None:
    """Links and witness die at one instant: never both nodes run, and all is well after healing.

    The catalogue leaves this to the site policy; here the witness in office is binding, so neither node goes on.
    """
    row = Row(SimSite(witnesses=1, policy=policy), seed)
    row.breaks("witness.down", "w1")
    row.apart()
    row.passes(120.0)
    row.never_on(B)
    row.recovers()


@pytest.mark.parametrize("way", ["primary returns", "override"])
def test_d7_survivor_dies(way: str) -> None:
    """B, which is not the survivor, does not promote when A dies; A's return or an operator ends it."""
    row = _witness_long_down(1)
    row.passes(600.0)
    row.off(A)
    row.passes(300.0)
    row.never_on(B)
    assert row.served_by() is None
    assert "takeover_refused" in row.alerts(B)
    if way == "override":
        row.world.operator(B, "override", A)
        row.passes(30.0)
        assert row.world.answers[-1].done
        assert row.served_by() == B
        assert "operator" in " ".join(row.alerts(B))
    else:
        row.world.machines[A].power_on()
        row.passes(60.0)
        assert row.served_by() == A
    row.recovers()


def _taught(row: Row) -> bool:
    return row.world.arbiters["w1"].register.taught


@pytest.mark.parametrize("seed", SEEDS)
def test_d8_witness_lost_its_storage(seed: int) -> None:
    """It grants nothing before both nodes, connected and agreeing, taught it; then it does."""
    row = Row(WITNESS, seed)
    wiped = row.breaks("witness.wiped", "w1")
    row.apart()
    row.passes(5.0 + seed * 0.5)
    row.heals(wiped)
    row.passes(40.0)
    row.never_on(B)
    assert not _taught(row)
    assert not row.world.arbiters["w1"].grants
    row.recovers()
    row.passes(20.0)
    assert _taught(row)
    runner = row.served_by()
    row.apart()
    row.passes(40.0)
    assert row.served_by() == runner


def test_d9_each_node_sees_another_witness() -> None:
    """Only the witness that both elected counts: the node that sees the other one is refused; no split."""
    for mine, other in (("w1", "w2"), ("w2", "w1")):
        row = Row(TWO)
        row.breaks("witness.cut", f"a/{other}")
        row.breaks("witness.cut", f"b/{mine}")
        row.apart()
        row.passes(60.0)
        served = [node for node in (A, B) if row.world.machines[node].record.solo(node)]
        assert len(served) <= 1
        assert row.served_by() in (None, *served)
        row.recovers()


@pytest.mark.parametrize("seed", range(40))
def test_d10_change_of_the_witness_interrupted(seed: int) -> None:
    """Wherever the change of the elected witness is interrupted, no epoch is granted twice and no two nodes write."""
    row = Row(TWO, seed)
    down = row.breaks("witness.down", "w1")
    row.passes(24.0 + seed * 0.3)
    kinds = ("link.apart", "power.cut", "process.kill")
    if kinds[seed % 3] == "link.apart":
        row.apart()
    else:
        target = "ab"[seed % 2] + ("/daemon" if kinds[seed % 3] == "process.kill" else "")
        row.breaks(kinds[seed % 3], target)
    row.passes(3.0)
    row.heals(down)
    row.passes(40.0)
    granted = [witness.grants for witness in row.world.arbiters.values()]
    epochs = {epoch for grants in granted for epoch in grants}
    for epoch in epochs:
        takers = [nodes for grants in granted for nodes in [grants.get(epoch, set())] if nodes]
        solo = [node for node in (A, B) if row.world.machines[node].record.solo(node) and row.epoch(node) == epoch]
        assert len(solo) <= 1, (epoch, takers)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_d11_no_witness_availability(seed: int) -> None:
    """The documented hole: both may run; it is found at healing, both stop, nothing is discarded."""
    row = Row(PLAIN, seed)
    row.apart()
    row.passes(60.0)
    assert row.served_by() is not None
    assert row.world.judges.hole
    faults.heal_all(row.world)
    recover(row.world)
    assert split(row.world)
    row.passes(120.0)
    row.world.judges.end()
    assert split(row.world)


@pytest.mark.parametrize("keep", [A, B])
def test_d11_operator_chooses(keep: str) -> None:
    """After the split an operator chooses a side: it serves, and the pair is protected again with its data."""
    row = Row(PLAIN)
    row.apart()
    row.passes(60.0)
    faults.heal_all(row.world)
    recover(row.world)
    chosen = A if keep == A else B
    only_there = {*row.world.judges.alone[chosen]}
    other = B if chosen == A else A
    given_up = {*row.world.judges.alone[other]}
    row.world.judges.chose(chosen)
    for node in (A, B):
        row.world.operator(node, "keep", chosen)
    row.passes(90.0)
    assert row.world.protected(), row.world.summary()
    assert not row.world.judges.lacking(only_there, row.world.resources[WEB].sides[chosen].data)
    kept = row.world.resources[WEB].sides[other].copies
    assert kept, "the version that was given up is kept beside"
    assert not row.world.judges.lacking(given_up, kept[-1])
    row.world.judges.end()


@pytest.mark.parametrize("seed", SEEDS)
def test_d11_version_is_not_given_up_before_a_copy_is_kept(seed: int) -> None:
    """LVM hangs on the node whose version an operator gives up: nothing of that version is overwritten meanwhile."""
    row = Row(PLAIN, seed)
    apart = row.apart()
    row.passes(60.0)
    row.heals(*apart)
    recover(row.world)
    side = row.world.resources[WEB].sides[B]
    given_up = dict(side.data)
    row.world.judges.chose(A)
    hang = row.breaks("tool.hang", "b/lvm")
    for node in (A, B):
        row.world.operator(node, "keep", A)
    row.passes(60.0)
    assert side.data == given_up
    row.heals(hang)
    row.passes(90.0)
    assert row.world.protected(), row.world.summary()
    assert side.data != given_up
    assert given_up in side.copies
    row.world.judges.end()


@pytest.mark.parametrize("seed", SEEDS)
def test_d11_version_given_up_is_replaced_after_a_restart(seed: int) -> None:
    """B restarts before the copies meet: its disk is not refused as a foreign one, and the VM has two copies again.

    A's word comes when B has just begun a generation, so that B's daemon never reads it, and believes A's to be newer.
    """
    row = Row(PLAIN, seed)
    apart, side, machine = row.apart(), row.world.resources[WEB].sides[B], row.world.machines[B]
    common = side.current
    row.world.run_until(lambda: side.current != common, 30.0)
    row.heals(*apart)
    assert machine.daemon is not None
    word = row.world.engine(A).view(row.world.machines[A].mono())
    machine.daemon.deliver(e.HeartbeatSeen(BIZ, word, machine.mono() - 0.1))
    assert row.pair(B) is PairState.SPLIT
    recover(row.world)
    assert not row.resets(B)
    row.world.judges.chose(A)
    for node in (A, B):
        row.world.operator(node, "keep", A)
    row.world.run_until(lambda: bool(machine.record.discard), 60.0)
    row.passes(0.5)  # it notes what A says of its copy
    row.heals(row.breaks("power.reset", "b"))
    row.passes(90.0)
    assert row.world.protected(), row.world.summary()
    row.world.judges.end()


@pytest.mark.parametrize("seed", SEEDS)
def test_d11_no_witness_safety(seed: int) -> None:
    """Policy safety: B does not promote."""
    row = Row(SAFE, seed)
    row.apart()
    row.passes(120.0)
    row.never_on(B)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_d12_primary_loses_everything(seed: int) -> None:
    """No witness: A, without gateway and peer, resets itself; B, which sees the gateway, promotes."""
    row = Row(PLAIN, seed)
    row.isolated(A)
    row.passes(40.0)
    assert row.resets(A)
    assert row.resets(A)[0] <= 16.5
    assert not row.acknowledged_by(A)
    row.taken_over(by_s=20.0)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_d13_public_switch_dies(seed: int) -> None:
    """No witness: with priv0 nothing moves, whatever becomes of the public network."""
    row = Row(PLAIN, seed)
    row.breaks("link.cut", "a.biz0")
    row.breaks("link.cut", "b.biz0")
    row.breaks("gateway.down", "gateway")
    row.passes(120.0)
    row.untouched(stall_s=1.0)
    assert row.epoch(A) == row.epoch(B)
    row.recovers()


@pytest.mark.parametrize("site", [PLAIN, SAFE])
@pytest.mark.parametrize("seed", SEEDS)
def test_d14_public_switch_and_private_link(seed: int, site: SimSite) -> None:
    """Neither sees a gateway: A stops, B does not promote; after healing A resumes; no split."""
    row = Row(site, seed)
    for node in (A, B):
        row.isolated(node)
    row.breaks("gateway.down", "gateway")
    row.passes(90.0)
    row.never_on(B)
    assert row.served_by() is None
    row.recovers()
    assert row.served_by() == A


@pytest.mark.parametrize("seed", SEEDS)
def test_d16_reply_of_the_witness_lost(seed: int) -> None:
    """A repeats its request and gets the same answer; B stays refused."""
    row = Row(WITNESS, seed)
    mute = row.breaks("witness.mute", "w1")
    row.apart()
    row.world.run_until(lambda: bool(row.since(A, c.AskWitness)), 10.0)
    row.passes(0.5)
    row.heals(mute)
    row.passes(60.0)
    assert len(row.since(A, c.AskWitness)) >= 2
    row.untouched()
    row.never_on(B)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_d17_late_grant(seed: int) -> None:
    """A grant that comes 30 s late is ignored: its node has given up, and nobody else was given that epoch."""
    row = Row(WITNESS, seed)
    row.breaks("witness.late", "w1", late_s=30.0)
    row.apart()
    row.passes(120.0)
    row.never_on(B)
    assert row.served_by() is None
    assert row.pair(A) is not PairState.ALONE
    row.recovers()


@pytest.mark.parametrize("keep", [A, B])
def test_d19_both_forced(keep: str) -> None:
    """Persons force both sides of a cut to run: both say SPLIT when they meet; one is chosen, the other one kept."""
    row = Row(SAFE)
    row.apart()
    row.passes(25.0)
    for node, other in ((B, A), (A, B)):
        row.world.judges.vouched(node)
        row.world.operator(node, "override", other)
        row.passes(35.0)
    assert [len(row.world.machines[node].domains) for node in (A, B)] == [1, 1], row.world.summary()
    faults.heal_all(row.world)
    row.passes(20.0)
    assert split(row.world)
    assert all("split" in row.alerts(node) for node in (A, B))
    chosen, other = (A, B) if keep == A else (B, A)
    given_up = {*row.world.judges.alone[other]}
    assert given_up, "both wrote alone"
    row.world.judges.chose(chosen)
    for node in (A, B):
        row.world.operator(node, "keep", chosen)
    row.passes(90.0)
    assert row.world.protected(), row.world.summary()
    assert row.served_by() == chosen
    kept = row.world.resources[WEB].sides[other].copies
    assert len(kept) == 1
    assert not row.world.judges.lacking(given_up, kept[-1])
    row.world.judges.end()
