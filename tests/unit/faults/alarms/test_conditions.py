"""Proves that each condition and each sensor of the product has an injector of the bed, or a sentence why not."""

from __future__ import annotations

from avance.core.conditions import TABLE, HealthSensor
from faults import registry
from faults.alarms.conditions import CONDITIONS, Tripped
from faults.alarms.finished import PastFault
from faults.alarms.fits import case_of
from faults.alarms.table import BY_FAULT
from testbed.topology import Topology
from tests.unit.faults.alarms.planted import run


def test_each_condition_of_the_product_is_there() -> None:
    """In the order of its own table."""
    assert [row.code for row in TABLE] == list(CONDITIONS)


def test_each_has_an_injector_or_a_sentence() -> None:
    """An injector is a fault of the registry that takes these parameters."""
    for code, tripped in CONDITIONS.items():
        assert bool(tripped.fault) != bool(tripped.without), code
        if tripped.fault:
            port = "a.biz0" if tripped.on else "a"
            registry.check(tripped.fault, port, tripped.values, Topology())


def test_each_sensor_is_tripped_by_some_injector() -> None:
    """A lesser reading of a sensor may have none; a sensor must have one."""
    tripped = {code for code, one in CONDITIONS.items() if one.fault}
    assert {row.sensor for row in TABLE if row.code in tripped} == set(HealthSensor)


def test_the_injector_of_a_condition_must_bring_its_alert() -> None:
    """So says the row of the fault, on a site that names its BMCs."""
    for code, tripped in CONDITIONS.items():
        if tripped.fault:
            port = "a.biz0" if tripped.on else "a"
            one = PastFault(tripped.fault, port, 10.0, 60.0, "step", tuple(tripped.values.items()))
            case = case_of(BY_FAULT[tripped.fault], one, run([one], power=True))
            assert code in {found for due in case.must for found in due.codes}, code


def test_it_is_told_in_words() -> None:
    """The fault with its parameters, or why there is none."""
    assert Tripped("disk.gone", {"disk": "vdb"}, on="a node").text == "`disk.gone` on a node, `disk` vdb"
    assert Tripped(without="no way").text == "nothing: no way"
