"""What a schedule demands beyond its verdict: how often something must, and may, be seen of the product; pure.

A demand counts what the history recorded: milestones, machine events, alerts that the service centre has. Without
anchors it counts from the first fault to the end of the run. It must never count what came before a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from faults.schedule.trigger import AlertCame, Anchor, Event, MachineEvent, Milestone, Moment, event_text, matching
from faults.schedule.trigger_text import NTH_MAX, event_fields, only, parse_anchor, parse_event
from faults.targets import resolve_node
from testbed.errors import UsageError
from testbed.history import Record

KINDS = ("milestone", "qmp", "alert")
ONE_EVENT_S = 2.0  # a machine tells of one reboot up to three times within 50 ms, and boots for many seconds
KEYS = ("event", "name", "node", "least", "most", "of", "before")

Moments = Mapping[tuple[str, Moment], float]


@dataclass(frozen=True)
class Demand:
    """So often, at least and at most, this has to be seen between two moments."""

    event: Milestone | MachineEvent | AlertCame
    least: int = 0
    most: int | None = None
    of: Anchor | None = None
    before: Anchor | None = None

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """The moments of steps that it names."""
        return tuple(anchor for anchor in (self.of, self.before) if anchor is not None)

    def resolved(self, roles: Mapping[str, str]) -> Demand:
        """Return it with the node in place of the role."""
        node = None if self.event.node is None else resolve_node(self.event.node, roles)
        return replace(self, event=replace(self.event, node=node))

    def text(self) -> str:
        """Return it in a few words."""
        most = "" if self.most is None else f"at most {self.most} times"
        least = "" if not self.least else f"at least {self.least} times"
        often = "never" if self.most == 0 else " and ".join(word for word in (least, most) if word)
        span = "".join(
            f" {word} {anchor.step} was {anchor.moment.value}"
            for word, anchor in (("after", self.of), ("before", self.before))
            if anchor is not None
        )
        return f"{event_text(self.event)} {often}{span}"


def parse_demand(given: object) -> Demand:
    """Return the demand of a JSON object; raises UsageError."""
    if not isinstance(given, dict) or given.get("event") not in KINDS:
        raise UsageError(
            'a demand must be an object as {"event": "qmp", "name": "RESET", "node": "backup", "most": 1}; events are '
            f"{', '.join(KINDS)}."
        )
    only(given, KEYS, "a demand")
    event = parse_event({key: given[key] for key in ("event", "name", "node") if key in given}, "demand")
    assert isinstance(event, Milestone | MachineEvent | AlertCame), "the kinds are these three"
    least, most = _number(given.get("least", 0), "least"), given.get("most")
    most = None if most is None else _number(most, "most")
    if (least == 0 and most is None) or (most is not None and most < least):
        raise UsageError("a demand needs least from 1 on, or most, and most must not be smaller than least.")
    of, before = (parse_anchor(given[key], "demand") if key in given else None for key in ("of", "before"))
    return Demand(event, least, most, of, before)


def demand_fields(demand: Demand) -> dict[str, object]:
    """Return the JSON object of a demand."""
    made = {key: value for key, value in event_fields(demand.event).items() if key != "nth" and value is not None}
    made |= {"least": demand.least} if demand.least else {}
    made |= {"most": demand.most} if demand.most is not None else {}
    made |= {"of": demand.of.text()} if demand.of is not None else {}
    return made | ({"before": demand.before.text()} if demand.before is not None else {})


def unmet(demands: Iterable[Demand], records: Sequence[Record], first_s: float, moments: Moments) -> list[str]:
    """Return each demand that was not met, with what was seen instead; a moment that never came is one too."""
    found = []
    for demand in demands:
        missing = [anchor.text() for anchor in demand.anchors if (anchor.step, anchor.moment) not in moments]
        if missing:
            found.append(f"demanded was {demand.text()}, but {' and '.join(missing)} never came")
            continue
        from_s = first_s if demand.of is None else moments[demand.of.step, demand.of.moment]
        to_s = float("inf") if demand.before is None else moments[demand.before.step, demand.before.moment]
        often = _often(demand.event, [record for record in records if from_s <= record.t_s < to_s])
        if often < demand.least or (demand.most is not None and often > demand.most):
            found.append(f"demanded was {demand.text()}; it came {often} times")
    return found


def _often(event: Event, records: Sequence[Record]) -> int:
    seen = matching(event, records)
    if not isinstance(event, MachineEvent):
        return len(seen)
    return sum(later.t_s - before.t_s > ONE_EVENT_S for before, later in pairwise(seen)) + bool(seen)


def _number(given: object, key: str) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= NTH_MAX:
        raise UsageError(f"demand: {key} must be a whole number from 0 on, not {given!r}.")
    return given
