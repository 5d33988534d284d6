"""When something of a schedule is due: a time, or an event that was observed; found in the records of a run. Pure.

A trigger is counted from its anchor: the start of the schedule, or a moment of another step. Records before the anchor
never fire it. This module must never wait: `testbed.wait` does, with `EventWatch.seen` as its predicate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, assert_never

from testbed import vocabulary
from testbed.history import HistoryRecord
from testbed.milestones import milestone_of

RESYNC_KIND = "progress"  # a record `resync.<node> progress percent=...`: how much of its copy is equal again


class Moment(StrEnum):
    """A moment of a step."""

    INJECTED = "injected"
    CONFIRMED = "confirmed"
    HEALED = "healed"


class Change(StrEnum):
    """What the client's probe can tell of the service."""

    BEGAN = "outage_began"
    ENDED = "outage_ended"


@dataclass(frozen=True)
class Range:
    """A time that the seed draws, in a template."""

    low_s: float
    high_s: float


Time: TypeAlias = float | Range


@dataclass(frozen=True)
class Anchor:
    """A moment of a step, from which something is counted."""

    step: str
    moment: Moment = Moment.INJECTED

    def text(self) -> str:
        """Return `cut1` or `cut1.healed`."""
        return self.step if self.moment is Moment.INJECTED else f"{self.step}.{self.moment.value}"


@dataclass(frozen=True)
class Milestone:
    """The product's journal on a node (or on any) passes a published milestone for the nth time."""

    name: vocabulary.Milestone
    node: str | None = None
    nth: int = 1


@dataclass(frozen=True)
class Resync:
    """The resynchronisation of a node (or of any) has reached this share."""

    percent: float
    node: str | None = None


@dataclass(frozen=True)
class ServiceChange:
    """The client sees the service go, or come back after it was gone."""

    change: Change
    nth: int = 1


@dataclass(frozen=True)
class MachineEvent:
    """The machine of a node (or of any) tells an event."""

    name: str
    node: str | None = None
    nth: int = 1


@dataclass(frozen=True)
class AlertCame:
    """The service centre stores an alert with this code, of a node (or of any)."""

    code: vocabulary.AlertCode
    node: str | None = None
    nth: int = 1


Event: TypeAlias = Milestone | Resync | ServiceChange | MachineEvent | AlertCame


@dataclass(frozen=True)
class Trigger:
    """Due `delay_s` after its anchor (None: the start of the schedule), or after the event that follows the anchor.

    `within_s` is how long the anchor and the event may each take; None only where nothing has to come.
    """

    delay_s: Time = 0.0
    of: Anchor | None = None
    event: Event | None = None
    within_s: float | None = None

    def due_at_s(self, matched_at_s: float) -> float:
        """When it is due, from the time of the anchor (or of the event, if there is one)."""
        assert not isinstance(self.delay_s, Range), "a template must be expanded first"
        return matched_at_s + self.delay_s


class EventWatch:
    """Looks at records one after the other, for one event; `earlier` is what came before the anchor."""

    def __init__(self, event: Event, earlier: Iterable[HistoryRecord] = ()) -> None:
        self._event = event
        self._count = 0
        self._is_down = False
        for record in earlier:
            self._note(record)

    def seen(self, record: HistoryRecord) -> bool:
        """Say whether this record is the one; give each record once, in order."""
        if not self.fits(record):
            return False
        self._count += 1
        return self._count == (1 if isinstance(self._event, Resync) else self._event.nth)

    def fits(self, record: HistoryRecord) -> bool:
        """Say whether this record is such an event, the first or a later one; give each record once, in order."""
        fits = self._is_match(record)
        self._note(record)
        return fits

    def _note(self, record: HistoryRecord) -> None:
        if record.source == "probe" and record.kind in ("down", "up"):
            self._is_down = record.kind == "down"

    def _is_match(self, record: HistoryRecord) -> bool:
        area, _, node = record.source.partition(".")
        match self._event:
            case Milestone(name=name, node=wanted):
                return area == "journal" and wanted in (None, node) and milestone_of(record) == name
            case Resync(percent=percent, node=wanted):
                share = record.fields.get("percent")
                there = area == "resync" and record.kind == RESYNC_KIND and wanted in (None, node)
                return there and isinstance(share, int | float) and share >= percent
            case ServiceChange(change=Change.BEGAN):
                return record.source == "probe" and record.kind == "down"
            case ServiceChange(change=Change.ENDED):  # the first "up" of a run ends no outage
                return record.source == "probe" and record.kind == "up" and self._is_down
            case MachineEvent(name=name, node=wanted):
                is_event = area == "qmp" and record.kind == "event" and wanted in (None, node)
                return is_event and record.fields.get("event") == name
            case AlertCame(code=code, node=wanted):
                told = record.source == "call_home" and record.kind == "received" and not record.fields.get("repeat")
                return told and record.fields.get("code") == code and wanted in (None, record.fields.get("node"))
            case ServiceChange():
                raise AssertionError(self._event)
            case _:
                assert_never(self._event)


def matching(event: Event, records: Iterable[HistoryRecord]) -> list[HistoryRecord]:
    """Return every record of these that is such an event, whichever of them it asks for."""
    watch = EventWatch(event)
    return [record for record in records if watch.fits(record)]


def find(event: Event, records: Sequence[HistoryRecord], *, after: int = 0) -> HistoryRecord | None:
    """Return the record from index `after` on at which the event came, or None."""
    watch = EventWatch(event, records[:after])
    return next((record for record in records[after:] if watch.seen(record)), None)


def describe(trigger: Trigger) -> str:
    """Return a trigger as a person reads it, for the terminal and for `what was awaited`."""
    delay = _time_text(trigger.delay_s)
    anchor = "the start" if trigger.of is None else f"{trigger.of.step} was {trigger.of.moment.value}"
    if trigger.event is None:
        return f"{delay} after {anchor}"
    late = "" if trigger.delay_s == 0 else f"{delay} after "
    return f"{late}{event_text(trigger.event)}, counted from {anchor}, within {trigger.within_s:g} s"


def _time_text(time: Time) -> str:
    return f"{time.low_s:g} to {time.high_s:g} s" if isinstance(time, Range) else f"{time:g} s"


def event_text(event: Event) -> str:
    """Return an event as a person reads it."""
    where = "" if isinstance(event, ServiceChange) or event.node is None else f" of node {event.node}"
    nth = "" if isinstance(event, Resync) or event.nth == 1 else f" number {event.nth}"
    match event:
        case Milestone(name=name):
            return f"milestone {name}{where}{nth}"
        case Resync(percent=percent):
            return f"{percent:g} % of the resynchronisation{where}"
        case ServiceChange(change=change):
            return f"{change.value}{nth}"
        case MachineEvent(name=name):
            return f"machine event {name}{where}{nth}"
        case AlertCame(code=code):
            return f"alert {code}{where}{nth}"
    assert_never(event)
