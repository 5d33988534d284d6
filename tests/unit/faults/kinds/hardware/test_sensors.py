"""Proves what the faults of hardware refuse, and when they say that nobody can tell; effects are in the self-tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.hardware import sensors
from faults.kinds.hardware.sensors import (
    FAULTS,
    FanStopped,
    MemoryFault,
    Overheating,
    PowerSupplyLost,
    SensorFault,
    bmc_of,
    read_in_node,
)
from faults.life import Life
from testbed.bed import Bed
from testbed.bmc.client import SensorReading
from testbed.bmc.sensors import FAILED, PRESENT
from testbed.errors import GuestCommandError, UsageError, WaitTimeout
from tests.unit.faults.kinds.hardware.bmc_fake import FakeBmc, bed_with


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeBmc:
    """The BMC of node a, asked by a client that is itself."""
    bmc = FakeBmc()
    monkeypatch.setattr(sensors, "client_of", lambda _bed, _node: bmc)
    monkeypatch.setattr(sensors, "SEEN_TIMEOUT_S", 0.05)
    return bmc


def test_a_node_or_a_bmc_that_is_not_there_is_named() -> None:
    """Before anything changes."""
    bed = cast("Bed", SimpleNamespace(nodes={"a": None}))
    with pytest.raises(UsageError, match="there is no node 'c'; there are: a"):
        bmc_of(bed, "c")
    with pytest.raises(UsageError, match="node a has no BMC"):
        bmc_of(bed, "a")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: FanStopped("a", fan=3), "Fan 3 does not exist"),
        (lambda: PowerSupplyLost("a", supply=0), "PSU 0 does not exist"),
        (lambda: Overheating("a", where="disk"), "no temperature of 'disk'; there are: cpu, inlet"),
        (lambda: Overheating("a", celsius=90), "90 degrees are not overheating of cpu; possible are 91 to 255"),
        (lambda: Overheating("a", celsius=256), "256 degrees are not"),
    ],
)
def test_hardware_that_a_node_does_not_have_is_refused(make: Callable[[], object], what: str) -> None:
    """With what is possible."""
    with pytest.raises(UsageError, match=what):
        make()


def test_each_fault_says_what_it_needs() -> None:
    """The programs, so that a host without them is told."""
    assert {fault.name for fault in FAULTS} == {
        "hardware.fan_stopped",
        "hardware.power_supply_lost",
        "hardware.overheating",
        "hardware.memory_error",
    }
    assert all(fault.needs == ("ipmi_sim", "ipmitool") for fault in FAULTS)


def run_once(bed: Bed, fault: SensorFault) -> Proof:
    """Prepare, inject and confirm."""

    async def steps() -> Proof:
        return await Life(fault, bed).prove()

    return asyncio.run(steps())


def test_a_sensor_in_trouble_already_proves_nothing(fake: FakeBmc) -> None:
    """A fault on top of a fault is inconclusive."""
    fake.show("Fan 1", 0)
    proof = run_once(bed_with(fake), FanStopped("a"))
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.INCONCLUSIVE, None)


def test_a_sensor_that_does_not_follow_is_a_mismatch(fake: FakeBmc) -> None:
    """What was ordered is not what is read."""
    fake.obeys = False
    proof = run_once(bed_with(fake), FanStopped("a"))
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None)


def test_a_node_that_reads_something_else_is_a_mismatch(fake: FakeBmc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the sensor must agree; a node that cannot be asked decides nothing."""
    seen: list[SensorReading | None] = [
        None,
        SensorReading(6000, 0),
        None,
        None,
        SensorReading(6000, 0),
        SensorReading(0, 0b11),
    ]

    async def in_node(*_what: object) -> SensorReading | None:
        return seen.pop(0)

    monkeypatch.setattr(sensors, "read_in_node", in_node)
    bed, verdicts = bed_with(fake), []
    for _ in range(3):
        verdicts.append(run_once(bed, FanStopped("a")).verdict)
        fake.states.clear()
    assert verdicts == [FaultVerdict.MISMATCH, FaultVerdict.CONFIRMED, FaultVerdict.CONFIRMED]


def test_new_lines_of_the_event_log_are_evidence(fake: FakeBmc) -> None:
    """Only those of this sensor, and only those that came after."""
    fake.log = ["1, Fan 1", "2, PSU 1"]
    proof = run_once(bed_with(fake), FanStopped("a"))
    assert proof.verdict is FaultVerdict.CONFIRMED
    assert proof.evidence["new_events"] == ["9, Fan 1"]
    assert proof.evidence["lan_now"] == {"value": 0, "over_limits": ["lower_warning", "lower_critical"]}


def test_no_running_node_loses_both_power_supplies(fake: FakeBmc) -> None:
    """That would be a power cut."""
    fake.show("PSU 1", PRESENT | FAILED)
    with pytest.raises(UsageError, match="PSU 1 of node a has failed already"):
        asyncio.run(PowerSupplyLost("a", supply=2).prepare(bed_with(fake)))
    asyncio.run(PowerSupplyLost("a", supply=1).prepare(bed_with(fake)))


def test_a_heal_that_does_not_heal_is_an_error(fake: FakeBmc) -> None:
    """It is verified from outside, also when the fault was never injected."""
    bed, fault = bed_with(fake), MemoryFault("a")
    asyncio.run(fault.heal(bed))
    assert run_once(bed, fault).verdict is FaultVerdict.CONFIRMED
    fake.heals = False
    with pytest.raises(WaitTimeout, match="Memory of node a still shows the fault"):
        asyncio.run(fault.heal(bed))


def test_a_node_without_the_interface_reads_nothing() -> None:
    """No Linux, no device, a node that is off, an answer that is none: None, and never a reading."""

    async def no_device(_argv: list[str], *, timeout_s: float) -> str:
        raise GuestCommandError(f"not there ({timeout_s})")

    async def nonsense(_argv: list[str], *, timeout_s: float) -> str:
        return f"?{timeout_s}"

    async def scenario() -> list[object]:
        seen: list[object] = []
        for image, is_on, guest in (
            (None, True, nonsense),
            (object(), False, nonsense),
            (object(), True, no_device),
            (object(), True, nonsense),
        ):
            machine = SimpleNamespace(guest=SimpleNamespace(must_succeed=guest))
            node = SimpleNamespace(is_on=is_on, machine=machine)
            bed = cast("Bed", SimpleNamespace(image=image, nodes={"a": node}))
            seen.append(await read_in_node(bed, "a", "Fan 1"))
        return seen

    assert asyncio.run(scenario()) == [None] * 4
