"""Proves the book of many crashes: what is a broken promise, what is kept for the next call, what the table says."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from faults.run import crashes
from testbed import pace
from testbed.errors import TestbedError
from testbed.judge.result import SCHEMA
from testbed.node import image

GOOD: dict[str, Any] = {
    "schema": SCHEMA,
    "scenario": "A1", "accel": "tcg", "dilation": 1.0, "seed": 1, "started_wall": "now", "verdict": "pass",
    "versions": {"image": "one"}, "reasons": [], "dual_active": 0, "outage_s": 25.0, "limits_s": {},
    "phases_s": {"detect": 5.0, "decide": 17.0, "redundancy": None},
    "ledger": {"acknowledged": 100, "lost": 0, "stale": 0},
    "faults": [{"name": "power.cut", "verdict": "confirmed"}],
    "findings": [{"oracle": name, "verdict": "pass", "text": "fine"}
                 for name in ("replicas_equal", "writes", "failovers")],
    "host": {"probe_lateness_p99_s": 0.01},
}  # fmt: skip


def crash(**changes: object) -> dict[str, Any]:
    """A good crash with these things changed."""
    return {**deepcopy(GOOD), **changes}


def test_each_crash_has_its_own_phase_of_the_heartbeats() -> None:
    """A number gives the same plan each time, and another number another one."""
    assert crashes.plan_of(1) == crashes.plan_of(1)
    moments = {crashes.plan_of(number).steps[0].when.delay_s for number in range(1, 21)}
    assert len(moments) == 20


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"verdict": "invalid-host", "reasons": ["noise"]}, []),
        ({"ledger": {"acknowledged": 9, "lost": 2, "stale": 0}}, ["2 acknowledged writes lost"]),
        ({"ledger": {"acknowledged": 9, "lost": 0, "stale": None}}, ["None acknowledged writes stale"]),
        ({"dual_active": None}, ["two nodes active: None"]),
        ({"dual_active": 1}, ["two nodes active: 1"]),
        ({"verdict": "fail", "reasons": ["phase decide was never reached"]}, ["phase decide was never reached"]),
    ],
)
def test_a_broken_promise_is_told(changes: dict[str, object], told: list[str]) -> None:
    """What nobody knows is as bad as what is known to be wrong; a noisy host breaks no promise."""
    assert crashes.wrongs(crash(**changes)) == told


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_replicas_must_be_seen_to_be_equal(verdict: str) -> None:
    """An oracle that could not see is no proof."""
    found = crash(findings=[{"oracle": "replicas_equal", "verdict": verdict, "text": "3 bytes"}])
    assert f"replicas_equal {verdict}: 3 bytes" in crashes.wrongs(found)
    assert "writes not asked: " in crashes.wrongs(found)


def test_only_a_proven_crash_of_this_image_is_kept(tmp_path: Path) -> None:
    """What another image did, what was not proven and what was half written is run again."""
    assert crashes.kept(tmp_path, "one") is None
    path = tmp_path / "result.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    assert crashes.kept(tmp_path, "one") == GOOD
    assert crashes.kept(tmp_path, "two") is None
    path.write_text(json.dumps(crash(faults=[{"name": "power.cut", "verdict": "mismatch"}])), encoding="utf-8")
    assert crashes.kept(tmp_path, "one") is None
    path.write_text(json.dumps(crash(schema="testbed.result/1")), encoding="utf-8")
    assert crashes.kept(tmp_path, "one") is None
    path.write_text("{", encoding="utf-8")
    assert crashes.kept(tmp_path, "one") is None


def test_the_table_has_the_distribution_and_each_broken_promise() -> None:
    """Least, median with its interval, p90 and greatest; a figure that nobody reached is said to be so."""
    many = [crash(outage_s=20.0 + number) for number in range(10)]
    many[3]["ledger"]["lost"] = 1
    text = crashes.report(many)
    assert "10 crashes of the primary, 1000 acknowledged writes, 9 without any mistake" in text
    assert "outage             min 20.0, median 24.5 s [" in text
    assert "max 29.0" in text
    assert "phase.promote      never reached" in text
    assert "crash 4: 1 acknowledged writes lost" in text


def test_times_of_different_dilations_are_never_put_together() -> None:
    """Each dilation has its own table; promises that were broken count in both."""
    slow = GOOD | {"dilation": 4.0, "outage_s": 80.0}
    text = crashes.report([GOOD, slow])
    assert "dilation 1: 1 crashes" in text
    assert "dilation 4: 1 crashes" in text
    assert "median 80.0" in text


def test_what_is_there_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The missing crash alone is run; a bed that breaks each time leaves a crash that said nothing."""
    ran: list[Path] = []

    async def broken(_plan: object, out: Path) -> None:
        ran.append(out)
        raise TestbedError("broken")

    async def found() -> object:
        return type("Image", (), {"hash": "one"})()

    monkeypatch.setenv(pace.VARIABLE, "1")
    monkeypatch.setattr(image, "ensure", found)
    monkeypatch.setattr("faults.run.scenario.run_schedule", broken)
    for number in (1, 3):
        (tmp_path / f"{number:03}").mkdir()
        (tmp_path / f"{number:03}" / "result.json").write_text(json.dumps(GOOD), encoding="utf-8")
    assert asyncio.run(crashes.main(tmp_path, 3)) == 3
    assert ran == [tmp_path / "002"] * crashes.TRIES
    assert "2 crashes of the primary" in (tmp_path / "crashes.txt").read_text(encoding="utf-8")
