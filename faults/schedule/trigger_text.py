"""Triggers as they stand in a schedule file: JSON objects to values and back; pure.

Every refusal says what is possible. What was left out is filled in here once, so that a trigger that was read and is
written again says everything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar, assert_never

from faults.parameters import nearest
from faults.schedule.trigger import (  # fmt: skip
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
from faults.targets import ROLES
from testbed.errors import UsageError
from testbed.milestones import MILESTONES
from testbed.site import NODES
from testbed.vocabulary import ALERT_CODES

Word = TypeVar("Word", bound=str)
START = "start"
WITHIN_S = 120.0  # a resynchronisation or a boot under emulation takes some 20 s, a takeover 20 s
TIME_S_MAX = 86_400.0
NTH_MAX = 1_000_000
STEP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
EVENT_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,59}")
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
        if of is None and "within_s" in given:
            raise UsageError(f"{key}: within_s has no meaning for a time since the start, which always comes.")
        within_s = None if of is None or of == Anchor(own) else _within(given, key)
        return Trigger(_time(given["after_s"], f"{key}: after_s"), of, None, within_s)
    event = parse_event(given, key)
    return Trigger(_time(given.get("delay_s", 0.0), f"{key}: delay_s"), of, event, _within(given, key))


def trigger_fields(trigger: Trigger, own: str) -> dict[str, object]:
    """Return the JSON object of a trigger, with everything that `parse_trigger` would fill in."""
    time = trigger.delay_s
    amount: object = [time.low_s, time.high_s] if isinstance(time, Range) else time
    of = {"of": START if trigger.of is None else trigger.of.text()}
    if trigger.event is None:
        within = {} if trigger.of in (None, Anchor(own)) else {"within_s": trigger.within_s}
        return {"after_s": amount, **of, **within}
    return {**event_fields(trigger.event), "delay_s": amount, **of, "within_s": trigger.within_s}


def only(given: Mapping[str, object], known: Iterable[str], where: str) -> None:
    """Refuse keys that nobody knows."""
    listed = sorted(known)
    for key in given:
        if key not in listed:
            raise UsageError(f"{where} has no key {key!r}{nearest(key, listed)}; possible are {', '.join(listed)}.")


def is_number(value: object) -> bool:
    """Say whether this is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_node(given: object, where: str) -> str:
    """Return the name or role of a node."""
    possible = (*ROLES, *NODES)
    if not isinstance(given, str) or given not in possible:
        raise UsageError(f"{where} must be a node, not {given!r}; possible are {', '.join(possible)}.")
    return given


def _seconds(given: object, where: str) -> float:
    if not isinstance(given, int | float) or not is_number(given) or not 0 <= given <= TIME_S_MAX:
        raise UsageError(f"{where} must be a number of seconds from 0 to {TIME_S_MAX:g}, not {given!r}.")
    return float(given)


def _time(given: object, where: str) -> Time:
    if not isinstance(given, list):
        return _seconds(given, where)
    if len(given) != 2:
        raise UsageError(f"{where} must be a time, or [least, most] for one that the seed draws, not {given!r}.")
    low_s, high_s = _seconds(given[0], where), _seconds(given[1], where)
    if low_s > high_s:
        raise UsageError(f"{where} must be [least, most]; {given!r} is the other way round.")
    return Range(low_s, high_s)


def _within(given: Mapping[str, object], key: str) -> float:
    within_s = _seconds(given.get("within_s", WITHIN_S), f"{key}: within_s")
    if within_s == 0:
        raise UsageError(f"{key}: within_s must be more than 0, or nothing could come in time.")
    return within_s


def parse_anchor(given: object, key: str) -> Anchor | None:
    """Return the moment of a step that a text names, None for the start; raises UsageError."""
    if given == START:
        return None
    if isinstance(given, str):
        step, dot, moment = given.partition(".")
        if STEP_NAME.fullmatch(step) and (not dot or moment in list(Moment)):
            return Anchor(step, Moment(moment) if dot else Moment.INJECTED)
    moments = ", ".join(f"NAME.{moment.value}" for moment in Moment)
    raise UsageError(f"{key}: of must name a moment of a step, not {given!r}; possible are {START}, NAME, {moments}.")


def _nth(given: Mapping[str, object], key: str) -> int:
    nth = given.get("nth", 1)
    if not isinstance(nth, int) or isinstance(nth, bool) or not 1 <= nth <= NTH_MAX:
        raise UsageError(f"{key}: nth must be a whole number from 1 on, not {nth!r}.")
    return nth


def parse_event(given: Mapping[str, object], key: str) -> Event:
    """Return the event that an object names; raises UsageError."""
    kind = given["event"]
    if not isinstance(kind, str) or kind not in EVENT_KEYS:
        close = nearest(kind, EVENT_KEYS) if isinstance(kind, str) else ""
        raise UsageError(f"{key}: there is no event {kind!r}{close}; possible are {', '.join(EVENT_KEYS)}.")
    only(given, EVENT_KEYS[kind] | COMMON_KEYS, f"{key} with the event {kind}")
    node = check_node(given["node"], f"{key}: node") if given.get("node") is not None else None
    name = given.get("name")
    match kind:
        case "milestone":
            return Milestone(_listed(name, tuple(MILESTONES), "milestone", key), node, _nth(given, key))
        case "qmp":
            if not isinstance(name, str) or not EVENT_NAME.fullmatch(name):
                raise UsageError(f"{key}: name must be an event of QEMU such as RESET or STOP, not {name!r}.")
            return MachineEvent(name, node, _nth(given, key))
        case "alert":
            return AlertCame(_listed(name, ALERT_CODES, "alert with the code", key), node, _nth(given, key))
        case "resync":
            percent = given.get("percent")
            if not isinstance(percent, int | float) or not is_number(percent) or not 0 <= percent <= 100:
                raise UsageError(f"{key}: percent must be a number from 0 to 100, not {percent!r}.")
            return Resync(float(percent), node)
    return ServiceChange(Change(kind), _nth(given, key))


def _listed(name: object, words: tuple[Word, ...], what: str, key: str) -> Word:
    """Return one of the words that the product publishes; raises UsageError with the nearest one."""
    for word in words:
        if name == word:
            return word
    close = nearest(name, words) if isinstance(name, str) else ""
    raise UsageError(f"{key}: there is no {what} {name!r}{close}; possible are {', '.join(words)}.")


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
