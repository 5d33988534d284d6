"""Proves which case of a row a fault of a run is: by its link, its disk, its frames, its parameters and its site."""

from __future__ import annotations

import pytest

from faults.alarms.finished import PastFault
from faults.alarms.fits import case_of, hit, kept_of, named, spot_of, tellers
from faults.alarms.row import Kept, Spot, Teller
from faults.alarms.table import BY_FAULT
from tests.unit.faults.alarms.planted import fault, run


@pytest.mark.parametrize(
    ("one", "spot"),
    [
        (fault("link.cut", "a.priv0"), Spot.PRIVATE),
        (fault("link.cut", "b.biz0"), Spot.PUBLIC),
        (fault("link.cut", "witness1.biz0"), Spot.WITNESS),
        (fault("link.cut", "bmc-a.biz0"), Spot.BMC),
        (fault("link.cut", "client.biz0"), Spot.OUTSIDE),
        (fault("disk.gone", "a"), Spot.DATA),
        (fault("disk.gone", "a", disk="vda"), Spot.SYSTEM),
        (fault("process.kill", "a/daemon"), Spot.DAEMON),
        (fault("process.slow", "a/guest"), Spot.KERNEL),
        (fault("node.kill", "a"), Spot.NODE),
    ],
)
def test_what_a_fault_is_aimed_at(one: PastFault, spot: Spot) -> None:
    """By its target, and a disk by its name."""
    assert spot_of(one, run([one])) is spot


def test_the_second_disk_of_a_node_takes_the_mirror_away() -> None:
    """While the first one is still gone; that of the other node, or one that is back, is another matter."""
    first, second = fault("disk.gone", "a", 10.0, 30.0, disk="vdb"), fault("disk.gone", "a", 20.0, 40.0, disk="vdc")
    assert spot_of(first, run([first, second])) is Spot.DATA
    assert spot_of(second, run([first, second])) is Spot.MIRROR
    later = fault("disk.gone", "a", 30.0, 40.0, disk="vdc")
    assert spot_of(later, run([first, later])) is Spot.DATA
    there = fault("disk.gone", "b", 20.0, 40.0, disk="vdc")
    assert spot_of(there, run([first, there])) is Spot.DATA
    records = fault("disk.gone", "a", 5.0, 40.0, disk="vda")
    assert spot_of(first, run([records, first])) is Spot.DATA


@pytest.mark.parametrize(
    ("match", "kept"),
    [
        ({}, Kept.ALL),
        ({"port": 7789}, Kept.REPLICATION),
        ({"port": 7780}, Kept.HEARTBEATS),
        ({"protocol": 17, "payload": "525400770002"}, Kept.PEER),
        ({"protocol": 1}, Kept.SOME),
    ],
)
def test_which_frames_do_not_arrive(match: dict[str, object], kept: Kept) -> None:
    """By the ports and addresses of the pair."""
    assert kept_of(fault("link.match_drop", "a.priv0", match=match)) is kept


def test_who_is_hit_and_who_tells() -> None:
    """The node of the target; both where no node is named."""
    one = fault("link.cut", "b.priv0")
    assert hit(one) == tellers(Teller.HIT, one) == {"b"}
    assert tellers(Teller.PEER, one) == {"a"}
    assert tellers(Teller.EITHER, one) == {"a", "b"}
    assert hit(fault("witness.kill", "w1")) == hit(fault("power.cut_both", "a+b")) == {"a", "b"}
    assert tellers(Teller.PEER, fault("link.cut", "bmc-a.biz0")) == {"b"}
    assert tellers(Teller.PEER, fault("power.cut_both", "a+b")) == {"a", "b"}


@pytest.mark.parametrize(
    ("one", "power", "codes"),
    [
        (fault("hardware.fan_stopped", "a"), True, {"fan_failed"}),
        (fault("hardware.fan_stopped", "a"), False, set()),
        (fault("hardware.overheating", "a"), True, {"much_too_warm"}),
        (fault("hardware.overheating", "a", celsius=100), True, {"overheated"}),
        (fault("hardware.overheating", "a", where="inlet", celsius=50), True, {"overheated"}),
        (fault("hardware.memory_error", "a"), True, {"memory_corrects"}),
        (fault("hardware.memory_error", "a", correctable=False), True, {"memory_failed"}),
        (fault("person.orders", "a", order="move"), False, {"operator_move", "vms_move"}),
        (fault("person.orders", "a", order="keep"), False, {"operator_keep"}),
        (fault("process.stop_for", "a/daemon"), False, {"daemon_lag"}),
        (fault("process.stop_for", "a/daemon", seconds=1.0), False, set()),
        (fault("link.match_drop", "a.priv0", match={"port": 7789}), False, {"alone"}),
    ],
)
def test_the_first_case_that_fits_counts(one: PastFault, power: bool, codes: set[str]) -> None:
    """With the parameters that were given, and with those that a fault has by itself."""
    case = case_of(BY_FAULT[one.name], one, run([one], power=power))
    assert {due.codes[0] for due in case.must} == codes


def test_what_an_alert_must_name() -> None:
    """Parameters of the fault, its link, its node, the VM or the witness."""
    gone = fault("disk.gone", "a", disk="vdc")
    assert named(case_of(BY_FAULT["disk.gone"], gone, run([gone])).must[0], gone) == "vdc"
    cut = fault("link.cut", "b.biz0")
    assert named(case_of(BY_FAULT["link.cut"], cut, run([cut])).must[0], cut) == "link biz0"
    dead = fault("node.kill", "b")
    assert named(case_of(BY_FAULT["node.kill"], dead, run([dead])).must[0], dead) == "Node b"
    for mute in (fault("witness.kill", "w2"), fault("link.cut", "witness2.biz0")):
        assert named(case_of(BY_FAULT[mute.name], mute, run([mute])).must[0], mute) == "w2"
