"""Proves the table of the benchmark: medians of valid runs only, beside their targets; nothing left out in silence."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults import bench
from faults.bench import TARGETS, Bench
from testbed.errors import WaitTimeout
from testbed.phases import PHASES
from testbed.result import Result, Verdict

NAME = "cold boot to protected"


def crash(verdict: Verdict) -> Result:
    """A judged result in which every phase took ten seconds."""
    result = Result("primary-crash", "tcg", 1.0, 7, "", verdict=verdict, reasons=["because"])
    result.phases_s = dict.fromkeys(PHASES, 10.0)
    result.host["memory_peak_mib"] = 1500
    return result


def test_a_row_is_the_median_with_its_spread(tmp_path: Path) -> None:
    """Every promised number has a row, and one without values shows none instead of 0."""
    table = Bench(tmp_path, 3)
    for value in (30.0, 50.0, 31.0):
        table.add(NAME, value)
    rows = {row.name: row for row in table.rows()}
    assert list(rows) == list(TARGETS)
    row = rows.pop(NAME)
    assert (row.n, row.median, row.min, row.max, row.target) == (3, 31.0, 30.0, 50.0, TARGETS[NAME][1])
    assert {(other.n, other.median) for other in rows.values()} == {(0, None)}


def test_what_was_not_reached_is_counted_as_left_out(tmp_path: Path) -> None:
    """A missing time does not become a small one."""
    table = Bench(tmp_path, 1)
    table.add(NAME, None)
    assert table.values[NAME] == []
    assert table.left_out == [f"{NAME}: not reached"]


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.INVALID_HOST])
def test_a_run_that_is_not_valid_gives_no_times(tmp_path: Path, verdict: Verdict) -> None:
    """It is left out as a whole, with its verdict and reasons."""
    table = Bench(tmp_path, 1)
    bench._crash_values(table, crash(verdict))
    assert not any(table.values.values())
    assert table.left_out == [f"crash run with verdict {verdict}: because"]


def test_a_valid_run_gives_its_phases_and_memory(tmp_path: Path) -> None:
    """Each phase that is promised goes into its own row."""
    table = Bench(tmp_path, 1)
    bench._crash_values(table, crash(Verdict.PASS))
    filled = {name: values for name, values in table.values.items() if values}
    assert sorted(map(tuple, filled.values())) == [(10.0,), (10.0,), (10.0,), (1500.0,)]


def test_an_error_of_one_run_does_not_end_the_bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first line of the error stands among what was left out."""

    async def fails() -> None:
        raise WaitTimeout("node a booted\nwith more words")

    table = Bench(tmp_path, 1)
    asyncio.run(bench._guarded(table, fails))
    assert table.left_out == ["node a booted"]
    assert "this run is left out" in capsys.readouterr().err


def test_the_printed_table_is_aligned_and_names_the_accelerator(tmp_path: Path) -> None:
    """Every column starts at the same place in each line; the last line says under what the numbers were taken."""
    table = Bench(tmp_path, 1)
    table.accelerator = "tcg"
    table.add(NAME, 30.0)
    lines = bench.table(table.rows()).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[1].split()[-6:-1] == ["1", "30.0", "30.0", "30.0", "<="]
    assert lines[2].split()[-5:-2] == ["-", "-", "-"]
    assert "accelerator tcg" in lines[-1]
