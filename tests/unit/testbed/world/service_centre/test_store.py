"""Unit tests of testbed.world.service_centre.store: what is a valid alert, and what is on disk when. No server."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from testbed.world.service_centre.store import AlertKind, AlertStore, BadAlert, Severity, parse_alert

GOOD: dict[str, object] = {
    "schema": "avance.alert/1", "id": "b-5", "node": "b", "seq": 5, "kind": "fault", "code": "peer_lost",
    "severity": "critical", "text": "Node a is silent.", "epoch": 2, "wall": "2026-01-01T00:00:00Z",
}  # fmt: skip


def body(**changes: object) -> bytes:
    """The body of a good alert with some fields replaced."""
    return json.dumps(GOOD | changes).encode()


def test_a_good_alert_is_understood() -> None:
    """Every field of the wire arrives in the value."""
    alert = parse_alert(body())
    assert (alert.id, alert.node, alert.seq, alert.code, alert.epoch) == ("b-5", "b", 5, "peer_lost", 2)
    assert (alert.kind, alert.severity) == (AlertKind.FAULT, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\xff", "not JSON"),
        (b"[1]", "not a JSON object"),
        (body(schema="avance.alert/2"), "schema"),
        (body(id=""), "'id'"),
        (body(id="a b"), "'id'"),
        (body(seq=True), "'seq'"),
        (body(seq=-1), "'seq'"),
        (body(kind="surprise"), "'kind'"),
        (body(severity=None), "'severity'"),
        (body(text="x" * 5000), "'text'"),
        (body(epoch="2"), "'epoch'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_alert_is_refused_with_the_reason(data: bytes, sentence: str) -> None:
    """The sentence names what is wrong."""
    with pytest.raises(BadAlert, match=sentence):
        parse_alert(data)


def test_an_id_is_kept_once(tmp_path: Path) -> None:
    """The second alert with the same id is known and changes nothing on disk."""
    path = tmp_path / "alerts.jsonl"
    with AlertStore(path) as store:
        assert store.add(parse_alert(body())) is True
        kept = path.read_bytes()
        assert store.add(parse_alert(body(seq=6))) is False
        assert path.read_bytes() == kept
        assert store.count == 1


def test_ids_are_remembered_over_a_restart(tmp_path: Path) -> None:
    """A store opened again knows what it kept."""
    path = tmp_path / "alerts.jsonl"
    with AlertStore(path) as store:
        store.add(parse_alert(body()))
    with AlertStore(path) as store:
        assert store.add(parse_alert(body())) is False
        assert store.add(parse_alert(body(id="b-6"))) is True
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["b-5", "b-6"]


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    """A line that a crash cut short was never acknowledged: it goes away and the alert can be stored again."""
    path = tmp_path / "alerts.jsonl"
    with AlertStore(path) as store:
        store.add(parse_alert(body()))
    whole = path.read_bytes()
    path.write_bytes(whole + whole.replace(b"b-5", b"b-6")[:-9])
    with AlertStore(path) as store:
        assert path.read_bytes() == whole
        assert store.add(parse_alert(body(id="b-6"))) is True


def test_a_foreign_file_is_not_touched(tmp_path: Path) -> None:
    """A file that holds something else is named and left as it is."""
    path = tmp_path / "alerts.jsonl"
    path.write_text("shopping list\n")
    with pytest.raises(BadAlert, match=r"Line 1 of .*alerts.jsonl"), AlertStore(path):
        pass
    assert path.read_text() == "shopping list\n"


def test_a_closed_store_keeps_nothing(tmp_path: Path) -> None:
    """After the end, `add` fails instead of pretending."""
    with AlertStore(tmp_path / "alerts.jsonl") as store:
        pass
    with pytest.raises(OSError, match="not kept"):
        store.add(parse_alert(body()))


def test_a_failed_write_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    """A write that stops half-way (here at a size limit) raises, leaves no part, and the alert can come again."""
    path = tmp_path / "alerts.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with AlertStore(path) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                store.add(parse_alert(body()))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (store.count, path.read_bytes()) == (0, b"")
        assert store.add(parse_alert(body())) is True
