"""The tables and bars of a run say what the result holds, and "-" or a sentence where it holds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.report import story
from testbed.report.story import LevelRow
from testbed.report.timeline import Span
from tests.unit.testbed.report import crash_story
from tests.unit.testbed.report.crash_story import MANY, ZERO_AT_S, level


def test_faults_stand_from_their_injection_to_their_heal() -> None:
    """Times of the run become times from the first injection; a fault without proof stands where it was ordered."""
    bars = story.fault_bars(MANY, crash_story.many_records(), ZERO_AT_S)
    assert [(bar.start_s, bar.end_s) for bar in bars] == [(0.0, 16.0), (6.0, 9.0), (28.5, None), (None, None)]
    assert [bar.text for bar in bars] == [
        "node.kill on a: confirmed",
        "process.kill on b/daemon: mismatch",
        "disk.slow on b: confirmed, not healed",
        "link.cut on b.priv0: not injected",
    ]


def test_the_first_injection_is_zero_also_without_records() -> None:
    """The result alone suffices for what is proven, and says nothing of when the rest was."""
    bars = story.fault_bars(MANY)
    assert [bar.start_s for bar in bars] == [0.0, None, 28.5, None]
    assert story.fault_bars({"faults": None}) == []


def test_a_table_of_faults_is_readable() -> None:
    """Verdict, lateness and heal are in columns; what went wrong is below."""
    lines = story.fault_table(story.fault_bars(MANY, crash_story.many_records(), ZERO_AT_S))
    assert lines == [
        "fault         target    step    verdict       injected  late     healed",
        "node.kill     a         dead    confirmed     +0.0 s    0.4 ms   +16.0 s",
        "process.kill  b/daemon  daemon  mismatch      +6.0 s    12.0 ms  +9.0 s",
        "disk.slow     b         slow    confirmed     +28.5 s   0.0 ms   never",
        "link.cut      b.priv0   cut     not injected  -         -        -",
        "  cut: not armed: waited 240 s for a resynchronisation",
    ]
    assert story.fault_table([]) == ["no fault was injected"]
    assert story.moment(-0.0001) == "+0.0 s"


def test_a_level_is_up_from_its_first_answer_and_down_from_its_last() -> None:
    """The record of a change comes later than the change; the fate of the long connection is a moment."""
    rows = {row.level: row for row in story.level_rows(crash_story.many_records(), ZERO_AT_S, 34.0)}
    assert list(rows) == ["l2", "l3", "udp", "tcp_new", "tcp_long"]
    assert [(round(s.start_s, 2), round(s.end_s, 2), s.state) for s in rows["udp"].spans] == [
        (-4.9, -0.02, "up"),
        (-0.02, 14.28, "down"),
        (14.28, 34.0, "up"),
    ]
    assert [(round(m.t_s, 2), m.text) for m in rows["tcp_long"].markers] == [(14.9, "reset")]


def test_a_level_that_never_answered_is_down_since_that_was_known() -> None:
    """Without a last answer the record itself is the edge."""
    (row,) = story.level_rows([level("l3", "down", None, 2.0)], ZERO_AT_S, 9.0)
    assert row.spans == [Span(2.0, 9.0, "down")]


def test_a_level_that_was_not_measured_says_why() -> None:
    """It has no span: it was neither up nor down."""
    record = {"t_s": 1.0, "source": "probe.tcp", "kind": "not_available", "why": "no namespace"}
    assert story.level_rows([record], 0.0, 9.0) == [LevelRow("tcp", (), (), "no namespace")]


def test_a_table_of_levels_never_invents_an_end() -> None:
    """An outage without an end is a bound, no outage is "none", and a missing figure is a dash."""
    assert story.level_table(crash_story.LEVELS) == [
        "level     outage                longest gap  flaps  slow",
        "l2        14.1 s                14.1 s       0      0",
        "l3        none                  0.4 s        0      -",
        "udp       > 20.0 s, not over    20.0 s       2      3 (0.1 s)",
        "tcp_long  15.0 s, longest of 2  -            -      -",
        "  tcp: not available, because this kernel gives no network namespace",
        "  tcp_long: the connection that met the first fault: reset at +14.9 s, another at +15.1 s",
    ]
    assert story.level_table({}) == ["no level of the probe was measured"]
    assert story.level_outage({"outages": 0, "good": 0}) == "never up"
    assert story.connection({"connection": {"fate": "closed", "ended_s": 3.0}}).endswith("no other one came")
    assert story.connection({"connection": {"fate": "survived"}}).endswith(": survived")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"outage_s": 14.26}, "outage 14.3 s"),
        ({"outage_s": None, "limits_s": {"outage": 60.0}}, "outage > 60.0 s"),
        ({"levels": {"udp": {"outages": 0, "good": 5}}}, "no outage"),
        ({"levels": {"udp": {"outages": 0, "good": 0}}}, "outage unknown"),
        ({}, "outage unknown"),
    ],
)
def test_the_outage_is_none_only_when_the_probe_says_so(result: dict[str, object], text: str) -> None:
    """What nobody measured is unknown."""
    assert story.outage(result) == text


def test_oracles_that_pass_are_one_line_and_the_others_have_their_sentence() -> None:
    """Violations come first."""
    assert story.finding_table(MANY) == [
        "oracles: 1 of 3 pass: dual_active",
        "  FAIL         writes: write 7 was lost",
        "  INCONCLUSIVE replicas_equal: the nodes are not in sync",
    ]
    assert story.finding_table({}) == ["oracles: none was asked"]


def test_all_tables_stand_apart() -> None:
    """Faults, levels and oracles, with an empty line between."""
    parts = story.tables(MANY, crash_story.many_records(), ZERO_AT_S).split("\n\n")
    assert [part.split()[0] for part in parts] == ["fault", "level", "oracles:"]


def test_the_line_to_run_it_again_can_be_pasted() -> None:
    """A path with a space is quoted."""
    assert story.again(Path("build/run")) == "testbed replay build/run/schedule.jsonl"
    assert story.again(Path("my run")) == "testbed replay 'my run/schedule.jsonl'"
