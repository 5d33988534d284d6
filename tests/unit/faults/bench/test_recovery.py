"""Each promised time has a row, a schedule that exists and a metric; shares and peaks are read from what was seen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.bench import recovery
from faults.bench.rows import PROMISES, Area
from testbed.errors import TestbedError
from testbed.judge.result import Result


def test_every_row_of_the_part_is_measured() -> None:
    """What is promised and what is measured are the same rows."""
    promised = {name for name, promise in PROMISES.items() if promise.part is Area.RECOVERY}
    at_rest = {recovery.SHARE, recovery.IDLE, recovery.RESTART}
    assert promised == {*recovery.RECOVERIES, *at_rest, recovery.MULTICASTS}


def test_each_schedule_runs_once_for_all_its_rows() -> None:
    """One run of a schedule fills all rows that are taken from it."""
    assert len(recovery.names()) == len(set(recovery.names()))
    filled = [row for name in recovery.names() for row in recovery.rows_of(name)]
    assert sorted(filled) == sorted(recovery.RECOVERIES)
    for name in recovery.names():
        assert (recovery.SCHEDULES / f"{name}.jsonl").is_file()


def test_time_of_all_descendants_is_counted(tmp_path: Path) -> None:
    """Children and their children belong to the bed, whatever their names are; nobody else does."""
    people = {10: (1, "python", 5), 11: (10, "qemu (a) x", 7), 12: (11, "relay", 11), 13: (1, "other", 100)}
    for pid, (parent, name, ticks) in people.items():
        (tmp_path / str(pid)).mkdir()
        fields = ["S", str(parent), *["0"] * 9, str(ticks), "1", *["0"] * 10]
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
    (tmp_path / "14").mkdir()  # ended between the look and the reading
    assert recovery.family_ticks(tmp_path, 10) == {10: 6, 11: 8, 12: 12}
    assert asyncio.run(recovery.idle_cores(tmp_path, 10, 0.01)) == 0.0


def test_peak_is_the_most_of_any_node_and_link() -> None:
    """The promise holds for each node on each link, so the greatest counts."""
    result = Result("A1", "tcg", 1.0, 7, "2026-01-01T00:00:00+00:00")
    result.findings = [{"oracle": "multicasts", "verdict": "pass", "evidence": {"peaks": {"a.priv0": 1, "b.biz0": 4}}}]
    assert recovery.most_multicasts(result) == 4
    result.findings = []
    with pytest.raises(TestbedError, match="nobody counted"):
        recovery.most_multicasts(result)
