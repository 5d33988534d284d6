"""The simulator itself: the same seed is the same history, and every judge bites on a planted violation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core.model import DiskState, PairState
from faults.schedule.schedule import parse
from testbed.errors import UsageError
from tests.playbook import WEB, A, B
from tests.sim import __main__ as command
from tests.sim import history
from tests.sim.export import export, schedule
from tests.sim.inject import NAMES, SIM_ONLY, Fault, inject
from tests.sim.judges import Violation
from tests.sim.plan import PART_FAULTS, Plan, draw, shrink
from tests.sim.rows import PLAIN, SAFE, WITNESS, Row
from tests.sim.site import SimSite
from tests.sim.writes import EVERY_BLOCK


@pytest.mark.parametrize("seed", [3, 17, 101])
def test_same_seed_is_the_same_history(seed: int) -> None:
    """A failing seed comes again line by line, with and without its story."""
    first, second = (history.run(draw(seed), tracing=True) for _ in range(2))
    silent = history.run(draw(seed))
    assert first.trace == second.trace
    assert len(first.trace) > 10
    assert (first.violation, first.seconds) == (silent.violation, silent.seconds)


def test_plans_cover_every_fault_and_site() -> None:
    """Random plans have two faults to six, in some beside a part that fails, and leave out no fault and no site."""
    plans, beside = [draw(seed) for seed in range(3000)], {*PART_FAULTS, "person.orders"}
    assert {len([one for one in plan.faults if one.name not in beside]) for plan in plans} == {2, 3, 4, 5, 6}
    assert 0.1 < sum(any(one.name in PART_FAULTS for one in plan.faults) for plan in plans) / len(plans) < 0.2
    # md and DRBD cannot know the old half: that is the adapter's to refuse. A guest that dies at each boot is left in
    # the end, until a person says that it is mended, so such a pair is not whole by itself (test_damping.py).
    never = {"disk.half", "guest.crash_loop"}
    assert {fault.name for plan in plans for fault in plan.faults} == {*NAMES} - never
    data_disks = {(fault.name, fault.target) for plan in plans for fault in plan.faults if fault.name == "disk.gone"}
    assert data_disks == {("disk.gone", "a"), ("disk.gone", "b")}
    assert 0.3 < sum(any(one.name == "person.orders" for one in plan.faults) for plan in plans) / len(plans) < 0.4
    assert 0.25 < sum(plan.lasting is not None for plan in plans) / len(plans) < 0.4
    assert len({replace(plan.site, vms=(WEB,), halves=False) for plan in plans}) == 24
    assert 0.1 < sum(len(plan.site.vms) == 2 for plan in plans) / len(plans) < 0.2
    assert 0.05 < sum(plan.site.halves for plan in plans) / len(plans) < 0.12


def _writes_alone(row: Row) -> None:
    """Let B's side write by itself, as no product would."""
    side = row.world.resources[WEB].sides[B]
    side.connection, side.disk, side.peer_disk = "StandAlone", DiskState.UP_TO_DATE, DiskState.OUTDATED
    row.world.resources[WEB].write(B)


def test_judge_of_lone_writes_bites() -> None:
    """A write that is acknowledged alone without the durable right is a violation (I1)."""
    with pytest.raises(Violation, match="I1"):
        _writes_alone(Row(WITNESS))


def test_judge_of_two_writers_bites() -> None:
    """Two nodes that acknowledge writes in one epoch are a violation (I1), whatever their records say."""
    row = Row(WITNESS)
    machine = row.world.machines[B]
    side = row.world.resources[WEB].sides[B]
    machine.store.record = replace(machine.store.record, owner=B, peer_outdated=True)
    side.connection = "StandAlone"
    with pytest.raises(Violation, match="I1: a and b both"):
        _writes_alone(row)


def test_judge_of_lost_writes_bites() -> None:
    """An acknowledged write that is on no serving copy is a violation (I2), at the end and when a VM starts."""
    row = Row(WITNESS)
    row.world.loses(A, row.world.acknowledged[-3])
    with pytest.raises(Violation, match="I2"):
        row.world.judges.end()
    row = Row(WITNESS)
    row.world.loses(B, row.world.acknowledged[-3])
    row.off(A)
    with pytest.raises(Violation, match="I2"):
        row.passes(30.0)


def test_judge_of_double_running_bites() -> None:
    """A VM that runs on both nodes is a violation (I4), even for a moment."""
    row = Row(WITNESS)
    row.world.machines[B].domains[WEB] = True
    with pytest.raises(Violation, match="I4"):
        row.world.judges.placement_changed()


def test_judge_of_the_address_bites() -> None:
    """Two nodes may answer for the service address for 2 s at a hand-over, not longer (I5)."""
    row = Row(WITNESS)
    row.world.machines[B].open_gate(None)
    daemon = row.world.machines[B].daemon
    assert daemon is not None
    daemon.held = None  # it does not look whether the address is there
    row.world.machines[B].hold(address=True)
    row.passes(1.5)
    with pytest.raises(Violation, match="I5"):
        row.passes(1.0)


def test_judge_of_copies_bites() -> None:
    """Copies that differ while both nodes say protected are a violation (I6)."""
    row = Row(WITNESS)
    row.world.loses(B, row.world.acknowledged[-3])
    with pytest.raises(Violation, match="I6"):
        row.passes(3.0)


def test_judge_of_discarded_data_bites() -> None:
    """A resynchronisation over acknowledged writes is a violation (I11)."""
    row = Row(WITNESS)
    resource = row.world.resources[WEB]
    row.world.loses(B, row.world.acknowledged[-3])
    with pytest.raises(Violation, match="I11"):
        row.world.judges.overwritten(resource, resource.sides[B], resource.sides[A], [*EVERY_BLOCK])


def test_judge_of_records_bites() -> None:
    """A consent while the copy is not apart, or a copy called good before its owner gave up its right, is one (I1)."""
    judges = Row(WITNESS).world.judges
    owner, backup = (judges.world.machines[node] for node in (A, B))
    with pytest.raises(Violation, match="consents to epoch 2 while it is Connected"):
        judges.saved(backup, replace(backup.record, epoch=2, peer_outdated=True))
    owner.store.record = replace(owner.record, peer_outdated=True)
    with pytest.raises(Violation, match="calls its copy good"):
        judges.saved(backup, backup.record)


def test_judge_of_recovery_bites() -> None:
    """A pair that is not protected in bounded time after healing is a violation (I12)."""
    row = Row(WITNESS)
    row.world.machines[B].config_hash = "another"
    row.breaks("process.kill", "b/daemon")
    row.passes(5.0)
    with pytest.raises(Violation, match="I12"):
        history.recover(row.world, 60.0)


def test_the_hole_is_forgiven_only_where_it_is_documented() -> None:
    """Without an arbiter and by policy availability only, and only when the nodes had no path to each other."""
    for site, expected in ((PLAIN, True), (SAFE, False), (WITNESS, False)):
        row = Row(site)
        row.apart()
        row.passes(10.0)
        assert row.world.judges.hole is expected
    row = Row(PLAIN)
    row.breaks("link.cut", "a.priv0")
    row.passes(30.0)
    assert not row.world.judges.hole


def _partitioned(seed: int) -> Plan:
    extra = (Fault("guest.crash", "web", 2.0), Fault("link.cut", "b.biz0", 5.0, 30.0), Fault("node.kill", "a", 20.0))
    return Plan(seed, SimSite(witnesses=2, power=True), extra)


def test_shrinking_keeps_what_fails() -> None:
    """The smallest plan has only the faults that are needed, the plainest site and short times."""
    small = shrink(_partitioned(1), lambda plan: any(fault.name == "node.kill" for fault in plan.faults))
    assert [fault.name for fault in small.faults] == ["node.kill"]
    assert small.faults[0].at_s < 2.0
    assert (small.site.witnesses, small.site.power) == (0, False)


def test_shrinking_keeps_the_witness_of_a_fault() -> None:
    """A plan with a fault of the second witness keeps both, and each smaller plan can be run."""
    plan = Plan(1, SimSite(witnesses=2), (Fault("witness.cut", "a/w2", 2.0), Fault("node.kill", "a", 5.0)))
    small = shrink(plan, lambda candidate: history.run(candidate).seconds > 0 and len(candidate.faults) == 2)
    assert small.site.witnesses == 2


def test_export_is_a_schedule_of_the_bed() -> None:
    """A plan of the bed's faults becomes a schedule that the bed reads; any other says what is missing."""
    text = export(_partitioned(7))
    assert parse(text).seed == 7
    assert [step.fault for step in parse(text).steps] == ["guest.crash", "link.cut", "node.kill"]
    with pytest.raises(UsageError, match=r"link\.apart"):
        schedule(Plan(1, PLAIN, (Fault("link.apart", "priv0", 1.0),)))
    exported = 0
    for seed in range(200):
        plan = draw(seed)
        if not {fault.name for fault in plan.faults} & SIM_ONLY:
            exported += not export(plan).startswith("#")
    assert exported > 10
    lost = Plan(7, PLAIN, (Fault("disk.gone", "a", 2.0, 9.0, {"back": "old", "press": True}),))
    steps = parse(export(lost)).steps
    assert [(step.fault, step.parameters.get("disk")) for step in steps] == [
        ("disk.gone", "vdb"),
        ("disk.gone", "vdc"),
        ("power.reset", None),
    ]
    assert export(Plan(7, PLAIN, (Fault("disk.gone", "a", 2.0, 9.0, {"back": "foreign"}),))).startswith(
        "# The bed has no"
    )


def test_command_prints_its_seeds_and_reproduces(capsys: pytest.CaptureFixture[str]) -> None:
    """The run says which seeds it tried and how fast it was; one seed shows its story."""
    assert command.main(["--seeds", "0..3"]) == 0
    said = capsys.readouterr().out
    assert "seeds 0..3" in said
    assert "a minute" in said
    assert command.main(["--seed", "3"]) == 0
    assert "healed" in capsys.readouterr().out


def test_frozen_side_never_acknowledges() -> None:
    """DRBD's model holds a write until fence-peer was answered, and gives a new generation before it goes on."""
    row = Row(WITNESS)
    side = row.world.resources[WEB].sides[A]
    before = side.current
    row.off(B)
    row.world.run_until(lambda: side.suspended, 10.0)
    count = len(row.world.acknowledged)
    assert row.pair(A) is not PairState.ALONE or side.suspended
    row.world.run_until(lambda: not side.suspended, 10.0)
    assert side.current != before
    assert side.bitmap == before
    assert len(row.world.acknowledged) >= count


def test_faults_leave_nothing_behind() -> None:
    """Each fault of the table can be injected and healed in a world where its target exists."""
    for name in NAMES:
        row = Row(SimSite(witnesses=1, power=True, halves=True))
        target = _target(name)
        row.heals(row.breaks(name, target))
        row.passes(1.0)
        inject(row.world, Fault(name, target, 0.0, 1.0))


def _target(name: str) -> str:
    family = name.partition(".")[0]
    exact = {
        "link.apart": "priv0",
        "link.crossing": "both",
        "link.no_datagrams": "priv0",
        "link.no_streams": "priv0",
        "link.no_large": "priv0",
        "tool.hang": "b/xl",
        "power.cut_both": "a+b",
        "witness.cut": "a/w1",
        "gateway.cut": "a",
    }
    by_family = {"link": "a.priv0", "process": "a/daemon", "guest": "web", "witness": "w1", "gateway": "gateway"}
    return exact.get(name, by_family.get(family, "b"))
