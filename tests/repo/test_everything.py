"""Proves that a run of all stages ends with the code of what failed, and tells what it did not reach."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import HostError
from testbed.report import page
from tests import conftest, everything
from tests.everything import ELSEWHERE, Places, run_stages

ROOT = Path(__file__).resolve().parents[2]


def command(stage: str) -> Sequence[str]:
    """A program that says its stage and ends with the code in its name."""
    return sys.executable, "-c", f"import sys; print('this is {stage}'); sys.exit({stage[-1]})"


def told(results: Path) -> dict[str, dict[str, Any]]:
    """The results by name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*-result.json")]
    return {result["name"]: result for result in found}


def places(tmp_path: Path) -> Places:
    """Places of the test's own."""
    return Places(tmp_path / "results", tmp_path / "report", tmp_path / "history.jsonl")


def played(folder: Path, *stages: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run these stages; returns the code and the results."""
    folder.mkdir()
    code = asyncio.run(run_stages(stages, folder, command))
    return code, told(folder)


def test_stages_that_pass_are_told_with_their_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a stage printed is seen at once, and is attached."""
    code, results = played(tmp_path / "results", "one-0", "two-0")
    assert code == 0
    assert {name: result["status"] for name, result in results.items()} == {"one-0": "passed", "two-0": "passed"}
    assert capfd.readouterr().out == "this is one-0\nthis is two-0\n"
    (attached,) = results["two-0"]["attachments"]
    assert (tmp_path / "results" / attached["source"]).read_text(encoding="utf-8") == "this is two-0\n"


def test_a_stage_that_fails_ends_the_run_with_its_code(tmp_path: Path) -> None:
    """Its last words are its message; the later ones were not run, and say why."""
    code, results = played(tmp_path / "results", "one-0", "two-3", "three-0")
    assert code == 3
    assert (results["two-3"]["status"], results["three-0"]["status"]) == ("failed", "skipped")
    assert results["two-3"]["statusDetails"]["message"] == "ended with 3:\nthis is two-3"
    assert results["three-0"]["statusDetails"]["message"] == "not run: the stage two-3 failed"


@pytest.mark.parametrize(("stage", "expected"), [("fine-0", everything.UNUSABLE), ("bad-3", 3)])
def test_a_report_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: str, expected: int
) -> None:
    """A run without a report is not green, and what failed before keeps its code."""

    async def none(*_given: object, **_named: object) -> Path:
        raise HostError("no tool")

    monkeypatch.setattr(page, "generate", none)
    assert asyncio.run(everything.everything(places(tmp_path), (stage,), command)) == expected
    assert "report: no tool" in capsys.readouterr().err


def test_every_stage_and_every_other_way_is_a_target_of_the_makefile() -> None:
    """A renamed target breaks this test and not the report."""
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()}
    assert {*everything.STAGES, *ELSEWHERE} <= targets
    assert f"AVANCE_RESULTS={everything.RESULTS.relative_to(ROOT)}" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_parameters_that_no_report_can_hold_are_refused() -> None:
    """Half a character ends a run with a report in the middle, so it is refused in each run; any other text is none."""
    conftest.refuse_half_characters("t", {"a": "\U0001f600 öld \ufffd ?", "b": 1, "c": ("\ud800",), "d": b"\xff"})
    with pytest.raises(pytest.UsageError, match="parameter b holds half a character"):
        conftest.refuse_half_characters("t", {"a": "", "b": "x \ud800"})
