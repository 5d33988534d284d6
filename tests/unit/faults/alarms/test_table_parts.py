"""Proves which alerts a disk must bring, by what is on it and how many are gone."""

from __future__ import annotations

import pytest

from faults.alarms.fits import case_of
from faults.alarms.table import BY_FAULT
from tests.unit.faults.alarms.planted import fault, run


@pytest.mark.parametrize("name", ["disk.gone", "disk.write_error", "disk.full", "disk.return_after_absence"])
def test_one_disk_and_two_disks(name: str) -> None:
    """The first one degrades the mirror, the second one takes the copy; the disk with the records is another one."""
    first, second = fault(name, "a", 10.0, disk="vdb"), fault(name, "a", 11.0, disk="vdc")
    records = fault(name, "b", disk="vda")
    planted = run([first, second, records])
    found = [case_of(BY_FAULT[name], one, planted).must[0].codes for one in (first, second, records)]
    assert found[:2] == [("mirror_degraded",), ("copy_lost",)]
    assert found[2][0] == "record_failed"


def test_a_disk_that_hangs_costs_the_copy() -> None:
    """DRBD gives it up; md waits for ever."""
    one = fault("disk.hang", "a")
    assert case_of(BY_FAULT[one.name], one, run([one])).must[0].codes == ("copy_lost",)


def test_what_a_disk_hides_is_a_gap() -> None:
    """Rot and lost writes are found by a scrub only."""
    for name in ("disk.bit_rot", "disk.lost_write", "disk.torn_write", "disk.slow"):
        one = fault(name, "a", offset=0)
        case = case_of(BY_FAULT[name], one, run([one]))
        assert (case.must, case.unseen and case.unseen.name) == ((), "GAP")
