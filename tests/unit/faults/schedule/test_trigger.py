"""Proves that a trigger fires at the record that it names, at no earlier one, and never by what came before."""

from __future__ import annotations

import asyncio

import pytest

from faults.schedule.trigger import (
    Anchor,
    Change,
    Event,
    EventWatch,
    MachineEvent,
    Milestone,
    Moment,
    Range,
    Resync,
    ServiceChange,
    Trigger,
    describe,
    find,
)
from testbed.history import History, HistoryRecord
from testbed.wait import wait_for_record


def records() -> list[HistoryRecord]:
    """A run in which the service goes once after its start, and the backup takes over."""
    history = History()
    rows: list[tuple[str, str, dict[str, object]]] = [
        ("probe", "up", {}),  # 0: the first "up" of every run
        ("journal.b", "entry", {"entry": {"milestone": "peer_lost"}}),
        ("probe", "ok", {}),
        ("probe", "down", {}),  # 3
        ("journal.a", "entry", {"entry": {"milestone": "vm_running"}}),
        ("journal.b", "entry", {"entry": {"milestone": None}}),
        ("journal.b", "entry", {"entry": {"milestone": "vm_running"}}),  # 6
        ("probe", "up", {}),  # 7
        ("qmp.a", "event", {"event": "RESET", "data": {}}),
        ("qmp.b", "event", {"event": "RESET", "data": {}}),  # 9
        ("resync.a", "progress", {"percent": 12.5}),
        ("resync.b", "progress", {"percent": 50.0}),  # 11
        ("resync.a", "progress", {"percent": 61}),
        ("journal.b", "entry", {"entry": {"milestone": "vm_running"}}),  # 13
        ("probe", "down", {}),
        ("probe", "up", {}),  # 15
    ]
    for source, kind, fields in rows:
        history.record(source, kind, **fields)
    return list(history)


@pytest.mark.parametrize(
    ("event", "after", "expected"),
    [
        (Milestone("vm_running"), 0, 4),
        (Milestone("vm_running", "b"), 0, 6),
        (Milestone("vm_running", "b", nth=2), 0, 13),
        (Milestone("vm_running", nth=3), 0, 13),
        (Milestone("vm_running", "b"), 7, 13),
        (Milestone("protected"), 0, None),
        (Milestone("vm_running", "b", nth=3), 0, None),
        (ServiceChange(Change.BEGAN), 0, 3),
        (ServiceChange(Change.BEGAN, nth=2), 0, 14),
        (ServiceChange(Change.ENDED), 0, 7),
        (ServiceChange(Change.ENDED), 4, 7),
        (ServiceChange(Change.ENDED), 8, 15),
        (ServiceChange(Change.ENDED, nth=3), 0, None),
        (MachineEvent("RESET"), 0, 8),
        (MachineEvent("RESET", "b"), 0, 9),
        (MachineEvent("STOP"), 0, None),
        (Resync(10.0), 0, 10),
        (Resync(50.0), 0, 11),
        (Resync(50.0, "a"), 0, 12),
        (Resync(99.0), 0, None),
    ],
)
def test_an_event_is_found_where_it_came(event: Event, after: int, expected: int | None) -> None:
    """Node, number, share and anchor all count."""
    found = find(event, records(), after=after)
    assert (None if found is None else found.index) == expected


def test_a_watch_drives_the_waiter() -> None:
    """The same watch is the predicate of a wait on a history, and answers once only."""
    history = History()
    for record in records():
        history.record(record.source, record.kind, **record.fields)
    watch = EventWatch(ServiceChange(Change.ENDED), history.since(0)[:4])

    async def wait() -> HistoryRecord:
        return await wait_for_record(history, watch.seen, what="the service", timeout_s=1.0, after=4)

    assert asyncio.run(wait()).index == 7
    assert not any(watch.seen(record) for record in history.since(8))


def test_the_delay_counts_from_what_came() -> None:
    """A trigger is due its delay after its anchor or event."""
    assert Trigger(1.5).due_at_s(10.0) == 11.5


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        (Trigger(3.0), "3 s after the start"),
        (Trigger(Range(3.0, 5.0)), "3 to 5 s after the start"),
        (Trigger(1.0, Anchor("cut1", Moment.HEALED), None, 9.0), "1 s after cut1 was healed"),
        (
            Trigger(0.0, None, Milestone("vm_running", "backup", 2), 60.0),
            "milestone vm_running of node backup number 2, counted from the start, within 60 s",
        ),
        (
            Trigger(0.5, Anchor("k"), Resync(50.0), 60.0),
            "0.5 s after 50 % of the resynchronisation, counted from k was injected, within 60 s",
        ),
        (Trigger(0.0, None, ServiceChange(Change.BEGAN), 5.0), "outage_began, counted from the start, within 5 s"),
        (Trigger(0.0, None, MachineEvent("STOP", "a"), 5.0), "machine event STOP of node a, counted from the start, w"),
    ],
)
def test_a_trigger_is_said_in_words(trigger: Trigger, said: str) -> None:
    """A person reads what is awaited."""
    assert describe(trigger).startswith(said)


def test_an_anchor_is_written_as_it_is_read() -> None:
    """The injection is what a bare name means."""
    assert Anchor("cut1").text() == "cut1"
    assert Anchor("cut1", Moment.CONFIRMED).text() == "cut1.confirmed"
