"""Every event, record and set-up survives as plain JSON, bit by bit, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Setup
from avance.core.model import DiskView, Outcome, PeerView, Record
from avance.core.results import answer_of
from avance.parsed import Json
from avance.wire.plain import from_plain, read_event, read_record, to_plain
from tests.playbook import A, setup

EVENTS = get_args(e.Event)
st.register_type_strategy(float, st.floats(allow_nan=False))


def _done(command: c.Work) -> st.SearchStrategy[e.CommandDone]:
    """Return outcomes of a command, each with a result that belongs to it."""
    return st.builds(e.CommandDone, st.just(command), st.from_type(answer_of(command)))


st.register_type_strategy(e.CommandDone, st.one_of(*(st.from_type(kind) for kind in get_args(c.Work))).flatmap(_done))


def through(value: object) -> Json:
    """Return plain values after a passage through a file."""
    return json.loads(json.dumps(to_plain(value)))


@pytest.mark.parametrize("kind", EVENTS, ids=[kind.__name__ for kind in EVENTS])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_event_survives(kind: type, data: st.DataObject) -> None:
    """Whatever its fields hold, an event is read as the very same."""
    event = data.draw(st.from_type(kind))
    again = read_event(through(event))
    assert again == event
    assert repr(again) == repr(event)


@settings(max_examples=40, deadline=None)
@given(record=st.from_type(Record))
def test_every_record_survives(record: Record) -> None:
    """Whatever a record holds, it is read as the very same."""
    assert read_record(through(record)) == record


def test_setup_survives() -> None:
    """What an engine was told at its start is read as the very same."""
    assert from_plain(Setup, through(setup(A))) == setup(A)


@pytest.mark.parametrize("number", [0.1 + 0.2, 1e-320, 123456.789012345, float("inf"), -0.0, 5.0])
def test_times_keep_every_bit(number: float) -> None:
    """A time is the same float after the passage, not a rounded one."""
    again = read_event(through(e.Tick(number)))
    assert isinstance(again, e.Tick)
    assert repr(again.rtc_s) == repr(number)


def test_commands_name_their_class() -> None:
    """A command of the journal says which one it is."""
    assert to_plain(c.PauseVms()) == {"type": "PauseVms"}
    assert to_plain(c.SaveRecord(Record(2, A)))["record"]["epoch"] == 2


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (e.Event, {"type": "PauseVms"}),
        (e.Event, {"type": "Tick", "rtc_s": "1"}),
        (e.Event, {"type": "Tick", "rtc_s": True}),
        (e.Event, {"type": "Tick", "more": 1}),
        (e.Event, {"type": "FencePeerAsked", "vm": "web"}),
        (e.Event, {"type": "CommandDone", "command": "x", "vm": None, "outcome": "PERHAPS"}),
        (e.Event, {"type": "CommandDone", "command": {"type": "PauseVms"}, "result": {"type": "Done", "outcome": "X"}}),
        (
            e.Event,
            {"type": "CommandDone", "command": {"type": "PauseVms"}, "result": {"type": "PowerRead", "outcome": "OK"}},
        ),
        (e.Event, {"rtc_s": 1.0}),
        (e.Event, []),
        (Outcome, 1),
        (Record, {"epoch": 1.5}),
        (Record, {"epoch": True}),
        (Record, {"fresh": "web"}),
        (Record, {"fresh": [1]}),
        (Record, {"type": "Setup"}),
        (DiskView, {"role": ["Primary"]}),
        (PeerView, {"node": "a", "vms": []}),
        (dict[str, int], {"a": "b"}),
        (tuple[str, int], ["a"]),
    ],
)
def test_anything_else_is_refused(kind: Any, value: Json) -> None:  # noqa: ANN401 - any type hint
    """Nothing is converted, guessed or left out: what does not fit is refused."""
    with pytest.raises(ValueError, match=r"\S"):
        from_plain(kind, value)
