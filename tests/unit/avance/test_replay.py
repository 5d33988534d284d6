"""What differs or lacks in a recorded run is named; and it says why it did, or did not.

That whatever happened is decided again bit by bit is in tests/sim/twins/test_tapes.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from avance import replay as module
from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import Record
from avance.errors import JournalError
from avance.journal import inputs_path
from avance.parsed import Json
from avance.replay import Differs, main
from tests.playbook import TICK_S, A, B, ended, setup
from tests.sim.site import SimSite
from tests.unit.avance.tape import Tape, lines, recorded, said, unpacked

WITNESS = SimSite(witnesses=1)


def change(path: Path, number: int, edit: Callable[[Json], None]) -> None:
    """Change one line of a file, counted from 0."""
    found = lines(path)
    edit(found[number])
    path.write_text("".join(json.dumps(line) + "\n" for line in found))


def drop(path: Path, number: int) -> None:
    """Take one line out of a file, counted from 0."""
    found = path.read_text().splitlines(keepends=True)
    path.write_text("".join(found[:number] + found[number + 1 :]))


def test_it_says_why_it_failed_over(tmp_path: Path) -> None:
    """The summary of a takeover names the time, the means and the reason."""
    text = said(unpacked(tmp_path, recorded(WITNESS, "power.cut", "a")))
    assert "did it fail over? this node took the right to go on alone, at +" in text
    assert "by witness w1: every arbiter in office agrees" in text
    assert "PAIRED -> WAITING: no word from the peer on any link" in text


def test_it_says_why_it_did_not(tmp_path: Path) -> None:
    """The summary of a refusal names every reason of it."""
    text = said(unpacked(tmp_path, recorded(SimSite(policy="safety"), "power.cut", "a")))
    assert "did it fail over? no: refused at +" in text
    assert "site policy safety gives no right" in text


def test_every_decision_can_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--why` shows each decision with its time, states, reasons and commands; `--from` and `--until` cut it short."""
    journal = unpacked(tmp_path, recorded(WITNESS, "power.cut", "a"))
    assert main(journal, why=True, from_s=0.0, until_s=1e9) == 0
    whole = capsys.readouterr().out
    assert "[pair WAITING -> ALONE, web STANDBY -> PROMOTING]" in whole
    assert "because WAITING -> ALONE: epoch 2 is durable" in whole
    assert "so SendAlert(takeover), PromoteDisk(web)" in whole
    assert main(journal, why=True, from_s=0.0, until_s=1.0) == 0
    first = capsys.readouterr().out
    assert len(first) < len(whole)
    assert "PrepareVolume(web)" in first
    assert "so SendAlert(takeover)" not in first
    assert main(journal, why=False, from_s=0.0, until_s=1e9) == 0
    assert "because" not in capsys.readouterr().out


def test_changed_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of the journal that the inputs do not lead to is named with what was and what is."""
    journal = unpacked(tmp_path, recorded(WITNESS, "power.cut", "a"))
    number = next(i for i, line in enumerate(lines(journal)) if line["milestone"] == "takeover_decided")
    change(journal, number, lambda line: line.update(reason="it felt right"))
    assert main(journal, why=False, from_s=0.0, until_s=1e9) == 1
    text = capsys.readouterr().out
    assert f"DIFFERS: journal line {number + 1} of run b-boot-1" in text
    assert "reason was 'it felt right', is now \"witness w1: every arbiter" in text


def test_changed_time_is_noticed(tmp_path: Path) -> None:
    """One tick that is a tenth of a second off leads to other decisions, and the first of them is named."""
    journal = unpacked(tmp_path, recorded(WITNESS, "power.cut", "a"))

    def later(line: Json) -> None:
        line["in"][-1][0] += TICK_S

    change(inputs_path(journal), 25, later)
    with pytest.raises(Differs, match=r"inputs-b\.jsonl:\d+"):
        said(journal)


def test_quiet_difference_is_noticed(tmp_path: Path) -> None:
    """A core that decides alike but for one heartbeat is not the same core."""
    journal = unpacked(tmp_path, recorded(WITNESS, "power.cut", "a"))
    change(inputs_path(journal), 0, lambda line: line["setup"]["timers"].update(heartbeat_s=0.45))
    with pytest.raises(Differs, match="such as a heartbeat"):
        said(journal)


def test_dropped_inputs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a gap nothing can be decided again, and the answer says so instead of a verdict."""
    journal = unpacked(tmp_path, recorded(WITNESS, "power.cut", "a"))
    drop(inputs_path(journal), 7)
    assert main(journal, why=False, from_s=0.0, until_s=1e9) == 2
    assert "line 8 of run b-boot-1 follows line 6: what stood between was dropped" in capsys.readouterr().err


def test_dropped_decision_is_refused(tmp_path: Path) -> None:
    """A line that lacks in the middle of the journal is named."""
    journal = unpacked(tmp_path, recorded(WITNESS, "power.cut", "a"))
    drop(journal, 5)
    with pytest.raises(JournalError, match="line 6 of run b-boot-1 is missing"):
        said(journal)


def test_power_cut_in_the_middle_of_a_line(tmp_path: Path) -> None:
    """What was torn or never written at the end of a run hides nothing of what is there, and is told."""
    journal = unpacked(tmp_path, recorded(WITNESS, "power.cut", "a"))
    inputs = inputs_path(journal)
    whole = inputs.read_bytes()
    inputs.write_bytes(whole[: len(whole) // 2])
    assert "journal lines at the end have no inputs" in said(journal)
    journal.write_bytes(journal.read_bytes()[:-700])
    inputs.write_bytes(whole)
    assert "all are equal" in said(journal)


def test_rotated_run_is_replayed_from_its_first_state(tmp_path: Path) -> None:
    """Of a run that filled its files several times the two that are left replay, and the states in them agree."""
    files = recorded(WITNESS, "power.cut", "a", 12_000)
    assert "inputs-b.jsonl.1" in files
    journal = unpacked(tmp_path, files)
    assert "state" in lines(tmp_path / "inputs-b.jsonl.1")[0]
    assert "all are equal" in said(journal)
    assert "is rotated away" in said(journal)
    change(tmp_path / "inputs-b.jsonl", 0, lambda line: line["state"]["a"].update(epoch_seen=1))
    with pytest.raises(Differs, match="the state that was written there"):
        said(journal)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda found: found[1:], "begin without a header"),
        (lambda found: [found[0] | {"schema": "avance.inputs/9"}, *found[1:]], "only avance .* replays them"),
        (lambda found: [found[0], found[1] | {"boot": "other"}], "header of run other is missing"),
        (lambda found: [found[0], {}], "not understood"),
        (lambda found: [found[0], found[1] | {"in": [[1.0, {"type": "Dance"}]]}], "not understood"),
    ],
)
def test_foreign_inputs_are_refused(tmp_path: Path, edit: Callable[[list[Json]], list[Json]], words: str) -> None:
    """What another version wrote, or what has lost its beginning, is refused with its place."""
    journal = unpacked(tmp_path, recorded(WITNESS, "power.cut", "a"))
    found = edit(lines(inputs_path(journal)))
    inputs_path(journal).write_text("".join(json.dumps(line) + "\n" for line in found))
    with pytest.raises(JournalError, match=words):
        said(journal)


def test_missing_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a journal, or without the inputs beside it, there is nothing to replay."""
    assert main(tmp_path / "journal.jsonl", why=False, from_s=0.0, until_s=1e9) == 2
    assert "journal.jsonl does not exist" in capsys.readouterr().err
    (tmp_path / "journal.jsonl").write_text("")
    assert main(tmp_path / "journal.jsonl", why=False, from_s=0.0, until_s=1e9) == 2
    assert "inputs.jsonl does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"5\n", "journal.jsonl:1 is no line of a journal"),
        (b"{}\n", "journal.jsonl:1 is no line of a journal"),
        (b'{"boot": "x", "seq": []}\n', "is no line of a journal"),
        (b"[" * 100_000 + b"\n", "inputs.jsonl holds no run"),
        (bytes(range(256)) * 20, "inputs.jsonl holds no run"),
        (b"", "inputs.jsonl holds no run"),
        (None, "cannot be read: Is a directory"),
    ],
    ids=["number", "object", "number of a line", "deep", "no text", "empty", "directory"],
)
def test_what_no_daemon_has_recorded_is_refused(
    content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Code 2 and a sentence; it never ends as if all were equal, nor with a traceback."""
    journal = tmp_path / "journal.jsonl"
    if content is None:
        journal.mkdir()
    else:
        journal.write_bytes(content)
        inputs_path(journal).write_bytes(content)
    assert main(journal, why=True, from_s=0.0, until_s=1e9) == 2
    assert words in capsys.readouterr().err


def test_what_ended_the_daemon_is_named(tmp_path: Path) -> None:
    """A core that ended itself ends itself again, at the same input and with the same words."""
    tape, engine = Tape(tmp_path), Engine(setup(B), Record(3, A))
    tape.handle(engine, e.Tick(), 1.0)
    with pytest.raises(AssertionError):
        tape.handle(engine, ended(c.SaveRecord(Record())), 1.1)
    tape.end()
    with pytest.raises(Differs, match="an outcome without a save in flight"):
        said(tape.journal("b"))


def test_other_core_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the decisions were another core's, the reader knows before the first difference."""
    journal = unpacked(tmp_path, recorded(WITNESS, "power.cut", "a"))
    assert "is not this one" not in said(journal)
    monkeypatch.setattr(module, "core_hash", lambda: "another")
    assert "the core that decided then is not this one" in said(journal)
