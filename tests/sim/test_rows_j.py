"""Group J of the fault catalogue: boot and both nodes down."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core.model import PairState, VmId
from avance.wire.heartbeat import Heartbeat
from avance.wire.rejected import Rejected
from tests.playbook import BIZ, WEB, A, B
from tests.sim.inject import heal_all
from tests.sim.rows import PLAIN, SAFE, SEEDS, WITNESS, Row
from tests.sim.site import SimSite
from tests.sim.world import World

EVERY = [WITNESS, PLAIN, SAFE]
LAST, DB, BROKEN = VmId("last"), VmId("db"), VmId("broken")


@pytest.mark.parametrize("site", EVERY)
@pytest.mark.parametrize("seed", SEEDS)
def test_j1_both_lose_power_while_protected(seed: int, site: SimSite) -> None:
    """The previous primary starts the VMs, whichever node is up first."""
    row = Row(site, seed)
    row.breaks("power.cut_both", "a+b")
    row.passes(10.0)
    first, second = (A, B) if seed % 2 else (B, A)
    row.world.machines[first].power_on()
    row.passes(5.0)
    row.world.machines[second].power_on()
    row.passes(60.0)
    assert row.served_by() == A
    assert row.world.protected()
    row.recovers()


def _alone_then_down(row: Row) -> None:
    """B dies; A goes on alone and dies later."""
    row.off(B)
    row.passes(60.0)
    assert row.served_by() == A
    row.off(A)
    row.passes(10.0)


@pytest.mark.parametrize("site", [WITNESS, PLAIN])
@pytest.mark.parametrize("seed", SEEDS)
def test_j2_stale_node_returns_alone(seed: int, site: SimSite) -> None:
    """B waits without limit and says why; an operator can override, and that is told."""
    row = Row(site, seed)
    _alone_then_down(row)
    row.world.machines[B].power_on()
    row.passes(900.0)
    row.never_on(B)
    assert "waits_for_peer" in row.alerts(B)


def test_j2_operator_overrides() -> None:
    """A person may take the stale copy into service; what A had alone is then found as a split, never discarded."""
    row = Row(WITNESS)
    _alone_then_down(row)
    row.world.machines[B].power_on()
    row.passes(60.0)
    row.world.judges.vouched(B)  # the operator takes the old data into service, knowingly
    row.world.operator(B, "override", A)
    row.passes(60.0)
    assert row.world.answers[-1].done, row.world.answers
    assert row.served_by() == B
    heal_all(row.world)
    row.passes(120.0)
    assert row.pair(A) is row.pair(B) is PairState.SPLIT, row.world.summary()
    row.world.judges.end()


@pytest.mark.parametrize("seed", SEEDS)
def test_j3_last_man_standing_returns_alone(seed: int) -> None:
    """A starts the VMs alone, by its record and the witness."""
    row = Row(WITNESS, seed)
    _alone_then_down(row)
    row.world.machines[A].power_on()
    row.passes(60.0)
    assert row.served_by() == A
    row.recovers()
    assert row.served_by() == A


@pytest.mark.parametrize("site", [WITNESS, PLAIN])
@pytest.mark.parametrize("seed", SEEDS)
def test_j4_stale_node_returns_first(seed: int, site: SimSite) -> None:
    """B waits, A wins when it comes 60 s later, B is updated from it."""
    row = Row(site, seed)
    _alone_then_down(row)
    row.world.machines[B].power_on()
    row.passes(60.0)
    row.world.machines[A].power_on()
    row.passes(90.0)
    assert row.served_by() == A
    row.never_on(B)
    assert row.world.protected()
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_j6_both_boot_apart(seed: int) -> None:
    """Both boot with all links cut: the witness lets exactly the eligible one start."""
    row = Row(WITNESS, seed)
    row.breaks("power.cut_both", "a+b")
    row.apart()
    for node in (A, B):
        row.world.machines[node].power_on()
    row.passes(120.0)
    assert row.served_by() == A, row.world.summary()
    row.never_on(B)
    row.recovers()
    assert row.served_by() == A


@pytest.mark.parametrize("seed", SEEDS)
def test_j8_boot_without_witness(seed: int) -> None:
    """With the peer present the witness is not needed for a start."""
    row = Row(WITNESS, seed)
    row.breaks("witness.down", "w1")
    row.breaks("power.cut_both", "a+b")
    row.passes(5.0)
    for node in (A, B):
        row.world.machines[node].power_on()
    row.passes(60.0)
    assert row.served_by() == A
    assert row.world.protected()


def test_j10_both_claim_the_same_name() -> None:
    """Heartbeats under one's own name are refused and counted: a cloned node is never paired with."""
    row = Row(WITNESS)
    daemon = row.world.machines[A].daemon
    assert daemon is not None
    clone = Heartbeat(BIZ, 10**6, 1.0, None, daemon.engine.view(daemon.machine.mono()))
    judged = daemon.receiver._judge(BIZ, clone)
    assert isinstance(judged, Rejected)
    assert judged.reason == "another node uses this node's name"


def test_j10_clone_without_a_peer() -> None:
    """A node that hears only a clone of itself never begins to serve."""
    world = World(3, site=WITNESS)
    world.boot(A)
    for _ in range(200):
        world.run(0.5)
        daemon = world.machines[A].daemon
        assert daemon is not None
        clone = Heartbeat(BIZ, 10**6, 1.0, None, daemon.engine.view(daemon.machine.mono()))
        world.arrive(world.machines[A], BIZ, clone)
    assert world.engine(A).pair is not PairState.PAIRED
    assert not world.judges.starts


def test_j12_cold_start_with_a_broken_vm() -> None:
    """The other VMs start, in their order, and go on."""
    row = Row(SimSite(witnesses=1, vms=(WEB, BROKEN, DB, LAST)))
    row.breaks("power.cut_both", "a+b")
    for machine in row.world.machines.values():
        machine.broken_vms.add(BROKEN)
    row.passes(5.0)
    for node in (A, B):
        row.world.machines[node].power_on()
    row.passes(60.0)
    assert [row.world.runner(vm) for vm in (WEB, DB, LAST)] == [A, A, A]
    assert row.world.runner(BROKEN) is None
    firsts = [vm for _, _, vm in row.world.judges.starts]
    assert firsts == [WEB, DB, LAST] or {*firsts} == {WEB, DB, LAST}
    assert any(isinstance(command, c.StartDomain) and command.vm == BROKEN for _, _, command in row.world.commands)
