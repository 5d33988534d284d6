"""Proves that each form of a trigger or a demand is read, completed and written again, and that others are refused."""

from __future__ import annotations

import json

import pytest

from faults.schedule.trigger import (
    Anchor,
    Change,
    MachineEvent,
    Milestone,
    Moment,
    Range,
    Resync,
    ServiceChange,
    Trigger,
)
from faults.schedule.trigger_text import (
    WITHIN_S,
    demand_fields,
    only,
    parse_demand,
    parse_trigger,
    trigger_fields,
)
from testbed.errors import UsageError

GOOD: list[tuple[str, dict[str, object], Trigger]] = [
    ("when", {"after_s": 3}, Trigger(3.0)),
    ("when", {"after_s": [3, 5.5], "of": "start"}, Trigger(Range(3.0, 5.5))),
    ("when", {"after_s": 1, "of": "cut1"}, Trigger(1.0, Anchor("cut1"), None, WITHIN_S)),
    (
        "when",
        {"after_s": 1, "of": "cut1.healed", "within_s": 5},
        Trigger(1.0, Anchor("cut1", Moment.HEALED), None, 5.0),
    ),
    ("until", {"after_s": 60}, Trigger(60.0, Anchor("me"))),
    ("until", {"after_s": 60, "of": "start"}, Trigger(60.0)),
    (
        "until",
        {"event": "outage_ended", "nth": 2},
        Trigger(0.0, Anchor("me"), ServiceChange(Change.ENDED, 2), WITHIN_S),
    ),
    (
        "when",
        {"event": "milestone", "name": "vm_running", "node": "backup", "nth": 2, "delay_s": [0, 1], "within_s": 9},
        Trigger(Range(0.0, 1.0), None, Milestone("vm_running", "backup", 2), 9.0),
    ),
    ("when", {"event": "resync", "percent": 50}, Trigger(0.0, None, Resync(50.0), WITHIN_S)),
    ("when", {"event": "outage_began"}, Trigger(0.0, None, ServiceChange(Change.BEGAN), WITHIN_S)),
    (
        "when",
        {"event": "qmp", "name": "RESET", "node": "a", "of": "cut1.confirmed"},
        Trigger(0.0, Anchor("cut1", Moment.CONFIRMED), MachineEvent("RESET", "a"), WITHIN_S),
    ),
]


@pytest.mark.parametrize(("key", "given", "expected"), GOOD, ids=[json.dumps(given) for _, given, _ in GOOD])
def test_each_form_is_read_and_written(key: str, given: dict[str, object], expected: Trigger) -> None:
    """What was left out is written down, and what was written is read as the same."""
    found = parse_trigger(given, key, "me")
    assert found == expected
    assert parse_trigger(trigger_fields(found, "me"), key, "me") == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "when must be an object with either a time"),
        ({}, "events are milestone, resync, qmp, alert, outage_began, outage_ended"),
        ({"after_s": 1, "event": "resync"}, "either a time"),
        ({"after_s": "3"}, "when: after_s must be a number of seconds from 0 to 86400, not '3'"),
        ({"after_s": True}, "after_s must be a number"),
        ({"after_s": -1}, "after_s must be a number"),
        ({"after_s": float("inf")}, "after_s must be a number"),
        ({"after_s": 86401}, "after_s must be a number"),
        ({"after_s": 10**400}, "after_s must be a number"),
        ({"after_s": [1]}, "or [least, most] for one that the seed draws"),
        ({"after_s": [2, 1]}, "is the other way round"),
        ({"after_s": 1, "node": "a"}, "when has no key 'node'; possible are after_s, of, within_s"),
        ({"after_s": 1, "within_s": 3}, "within_s has no meaning for a time since the start"),
        ({"after_s": 1, "of": "cut1.gone"}, "of must name a moment of a step, not 'cut1.gone'; possible are start"),
        ({"after_s": 1, "of": 7}, "of must name a moment"),
        ({"after_s": 1, "of": "cut1", "within_s": 0}, "within_s must be more than 0"),
        ({"event": "milestones"}, "there is no event 'milestones' (did you mean milestone?)"),
        ({"event": 3}, "there is no event 3"),
        ({"event": "milestone", "name": "vm_runing"}, "no milestone 'vm_runing' (did you mean vm_running"),
        ({"event": "milestone"}, "no milestone None; possible are daemon_started"),
        ({"event": "milestone", "name": "paired", "nth": 0}, "nth must be a whole number from 1 on, not 0"),
        ({"event": "milestone", "name": "paired", "nth": True}, "nth must be"),
        ({"event": "milestone", "name": "paired", "node": "c"}, "node must be a node, not 'c'; possible are primary"),
        ({"event": "resync"}, "percent must be a number from 0 to 100, not None"),
        ({"event": "resync", "percent": 101}, "percent must be"),
        ({"event": "resync", "percent": 50, "nth": 2}, "when with the event resync has no key 'nth'"),
        ({"event": "outage_began", "node": "a"}, "has no key 'node'"),
        ({"event": "qmp", "name": "reset"}, "must be an event of QEMU such as RESET or STOP, not 'reset'"),
    ],
)
def test_other_forms_are_refused(given: object, said: str) -> None:
    """Each refusal says what is possible."""
    with pytest.raises(UsageError) as refused:
        parse_trigger(given, "when", "me")
    assert said in str(refused.value)


def test_only_known_keys_are_taken() -> None:
    """The refusal names them."""
    only({"a": 1}, ["a", "b"], "x")
    with pytest.raises(UsageError, match="x has no key 'c'; possible are a, b"):
        only({"c": 1}, ["b", "a"], "x")


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "qmp", "name": "RESET", "node": "backup", "least": 1, "most": 1},
        {"event": "milestone", "name": "vm_running", "most": 0, "of": "cut", "before": "cut.healed"},
        {"event": "alert", "name": "no_good_copy", "node": "backup", "least": 1},
    ],
)
def test_a_demand_is_written_as_it_was_read(fields: dict[str, object]) -> None:
    """A round trip changes nothing; a role becomes a node."""
    demand = parse_demand(fields)
    assert demand_fields(demand) == fields
    assert demand.resolved({"backup": "b"}).event.node in ("b", None)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("RESET", "must be an object"),
        ({"event": "resync", "percent": 3, "most": 1}, "must be an object"),
        ({"event": "qmp", "name": "RESET"}, "needs least"),
        ({"event": "qmp", "name": "RESET", "least": 2, "most": 1}, "needs least"),
        ({"event": "qmp", "name": "RESET", "most": -1}, "whole number"),
        ({"event": "qmp", "name": "RESET", "most": True}, "whole number"),
        ({"event": "qmp", "name": "RESET", "most": 1, "nth": 2}, "no key 'nth'"),
        ({"event": "alert", "name": "Peer lost", "most": 1}, "no alert with the code"),
        ({"event": "milestone", "name": "x", "most": 1}, "no milestone"),
    ],
)
def test_a_demand_that_says_nothing_is_refused(given: object, why: str) -> None:
    """With a sentence that says what is possible."""
    with pytest.raises(UsageError, match=why):
        parse_demand(given)
