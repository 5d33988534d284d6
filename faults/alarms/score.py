"""What the alerts of finished runs are worth: which came, which are missing, which nothing explains. Pure.

Four questions, each answered with counts: did each alarm that must come come; did each that came have a reason; did it
come from the right node and name the right part; was it told that it is over. An alarm counts only where it could come:
`Left` says why another one does not, and that is decided before anybody looks whether it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from faults import registry
from faults.alarms.finished import FinishedRun, HeardAlert, PastFault
from faults.alarms.fits import case_of, named, tellers
from faults.alarms.row import AlarmCase, AlarmDue, AlarmRow, Teller, Unseen
from faults.alarms.stories import ALL_CLEAR
from faults.fault import Trait

USABLE = ("pass", "fail")
# These nodes boot, and tell nothing meanwhile: so long at dilation 1, from the fault on.
BOOTS_S = {"power.reset": 45.0, "power.flicker": 45.0, "node.panic": 45.0, "node.hypervisor_panic": 45.0}
MUTE = ("process.stop", "node.hypervisor_hang", "node.stale_burst")  # their node tells nothing until the heal
TOLD_AT_ONCE = 2  # of one code from one node in a run; a third one in the hour may have been told before the run
HARMS = ("node", "power", "link", "disk", "process", "linux", "bmc")  # families that can take a node out of service


class Left(StrEnum):
    """Why an alarm is not counted."""

    SHORT = "the fault was over before it was due"
    NOBODY = "the node that must tell was down"
    GROUPED = "the node had told the same twice, and then counts up"
    NOT_WHOLE = "the pair was not whole before"
    AGAIN = "another fault of the run demands the same"


@dataclass(frozen=True, slots=True)
class DueResult:
    """What became of one alarm that must come. `right` and `cleared` are None where nobody can say."""

    run: FinishedRun
    fault: PastFault
    case: AlarmCase
    due: AlarmDue
    left: Left | None = None
    came: HeardAlert | None = None
    right: bool | None = None
    cleared: bool | None = None

    @property
    def after_s(self) -> float | None:
        """Seconds from the fault to the alarm, at dilation 1."""
        return None if self.came is None else (self.came.at_s - self.fault.at_s) / self.run.dilation

    @property
    def text(self) -> str:
        """For people."""
        codes = " or ".join(self.due.codes)
        nodes = " or ".join(sorted(tellers(self.due.teller, self.fault)))
        return f"{self.run.name}: {self.fault.text}, {self.fault.at_s:.1f} s: {codes} from {nodes}"


@dataclass(frozen=True, slots=True)
class StrayAlert:
    """An alert that nothing explains."""

    run: FinishedRun
    alert: HeardAlert

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.run.name}: {self.alert.code} from {self.alert.node}, {self.alert.at_s:.1f} s"


@dataclass(frozen=True, slots=True)
class AlarmScore:
    """All of it over some runs. `alarms`: how many came that are no all-clear; `left_out`: verdicts of other runs."""

    runs: tuple[FinishedRun, ...]
    left_out: tuple[str, ...]
    dues: tuple[DueResult, ...]
    unseen: tuple[tuple[FinishedRun, PastFault, AlarmCase], ...]
    alarms: int
    strays: tuple[StrayAlert, ...]

    @property
    def counted(self) -> list[DueResult]:
        """The alarms that had to come."""
        return [one for one in self.dues if one.left is None]

    @property
    def missing(self) -> list[DueResult]:
        """Of these, those that did not."""
        return [one for one in self.counted if one.came is None]

    @property
    def wrong(self) -> list[DueResult]:
        """Those that came from a wrong node, or did not name the part."""
        return [one for one in self.counted if one.right is False]

    @property
    def open_ends(self) -> list[DueResult]:
        """Those that nobody told the end of."""
        return [one for one in self.counted if one.cleared is False]

    @property
    def false_alarms(self) -> list[StrayAlert]:
        """Alarms that nothing explains."""
        return [one for one in self.strays if one.alert.code not in ALL_CLEAR]

    @property
    def false_clears(self) -> list[StrayAlert]:
        """All-clears that nothing explains."""
        return [one for one in self.strays if one.alert.code in ALL_CLEAR]

    @property
    def rates(self) -> dict[str, tuple[int, int]]:
        """The four figures: successes, of how many."""
        counted, missing = self.counted, self.missing
        right = [one for one in counted if one.right is not None]
        ended = [one for one in counted if one.cleared is not None]
        return {
            "expected alarms that came": (len(counted) - len(missing), len(counted)),
            "alarms that a fault explains": (self.alarms - len(self.false_alarms), self.alarms),
            "right node and part named": (sum(one.right is True for one in right), len(right)),
            "end told after the heal": (sum(one.cleared is True for one in ended), len(ended)),
        }


def score(runs: Iterable[FinishedRun], rows: Mapping[str, AlarmRow]) -> AlarmScore:
    """Judge the alerts of all runs by the table; what an invalid or inconclusive run says is left out."""
    used, left_out, dues, strays, unseen, alarms = [], [], [], [], [], 0
    for run in runs:
        if run.verdict.value not in USABLE:
            left_out.append(run.verdict.value)
            continue
        used.append(run)
        cases = [(fault, case_of(rows[fault.name], fault, run)) for fault in run.faults if fault.name in rows]
        found = _dues(run, cases)
        dues += found
        unseen += [(run, fault, case) for fault, case in cases if case.unseen is not None]
        alarms += sum(alert.code not in ALL_CLEAR for alert in run.alerts)
        strays += [StrayAlert(run, alert) for alert in run.alerts if not _is_explained(alert, cases)]
    return AlarmScore(tuple(used), tuple(left_out), tuple(dues), tuple(unseen), alarms, tuple(strays))


Cases = list[tuple[PastFault, AlarmCase]]


def _dues(run: FinishedRun, cases: Cases) -> list[DueResult]:
    found: list[DueResult] = []
    for fault, case in cases:
        for due in case.must:
            again = any(_is_same(one, fault, due) and one.left is None for one in found)
            left = Left.AGAIN if again else _left(run, fault, due, cases)
            found.append(_result(run, fault, case, due, left))
    return found


def _is_same(earlier: DueResult, fault: PastFault, due: AlarmDue) -> bool:
    """Two faults at the same time that demand the same of the same node, such as two disks that hang."""
    same = (earlier.due.codes, tellers(earlier.due.teller, earlier.fault), named(earlier.due, earlier.fault))
    overlaps = earlier.run.healed_s(earlier.fault) > fault.at_s
    return overlaps and same == (due.codes, tellers(due.teller, fault), named(due, fault))


def _left(run: FinishedRun, fault: PastFault, due: AlarmDue, cases: Cases) -> Left | None:
    until_s = fault.at_s + due.within_s * run.dilation
    told_by = tellers(due.teller, fault)
    if min(run.healed_s(fault), float("inf") if run.ended_s is None else run.ended_s) < until_s:
        return Left.SHORT
    if all(_is_down(run, node, fault, until_s) for node in told_by):
        return Left.NOBODY
    if due.whole and not _was_whole(run, fault, cases):
        return Left.NOT_WHOLE
    return Left.GROUPED if all(_told(run, due.codes, node, fault.at_s) for node in told_by) else None


def _is_down(run: FinishedRun, node: str, own: PastFault, until_s: float) -> bool:
    """Say whether another fault keeps a node silent at some moment between the fault and this one."""
    return any(
        node in registry.nodes_of(one.target) and one.at_s <= until_s and _silent_until(run, one) > own.at_s
        for one in run.faults
        if one is not own
    )


def _silent_until(run: FinishedRun, fault: PastFault) -> float:
    kind = registry.kinds().get(fault.name)
    traits = frozenset() if kind is None else kind.traits
    boot_s = BOOTS_S.get(fault.name)
    if boot_s is not None:
        return fault.at_s + boot_s * run.dilation
    if traits & {Trait.SWITCHES_OFF, Trait.STANDS_STILL} or fault.name in MUTE:
        return run.healed_s(fault)
    return float("-inf")


def _was_whole(run: FinishedRun, fault: PastFault, cases: Cases) -> bool:
    """Say whether each earlier harm was healed, and both copies were equal again after that."""
    for one, case in cases:
        is_harm = one.name.partition(".")[0] in HARMS and (case.must or case.unseen is Unseen.GAP)
        if one is fault or one.at_s > fault.at_s or not is_harm:
            continue
        since_s = run.healed_s(one)
        if not any(since_s < alert.at_s < fault.at_s and alert.code == "protected" for alert in run.alerts):
            return False
    return True


def _told(run: FinishedRun, codes: tuple[str, ...], node: str, before_s: float) -> bool:
    return sum(one.code in codes and one.node == node and one.at_s < before_s for one in run.alerts) >= TOLD_AT_ONCE


def _result(run: FinishedRun, fault: PastFault, case: AlarmCase, due: AlarmDue, left: Left | None) -> DueResult:
    if left is not None:
        return DueResult(run, fault, case, due, left)
    again = (one.at_s for one in run.faults if _is_repeated(fault, one))
    until_s = min(again, default=float("inf"))
    told_by, word = tellers(due.teller, fault), named(due, fault)
    heard = [one for one in run.alerts if one.code in due.codes and fault.at_s <= one.at_s < until_s]
    right = [one for one in heard if one.node in told_by and (word in one.text or not one.text)]
    if not heard:
        return DueResult(run, fault, case, due)
    came = (right or heard)[0]
    return DueResult(run, fault, case, due, None, came, bool(right), _cleared(run, fault, due, came))


def _is_repeated(fault: PastFault, other: PastFault) -> bool:
    same = (fault.name, fault.target, fault.parameters) == (other.name, other.target, other.parameters)
    return same and other.at_s > fault.at_s


def _cleared(run: FinishedRun, fault: PastFault, due: AlarmDue, came: HeardAlert) -> bool | None:
    """Say whether it was told that it is over; None where it has no end, or the run did not wait for it."""
    if not due.over:
        return None
    told_by = tellers(due.over_from, fault) if due.over_from is not Teller.EITHER else None
    from_s = came.at_s if due.mends or fault.healed_at_s is None else max(came.at_s, fault.healed_at_s)
    ends = [one for one in run.alerts if one.code in due.over and one.at_s >= from_s]
    if any(told_by is None or one.node in told_by for one in ends):
        return True
    grouped = any(_told(run, due.over, node, from_s) for node in tellers(due.over_from, fault))
    waited_s = float("inf") if run.ended_s is None else run.ended_s - run.healed_s(fault)
    return None if grouped or waited_s < due.clear_s * run.dilation else False


def _is_explained(alert: HeardAlert, cases: Cases) -> bool:
    return any(fault.at_s <= alert.at_s and _explains(case, fault, alert) for fault, case in cases)


def _explains(case: AlarmCase, fault: PastFault, alert: HeardAlert) -> bool:
    if alert.code in case.may:
        return True
    if alert.code in case.may_hit and alert.node in tellers(Teller.HIT, fault):
        return True
    return any(
        alert.code in due.over or (alert.code in due.codes and alert.node in tellers(due.teller, fault))
        for due in case.must
    )
