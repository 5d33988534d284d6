"""Every decision is a line that matches the published schema, in order, and a dying disk stops nothing."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from avance import journal as module
from avance.core import events as e
from avance.core.engine import Decision, Engine
from avance.core.model import DiskRole, LinkName, Outcome, Record, VmId
from avance.journal import Before, Journal
from avance.parsed import Json
from tests.playbook import WEB, A, B, Playbook, paired, peer_gone, setup, spec
from tests.unit.avance.adapters.tools import beside, until
from tests.unit.avance.schema_check import complaints


def told(journal: Journal, book: Playbook, event: e.Event) -> None:
    """Let an engine decide and the journal note it."""
    before = Before.of(book.engine)
    decision = book.engine.handle(event, book.now)
    journal.decision(event, before, book.engine, decision, book.now)


def written(path: Path, journal: Journal, count: int) -> list[Json]:
    """Return the lines once so many are written."""

    async def story() -> None:
        await until(lambda: path.exists() and path.read_text().count("\n") >= count)

    beside(journal.write(), story)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_match_the_schema(tmp_path: Path) -> None:
    """A takeover, an added VM and every kind of event give lines as published, numbered without a gap."""
    path = tmp_path / "log" / "journal.jsonl"
    journal, book = Journal(path, "b", "boot"), paired(B)
    journal.milestone("daemon_started", 1.0, "epoch 3 was durable")
    told(journal, book, e.DiskChanged(WEB, peer_gone(DiskRole.SECONDARY)))
    for _ in range(175):
        book.now += 0.1
        told(journal, book, e.Tick())
    told(journal, book, e.FencePeerAsked(WEB, 1))
    told(journal, book, e.CommandDone("SaveRecord", None, Outcome.OK))
    told(journal, book, e.VmAdded(spec(VmId("db"), 1), "hash-2"))
    told(journal, book, e.CommandDone("PromoteDisk", WEB, Outcome.UNKNOWN, "no answer"))
    told(journal, book, e.LinkChanged(LinkName("priv0"), carrier=False))
    lines = written(path, journal, 7)
    assert [complaint for line in lines for complaint in complaints("journal", line)] == []
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    names = [line["milestone"] for line in lines if line["milestone"]]
    assert names == ["daemon_started", "peer_lost", "takeover_decided", "epoch_saved"]


def test_quiet_decisions_make_no_line(tmp_path: Path) -> None:
    """Ticks that decide nothing do not fill the disk."""
    path = tmp_path / "journal.jsonl"
    journal, book = Journal(path, "a", "boot"), paired(A)
    for _ in range(20):
        book.now += 0.1
        told(journal, book, e.HeartbeatSeen(LinkName("priv0"), book.peer, book.now))
    journal.milestone("paired", 1.0, "the only line")
    assert len(written(path, journal, 1)) == 1


def test_each_milestone_has_a_line(tmp_path: Path) -> None:
    """A decision that passes several milestones makes a line for each."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "a", "boot")
    engine = Engine(setup(A), Record(3, A))
    decision = Decision((), ("because",), ("paired", "protected"))
    journal.decision(e.Tick(), Before.of(engine), engine, decision, 5.0)
    assert [line["milestone"] for line in written(path, journal, 2)] == ["paired", "protected"]


def test_full_disk_does_not_stop_the_daemon() -> None:
    """Lines that the disk refuses are counted, and the writer goes on."""
    journal = Journal(Path("/dev/full"), "a", "boot")
    journal.milestone("paired", 1.0, "x")
    journal.milestone("protected", 2.0, "x")

    async def story() -> None:
        await until(lambda: journal.dropped == 2)

    with contextlib.suppress(ExceptionGroup):  # closing the file at the very end fails, too
        beside(journal.write(), story)
    assert journal.dropped == 2


def test_waiting_lines_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A disk that hangs costs a bounded amount of memory; the gap shows in the numbers."""
    monkeypatch.setattr(module, "_LINES_MAX", 2)
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "a", "boot")
    for number in range(5):
        journal.milestone("paired", float(number), "x")
    assert journal.dropped == 3
    assert [line["seq"] for line in written(path, journal, 2)] == [1, 2]


def test_disk_view_is_noted_in_full(tmp_path: Path) -> None:
    """An event stands in the journal with its class name and all its fields, so that it can be replayed."""
    path = tmp_path / "journal.jsonl"
    journal, book = Journal(path, "a", "boot"), paired(A)
    told(journal, book, e.DiskChanged(WEB, peer_gone(DiskRole.PRIMARY, suspended=True)))
    line = written(path, journal, 1)[0]
    assert line["event"]["type"] == "DiskChanged"
    assert line["event"]["view"]["suspended"] is True
