"""The story told from records says what was recorded, in order, and nothing else."""

from __future__ import annotations

from testbed import timeline
from testbed.history import Record
from testbed.timeline import Row, Span
from tests.unit.testbed import crash_story
from tests.unit.testbed.crash_story import ZERO_AT_S


def probe(intended_s: float, kind: str) -> dict[str, object]:
    """One probe record whose answer is noticed later than it was sent."""
    return {"t_s": intended_s + 1, "source": "probe", "kind": kind, "intended_s": intended_s}


def test_outage_lasts_from_last_success_to_next_one() -> None:
    """The outage is measured between successes, by the time the writes were due."""
    records = [probe(1, "ok"), probe(2, "ok"), probe(3, "timeout"), probe(4, "fail"), probe(5, "ok"), probe(6, "ok")]
    assert timeline.client_spans(records, 2.0) == [
        Span(-1, 0, "served"), Span(0, 3, "outage"), Span(3, 4, "served"),
    ]  # fmt: skip


def test_outage_without_end_reaches_the_last_probe() -> None:
    """A service that never returned is an outage to the end, not a short one."""
    records = [probe(1, "ok"), probe(2, "timeout"), probe(9, "timeout")]
    assert timeline.client_spans(records, 0.0)[-1] == Span(1, 9, "outage")


def test_no_probe_means_no_span() -> None:
    """Without samples nothing is claimed about the service."""
    assert timeline.client_spans([{"t_s": 1.0, "source": "switch", "kind": "x"}], 0.0) == []


def test_probe_order_follows_intended_time() -> None:
    """An answer that came late does not move its write in the story."""
    late = {**probe(1, "ok"), "t_s": 9.0}
    assert timeline.client_spans([probe(2, "ok"), late], 0.0) == [Span(1, 2, "served")]


def test_node_is_down_from_its_fault_to_its_first_journal_line() -> None:
    """After a power cut nothing of the former state is shown until the node speaks again."""
    spans = timeline.node_spans(crash_story.records(), "a", ZERO_AT_S, 33.0)
    assert [(s.state, round(s.start_s, 1)) for s in spans] == [
        ("PAIRED RUNNING", -30.0),
        ("down", 0.0),
        ("booting", 16.0),
        ("UNPAIRED STANDBY", 24.0),
        ("PAIRED STANDBY", 26.3),
    ]
    assert spans[-1].end_s == 33.0


def test_machine_that_died_is_down() -> None:
    """The end of a machine ends its node, whatever caused it."""
    died: timeline.Item = {"t_s": 1.0, "source": "machine.b", "kind": "died"}
    assert timeline.ends_node(died, "b")
    assert not timeline.ends_node(died, "a")
    assert not timeline.ends_node({**died, "kind": "memory_saved"}, "b")


def test_flat_journal_line_is_understood() -> None:
    """A journal line is told the same whether it came with or without its envelope."""
    flat_line = {"t_s": 1.0, "source": "journal.b", "kind": "line", "milestone": "paired"}
    wrapped = {"t_s": 1.0, "source": "journal.b", "kind": "line", "entry": {"milestone": "paired"}}
    assert timeline.rows([flat_line], 0.0) == timeline.rows([wrapped], 0.0) == [Row(1.0, "b", "paired with its peer")]


def test_fault_that_was_not_confirmed_ends_no_node() -> None:
    """An injection that had no effect does not show the node as down."""
    fault: timeline.Item = {"t_s": 1.0, "source": "fault", "kind": "mismatch", "name": "power_cut", "target": "a"}
    assert not timeline.ends_node(fault, "a")
    assert timeline.ends_node({**fault, "kind": "confirmed"}, "a")
    assert not timeline.ends_node({**fault, "kind": "confirmed"}, "b")


def test_unknown_phase_is_joined_and_never_zero() -> None:
    """A phase that nobody stamped shares the time of the next one and both names are shown."""
    spans = timeline.phase_spans({"detect": 5.0, "decide": None, "promote": 7.0})
    assert spans == [Span(0, 5, "detect"), Span(5, 7, "decide + promote disk")]


def test_phases_that_were_never_stamped_are_absent() -> None:
    """Nothing is drawn for phases without a stamp."""
    assert timeline.phase_spans({"detect": None}) == []
    assert timeline.phase_spans(None) == []


def test_story_of_a_crash_reads_in_order() -> None:
    """The rows of the crash name the fault, each decision and the return of service, sorted by time."""
    rows = timeline.rows(crash_story.records(), ZERO_AT_S)
    assert [row.t_s for row in rows] == sorted(row.t_s for row in rows)
    text = "\n".join(map(str, rows))
    for expected in (
        "fault   power_cut on a confirmed",
        "+5.1 s  b       peer lost (no heartbeat on any link): all links silent for 5.0 s",
        "client  last acknowledged write; no service for 14.3 s",
        "+14.3 s  client  writes are acknowledged again",
        "b       pair state is now SUSPECT",
        "a       machine reports shutdown",
        "a       machine was killed",
        "+16.0 s  a       machine started",
    ):
        assert expected in text
    assert sum(row.who == "client" for row in rows) == 2


def test_alert_and_rule_are_told_once() -> None:
    """A received alert and a changed rule of the switch are rows; a repeated alert and a frame count are not."""
    alert = {"t_s": 1.0, "source": "call_home", "kind": "received", "code": "takeover", "node": "b"}
    alert["severity"] = "critical"
    rule = {"t_s": 2.0, "source": "switch", "kind": "rule", "text": "cut both at a.priv0"}
    detail = {"t_s": 3.0, "source": "switch", "kind": "claim"}
    assert timeline.rows([alert, {**alert, "repeat": True}, rule, detail], 0.0) == [
        Row(1.0, "centre", "alert from b: takeover (critical)"),
        Row(2.0, "switch", "cut both at a.priv0"),
    ]


def test_row_is_one_readable_line() -> None:
    """A row shows a signed time, who, and what."""
    assert str(Row(5.04, "b", "peer lost")) == "     +5.0 s  b       peer lost"


def test_history_record_becomes_an_item() -> None:
    """Records in memory are told like the lines of the file."""
    assert timeline.flat([Record(0, 2.5, "probe", "ok", {"intended_s": 2.0})]) == [
        {"t_s": 2.5, "source": "probe", "kind": "ok", "intended_s": 2.0}
    ]


def test_a_level_is_told_at_the_answer_that_shows_it() -> None:
    """The record comes later than the answer it speaks of; detail of a level is not told."""
    records = [
        {"t_s": 5.0, "source": "probe.l2", "kind": "down", "last_ok_at_s": 4.5},
        {"t_s": 9.0, "source": "probe.l2", "kind": "up", "first_ok_at_s": 8.0},
        {"t_s": 9.5, "source": "probe.tcp_long", "kind": "connection_ended", "how": "reset"},
        {"t_s": 9.6, "source": "probe.tcp_long", "kind": "connection_not_opened", "how": "connection refused"},
    ]
    assert timeline.rows(records, 4.0) == [
        Row(0.5, "client", "l2: last answer"),
        Row(4.0, "client", "l2 answers"),
        Row(5.5, "client", "the long connection has ended: reset"),
    ]
