"""A node that has reset itself says why after the boot: durably, and until then the reason is kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from avance import daemon as module
from avance.adapters.mirror import DataMirror
from avance.config import parse
from avance.configuration import TWIN, Configuration
from avance.daemon import PairedNode
from tests.unit.avance.site import kept_of


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PairedNode:
    """Node a of the site, whose machine has left a reason behind."""
    monkeypatch.setattr(module, "STATE_DIR", tmp_path)
    monkeypatch.setattr(module, "QUEUE_DIR", tmp_path / "callhome")
    monkeypatch.setattr(module, "JOURNAL_PATH", tmp_path / "journal.jsonl")
    monkeypatch.setattr(module, "REASON", tmp_path / "reset")
    (tmp_path / "reset").write_text("{}")
    raw = kept_of()
    kept = Configuration(tmp_path / "config.json", tmp_path / TWIN.name)
    return PairedNode(parse("a", raw["site"], []), raw, kept, DataMirror(tmp_path))


def tells(node: PairedNode) -> None:
    """Let the daemon tell what was left."""
    asyncio.run(node._tell_reset(("the lease has ended", "2026-01-01T00:00:00+00:00")))


def test_a_reset_is_told_after_the_boot(tmp_path: Path, node: PairedNode) -> None:
    """The reason becomes a durable alert, and only then it is forgotten."""
    tells(node)
    told = [json.loads(path.read_text()) for path in (tmp_path / "callhome").glob("*.json")]
    assert [alert["code"] for alert in told] == ["was_reset"]
    assert "because: the lease has ended" in told[0]["text"]
    assert not (tmp_path / "reset").exists()


def test_a_reset_that_cannot_be_told_is_kept(tmp_path: Path, node: PairedNode) -> None:
    """A disk that takes no alert: the next start tells it."""
    (tmp_path / "callhome").touch()  # no directory
    tells(node)
    assert (tmp_path / "reset").exists()
