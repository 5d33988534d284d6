"""Proves what the faults of a BMC refuse, and when they say that nobody can tell; effects are in the self-tests."""

from __future__ import annotations

import asyncio
import os

import pytest

from faults.fault import Fault, FaultVerdict, Proof
from faults.kinds.hardware import bmc
from faults.kinds.hardware.bmc import FAULTS, BmcDeadWithNode, BmcLying, BmcSlow, BmcUnreachable, runs
from faults.life import Life
from testbed.bed import Bed
from testbed.errors import UsageError, WaitTimeout
from tests.unit.faults.kinds.hardware.bmc_fake import FakeBmc, bed_with


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeBmc:
    """The BMC of node a, asked by a client that is itself."""
    found = FakeBmc(pid=os.getpid())
    monkeypatch.setattr(bmc, "client_of", lambda _bed, _node: found)
    monkeypatch.setattr(bmc, "HEAL_TIMEOUT_S", 0.05)
    monkeypatch.setattr(bmc, "PROGRAM", "python")
    return found


def run_once(bed: Bed, fault: Fault) -> Proof:
    """Prepare, inject and confirm."""

    async def steps() -> Proof:
        return await Life(fault, bed).prove()

    return asyncio.run(steps())


@pytest.mark.parametrize("delay_s", [0.0, 0.5, 61.0])
def test_a_delay_that_cannot_be_told_from_health_is_refused(delay_s: float) -> None:
    """Nor one that outlasts every client."""
    with pytest.raises(UsageError, match="a BMC can be slow by 1 to 60 s"):
        BmcSlow("a", delay_s=delay_s)


def test_each_fault_says_what_it_needs() -> None:
    """The programs, so that a host without them is told."""
    assert {fault.name for fault in FAULTS} == {"bmc.unreachable", "bmc.slow", "bmc.lying", "bmc.dead_with_node"}
    assert all(fault.needs == ("ipmi_sim", "ipmitool") for fault in FAULTS)


def test_what_is_off_cannot_lie_about_that_or_die(fake: FakeBmc) -> None:
    """Refused before anything changes."""
    fake.power.on = False
    with pytest.raises(UsageError, match="node a is off; a BMC that says so does not lie"):
        asyncio.run(BmcLying("a").prepare(bed_with(fake)))
    with pytest.raises(UsageError, match="node a or its BMC is off already"):
        asyncio.run(BmcDeadWithNode("a").prepare(bed_with(fake)))


def test_a_bmc_that_gave_no_answer_before_proves_nothing(fake: FakeBmc) -> None:
    """It is as silent as it was."""
    fake.answers = False
    proof = run_once(bed_with(fake), BmcUnreachable("a"))
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.INCONCLUSIVE, None)


def test_a_dead_bmc_is_not_an_unreachable_one(fake: FakeBmc) -> None:
    """Its silence has another reason than its cable."""
    fake.has_power = False
    assert run_once(bed_with(fake), BmcUnreachable("a")).verdict is FaultVerdict.MISMATCH


def test_a_bmc_that_tells_the_truth_is_not_asked_to_switch_the_node_off(fake: FakeBmc) -> None:
    """The fault was not there: mismatch, and no power command was sent."""
    assert run_once(bed_with(fake), BmcLying("a")).verdict is FaultVerdict.MISMATCH
    assert fake.commands == []


def test_a_node_that_died_after_all_was_not_lied_about(fake: FakeBmc) -> None:
    """The BMC says off and acknowledges, but no process is there that would run on."""
    bed = bed_with(fake, pid=2**22 + 1)

    async def steps() -> Proof:
        fault = BmcLying("a")
        await fault.prepare(bed)
        fake.says_on = False
        return await fault.confirm(bed)

    assert asyncio.run(steps()).verdict is FaultVerdict.MISMATCH
    assert fake.commands == [("chassis", "power", "off")]


def test_a_bmc_that_lied_before_proves_nothing(fake: FakeBmc) -> None:
    """Inconclusive: the lie may be an older one."""
    fake.says_on = False
    assert run_once(bed_with(fake), BmcLying("a")).verdict is FaultVerdict.INCONCLUSIVE


def test_a_silent_bmc_whose_process_runs_is_not_dead(fake: FakeBmc) -> None:
    """The process table decides."""
    proof = run_once(bed_with(fake), BmcDeadWithNode("a"))
    assert (proof.verdict, proof.evidence["bmc_process_runs"]) == (FaultVerdict.MISMATCH, True)


def test_a_heal_that_does_not_heal_is_an_error(fake: FakeBmc) -> None:
    """It is verified by an answer over the wire."""
    fake.heals = False
    with pytest.raises(WaitTimeout, match="the BMC of node a to answer and to tell the truth"):
        asyncio.run(BmcUnreachable("a").heal(bed_with(fake)))
    fake.heals = True
    asyncio.run(BmcUnreachable("a").heal(bed_with(fake)))


def test_the_process_table_is_the_judge() -> None:
    """This process runs Python and no QEMU; one that does not exist runs nothing."""
    assert runs(os.getpid(), "python")
    assert not runs(os.getpid(), "no-such-program")
    assert not runs(2**22 + 1, "python")
