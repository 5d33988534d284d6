"""Proves the four figures on planted runs: what came, what nothing explains, who told it, and whether it ended."""

from __future__ import annotations

import pytest

from faults.alarms.finished import FinishedRun
from faults.alarms.score import AlarmScore, Left, score
from faults.alarms.table import BY_FAULT
from testbed.judge.verdict import Verdict
from tests.unit.faults.alarms.planted import alert, fault, run

CUT = fault("link.cut", "a.priv0")
DOWN, UP = alert("link_down", "b", 14.0, "No heartbeat returns on link priv0."), alert("link_up", "b", 70.0)
GOOD = run([CUT], DOWN, UP)


def judged(*runs: FinishedRun) -> AlarmScore:
    """What the table says of these runs."""
    return score(runs, BY_FAULT)


def lefts(*runs: FinishedRun) -> list[Left | None]:
    """Why each alarm is not counted, in the order of the faults."""
    return [one.left for one in judged(*runs).dues]


def test_a_run_in_which_all_is_well() -> None:
    """The alarm came, from the right node, with the right part, and so did its end."""
    found = judged(GOOD)
    assert found.rates == {
        "expected alarms that came": (1, 1),
        "alarms that a fault explains": (1, 1),
        "right node and part named": (1, 1),
        "end told after the heal": (1, 1),
    }
    assert found.counted[0].after_s == 4.0
    assert found.strays == ()


def test_seconds_are_divided_by_the_dilation() -> None:
    """So that runs at different paces are the same."""
    assert judged(run([CUT], DOWN, dilation=2.0)).counted[0].after_s == 2.0


def test_an_alarm_that_does_not_come_is_named() -> None:
    """With the fault and the node that should have told it; nothing is said of its node and its end."""
    found = judged(run([CUT]))
    assert [one.text for one in found.missing] == ["X1/run-1: link.cut on a.priv0, 10.0 s: link_down from a or b"]
    assert found.rates["right node and part named"] == found.rates["end told after the heal"] == (0, 0)
    assert found.counted[0].after_s is None


def test_an_alarm_before_the_fault_is_not_of_it() -> None:
    """Neither as its alarm nor as something that it explains."""
    found = judged(run([CUT], alert("link_down", "b", 9.9, "link priv0")))
    assert len(found.missing) == len(found.false_alarms) == 1


def test_what_nothing_explains_is_named() -> None:
    """An alarm counts against the figure; an all-clear is named beside it."""
    found = judged(run([CUT], DOWN, UP, alert("fan_failed", "a", 20.0, "Fan 1"), alert("fan_failed_over", "a", 90.0)))
    assert found.rates["alarms that a fault explains"] == (1, 2)
    assert [one.text for one in found.false_alarms] == ["X1/run-1: fan_failed from a, 20.0 s"]
    assert [one.alert.code for one in found.false_clears] == ["fan_failed_over"]


def test_the_wrong_node_is_found_and_not_explained() -> None:
    """The alarm came, but it sends a person to the wrong machine."""
    found = judged(run([fault("disk.hang", "a")], alert("copy_lost", "b", 20.0, "VM web")))
    assert (len(found.missing), len(found.wrong), len(found.false_alarms)) == (0, 1, 1)


def test_a_part_that_is_not_named_is_found() -> None:
    """Where the text is known; where it is not, the node alone counts."""
    gone = fault("disk.gone", "a", disk="vdc")
    texts = ["1 of 2 halves: /dev/vdb is out of it", "1 of 2 halves: /dev/vdc is out of it", ""]
    found = judged(*(run([gone], alert("mirror_degraded", "a", 12.0, text)) for text in texts))
    assert [one.right for one in found.counted] == [False, True, True]


def test_the_right_one_of_several_is_taken() -> None:
    """Of the right node, and the first of those."""
    gone = fault("disk.gone", "a", disk="vdc")
    told = [(11.0, "b", "vdc"), (12.0, "a", "vdb"), (13.0, "a", "vdc"), (14.0, "a", "vdc")]
    found = judged(run([gone], *(alert("mirror_degraded", node, at_s, text) for at_s, node, text in told)))
    assert found.counted[0].came is not None
    assert found.counted[0].came.at_s == 13.0


@pytest.mark.parametrize(
    ("end_s", "ended_s", "cleared"),
    [(70.0, 300.0, True), (50.0, 300.0, False), (None, 300.0, False), (None, 100.0, None), (50.0, 100.0, None)],
)
def test_the_end_comes_after_the_heal(end_s: float | None, ended_s: float, cleared: bool | None) -> None:
    """One that comes before it is no end; a run that did not wait for it says nothing."""
    ends = [] if end_s is None else [alert("link_up", "b", end_s)]
    assert judged(run([CUT], DOWN, *ends, ended_s=ended_s)).counted[0].cleared is cleared


def test_what_mends_itself_may_be_over_before_the_heal() -> None:
    """An address that is put back at once; but not before it was told that it is gone."""
    gone = fault("linux.address_deleted", "a")
    failed, restored = alert("address_failed", "a", 12.0, "The service address"), alert("address_restored", "a", 13.0)
    assert judged(run([gone], failed, restored)).counted[0].cleared is True
    assert judged(run([gone], failed, alert("address_restored", "a", 11.0))).counted[0].cleared is False
    assert judged(run([gone], failed, alert("address_restored", "b", 13.0))).counted[0].cleared is False


def test_a_fault_that_is_over_too_soon_need_not_be_told() -> None:
    """Nor one at the end of a run; at a dilation it has to last so much longer."""
    short = fault("link.cut", "a.priv0", 10.0, 15.9)
    assert lefts(run([short])) == [Left.SHORT]
    assert lefts(run([fault("link.cut", "a.priv0", 10.0, 16.1)])) == [None]
    assert lefts(run([fault("link.cut", "a.priv0", 10.0, 16.1)], dilation=2.0)) == [Left.SHORT]
    assert lefts(run([fault("link.cut", "a.priv0", 10.0, None)], ended_s=15.0)) == [Left.SHORT]
    assert judged(run([short], DOWN)).strays == ()  # it may come all the same


def test_a_node_that_is_down_tells_nobody() -> None:
    """Both died within a moment; a node that boots is silent, too."""
    both = [fault("node.kill", "a", 10.0, 90.0), fault("node.kill", "b", 10.1, 90.0)]
    assert set(lefts(run(both))) == {Left.NOBODY}
    boots = [fault("power.reset", "b", 10.0, 15.0), fault("disk.gone", "b", 20.0, disk="vdb")]
    assert lefts(run(boots))[-1] is Left.NOBODY
    boots = [fault("power.reset", "b", 10.0, 15.0), fault("disk.gone", "b", 60.0, 90.0, disk="vdb")]
    assert lefts(run(boots))[-1] is None
    stands = [fault("process.stop", "b/daemon", 10.0, 90.0), fault("disk.gone", "b", 60.0, 90.0, disk="vdb")]
    assert lefts(run(stands))[-1] is Left.NOBODY
    other = [fault("disk.gone", "b", 60.0, 90.0, disk="vdb"), fault("disk.hang", "a", 61.0, 90.0)]
    assert lefts(run(other)) == [None, None]


def test_only_a_whole_pair_tells_that_it_is_not_whole_any_more() -> None:
    """A backup that dies a second time before the copies are equal was lost already."""
    twice = [fault("power.cut", "b", 10.0, 40.0), fault("power.cut", "b", 100.0, 140.0)]
    assert lefts(run(twice)) == [None, None, Left.NOT_WHOLE, Left.NOT_WHOLE]
    assert lefts(run(twice, alert("protected", "a", 90.0))) == [None] * 4
    assert lefts(run(twice, alert("protected", "a", 30.0)))[2:] == [Left.NOT_WHOLE] * 2
    harmless = [fault("link.duplicate", "a.priv0", 10.0, 200.0), fault("power.cut", "b", 100.0, 140.0)]
    assert lefts(run(harmless)) == [None, None]


def test_what_a_node_has_told_twice_is_counted_up() -> None:
    """A third one in the hour may be held back."""
    orders = [fault("person.orders", "a", at_s, at_s, order="reset-device") for at_s in (10.0, 20.0, 30.0)]
    told = [alert("operator_reset_device", "a", at_s) for at_s in (11.0, 21.0)]
    assert lefts(run(orders, *told)) == [None, None, Left.GROUPED]
    assert lefts(run(orders, told[0])) == [None, None, None]


def test_a_repeated_fault_wants_an_alarm_of_its_own() -> None:
    """What came for the second order is not what came for the first."""
    orders = [fault("person.orders", "a", at_s, at_s, order="reset-device") for at_s in (10.0, 20.0)]
    found = judged(run(orders, alert("operator_reset_device", "a", 21.0)))
    assert [one.came is None for one in found.counted] == [True, False]


def test_two_disks_that_hang_together_are_one_alarm() -> None:
    """Both faults demand the same of the same node at the same time."""
    both = [fault("disk.hang", "b", 10.0, disk="vdb"), fault("disk.hang", "b", 10.1, disk="vdc")]
    assert lefts(run(both, alert("copy_lost", "b", 20.0, "VM web"))) == [None, Left.AGAIN]
    apart = [both[0], fault("disk.hang", "b", 100.0, 150.0, disk="vdb")]
    assert lefts(run(apart)) == [None, None]


def test_runs_that_prove_nothing_are_left_out() -> None:
    """They are counted by their verdict; a run that failed is judged."""
    others = [run([CUT], verdict=verdict) for verdict in (Verdict.INCONCLUSIVE, Verdict.INVALID_HOST, Verdict.FAIL)]
    found = judged(GOOD, *others)
    assert len(found.runs) == 2
    assert found.left_out == ("inconclusive", "invalid-host")
    assert found.rates["expected alarms that came"] == (1, 2)


def test_a_fault_that_is_unseen_demands_nothing() -> None:
    """It is listed with its case, and what follows of it is explained."""
    found = judged(run([fault("process.kill", "a/daemon")], alert("protected", "b", 14.0)))
    assert (found.dues, found.strays, len(found.unseen)) == ((), (), 1)


def test_a_fault_of_another_version_is_passed_over() -> None:
    """It demands nothing and explains nothing."""
    found = judged(run([fault("disk.eaten", "a")], alert("link_down", "b", 14.0)))
    assert (found.dues, len(found.false_alarms)) == ((), 1)
