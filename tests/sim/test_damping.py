"""What repeats is damped: restarts of a backup whose cable comes and goes, restarts of a guest that dies each time.

Both are told in one alert that says what to do, and begin anew with time or with a person's word. What safety or the
service needs is never held back.
"""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core.cure import CURES_MAX
from avance.core.model import VmId
from avance.core.restarts import FAILURES_MAX
from tests.playbook import DB, WEB, A, B
from tests.sim.rows import PLAIN, SAFE, WITNESS, Row
from tests.sim.site import SimSite


def flaps(row: Row, times: int, *, down_s: float = 4.0, up_s: float = 56.0) -> None:
    """Cut the private cable for some seconds, again and again; it comes back by itself each time."""
    for _ in range(times):
        cut = row.breaks("link.cut", "a.priv0")
        row.passes(down_s)
        row.heals(cut)
        row.passes(up_s)


def starts(row: Row, *nodes: object) -> int:
    """Return how often the VM was started on these nodes since the row began."""
    given = [who for _, who, command in row.world.commands if isinstance(command, c.StartDomain)]
    return sum(who in nodes for who in given)


@pytest.mark.parametrize("site", [WITNESS, PLAIN])
def test_a_cable_that_comes_and_goes_costs_three_restarts(site: SimSite) -> None:
    """Seven short cuts: three restarts of the backup, one alert; the VM never stops, and the pair is whole again."""
    row = Row(site)
    flaps(row, 7)
    assert len(row.world.machines[B].resets) == CURES_MAX
    assert row.alerts(B).count("cures_used_up") == 1
    assert not row.world.machines[A].resets
    row.untouched(stall_s=20.0)
    row.recovers()


def test_the_count_outlives_the_restarts_and_ends_by_a_persons_word() -> None:
    """The fourth restart comes only after somebody has said that the cable is mended."""
    row = Row(WITNESS)
    flaps(row, 5)
    assert row.world.machines[B].record.cures == CURES_MAX
    row.world.operator(B, "reset-device", B)
    row.passes(120.0)
    assert row.world.machines[B].record.cures == 0
    flaps(row, 1)
    assert len(row.world.machines[B].resets) == CURES_MAX + 1


def test_a_backup_that_restarts_no_more_still_takes_over() -> None:
    """Damping is about cures only: when the primary dies, the backup serves as ever."""
    row = Row(WITNESS)
    flaps(row, 5)
    row.passes(200.0)
    assert row.world.protected(), row.world.summary()
    row.off(A)
    row.passes(40.0)
    row.taken_over()


@pytest.mark.parametrize("site", [WITNESS, PLAIN, SAFE])
def test_a_guest_that_dies_at_each_boot(site: SimSite) -> None:
    """Five tries here, one on the other node, then it is left with one alert; a person's word starts it again."""
    row = Row(site)
    loop = row.breaks("guest.crash_loop", "web")
    row.passes(300.0)
    assert (starts(row, A), starts(row, B)) == (FAILURES_MAX - 1, 1)
    assert row.alerts().count("vm_left") == 1
    assert row.alerts().count("vm_crashed") <= FAILURES_MAX + 1
    assert len(row.alerts()) <= 40, row.alerts()
    assert row.world.runner() is None
    assert not row.world.machines[A].resets
    assert not row.world.machines[B].resets
    row.heals(loop)
    row.world.operator(B, "reset-device", B)
    row.passes(60.0)
    assert row.served_by() == B, row.world.summary()
    row.recovers()


def test_a_guest_that_is_left_is_tried_again_after_an_hour() -> None:
    """Nobody says a word: its failures are forgotten with time, and it runs."""
    row = Row(PLAIN)
    loop = row.breaks("guest.crash_loop", "web", after_s=2.0)
    row.passes(120.0)
    row.heals(loop)
    row.passes(60.0)
    assert row.world.runner() is None
    for machine in row.world.machines.values():  # an hour of nothing, told in one step
        engine = machine.engine
        assert engine is not None
        engine.restarts.failures = {
            vm: type(damper)(damper.most, damper.window_s, tuple(at - 3600.0 for at in damper.times))
            for vm, damper in engine.restarts.failures.items()
        }
    row.passes(60.0)
    assert row.served_by() == B, row.world.summary()
    row.recovers()


@pytest.mark.parametrize("dead", [A, B])
def test_a_node_that_dies_while_a_guest_is_left(dead: str) -> None:
    """The right goes where it has to, and what was left is no reason to lose anything."""
    row = Row(WITNESS)
    loop = row.breaks("guest.crash_loop", "web")
    row.passes(200.0)
    row.heals(loop)
    off = row.breaks("power.cut", str(dead))
    row.passes(60.0)
    row.heals(off)
    row.passes(60.0)
    for node in (A, B):
        row.world.operator(node, "reset-device", node)
    row.recovers()


def test_a_sound_vm_is_not_stopped_for_one_that_fails() -> None:
    """Two VMs: the one that dies at each boot is left where it is, the other one runs on without a break."""
    row = Row(SimSite(witnesses=1, vms=(WEB, DB)))
    row.breaks("guest.crash_loop", "db")
    row.passes(200.0)
    assert starts(row, B) == 0
    assert row.served_by() == A
    assert row.world.runner(DB) is None
    assert row.alerts(A).count("vm_left") == 1


@pytest.mark.parametrize("vms", [(WEB,), (WEB, DB)])
@pytest.mark.parametrize("lone", [True, False])
def test_a_vm_that_cannot_be_created_for_minutes(vms: tuple[VmId, ...], *, lone: bool) -> None:
    """Creations fail on both nodes: nothing is left, and the VM runs within a minute after the cause has gone."""
    row = Row(SimSite(witnesses=1, vms=vms))
    for machine in row.world.machines.values():
        machine.broken_vms.add(vms[-1])
    if lone:
        row.off(A)
    else:
        row.world.machines[A].end_domain(vms[-1], crashed=True)
    row.passes(300.0)
    assert row.world.runner(vms[-1]) is None
    assert not row.alerts().count("vm_left")
    assert starts(row, A, B) <= 60, "the pauses between the tries grow"
    if len(vms) > 1:
        assert row.served_by() == (B if lone else A)
    for machine in row.world.machines.values():
        machine.broken_vms.clear()
    row.passes(60.0)
    assert row.world.runner(vms[-1]) is not None, row.world.summary()
    row.recovers()


def test_a_vm_that_cannot_be_created_here_is_created_on_the_other_node() -> None:
    """One node lacks what the VM needs, and stays so: the other node serves, and nothing is thrown back."""
    row = Row(WITNESS)
    row.world.machines[A].broken_vms.add(WEB)
    row.world.machines[A].end_domain(WEB, crashed=True)
    row.passes(120.0)
    assert row.served_by() == B, row.world.summary()
    tries = starts(row, A)
    row.passes(300.0)
    assert row.served_by() == B
    assert starts(row, A) == tries
    row.world.machines[B].end_domain(WEB, crashed=True)
    row.passes(30.0)
    assert row.served_by() == B, "one death is no reason to leave a VM that cannot be created on the other node"
    row.world.machines[A].broken_vms.clear()
    row.recovers()


def test_a_node_that_resets_itself_says_why_to_its_peer() -> None:
    """The last heartbeat carries the reason; the peer tells it once, and believes nothing else because of it."""
    row = Row(WITNESS)
    row.breaks("link.cut", "a.priv0")
    row.passes(20.0)
    assert row.resets(B)
    assert row.alerts(A).count("peer_resets") == 1
    row.untouched()
