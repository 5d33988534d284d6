"""What a schedule demands beyond its verdict: how often something must, and may, be seen of the product; pure.

A demand counts what the history recorded: milestones, machine events, alerts that the service centre has. Without
anchors it counts from the first fault to the end of the run. It must never count what came before a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from faults.registry import resolve_node
from faults.schedule.trigger import AlertCame, Anchor, Event, MachineEvent, Milestone, Moment, event_text, matching
from testbed.history import HistoryRecord

ONE_EVENT_S = 2.0  # a machine tells of one reboot up to three times within 50 ms, and boots for many seconds

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


def unmet(demands: Iterable[Demand], records: Sequence[HistoryRecord], first_s: float, moments: Moments) -> list[str]:
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


def _often(event: Event, records: Sequence[HistoryRecord]) -> int:
    seen = matching(event, records)
    if not isinstance(event, MachineEvent):
        return len(seen)
    return sum(later.t_s - before.t_s > ONE_EVENT_S for before, later in pairwise(seen)) + bool(seen)
