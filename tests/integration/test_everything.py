"""Proves with the real report tool that small suites, good, bad and not reached, become one report with history."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.everything import Places, everything

ROOT = Path(__file__).resolve().parents[2]
# The last two tests have no time any more: the clock of the budget is at the deadline after the first.
TREE = """
import pathlib
from tests.budget import Plugin, Worth

CLOCK = [0.0]

def pytest_configure(config):
    plugin = Plugin([Worth("test_x.py::test_a", 10)], pathlib.Path(__file__).parent, slowness=lambda: 1.0,
                    now=lambda: CLOCK[0])
    config.pluginmanager.register(plugin, "budget")

def pytest_runtest_teardown():
    CLOCK[0] = 100.0
"""
CASES = """
def test_a(): print("seen")
def test_b(): pass
"""


def suite(folder: Path, name: str, cases: str) -> Path:
    """A directory with tests."""
    (folder / name).mkdir()
    (folder / name / "test_x.py").write_text(cases, encoding="utf-8")
    return folder / name


def statuses(report: Path) -> dict[str, tuple[str, str]]:
    """Name, status and message of each result in a report, which holds its data as base64."""
    found: dict[str, tuple[str, str]] = {}
    for data in re.findall(r'd\("data/test-results/[0-9a-f]+\.json","([^"]+)"', report.read_text(encoding="utf-8")):
        result: dict[str, Any] = json.loads(base64.b64decode(data))
        found[result["name"]] = (result["status"], result.get("error", {}).get("message", ""))
    return found


def test_small_suites_become_one_report_with_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Passed, failed and not reached, each with its reason. A failed stage keeps its code; each run is remembered."""
    places = Places(tmp_path / "results", tmp_path / "report", tmp_path / "history.jsonl")
    good = suite(tmp_path, "good", CASES)
    (good / "conftest.py").write_text(TREE, encoding="utf-8")
    bad = suite(tmp_path, "bad", "def test_c(): assert 1 == 2, 'one is not two'\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("AVANCE_DEADLINE_S", "50")

    def command(stage: str) -> Sequence[str]:
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
        folder = str(good if stage == "good" else bad)
        return [*argv, "--alluredir", str(places.results), "--rootdir", folder, folder]

    assert asyncio.run(everything(places, ("good",), command)) == 0
    assert capfd.readouterr().out.splitlines()[-1] == str(places.report / "index.html")
    assert asyncio.run(everything(places, ("good", "bad", "later"), command)) == 1
    assert capfd.readouterr().out.splitlines()[-1] == str(places.report / "index.html")
    found = statuses(places.report / "index.html")
    assert found["test_a"][0] == found["good"][0] == "passed"
    assert found["test_b"][0] == "skipped"
    assert "not run: 0.0 minutes are left" in found["test_b"][1]
    assert found["test_c"][0] == found["bad"][0] == "failed"
    assert "one is not two" in found["test_c"][1]
    assert found["later"] == ("skipped", "not run: the stage bad failed")
    assert found["selftest"][0] == "skipped"
    assert len(places.history.read_text(encoding="utf-8").splitlines()) == 2
