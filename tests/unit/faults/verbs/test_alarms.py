"""Proves the verb `alarms`: what it reads, what it writes, and its exit codes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from faults.verbs import alarms
from testbed.errors import UsageError

CUT = {
    "name": "link.cut",
    "target": "a.priv0",
    "verdict": "confirmed",
    "injected_at_s": 8.0,
    "healed_at_s": 48.0,
    "step": "x",
}
DOWN = {"code": "link_down", "node": "b", "id": "1", "received_at_s": 12.0, "text": "link priv0"}
UP = {"code": "link_up", "node": "b", "id": "2", "received_at_s": 60.0, "text": "link priv0"}


def kept(directory: Path, verdict: str, *came: dict[str, object]) -> None:
    """The result of a run in a directory of its own."""
    directory.mkdir()
    document = {"scenario": "B2", "verdict": verdict, "dilation": 1.0, "faults": [CUT], "call_home": came, "host": {}}
    (directory / "result.json").write_text(json.dumps(document), encoding="utf-8")


def ordered(*argv: str) -> int:
    """The exit code of the verb."""
    parser = argparse.ArgumentParser()
    alarms.register(parser.add_subparsers(dest="verb", required=True))
    args = parser.parse_args(["alarms", *argv])
    code: int = args.act(args)
    return code


@pytest.mark.parametrize(
    ("verdict", "came", "code"),
    [("pass", (DOWN, UP), 0), ("fail", (DOWN, UP), 0), ("pass", (UP,), 1), ("inconclusive", (DOWN, UP), 3)],
)
def test_the_code_says_whether_the_aims_are_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verdict: str, came: tuple[dict[str, object], ...], code: int
) -> None:
    """3 when nothing could be counted; progress goes to the other stream."""
    kept(tmp_path / "run-1", verdict, *came)
    assert ordered(str(tmp_path)) == code
    told = capsys.readouterr()
    assert "expected alarms that came" in told.out
    assert "read 1 results" in told.err


def test_a_page_is_written(tmp_path: Path) -> None:
    """Where it cannot be, or where there is no run, a sentence says so."""
    kept(tmp_path / "run-1", "pass", DOWN, UP)
    page = tmp_path / "page.md"
    assert ordered(str(tmp_path), "--markdown", str(page)) == 0
    assert page.read_text(encoding="utf-8").startswith("# Alarms, measured\n")
    with pytest.raises(UsageError, match="cannot be written: "):
        ordered(str(tmp_path), "--markdown", str(tmp_path / "no" / "page.md"))
    with pytest.raises(UsageError, match=r"There is no result\.json"):
        ordered(str(tmp_path / "no"))
