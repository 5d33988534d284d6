"""The story told from records says what was recorded, in order, and nothing else."""

from __future__ import annotations

from testbed.history import HistoryRecord
from testbed.report import timeline
from testbed.report.timeline import Span, TimelineRow
from tests.unit.testbed.report import crash_story
from tests.unit.testbed.report.crash_story import ZERO_AT_S


def probe(intended_s: float, kind: str) -> dict[str, object]:
    """One probe record whose answer is noticed later than it was sent."""
    return {"t_s": intended_s + 1, "source": "probe", "kind": kind, "intended_s": intended_s}


def test_outage_lasts_from_last_success_to_next_one() -> None:
    """The outage is measured between successes, by the time the writes were due."""
    records = [probe(1, "ok"), probe(2, "ok"), probe(3, "timeout"), probe(4, "fail"), probe(5, "ok"), probe(6, "ok")]
    assert timeline.client_spans(records, 2.0) == [
        Span(-1, 0, "served"),
        Span(0, 3, "outage"),
        Span(3, 4, "served"),
    ]


def test_outage_without_end_reaches_the_last_probe() -> None:
    """A service that never returned is an outage to the end, not a short one."""
    records = [probe(1, "ok"), probe(2, "timeout"), probe(9, "timeout")]
    assert timeline.client_spans(records, 0.0)[-1] == Span(1, 9, "outage")


def test_the_probes_own_word_dates_the_outage() -> None:
    """The picture and the printed story name the length that the result has; single lost writes are no outage."""
    story = [probe(step, "ok" if step != 3 else "fail") for step in range(1, 20)]
    up = {"t_s": 2.0, "source": "probe", "kind": "up", "first_ok_at_s": 1.1}
    down = {"t_s": 9.0, "source": "probe", "kind": "down", "last_ok_at_s": 7.2}
    assert timeline.client_spans([*story, up], 1.0) == [Span(1.1 - 1, 18, "served")]
    assert timeline.client_spans([*story, up, down, {**up, "first_ok_at_s": 14.5}], 1.0) == [
        Span(1.1 - 1, 6.2, "served"),
        Span(6.2, 13.5, "outage"),
        Span(13.5, 18, "served"),
    ]


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
        ("STARTING STANDBY", 24.0),
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
    assert (
        timeline.rows([flat_line], 0.0)
        == timeline.rows([wrapped], 0.0)
        == [TimelineRow(1.0, "b", "paired with its peer")]
    )


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
        "a       pair state is now PAIRED",
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
        TimelineRow(1.0, "centre", "alert from b: takeover (critical)"),
        TimelineRow(2.0, "switch", "cut both at a.priv0"),
    ]


def test_row_is_one_readable_line() -> None:
    """A row shows a signed time, who, and what."""
    assert str(TimelineRow(5.04, "b", "peer lost")) == "     +5.0 s  b       peer lost"


def test_history_record_becomes_an_item() -> None:
    """Records in memory are told like the lines of the file."""
    assert timeline.flat([HistoryRecord(0, 2.5, "probe", "ok", {"intended_s": 2.0})]) == [
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
        TimelineRow(0.5, "client", "l2: last answer"),
        TimelineRow(4.0, "client", "l2 answers"),
        TimelineRow(5.5, "client", "the long connection has ended: reset"),
    ]


def test_a_fault_is_told_with_its_step_and_lateness() -> None:
    """Why one was not armed is told as well."""
    base = {"t_s": 1.0, "source": "fault", "name": "link.cut", "target": "b.priv0", "step": "cut"}
    records: list[timeline.Item] = [
        {**base, "kind": "injected", "late_s": 0.0104},
        {**base, "kind": "not_armed", "reason": "waited 240 s"},
    ]
    assert timeline.rows(records, 0.0) == [
        TimelineRow(1.0, "fault", "link.cut on b.priv0 injected (step cut, 10.4 ms late)"),
        TimelineRow(1.0, "fault", "link.cut on b.priv0 not armed (step cut): waited 240 s"),
    ]


def test_a_restored_node_has_the_state_in_which_it_was_saved() -> None:
    """It does not boot; who has the VM is what the switch saw."""
    records: list[timeline.Item] = [
        {"t_s": 0.0, "source": "machine.a", "kind": "started", "incoming": "a.memory"},
        {"t_s": 1.0, "source": "switch", "kind": "claim", "mac": "00:16:3e:77:00:20", "port": "a.biz0"},
        {"t_s": 2.0, "source": "bed", "kind": "stage", "stage": "PROTECTED", "restored": True},
    ]
    assert timeline.node_spans(records, "a", 0.0, 9.0) == [Span(0, 2, "restored"), Span(2, 9, "PROTECTED RUNNING")]
    other = [{**records[0], "source": "machine.b"}, *records[1:]]
    assert timeline.node_spans(other, "b", 0.0, 9.0)[-1] == Span(2, 9, "PROTECTED STANDBY")
    unseen = [records[0], records[2]]
    assert timeline.node_spans(unseen, "a", 0.0, 9.0)[-1] == Span(2, 9, "PROTECTED")


def test_a_paused_machine_goes_on_in_its_former_state() -> None:
    """What its journal said before is not shown while it stands still."""
    records: list[timeline.Item] = [
        {"t_s": 0.0, "source": "journal.a", "kind": "entry", "pair": ["PAIRED", "PAIRED"]},
        {"t_s": 2.0, "source": "qmp.a", "kind": "event", "event": "STOP"},
        {"t_s": 5.0, "source": "qmp.a", "kind": "event", "event": "RESUME"},
    ]
    assert timeline.node_spans(records, "a", 0.0, 9.0) == [
        Span(0, 2, "PAIRED"),
        Span(2, 5, "paused"),
        Span(5, 9, "PAIRED"),
    ]


def test_without_a_takeover_its_phases_are_not_named() -> None:
    """Service and redundancy that returned by themselves are not a takeover whose steps nobody saw."""
    assert timeline.phase_spans({"detect": None, "service_up": 5.0, "redundancy": 40.0}) == [
        Span(0, 5, "service back"),
        Span(5, 40, "redundancy restored"),
    ]


def test_the_points_of_the_host_count_from_the_injection() -> None:
    """Only what the host's speedometer recorded, with its figures."""
    records = [{"t_s": 12.0, "source": "host", "kind": "speed"}, {"t_s": 13.0, "source": "switch", "kind": "speed"}]
    assert timeline.host_points(records, 10.0) == [{"t_s": 2.0, "source": "host", "kind": "speed"}]
