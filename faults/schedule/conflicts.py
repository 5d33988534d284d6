"""Which steps of a schedule cannot be together, with the reason; pure.

A fault says of itself what the others have to know (`faults.fault.Trait`). What cannot be known before a run (two
events of which nobody knows the order) is refused only where it would wedge a machine or make one fault undo the other;
elsewhere the fault's own `prepare` refuses, and the run is inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from faults.fault import Trait
from faults.registry import find, nodes_of
from faults.schedule.step import Step
from faults.schedule.trigger import Anchor, Moment, Range, Time, Trigger

STANDBY_POWER = frozenset({"bmc", "hardware"})  # families that work while their node is off
MET_AT_RETURN = frozenset({"link", "disk"})  # families that a node meets when it is switched on again
# Families that need no help of a node that stands still; of the others only what says so (ASKS_NO_NODE).
POSSIBLE_FAMILIES = MET_AT_RETURN | STANDBY_POWER


@dataclass(frozen=True)
class _Times:
    """Between which times, from the start of the schedule, a step begins and ends."""

    begin: tuple[float, float]
    end: tuple[float, float]


class PartialOrder:
    """What is certain about the order of steps, by who waits for whom and by their times."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._times: dict[str, _Times] = {}
        self._before: dict[Anchor, frozenset[Anchor]] = {}  # what is certainly over at a begin or an end
        for step in steps:
            begin, end = Anchor(step.name), Anchor(step.name, Moment.HEALED)
            self._before[begin] = self._over_at(step.when.of)
            first = self._window(step.when)
            self._times[step.name] = _Times(first, (first[0], math.inf))
            until = step.until
            self._before[end] = self._before[begin] | {begin} | (self._over_at(until.of) if until else frozenset())
            last = (math.inf, math.inf) if until is None else self._window(until)
            self._times[step.name] = _Times(first, (max(first[0], last[0]), last[1]))

    def waits(self, first: Step, second: Step) -> bool:
        """Say whether one of the two begins only after the other was healed, because it waits for that."""
        return self._ends_before(first, second) or self._ends_before(second, first)

    def apart(self, first: Step, second: Step) -> bool:
        """Say whether the two are never there together, by waiting or by their times."""
        one, two = self._times[first.name], self._times[second.name]
        return self.waits(first, second) or one.end[1] <= two.begin[0] or two.end[1] <= one.begin[0]

    def during(self, first: Step, second: Step) -> bool:
        """Say whether the second certainly begins while the first is there."""
        one, two = self._times[first.name], self._times[second.name]
        later = Anchor(first.name) in self._before[Anchor(second.name)] or one.begin[1] <= two.begin[0]
        return later and not self.apart(first, second) and one.end[0] >= two.begin[1]

    def _ends_before(self, first: Step, second: Step) -> bool:
        return Anchor(first.name, Moment.HEALED) in self._before[Anchor(second.name)]

    def _over_at(self, of: Anchor | None) -> frozenset[Anchor]:
        """Begins and ends that are over when this anchor comes."""
        if of is None:
            return frozenset()
        point = of if of.moment is Moment.HEALED else Anchor(of.step)
        return self._before[point] | {point}

    def _window(self, trigger: Trigger) -> tuple[float, float]:
        least_s, most_s = _bounds(trigger.delay_s)
        from_s, to_s = 0.0, 0.0
        if trigger.of is not None:
            times = self._times[trigger.of.step]
            from_s, to_s = times.end if trigger.of.moment is Moment.HEALED else times.begin
            to_s = math.inf if trigger.of.moment is Moment.CONFIRMED else to_s  # proving it takes its time
        if trigger.event is not None:
            assert trigger.within_s is not None, "an event has a deadline"
            to_s += trigger.within_s
        return from_s + least_s, to_s + most_s


def first_conflict(steps: Sequence[Step]) -> str | None:
    """Return why the last step cannot be together with an earlier one, or None when it can."""
    order, last = PartialOrder(steps), steps[-1]
    for earlier in steps[:-1]:
        for rule in RULES:
            for first, second in ((earlier, last), (last, earlier)):
                reason = rule(first, second, order)
                if reason is not None:
                    return reason
    return None


def _off_for_ever(first: Step, second: Step, order: PartialOrder) -> str | None:
    shared = nodes_of(first.target) & nodes_of(second.target)
    if not shared or not _has(first, Trait.SWITCHES_OFF) or not order.during(first, second):
        return None
    family = find(second.fault).family
    if family in STANDBY_POWER or (family in MET_AT_RETURN and first.until is not None):
        return None
    where = " and ".join(sorted(shared))
    how = "for ever, because it has no until" if first.until is None else "until it is healed"
    return (
        f"{second.name} ({second.fault} on {second.target}) comes while {where} is off {how} ({first.name}, "
        f'{first.fault}). Give {first.name} an until and let {second.name} wait with "of": "{first.name}.healed", '
        "or choose the other node."
    )


def _wedge(first: Step, second: Step, order: PartialOrder) -> str | None:
    together = _has(first, Trait.HANGS_DISK) and _has(second, Trait.DRAINS_DISKS) and _same_node(first, second)
    if not together or order.waits(first, second):
        return None
    return (
        f"{second.name} ({second.fault}) makes QEMU wait for the disk that {first.name} lets hang, and wedges it. Let "
        f'one wait for the other, as "of": "{first.name}.healed"; possible beside a hanging disk are node.freeze, '
        "node.kill and link faults."
    )


def _released(first: Step, second: Step, order: PartialOrder) -> str | None:
    together = _has(first, Trait.HANGS_DISK) and _has(second, Trait.RELEASES_DISKS) and _same_node(first, second)
    if not together or order.apart(first, second):
        return None
    return (
        f"{second.name} ({second.fault}) releases the disk that {first.name} lets hang. Heal {first.name} before, or "
        "use node.kill, which leaves the disks alone."
    )


def _still_twice(first: Step, second: Step, order: PartialOrder) -> str | None:
    both = _has(first, Trait.HOLDS_MACHINE) and _has(second, Trait.HOLDS_MACHINE)
    if not both or not _same_node(first, second) or order.apart(first, second):
        return None
    return (
        f"{first.name} ({first.fault}) and {second.name} ({second.fault}) may hold {first.target} at once, and the "
        f'heal of one cannot reach a node that the other holds. Let one wait, as "of": "{first.name}.healed".'
    )


def _not_reachable(first: Step, second: Step, order: PartialOrder) -> str | None:
    if not _has(first, Trait.STANDS_STILL) or not _same_node(first, second) or not order.during(first, second):
        return None
    if _has(first, Trait.SILENCES_QMP) and _has(second, Trait.NEEDS_QMP):
        why = "its machine cannot be commanded while its process is stopped"
    elif find(second.fault).family in POSSIBLE_FAMILIES or _has(second, Trait.ASKS_NO_NODE):
        return None
    else:
        why = "a node that stands still cannot take part in it"
    return (
        f"{second.name} ({second.fault} on {second.target}) comes while {first.name} ({first.fault}) holds the node: "
        f"{why}. Begin {second.name} before, or after {first.name}.healed."
    )


def _same_port(first: Step, second: Step, order: PartialOrder) -> str | None:
    links = find(first.fault).family == find(second.fault).family == "link"
    shared = _ways(first) & _ways(second)
    if not links or first.target != second.target or not shared or order.apart(first, second):
        return None
    return (
        f"{first.name} ({first.fault}) and {second.name} ({second.fault}) are both on {first.target} "
        f"({' and '.join(sorted(shared))}), and neither could be proved. Possible are different directions, the port "
        f'at the other end, or "of": "{first.name}.healed".'
    )


def _same_disk(first: Step, second: Step, order: PartialOrder) -> str | None:
    disks = find(first.fault).family == find(second.fault).family == "disk"
    same = disks and _same_node(first, second) and _disk(first) == _disk(second)
    if not same or order.apart(first, second):
        return None
    return (
        f"{first.name} ({first.fault}) and {second.name} ({second.fault}) are both on disk {_disk(first)} of "
        f"{first.target}, and the heal of one takes back the other. Possible are another disk, or "
        f'"of": "{first.name}.healed".'
    )


def _same_witness(first: Step, second: Step, order: PartialOrder) -> str | None:
    witnesses = find(first.fault).family == find(second.fault).family == "witness"
    if not witnesses or first.target != second.target or order.apart(first, second):
        return None
    return (
        f"{first.name} ({first.fault}) and {second.name} ({second.fault}) are both on witness {first.target}, and the "
        f'one that starts it again undoes the other. Possible are the other witness, or "of": "{first.name}.healed".'
    )


def _same_fault(first: Step, second: Step, order: PartialOrder) -> str | None:
    if (first.fault, first.target) != (second.fault, second.target) or find(first.fault).family in ("disk", "link"):
        return None
    if order.apart(first, second):
        return None
    return (
        f"{first.name} and {second.name} are the same fault ({first.fault} on {first.target}) and may be there at "
        f'once. Let one wait, as "of": "{first.name}.healed".'
    )


RULES: tuple[Callable[[Step, Step, PartialOrder], str | None], ...] = (
    _wedge, _off_for_ever, _still_twice, _not_reachable, _released, _same_port, _same_disk, _same_witness,
    _same_fault,
)  # fmt: skip


def _has(step: Step, trait: Trait) -> bool:
    return trait in find(step.fault).traits


def _same_node(first: Step, second: Step) -> bool:
    return bool(nodes_of(first.target) & nodes_of(second.target))


def _ways(step: Step) -> frozenset[str]:
    """The directions of a port that a link fault uses; one that cannot choose uses both."""
    known = {parameter.name: parameter.default for parameter in find(step.fault).parameters}
    way = str(step.parameters.get("direction", known.get("direction", "both")))
    return frozenset({"in", "out"} if way == "both" else {way})


def _disk(step: Step) -> object:
    known = {parameter.name: parameter.default for parameter in find(step.fault).parameters}
    return step.parameters.get("disk", known.get("disk"))


def _bounds(time: Time) -> tuple[float, float]:
    return (time.low_s, time.high_s) if isinstance(time, Range) else (time, time)
