"""Every decision is a line that matches the published schema, in order, and a dying disk stops nothing."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from avance import journal as module
from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Decision, Engine
from avance.core.model import DiskRole, LinkName, Outcome, Record, Stand, VmId
from avance.engine_setup import engine_setup as daemon_setup
from avance.journal import Journal, inputs_path
from avance.parsed import Json
from avance.wire.decision_lines import Before
from avance.wire.plain import to_plain
from tests.playbook import WEB, A, B, Playbook, ended, paired, peer_gone, setup, spec
from tests.schema_check import complaints
from tests.unit.avance.adapters.tools import beside, until
from tests.unit.avance.site import config
from tests.unit.avance.tape import Tape, lines


def told(journal: Journal, book: Playbook, event: e.Event) -> None:
    """Let an engine decide and the journal note it."""
    before = Before.of(book.engine)
    journal.heard(event, book.now)
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
    for tick in range(175):
        book.now += 0.1
        told(journal, book, e.Tick())
        if tick == 60:
            left = replace(peer_gone(DiskRole.SECONDARY), connection="StandAlone")
            told(journal, book, e.DiskChanged(WEB, left))
            told(journal, book, ended(c.DisconnectDisk(WEB)))
        if tick == 165:
            told(journal, book, e.NeighboursSeen(gateway=None, claimed=()))
            told(journal, book, ended(c.ProbeNeighbours()))
    told(journal, book, e.FencePeerAsked(WEB, 1))
    told(journal, book, ended(c.SaveRecord(Record())))
    told(journal, book, e.VmAdded(spec(VmId("db"), 1), "hash-2"))
    told(journal, book, ended(c.PromoteDisk(WEB), Outcome.UNKNOWN, "no answer"))
    told(journal, book, e.LinkChanged(LinkName("priv0"), carrier=False))
    found = written(path, journal, 7)
    assert [complaint for line in found for complaint in complaints("journal", line)] == []
    assert [line["seq"] for line in found] == list(range(1, len(found) + 1))
    names = [line["milestone"] for line in found if line["milestone"]]
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


def test_inputs_stand_beside_the_journal(tmp_path: Path) -> None:
    """What the engine was told stands in a file of its own as published, before the decisions that came of it."""
    path = tmp_path / "journal-a.jsonl"
    tape, book = Tape(tmp_path), paired(A)
    engine = Engine(setup(A), Record(3, A))
    for number in range(30):
        tape.handle(engine, e.Tick(None if number % 5 else 1000.0), 100.0 + number / 10)
    tape.handle(engine, e.HeartbeatSeen(LinkName("priv0"), book.peer, 102.5), 103.0)
    tape.handle(engine, e.DiskChanged(WEB, None), 103.1)
    tape.end()
    written_inputs = lines(inputs_path(path))
    assert [complaint for line in written_inputs for complaint in complaints("inputs", line)] == []
    assert [line["n"] for line in written_inputs[1:]] == list(range(1, len(written_inputs)))
    assert sum(len(line["in"]) for line in written_inputs[1:]) == 32
    assert [complaint for line in lines(path) for complaint in complaints("journal", line)] == []


def test_inputs_hold_no_secret(tmp_path: Path) -> None:
    """What the daemon was told in confidence never reaches the files."""
    one = config()
    tape = Tape(tmp_path)
    engine = Engine(daemon_setup(one, "boot", Stand()), Record(3, A))
    tape.handle(engine, e.Tick(), 1.0)
    tape.end()
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert one.secret.hex() not in text
    assert "t0ken-of-the-tests" not in text


def test_inputs_take_few_bytes(tmp_path: Path) -> None:
    """A quiet day of ten ticks and four heartbeats a second fits into the two files."""
    tape, book = Tape(tmp_path), paired(A)
    engine = Engine(setup(A), Record(3, A))
    for number in range(1000):
        now = 50000.123456789 + number / 10
        tape.handle(engine, e.Tick(None if number % 5 else 1.7e9 + number // 10), now)
        if number % 5 == 0:
            for link in engine.setup.links:
                tape.handle(engine, e.HeartbeatSeen(link, book.peer, now - 0.0123456), now + 0.0123456)
    size = inputs_path(tape.journal("a")).stat().st_size
    assert size / 100.0 < 700
    assert size / 100.0 * 86_400 < 2 * module.INPUTS_BYTES_MAX


def test_a_full_file_becomes_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a run is, there are two files of each kind, none much longer than its bound."""
    monkeypatch.setattr(module, "INPUTS_BYTES_MAX", 10_000)
    monkeypatch.setattr(module, "JOURNAL_BYTES_MAX", 2_000)
    tape, engine = Tape(tmp_path), Engine(setup(A), Record(3, A))
    for number in range(800):
        tape.handle(engine, e.Tick(), 100.0 + number / 10)
        if number % 20 == 0:
            tape.handle(engine, e.LinkChanged(LinkName("priv0"), carrier=True), 100.0 + number / 10)
    names = {"journal-a.jsonl", "journal-a.jsonl.1", "inputs-a.jsonl", "inputs-a.jsonl.1"}
    assert {path.name for path in tmp_path.iterdir()} == names
    texts = [path.read_text(encoding="utf-8") for path in tmp_path.glob("inputs*")]
    assert max(len(text.partition("\n")[2]) for text in texts) < 11_000, "beside its header, the state of the engine"
    assert max(path.stat().st_size for path in tmp_path.glob("journal*")) < 4_000
    assert all("state" in lines(path)[0] for path in tmp_path.glob("inputs*"))


def test_a_full_file_of_an_earlier_run_makes_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that starts beside full inputs begins a new file, with the record that it began with."""
    monkeypatch.setattr(module, "INPUTS_BYTES_MAX", 10_000)
    (tmp_path / "inputs-a.jsonl").write_text("x" * 10_000 + "\n")
    Tape(tmp_path).handle(Engine(setup(A), Record(3, A)), e.Tick(), 100.0)
    assert (tmp_path / "inputs-a.jsonl.1").read_text() == "x" * 10_000 + "\n"
    assert lines(tmp_path / "inputs-a.jsonl")[0]["record"]["epoch"] == 3


def test_what_ended_the_daemon_is_written(tmp_path: Path) -> None:
    """The input at which the core ended itself is in the file when the writer is cancelled."""
    path = tmp_path / "journal.jsonl"
    journal, engine = Journal(path, "a", "boot"), Engine(setup(A), Record(3, A))
    journal.begin(engine, 1.0)
    journal.heard(ended(c.SaveRecord(Record())), 1.5)

    async def story() -> None:
        await until(lambda: inputs_path(path).exists())

    beside(journal.write(), story)
    last = lines(inputs_path(path))[-1]
    result = {"type": "Done", "outcome": "OK", "detail": ""}
    assert last["in"] == [[1.5, {"type": "CommandDone", "command": to_plain(c.SaveRecord(Record())), "result": result}]]


def test_hash_of_the_core_is_that_of_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sources have the same hash, others have another."""
    assert module.core_hash() == module.core_hash()
    before = module.core_hash()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "journal.py"))
    assert module.core_hash() != before


def test_state_that_cannot_be_kept_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the state ever hold something unknown, inputs end there, it is counted, and decisions are still noted."""
    monkeypatch.setattr(module, "INPUTS_BYTES_MAX", 1)
    journal, engine = Journal(tmp_path / "journal.jsonl", "a", "boot"), Engine(setup(A), Record(3, A))
    journal.begin(engine, 1.0)
    engine.told.add(object())  # type: ignore[arg-type]  # what the core never holds
    for number in range(3):
        event = e.LinkChanged(LinkName("priv0"), carrier=True)
        journal.heard(event, 2.0 + number)
        journal.decision(event, Before.of(engine), engine, Decision((), ("because",), ()), 2.0 + number)
    assert journal.dropped == 1
    assert len(written(tmp_path / "journal.jsonl", journal, 3)) == 3
