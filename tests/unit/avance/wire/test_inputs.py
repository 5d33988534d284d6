"""Inputs become lines and inputs again, with every time exact and every repetition said once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Decision, Engine
from avance.core.model import PairState, Record, VmId
from avance.errors import JournalError
from avance.parsed import Json
from avance.wire.frozen import freeze
from avance.wire.inputs import Batch, DecisionSum, Header, InputsReader, read_header
from tests.playbook import BIZ, PRIV, WEB, A, paired, setup, spec
from tests.schema_check import complaints

HEADER = Header("boot-1", "a", "0.1.0", "c0de", "2026-01-01T00:00:00.000+00:00", 12.5, 7, 0)
VIEW = paired(A).peer
STATEMENTS = [
    e.Tick(), e.Tick(1.7e9), e.HeartbeatSeen(PRIV, VIEW, 1.25), e.HeartbeatSeen(BIZ, VIEW, None),
    e.HeartbeatSeen(BIZ, replace(VIEW, pair=PairState.ALONE), 2.5), e.DiskStreamReset(),
    e.VmAdded(spec(VmId("db"), 1), "hash"), e.VmChanged(spec(VmId("db"), 1), "2"), e.VmRemoved(VmId("db"), "3"),
    e.DatagramsRefused(PRIV, "not a heartbeat", 3), e.DomainChanged(WEB, True),
]  # fmt: skip


def through(inputs: list[tuple[e.Event, float]], *, every: int = 3) -> tuple[list[tuple[e.Event, float]], list[Json]]:
    """Write inputs into lines of so many and read them; returns them and the lines."""
    batch, lines = Batch("boot-1"), []
    for event, now in inputs:
        batch.add(event, now)
        if len(batch.entries) == every:
            lines.append(json.loads(batch.line(DecisionSum())))
    lines.append(json.loads(batch.line(DecisionSum())))
    reader = InputsReader()
    return [reader.event(entry) for line in lines for entry in line["in"]], lines


@settings(max_examples=60, deadline=None)
@given(told=st.lists(st.tuples(st.sampled_from(STATEMENTS), st.floats(0.0, 1e9)), max_size=20))
def test_inputs_survive(told: list[tuple[e.Event, float]]) -> None:
    """Whatever is told in whatever order comes back as it was, at the very same time."""
    again, lines = through(told)
    assert again == told
    assert [complaint for line in lines for complaint in complaints("inputs", line)] == []


def test_what_repeats_is_said_once() -> None:
    """A heartbeat that says what the one before said costs its times only, on whichever link it came."""
    beats: list[tuple[e.Event, float]] = [(e.HeartbeatSeen(link, VIEW, 5.0), 6.0) for link in (PRIV, BIZ, PRIV)]
    _, lines = through(beats)
    assert [len(entry) for entry in lines[0]["in"]] == [4, 3, 3]


@settings(max_examples=60, deadline=None)
@given(told=st.lists(st.tuples(st.sampled_from(STATEMENTS), st.integers(0, 10**15)), max_size=20))
def test_whole_microseconds_survive(told: list[tuple[e.Event, int]]) -> None:
    """Times as the daemon's clock gives them come back to the last bit, echoes too."""
    inputs = [
        (
            replace(event, echoed_sent_s=(at_us - 70_001) / 1e6) if isinstance(event, e.HeartbeatSeen) else event,
            at_us / 1e6,
        )
        for event, at_us in sorted(told, key=lambda one: one[1])
    ]
    again, lines = through(inputs)
    assert again == inputs
    assert all(isinstance(entry[0], int) for line in lines for entry in line["in"][1:])


def test_unchanged_heartbeat_takes_few_bytes() -> None:
    """What a heartbeat costs whose view is that of the one before."""
    beats = [(e.HeartbeatSeen(PRIV, VIEW, (at_us - 9_012) / 1e6), at_us / 1e6) for at_us in (81_000_000, 81_502_113)]
    _, lines = through(list(beats))
    assert len(json.dumps(lines[0]["in"][1], separators=(",", ":"))) < 26


def test_sum_notices_one_other_heartbeat() -> None:
    """Two runs that differ in one value of one view have different sums, though each view is summed only once."""
    texts = []
    for wants in (0, 4):
        total = DecisionSum()
        for view in (VIEW, VIEW, replace(VIEW, wants=wants), VIEW):
            total.add(Decision((c.SendHeartbeat(view),), (), ()))
        texts.append(total.text)
    assert texts[0] != texts[1]


def test_lines_are_numbered() -> None:
    """Lines count from one, so that a gap shows."""
    _, lines = through([(e.Tick(), 1.0)] * 7)
    assert [line["n"] for line in lines] == [1, 2, 3]


def test_fresh_engine_begins_from_its_record() -> None:
    """A header at the start holds what the engine was made of, in a form that is published."""
    engine = Engine(setup(A), Record(3, A, arbiters=("witness:w1",)))
    line = json.loads(HEADER.line(engine, fresh=True))
    assert complaints("inputs", line) == []
    header, again = read_header(line)
    assert header == HEADER
    assert (again.setup, again.record) == (engine.setup, engine.record)


def test_later_header_holds_the_state() -> None:
    """A header in the middle of a run holds the engine as it stands."""
    engine = paired(A).engine
    line = json.loads(HEADER.line(engine, fresh=False))
    assert complaints("inputs", line) == []
    assert freeze(read_header(line)[1]) == freeze(engine)


@pytest.mark.parametrize(
    "change",
    [{"state": {"l": []}}, {"record": {"epoch": "x"}}, {"setup": {}}, {"boot": 3}],
)
def test_bad_header_is_refused(change: dict[str, Json]) -> None:
    """A header that is damaged makes no engine."""
    line = json.loads(HEADER.line(Engine(setup(A), Record()), fresh=True)) | change
    with pytest.raises(ValueError, match=r"\S"):
        read_header(line)


def test_header_of_another_version_names_the_one_that_can_read_it() -> None:
    """Whoever has to explain an old failure learns with what."""
    line = json.loads(HEADER.line(Engine(setup(A), Record()), fresh=True)) | {"schema": "avance.inputs/2"}
    with pytest.raises(JournalError, match=rf"of avance.inputs/2, .* only avance {HEADER.version}, core {HEADER.core}"):
        read_header(line)


@pytest.mark.parametrize(
    "entry", [[], None, [1], [True], ["1.0"], [1.0, None], [1.0, "priv0", 1.0], [1.0, {"type": "X"}], [1.0, 1.0, 1.0]]
)
def test_bad_entry_is_refused(entry: Json) -> None:
    """What is no input is refused; a heartbeat that leaves out a view that was never said is none."""
    with pytest.raises(ValueError, match=r"\S"):
        InputsReader().event(entry)


def test_sum_tells_every_difference() -> None:
    """Two runs have the same sum only if all their decisions and their places are the same."""
    quiet, fed = Decision((), (), ()), Decision((c.FeedWatchdog(),), (), ())
    sums = set()
    for decisions in ([], [fed], [quiet, fed], [fed, fed], [Decision((c.PauseVms(),), (), ())]):
        total = DecisionSum()
        for decision in decisions:
            total.add(decision)
        sums.add(total.text)
    assert len(sums) == 5
