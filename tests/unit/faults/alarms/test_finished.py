"""Proves what is read of a finished run, with and without the files beside its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faults.alarms.finished import read_run, results_below
from testbed.errors import UsageError
from testbed.judge.verdict import Verdict

FAULT = {
    "name": "disk.gone",
    "target": "b",
    "verdict": "confirmed",
    "injected_at_s": 8.0,
    "healed_at_s": 48.0,
    "step": "one",
}
CAME = {"code": "mirror_degraded", "node": "b", "id": "1", "received_at_s": 10.0}
RESULT: dict[str, Any] = {
    "scenario": "E1", "verdict": "pass", "dilation": 2, "faults": [FAULT], "call_home": [CAME],
    "host": {"speed": {"median": 0.8}, "duration_s": 99.0},
}  # fmt: skip


def kept(directory: Path, **more: object) -> Path:
    """A run in a directory of its own."""
    directory.mkdir(parents=True)
    path = directory / "result.json"
    path.write_text(json.dumps(RESULT | more), encoding="utf-8")
    return path


def test_a_run_is_read_with_what_stands_beside_it(tmp_path: Path) -> None:
    """The parameters and the site come from its schedule, the texts of alerts from the service centre."""
    path = kept(tmp_path / "run-1")
    lines = [
        {"scenario": "E1", "site": {"power": True}},
        {"name": "one", "fault": "disk.gone", "with": {"disk": "vdc"}},
    ]
    text = "\n".join(map(json.dumps, lines))
    path.with_name("schedule-used.jsonl").write_text(text, encoding="utf-8")
    path.with_name("alerts.jsonl").write_text('{"id": "1", "text": "/dev/vdc is out"}\n{"id": "2', encoding="utf-8")
    run = read_run(path)
    assert (run.name, run.verdict, run.dilation, run.speed, run.power, run.ended_s) == (
        "E1/run-1", Verdict.PASS, 2.0, 0.8, True, 99.0,
    )  # fmt: skip
    assert [(one.name, one.at_s, one.healed_at_s, one.parameters) for one in run.faults] == [
        ("disk.gone", 8.0, 48.0, (("disk", "vdc"),))
    ]
    assert [(one.code, one.at_s, one.text) for one in run.alerts] == [("mirror_degraded", 10.0, "/dev/vdc is out")]
    assert run.faults[0].text == "disk.gone on b, disk vdc"


def test_a_result_alone_is_enough(tmp_path: Path) -> None:
    """What is not there is empty; a text that the result itself has needs no file."""
    run = read_run(kept(tmp_path / "run-1", call_home=[CAME | {"text": "told"}], host={}))
    assert (run.power, run.speed, run.ended_s, run.alerts[0].text) == (False, None, None, "told")
    assert run.faults[0].parameters == ()


def test_a_fault_that_was_not_there_is_none(tmp_path: Path) -> None:
    """Only what is confirmed can have brought an alert."""
    unproven = FAULT | {"verdict": "mismatch", "injected_at_s": None}
    assert read_run(kept(tmp_path / "run-1", faults=[unproven, FAULT])).faults[0].at_s == 8.0
    assert len(read_run(kept(tmp_path / "run-2", faults=[unproven])).faults) == 0


def test_when_a_fault_was_over(tmp_path: Path) -> None:
    """At its heal; one that was never healed at the end of the run, or never where no end is known."""
    run = read_run(kept(tmp_path / "run-1", faults=[FAULT, FAULT | {"healed_at_s": None}]))
    assert [run.healed_s(one) for one in run.faults] == [48.0, 99.0]
    assert [one.in_force(50.0) for one in run.faults] == [False, True]
    assert not run.faults[1].in_force(7.9)
    endless = read_run(kept(tmp_path / "run-2", faults=[FAULT | {"healed_at_s": None}], host={}))
    assert endless.healed_s(endless.faults[0]) == float("inf")


def test_results_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    """A directory without any is refused, and so is a file that is no result."""
    first, second = kept(tmp_path / "run-1"), kept(tmp_path / "x" / "run-2")
    assert results_below([tmp_path, tmp_path / "x"]) == [first, second]
    with pytest.raises(UsageError, match=r"There is no result\.json in"):
        results_below([tmp_path / "nowhere"])
    first.write_text('{"scenario": "x"}', encoding="utf-8")
    with pytest.raises(UsageError, match="is no result of a run"):
        read_run(first)
