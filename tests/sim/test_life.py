"""VMs are stopped, started and restarted by persons, and end by their own guests, also while something is broken.

What both nodes hold of it is respected by each of them, whatever happens. All judges of the simulator watch all the
time; one of them (I15) is about VMs that are to be off.
"""

from __future__ import annotations

import pytest

from avance.core.ends import SHUT_DOWN_S
from avance.core.model import DomainEnd, NodeId, VmId, Wanted
from avance.vm_list import vms_document
from tests.playbook import DB, WEB, A, B
from tests.sim import agreed, guests
from tests.sim.inject import heal_all
from tests.sim.rows import PLAIN, SAFE, STALL_MAX_S, WITNESS, Row
from tests.sim.site import SimSite

TWO_VMS = SimSite(witnesses=1, vms=(WEB, DB))
seeds = pytest.mark.parametrize("seed", range(3))
nodes = pytest.mark.parametrize("node", [A, B])
sites = pytest.mark.parametrize("site", [WITNESS, PLAIN, SAFE], ids=["witness", "plain", "safe"])


def wants(row: Row, what: Wanted, node: NodeId = A, vm: VmId = WEB, *, alone: bool = False, s: float = 20.0) -> bool:
    """Let a person want something of a VM on a node; returns whether it was agreed in time."""
    number = agreed.ask(row.world, node, wanted=(vm, what), alone=alone)
    row.passes(s)
    answer = agreed.answered(row.world, number)
    return answer is not None and answer.done


def is_off(row: Row, vm: VmId = WEB) -> bool:
    """Nothing of the VM is on either node, and nobody is a writer of its volume."""
    sides = row.world.resources[vm].sides
    return not any(one.holds(vm) or sides[node].primary for node, one in row.world.machines.items())


def starts(row: Row, vm: VmId = WEB) -> list[NodeId]:
    """Return where the VM was started since the row began."""
    return [node for _, node, name in row.world.judges.starts if name == vm]


def goes_on(row: Row, vm: VmId = WEB) -> None:
    """Everything is healed: the pair is whole with the VM off, and it runs when a person wants it."""
    row.recovers()
    row.world.run_until(lambda: agreed.holds_the_same(row.world), 120.0)
    assert is_off(row, vm), row.world.summary()
    before = len(starts(row, vm))
    assert wants(row, Wanted.RUNNING, vm=vm)
    assert row.world.runner(vm) is not None, row.world.summary()
    assert len(starts(row, vm)) == before + 1
    row.recovers()


@seeds
@nodes
@sites
@pytest.mark.parametrize("what", [Wanted.SHUT_DOWN, Wanted.OFF])
def test_stop_and_start(what: Wanted, site: SimSite, node: NodeId, seed: int) -> None:
    """On either node: the VM is off, its copies stay equal, the pair is protected, and it starts where it was."""
    row = Row(site, seed)
    assert wants(row, what, node)
    assert is_off(row), row.world.summary()
    assert not starts(row)
    row.passes(60.0)
    assert row.world.protected(), row.world.summary()
    assert not {"vm_crashed", "vm_left", "off_by_guest", "runs_on"} & set(row.alerts())
    found = [vms_document(row.world.engine(one), row.world.machines[one].mono()) for one in (A, B)]
    assert found[0] == found[1]
    assert (found[0]["vms"][0]["state"], found[0]["vms"][0]["node"]) == ("off", None)
    assert wants(row, Wanted.RUNNING, node)
    assert starts(row) == [A]
    assert row.served_by() == A
    assert row.epoch(A) == row.epoch(B) == 1, "nobody needed a right for that"
    row.recovers()


@seeds
@pytest.mark.parametrize("after_s", [0.5, 2.0, 4.0])
def test_a_vm_that_is_stopped_while_it_is_made(after_s: float, seed: int) -> None:
    """Its volume is made on both nodes and their copies meet, without a writer; then it starts as any other."""
    row = Row(TWO_VMS, seed)
    new = VmId("new")
    agreed.ask(row.world, A, new)
    row.passes(after_s)
    while not wants(row, Wanted.OFF, vm=new, s=5.0):
        assert row.world.elapsed_s < 120.0
    row.passes(30.0)
    assert row.world.protected(), row.world.summary()
    goes_on(row, new)


@seeds
def test_the_other_vms_do_not_notice(seed: int) -> None:
    """One of two VMs is stopped and started: the other one has no gap."""
    row = Row(TWO_VMS, seed)
    assert wants(row, Wanted.SHUT_DOWN)
    assert (is_off(row), is_off(row, DB)) == (True, False)
    row.passes(20.0)
    assert row.world.judges.longest_stall_s <= STALL_MAX_S, "before the writes of the other one go on"
    goes_on(row)
    assert not starts(row, DB)


@seeds
@sites
def test_owner_dies_while_a_vm_is_off(site: SimSite, seed: int) -> None:
    """The backup takes the right, and does not start it."""
    row = Row(site, seed)
    assert wants(row, Wanted.SHUT_DOWN)
    off = row.off(A)
    row.passes(60.0)
    assert not starts(row), row.world.summary()
    if site is not SAFE:
        assert wants(row, Wanted.RUNNING, B, alone=True)
        assert row.served_by() == B, row.world.summary()
        assert wants(row, Wanted.OFF, B, alone=True)
    row.heals(off)
    goes_on(row)


@seeds
@pytest.mark.parametrize("node", [A, B])
def test_both_nodes_are_cut_off_while_a_vm_is_off(node: NodeId, seed: int) -> None:
    """After a restart of both nodes it is still off, whichever comes first."""
    row = Row(TWO_VMS, seed)
    assert wants(row, Wanted.OFF)
    both = [row.off(A), row.off(B)]
    row.passes(10.0)
    for fault in both if node is A else both[::-1]:
        row.heals(fault)
        row.passes(5.0)
    row.passes(60.0)
    assert row.world.runner(DB) is not None
    assert not starts(row)
    goes_on(row)


@seeds
@pytest.mark.parametrize("after_s", [0.2, 0.6, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("how", ["process.kill", "power.cut", "apart"])
@pytest.mark.parametrize("what", [Wanted.SHUT_DOWN, Wanted.OFF])
def test_trouble_while_it_is_stopped(what: Wanted, how: str, after_s: float, seed: int) -> None:
    """A daemon, the owner or the links die a moment after a stop: what the person was told is so in the end."""
    row = Row(TWO_VMS, seed)
    number = agreed.ask(row.world, B, wanted=(WEB, what))
    row.passes(after_s)
    if how == "apart":
        row.apart()
    else:
        row.breaks(how, f"{A}/daemon" if how == "process.kill" else str(A))
    row.passes(60.0)
    heal_all(row.world)
    row.world.run_until(lambda: agreed.holds_the_same(row.world), 300.0)
    row.recovers()
    answer = agreed.answered(row.world, number)
    assert answer is not None
    assert is_off(row) is answer.done, (answer, row.world.summary())


@seeds
def test_a_stubborn_guest_runs_on(seed: int) -> None:
    """It is asked once, people are told once, and it is not destroyed; a power-off ends it, a start would let it be."""
    row = Row(TWO_VMS, seed)
    row.world.stubborn.add(WEB)
    assert wants(row, Wanted.SHUT_DOWN)
    row.passes(2 * SHUT_DOWN_S)
    assert row.served_by() == A
    assert row.alerts().count("runs_on") == 1
    assert row.world.protected()
    assert wants(row, Wanted.RUNNING)
    row.passes(60.0)
    row.untouched()
    assert wants(row, Wanted.SHUT_DOWN)
    assert wants(row, Wanted.OFF)
    assert is_off(row)
    assert not starts(row)
    goes_on(row)


@seeds
def test_a_stubborn_guest_is_not_started_by_the_backup(seed: int) -> None:
    """Its owner dies: it is off, as the person wants."""
    row = Row(TWO_VMS, seed)
    row.world.stubborn.add(WEB)
    assert wants(row, Wanted.SHUT_DOWN)
    row.off(A)
    row.passes(40.0)
    assert row.world.runner(DB) == B
    assert is_off(row) or row.world.resources[WEB].sides[A].primary
    assert not starts(row)
    goes_on(row)


@seeds
@sites
def test_a_guest_that_switches_itself_off_stays_off(site: SimSite, seed: int) -> None:
    """Both nodes hold it within seconds, nobody calls it a failure, and the backup does not start it either."""
    row = Row(site, seed)
    guests.ends(row.world.machines[A], WEB, DomainEnd.POWEROFF)
    row.passes(20.0)
    assert is_off(row), row.world.summary()
    assert row.alerts().count("off_by_guest") == 1
    assert not {"vm_crashed", "vm_left", "hands_over"} & set(row.alerts())
    assert row.world.protected()
    off = row.off(A)
    row.passes(60.0)
    assert not starts(row)
    row.heals(off)
    goes_on(row)


@seeds
@pytest.mark.parametrize("how", ["links", "backup"])
def test_a_guest_switches_itself_off_while_the_peer_cannot_agree(how: str, seed: int) -> None:
    """It counts on the owner alone, over a restart of its machine, too; and on the other node when that is back."""
    row = Row(WITNESS, seed)
    if how == "links":
        row.apart()
    else:
        row.off(B)
    row.passes(40.0)
    assert row.served_by() == A
    guests.ends(row.world.machines[A], WEB, DomainEnd.POWEROFF)
    row.passes(20.0)
    assert row.world.machines[A].wanted == {WEB: Wanted.OFF_BY_GUEST}
    row.world.machines[A].reset("a person")
    row.passes(60.0)
    assert not starts(row), row.world.summary()
    goes_on(row)


@seeds
def test_a_guest_switches_itself_off_while_it_cannot_be_made_durable(seed: int) -> None:
    """What Xen keeps of it outlives the daemon: it stays off, and both nodes hold it as soon as they can."""
    row = Row(WITNESS, seed)
    row.world.machines[A].store.refusing = True
    guests.ends(row.world.machines[A], WEB, DomainEnd.POWEROFF)
    row.passes(4.0)
    row.breaks("process.kill", f"{A}/daemon")
    row.passes(60.0)
    assert not starts(row), row.world.summary()
    assert not row.world.machines[A].wanted
    row.world.machines[A].store.refusing = False
    goes_on(row)


@seeds
def test_the_owner_dies_while_only_it_knows_that_its_guest_has_switched_itself_off(seed: int) -> None:
    """It counts there, and the backup has not heard that: it starts the VM. That runs on when the owner is back."""
    row = Row(WITNESS, seed)
    guests.ends(row.world.machines[A], WEB, DomainEnd.POWEROFF)
    row.world.tick_s = 0.01
    row.world.run_until(lambda: row.world.engine(A).sight.agreement.decided is not None, 20.0)
    cut = row.apart()
    row.world.run_until(lambda: bool(row.world.machines[A].wanted), 5.0)
    row.world.tick_s = 0.25
    off = row.off(A)
    row.heals(*cut)
    row.passes(60.0)
    assert row.served_by() == B, row.world.summary()
    row.heals(off)
    row.recovers()
    row.world.run_until(lambda: agreed.holds_the_same(row.world), 120.0)
    row.passes(30.0)
    assert row.served_by() == B
    assert starts(row) == [B], "it has run without a break"
    assert not row.world.machines[A].wanted
    assert not row.world.machines[B].wanted


@seeds
def test_a_vm_that_is_off_and_has_lost_its_second_copy_is_told(seed: int) -> None:
    """Its data is worth two copies, whether it runs or not."""
    row = Row(WITNESS, seed)
    assert wants(row, Wanted.OFF)
    row.off(B)
    row.passes(120.0)
    assert "one_copy" in row.alerts(A)
    goes_on(row)


@seeds
def test_the_owner_dies_the_moment_after_its_guest_has_switched_itself_off(seed: int) -> None:
    """Nobody else knew: the backup starts it, and it runs on when the old owner is back with another memory of it."""
    row = Row(WITNESS, seed)
    guests.ends(row.world.machines[A], WEB, DomainEnd.POWEROFF)
    row.passes(row.world.random.uniform(0.0, 1.5))
    off = row.off(A)
    row.passes(60.0)
    ran = row.served_by()
    row.heals(off)
    row.recovers()
    row.world.run_until(lambda: agreed.holds_the_same(row.world), 120.0)
    row.passes(60.0)
    assert row.served_by() == ran, row.world.summary()
    assert (ran is None) is is_off(row)
    row.recovers()


@seeds
@sites
def test_a_guest_that_restarts_itself_ten_times_an_hour(site: SimSite, seed: int) -> None:
    """Each time it is started again here, at once; it is never given up, and nothing moves."""
    row = Row(site, seed)
    for _ in range(10):
        guests.ends(row.world.machines[A], WEB, DomainEnd.REBOOT)
        row.passes(10.0)
        assert row.served_by() == A, row.world.summary()
        row.passes(80.0)
    assert starts(row) == [A] * 10
    assert not {"vm_crashed", "vm_left", "hands_over", "off_by_guest"} & set(row.alerts())
    row.recovers()


@seeds
@pytest.mark.parametrize("end", [DomainEnd.CRASH, DomainEnd.UNKNOWN])
def test_any_other_end_is_a_failure(end: DomainEnd, seed: int) -> None:
    """A crash, and an end of which nobody knows the reason: it is started again, and counted."""
    row = Row(WITNESS, seed)
    guests.ends(row.world.machines[A], WEB, end)
    row.passes(20.0)
    assert starts(row) == [A]
    assert row.alerts().count("vm_crashed") == 1
    row.recovers()


@seeds
@nodes
def test_a_stop_while_the_links_are_cut(node: NodeId, seed: int) -> None:
    """Refused where both have to agree; alone it counts here, and there when the other node is back."""
    row = Row(WITNESS, seed)
    row.apart()
    row.passes(40.0)
    assert not wants(row, Wanted.SHUT_DOWN, node)
    assert row.served_by() == A
    assert wants(row, Wanted.SHUT_DOWN, node, alone=True)
    assert is_off(row) is (node is A)
    goes_on(row)


@seeds
@nodes
def test_a_start_that_lacks_memory_is_refused(node: NodeId, seed: int) -> None:
    """On either node, given on either node: nothing is changed, and the reason is said."""
    row = Row(TWO_VMS, seed)
    assert wants(row, Wanted.OFF)
    row.world.machines[node].room_mib = 150
    for given in (A, B):
        number = agreed.ask(row.world, given, wanted=(WEB, Wanted.RUNNING))
        row.passes(20.0)
        answer = agreed.answered(row.world, number)
        assert answer is not None
        assert not answer.done
        assert f"{node} has no room for 208 MiB" in answer.text
    assert is_off(row)
    row.world.machines[node].room_mib = 208
    goes_on(row)


@seeds
def test_a_vm_that_was_left_is_tried_again_by_a_start(seed: int) -> None:
    """Stop and start by a person is a new beginning: its failures are forgotten."""
    row = Row(PLAIN, seed)
    loop = row.breaks("guest.crash_loop", "web")
    row.passes(300.0)
    assert row.alerts().count("vm_left") == 1
    row.heals(loop)
    assert row.served_by() is None
    assert wants(row, Wanted.OFF)
    assert row.world.protected(), "what is to be off is no failure any more"
    assert wants(row, Wanted.RUNNING, s=40.0)
    assert row.served_by() is not None, row.world.summary()
    row.recovers()


@seeds
def test_a_failing_vm_moves_although_another_one_is_off(seed: int) -> None:
    """What is off holds nothing up: the one that fails here is tried on the other node."""
    row = Row(TWO_VMS, seed)
    assert wants(row, Wanted.OFF)
    row.world.machines[A].broken_vms.add(DB)
    row.world.machines[A].end_domain(DB, crashed=True)
    row.passes(120.0)
    assert row.world.runner(DB) == B, row.world.summary()
    assert not starts(row)
    row.world.machines[A].broken_vms.clear()
    goes_on(row)
