"""Proves who tells of a node that is gone or stood still, and of a service that began again."""

from __future__ import annotations

import pytest

from faults.alarms.fits import case_of, tellers
from faults.alarms.table import BY_FAULT
from tests.unit.faults.alarms.planted import fault, run


@pytest.mark.parametrize(
    "name", ["node.kill", "node.panic", "power.cut", "power.reset", "process.stop", "node.replaced"]
)
def test_the_other_node_tells_of_one_that_is_gone(name: str) -> None:
    """That it is not heard, and that it takes over or goes on alone."""
    one = fault(name, "b/daemon" if name == "process.stop" else "b")
    must = case_of(BY_FAULT[name], one, run([one])).must
    assert [due.codes for due in must] == [("peer_lost",), ("takeover", "alone")]
    assert {node for due in must for node in tellers(due.teller, one)} == {"a"}


def test_a_reset_is_missed_although_it_is_over_at_once() -> None:
    """The node boots for longer than its fault lasts."""
    reset, kill = fault("power.reset", "b"), fault("node.kill", "b")
    for one, within in ((reset, [0.0, 0.0]), (kill, [10.0, 30.0])):
        assert [due.within_s for due in case_of(BY_FAULT[one.name], one, run([one])).must] == within


def test_a_node_that_stood_still_says_so_unless_it_is_switched_off() -> None:
    """On a site whose nodes can switch each other off it never goes on."""
    one = fault("node.pause", "a")
    found = [case_of(BY_FAULT[one.name], one, run([one], power=power)).must for power in (False, True)]
    assert [len(must) for must in found] == [3, 2]
    assert tellers(found[0][-1].teller, one) == {"a"}


def test_a_vm_that_fails_again_and_again_is_left() -> None:
    """Two crashes are two crashes; many end in an alert of their own."""
    for crashes, codes in ((3, ["vm_crashed"]), (12, ["vm_crashed", "vm_left"])):
        one = fault("guest.crash_loop", "web", crashes=crashes)
        assert [due.codes[0] for due in case_of(BY_FAULT[one.name], one, run([one])).must] == codes
