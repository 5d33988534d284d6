"""Triggers and demands as they stand in a schedule file: JSON objects to values and back; pure.

What was left out is filled in here once, so that a trigger that was read and is written again says everything. The
shape of an object is checked here, and what its values may be in `checks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from faults.parameters import nearest
from faults.schedule.checks import NAME, START, TIME_S_MAX, check_demand, check_trigger, is_number, needs_deadline
from faults.schedule.demand import Demand
from faults.schedule.trigger import (
    AlertCame,
    Anchor,
    Change,
    Event,
    MachineEvent,
    Milestone,
    Moment,
    Range,
    Resync,
    ServiceChange,
    Time,
    Trigger,
)
from testbed.errors import UsageError

WITHIN_S = 120.0  # a resynchronisation or a boot under emulation takes some 20 s, a takeover 20 s
EVENT_KEYS = {
    "milestone": {"name", "node", "nth"},
    "resync": {"percent", "node"},
    "qmp": {"name", "node", "nth"},
    "alert": {"name", "node", "nth"},
    Change.BEGAN.value: {"nth"},
    Change.ENDED.value: {"nth"},
}
COMMON_KEYS = {"event", "delay_s", "of", "within_s"}
TIME_KEYS = {"after_s", "of", "within_s"}
DEMAND_EVENTS = ("milestone", "qmp", "alert")
DEMAND_KEYS = ("event", "name", "node", "least", "most", "of", "before")


def parse_trigger(given: object, key: str, own: str) -> Trigger:
    """Return the trigger under the key `when` or `until` of the step `own`; raises UsageError.

    Without `of` it counts from the start of the schedule in `when`, and from the injection of this step in `until`.
    """
    if not isinstance(given, dict) or ("after_s" in given) == ("event" in given):
        raise UsageError(
            f'{key} must be an object with either a time, as {{"after_s": 3.0}}, or an event, as '
            f'{{"event": "milestone", "name": "vm_running", "node": "backup"}}; events are {", ".join(EVENT_KEYS)}.'
        )
    default = Anchor(own) if key == "until" else None
    of = parse_anchor(given["of"], key) if "of" in given else default
    if "after_s" in given:
        only(given, TIME_KEYS, key)
        trigger = Trigger(_time(given["after_s"], f"{key}: after_s"), of, None, None)
    else:
        trigger = Trigger(_time(given.get("delay_s", 0.0), f"{key}: delay_s"), of, parse_event(given, key), None)
    if needs_deadline(trigger, own) or (of is None and "within_s" in given):
        within_s = _number(given.get("within_s", WITHIN_S))
        trigger = Trigger(trigger.delay_s, of, trigger.event, within_s)
    check_trigger(trigger, key, own)
    return trigger


def trigger_fields(trigger: Trigger, own: str) -> dict[str, object]:
    """Return the JSON object of a trigger, with everything that `parse_trigger` would fill in."""
    time = trigger.delay_s
    amount: object = [time.low_s, time.high_s] if isinstance(time, Range) else time
    of = {"of": START if trigger.of is None else trigger.of.text()}
    if trigger.event is None:
        within = {"within_s": trigger.within_s} if needs_deadline(trigger, own) else {}
        return {"after_s": amount, **of, **within}
    return {**event_fields(trigger.event), "delay_s": amount, **of, "within_s": trigger.within_s}


def only(given: Mapping[str, object], known: Iterable[str], where: str) -> None:
    """Refuse keys that nobody knows."""
    listed = sorted(known)
    for key in given:
        if key not in listed:
            raise UsageError(f"{where} has no key {key!r}{nearest(key, listed)}; possible are {', '.join(listed)}.")


def parse_anchor(given: object, key: str) -> Anchor | None:
    """Return the moment of a step that a text names, None for the start; raises UsageError."""
    if given == START:
        return None
    if isinstance(given, str):
        step, dot, moment = given.partition(".")
        if NAME.fullmatch(step) and (not dot or moment in list(Moment)):
            return Anchor(step, Moment(moment) if dot else Moment.INJECTED)
    moments = ", ".join(f"NAME.{moment.value}" for moment in Moment)
    raise UsageError(f"{key}: of must name a moment of a step, not {given!r}; possible are {START}, NAME, {moments}.")


def parse_event(given: Mapping[str, Any], key: str) -> Event:
    """Return the event that an object names, its values not yet checked; raises UsageError for another shape."""
    kind = given["event"]
    if not isinstance(kind, str) or kind not in EVENT_KEYS:
        close = nearest(kind, EVENT_KEYS) if isinstance(kind, str) else ""
        raise UsageError(f"{key}: there is no event {kind!r}{close}; possible are {', '.join(EVENT_KEYS)}.")
    only(given, EVENT_KEYS[kind] | COMMON_KEYS, f"{key} with the event {kind}")
    name, node, nth = given.get("name"), given.get("node"), given.get("nth", 1)
    match kind:
        case "milestone":
            return Milestone(name, node, nth)  # type: ignore[arg-type] # checked by whoever asks
        case "qmp":
            return MachineEvent(name, node, nth)  # type: ignore[arg-type] # as above
        case "alert":
            return AlertCame(name, node, nth)  # type: ignore[arg-type] # as above
        case "resync":
            return Resync(_number(given.get("percent")), node)
    return ServiceChange(Change(kind), nth)


def event_fields(event: Event) -> dict[str, object]:
    """Return the JSON object of an event."""
    match event:
        case Milestone():
            return {"event": "milestone", "name": event.name, "node": event.node, "nth": event.nth}
        case Resync():
            return {"event": "resync", "percent": event.percent, "node": event.node}
        case ServiceChange():
            return {"event": event.change.value, "nth": event.nth}
        case MachineEvent():
            return {"event": "qmp", "name": event.name, "node": event.node, "nth": event.nth}
        case AlertCame():
            return {"event": "alert", "name": event.code, "node": event.node, "nth": event.nth}
    assert_never(event)


def parse_demand(given: object) -> Demand:
    """Return the demand of a JSON object; raises UsageError."""
    if not isinstance(given, dict) or given.get("event") not in DEMAND_EVENTS:
        raise UsageError(
            'a demand must be an object as {"event": "qmp", "name": "RESET", "node": "backup", "most": 1}; events are '
            f"{', '.join(DEMAND_EVENTS)}."
        )
    only(given, DEMAND_KEYS, "a demand")
    event = parse_event({key: given[key] for key in ("event", "name", "node") if key in given}, "demand")
    assert isinstance(event, Milestone | MachineEvent | AlertCame), "the events are these three"
    of, before = (parse_anchor(given[key], "demand") if key in given else None for key in ("of", "before"))
    demand = Demand(event, given.get("least", 0), given.get("most"), of, before)
    check_demand(demand)
    return demand


def demand_fields(demand: Demand) -> dict[str, object]:
    """Return the JSON object of a demand."""
    made = {key: value for key, value in event_fields(demand.event).items() if key != "nth" and value is not None}
    made |= {"least": demand.least} if demand.least else {}
    made |= {"most": demand.most} if demand.most is not None else {}
    made |= {"of": demand.of.text()} if demand.of is not None else {}
    return made | ({"before": demand.before.text()} if demand.before is not None else {})


def _time(given: Any, where: str) -> Time:  # noqa: ANN401 - of JSON
    times = [_number(one) for one in given] if isinstance(given, list) else [_number(given)]
    if isinstance(given, list) and len(times) != 2:
        raise UsageError(f"{where} must be a time, or [least, most] for one that the seed draws, not {given!r}.")
    return Range(*times) if isinstance(given, list) else times[0]


def _number(given: Any) -> float:  # noqa: ANN401 - of JSON
    """A number as a float; whatever else, and what no float can hold, as it is, for the check to refuse."""
    return float(given) if is_number(given) and abs(given) <= TIME_S_MAX else given
