"""What the values of a schedule may be: times, triggers, events, demands and steps, each refused with what is possible.

Pure, and the one place for it: a value is checked here whether it was read from a file or made in memory. It must never
look at text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import assert_never

from faults import registry
from faults.parameters import nearest
from faults.registry import ROLES
from faults.schedule.conflicts import first_conflict
from faults.schedule.demand import Demand
from faults.schedule.step import Step
from faults.schedule.trigger import (
    AlertCame,
    Anchor,
    Event,
    MachineEvent,
    Milestone,
    Moment,
    Range,
    Resync,
    ServiceChange,
    Trigger,
)
from testbed.errors import UsageError
from testbed.milestones import MILESTONES
from testbed.topology import NODES, Topology
from testbed.vocabulary import ALERT_CODES

START = "start"
TIME_S_MAX = 86_400.0
NTH_MAX = 1_000_000
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")  # of a step, and of a scenario
EVENT_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,59}")


def check_step(step: Step, earlier: Sequence[Step], topology: Topology) -> None:
    """Raise UsageError when this step is impossible on such a bed, by itself or together with the earlier ones."""
    if not is_text(step.name, NAME) or step.name == START:
        raise UsageError(f"name must be a name of letters, digits, - and _ other than start, not {step.name!r}.")
    if step.name in {other.name for other in earlier}:
        raise UsageError(f"the name {step.name!r} is taken by an earlier step.")
    registry.check(step.fault, step.target, step.parameters, topology)
    for key, trigger in (("when", step.when), ("until", step.until)):
        if trigger is not None:
            check_trigger(trigger, key, step.name)
            _check_anchor(trigger.of, key, earlier, step.name)
    conflict = first_conflict([*earlier, step])
    if conflict is not None:
        raise UsageError(conflict)


def check_trigger(trigger: Trigger, key: str, own: str) -> None:
    """Raise UsageError when the trigger under this key (`when`, `until`) of the step `own` is impossible."""
    time, where = trigger.delay_s, f"{key}: {'after_s' if trigger.event is None else 'delay_s'}"
    for one in (time.low_s, time.high_s) if isinstance(time, Range) else (time,):
        _check_seconds(one, where)
    if isinstance(time, Range) and time.low_s > time.high_s:
        raise UsageError(f"{where} must be [least, most]; [{time.low_s:g}, {time.high_s:g}] is the other way round.")
    if not needs_deadline(trigger, own):
        if trigger.within_s is not None:
            since = "the start" if trigger.of is None else "the injection of this step"
            raise UsageError(f"{key}: within_s has no meaning for a time since {since}, which always comes.")
    else:
        _check_seconds(trigger.within_s, f"{key}: within_s")
        if trigger.within_s == 0:
            raise UsageError(f"{key}: within_s must be more than 0, or nothing could come in time.")
    if trigger.event is not None:
        check_event(trigger.event, key)


def needs_deadline(trigger: Trigger, own: str) -> bool:
    """Say whether this trigger of the step `own` waits for something that may never come."""
    return trigger.event is not None or trigger.of not in (None, Anchor(own))


def _check_word(word: object, words: Sequence[str], what: str, key: str) -> None:
    if word not in words:
        close = nearest(str(word), words)
        raise UsageError(f"{key}: there is no {what} {word!r}{close}; possible are {', '.join(words)}.")


def check_event(event: Event, key: str) -> None:
    """Raise UsageError when there is no such event."""
    match event:
        case Milestone(name=name):
            _check_word(name, tuple(MILESTONES), "milestone", key)
        case MachineEvent(name=name):
            if not is_text(name, EVENT_NAME):
                raise UsageError(f"{key}: name must be an event of QEMU such as RESET or STOP, not {name!r}.")
        case AlertCame(code=code):
            _check_word(code, ALERT_CODES, "alert with the code", key)
        case Resync(percent=percent):
            if not is_number(percent) or not 0 <= percent <= 100:
                raise UsageError(f"{key}: percent must be a number from 0 to 100, not {percent!r}.")
        case ServiceChange():
            pass
        case _:
            assert_never(event)
    if not isinstance(event, Resync) and not is_count(event.nth, 1):
        raise UsageError(f"{key}: nth must be a whole number from 1 on, not {event.nth!r}.")
    if not isinstance(event, ServiceChange) and event.node is not None and event.node not in (*ROLES, *NODES):
        listed = ", ".join((*ROLES, *NODES))
        raise UsageError(f"{key}: node must be a node, not {event.node!r}; possible are {listed}.")


def check_demand(demand: Demand) -> None:
    """Raise UsageError when a demand asks for nothing, or for the impossible."""
    check_event(demand.event, "demand")
    if demand.event.nth != 1:
        raise UsageError("a demand counts every such event, so that nth has no meaning there; use least and most.")
    for key, value in (("least", demand.least), ("most", demand.most)):
        if value is not None and not is_count(value, 0):
            raise UsageError(f"demand: {key} must be a whole number from 0 on, not {value!r}.")
    if (demand.least == 0 and demand.most is None) or (demand.most is not None and demand.most < demand.least):
        raise UsageError("a demand needs least from 1 on, or most, and most must not be smaller than least.")


def check_demands(demands: Sequence[Demand], steps: Sequence[Step]) -> None:
    """Raise UsageError when a demand is impossible, or names a step that is not there."""
    known = [step.name for step in steps]
    for demand in demands:
        check_demand(demand)
        for anchor in demand.anchors:
            if anchor.step not in known:
                raise UsageError(f"demand: {anchor.text()} names no step; possible are {', '.join(known)}.")


def is_number(value: object) -> bool:
    """Say whether this is a number that a float can hold, and not true or false."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def is_count(value: object, least: int) -> bool:
    """Say whether this is a whole number from `least` on that somebody may count to."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= NTH_MAX


def first_hidden(text: str) -> str:
    """Return the first letter that steers a terminal or cannot be seen, as Python writes it; empty for a plain text."""
    return next((repr(letter)[1:-1] for letter in text if not letter.isprintable()), "")


def is_text(value: object, form: re.Pattern[str]) -> bool:
    """Say whether this is a text of this form."""
    return isinstance(value, str) and form.fullmatch(value) is not None


def _check_seconds(value: float | None, where: str) -> None:
    if value is None or not is_number(value) or not 0 <= value <= TIME_S_MAX:
        raise UsageError(f"{where} must be a number of seconds from 0 to {TIME_S_MAX:g}, not {value!r}.")


def _check_anchor(of: Anchor | None, key: str, earlier: Sequence[Step], own: str) -> None:
    """Refuse an anchor that is not there yet, or never comes."""
    if of is None:
        return
    if of.step == own and key == "until":
        if of.moment is Moment.HEALED:
            raise UsageError(f"until: this step cannot be healed after its own heal ({of.text()}).")
        return
    names = [step.name for step in earlier]
    if of.step not in names:
        listed = ", ".join([START, *names, *([own] if key == "until" else [])])
        raise UsageError(f"{key}: of names {of.step!r}, which is no earlier step; possible are {listed}.")
    anchor = next(step for step in earlier if step.name == of.step)
    if of.moment is Moment.HEALED and anchor.until is None:
        raise UsageError(f"{key}: {of.text()} never comes: {of.step} has no until, so it is healed only at the end.")
