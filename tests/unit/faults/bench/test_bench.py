"""Proves the table of the benchmark: medians of valid runs only, beside their targets; nothing left out in silence."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.bench import bench
from faults.bench.bench import Bench
from faults.bench.rows import PROMISES, Area
from faults.bench.rows import table as bench_table
from testbed.errors import WaitTimeout
from testbed.figures.statistics import Value
from testbed.figures.store import MetricStore
from testbed.judge.result import FaultResult, Result
from testbed.judge.verdict import Verdict
from testbed.vocabulary import PHASES

NAME = "cold boot to protected"


def crash(verdict: Verdict = Verdict.PASS, *, lateness_s: float = 0.003) -> Result:
    """A judged result in which every phase took ten seconds."""
    result = Result("primary-crash", "tcg", 1.0, 7, "2026-01-01T00:00:00+00:00", verdict=verdict, reasons=["because"])
    result.faults = [FaultResult("node.kill", "a", "confirmed", 4.0, {})]
    result.phases_s = dict.fromkeys(PHASES, 10.0)
    result.host |= {"memory_peak_mib": 1500, "probe_lateness_p99_s": lateness_s}
    return result


def test_a_row_is_the_median_with_its_spread_and_interval(tmp_path: Path) -> None:
    """Every promised number has a row, and one without values shows none instead of 0."""
    table = Bench(tmp_path, 3)
    for value in (30.0, 50.0, 31.0, 32.0, 33.0):
        table.add(NAME, value)
    rows = {row.name: row.as_json() for row in table.rows()}
    assert list(rows) == list(PROMISES)
    row = rows.pop(NAME)
    assert (row["n"], row["median"], row["min"], row["max"], row["target"]) == (
        5,
        32.0,
        30.0,
        50.0,
        PROMISES[NAME].target,
    )
    assert row["median_interval"] == [30.0, 50.0]
    assert {(other["n"], other["median"], other["median_interval"]) for other in rows.values()} == {(0, None, None)}


@pytest.mark.parametrize(
    "result",
    [crash(Verdict.INCONCLUSIVE), crash(Verdict.INVALID_HOST), crash(Verdict.FAIL, lateness_s=9.0)],
    ids=["inconclusive", "invalid host", "failed on a noisy host"],
)
def test_a_run_that_is_not_valid_gives_no_times(tmp_path: Path, result: Result) -> None:
    """It is left out as a whole, with its verdict and reasons."""
    table = Bench(tmp_path, 1)
    table.add_run(result, bench.CRASH_ROWS)
    assert not any(table.values.values())
    assert table.left_out == [f"primary-crash with verdict {result.verdict}: because"]


def test_a_valid_run_gives_its_phases_and_memory(tmp_path: Path) -> None:
    """Each phase that is promised goes into its own row."""
    table = Bench(tmp_path, 1)
    table.add_run(crash(), bench.CRASH_ROWS)
    filled = {name: values for name, values in table.values.items() if values}
    assert filled == {name: [Value(1500.0 if "memory" in name else 10.0)] for name in bench.CRASH_ROWS}
    assert table.left_out == []


def test_a_run_that_did_not_get_there_in_time_stays_in(tmp_path: Path) -> None:
    """Its value is "greater than the limit", and without a limit it is named as unknown."""
    table, result = Bench(tmp_path, 1), crash(Verdict.FAIL)
    result.phases_s |= {"redundancy": None, "service_up": None}
    result.limits_s = {"redundancy": 240.0}
    table.add_run(result, bench.CRASH_ROWS)
    assert table.values["primary crash: redundancy restored"] == [Value(240.0, censored=True)]
    assert table.values["primary crash: client served again"] == []
    assert table.left_out[-1] == "primary crash: client served again: unknown"
    assert "> 240.0" in bench_table(table.rows())


def test_every_figure_is_stored_with_what_it_was_measured_on(tmp_path: Path) -> None:
    """Figures of their own and crash runs are there at once; the revision belongs to both."""
    table = Bench(tmp_path, 1, store=tmp_path / "metrics.sqlite", revision="abc")
    table.add(NAME, 31.0, image="1a9e", accelerator="tcg")
    table.add_run(crash(), bench.CRASH_ROWS)
    with MetricStore(tmp_path / "metrics.sqlite") as store:
        found = store.series()
    runs = {point.run for points in found.values() for point in points}
    assert {(run.scenario, run.image, run.accelerator, run.revision) for run in runs} == {
        ("bench", "1a9e", "tcg", "abc"),
        ("primary-crash", "", "tcg", "abc"),
    }


def test_a_store_that_cannot_be_written_does_not_end_the_bench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The value counts, and a line says that it was not kept."""
    table = Bench(tmp_path, 1, store=tmp_path)
    table.add(NAME, 31.0)
    assert table.values[NAME] == [Value(31.0)]
    assert "cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [(WaitTimeout("node a booted\nwith more words"), "node a booted"), (TimeoutError(), "TimeoutError")],
    ids=["of the bed", "without words"],
)
def test_an_error_of_one_run_does_not_end_the_bench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, words: str
) -> None:
    """The first line of the error stands among what was left out."""

    async def fails() -> None:
        raise error

    table = Bench(tmp_path, 1)
    asyncio.run(bench._guarded(table, fails))
    assert table.left_out == [words]
    assert "this run is left out" in capsys.readouterr().err


def test_only_the_parts_that_were_asked_for_have_rows(tmp_path: Path) -> None:
    """A part that is not measured is not missing."""
    table = Bench(tmp_path, 1, parts=(Area.SWITCH,))
    assert {PROMISES[row.name].part for row in table.rows()} == {Area.SWITCH}


def test_the_load_of_the_host_is_stored_beside_a_figure(tmp_path: Path) -> None:
    """It is a condition of the run, of the same part, and it stands below the table."""
    table = Bench(tmp_path, 1, store=tmp_path / "metrics.sqlite", parts=(Area.PAIR,))
    table.note_load(Area.PAIR)
    table.add(NAME, 31.0)
    with MetricStore(tmp_path / "metrics.sqlite") as store:
        found = {series.metric: points for series, points in store.series().items()}
    assert [point.value.at for point in found["host.load_before"]] == table.loads[Area.PAIR]
    assert f"pair {table.loads[Area.PAIR][0]:.1f}" in table.rows()[0].note


def test_the_main_function_measures_only_the_named_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says whether every row of these parts has a value; the figures are in the file too."""
    measured: list[str] = []

    async def fills(bench_: Bench) -> None:
        measured.append("switch")
        for name, promise in PROMISES.items():
            if promise.part is Area.SWITCH:
                bench_.add(name, 1.0)

    async def fails(_bench: Bench) -> None:
        measured.append("disk")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVANCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bench, "_switch", fills)
    monkeypatch.setattr(bench, "_disk", fails)
    assert asyncio.run(bench.main(tmp_path / "out", 1, [Area.SWITCH])) == 0
    assert asyncio.run(bench.main(tmp_path / "out", 1, [Area.SWITCH, Area.DISK])) == 1
    assert measured == ["switch", "switch", "disk"]
    assert "link.cut by the director" in capsys.readouterr().out
    assert "link.cut by the director" in (tmp_path / "build" / "bench.json").read_text()


def test_the_printed_table_is_aligned_and_names_the_accelerator(tmp_path: Path) -> None:
    """Every column starts at the same place in each line; the last line says under what the numbers were taken."""
    table = Bench(tmp_path, 1)
    table.accelerator = "tcg"
    table.add(NAME, 30.0)
    lines = bench_table(table.rows()).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[1].split()[-8:-1] == ["1", "30.0", "-", "30.0", "30.0", "30.0", "<="]
    assert lines[2].split()[-7:-2] == ["-", "-", "-", "-", "-"]
    assert "accelerator tcg" in lines[-1]


def test_targets_of_a_pair_follow_its_dilation(tmp_path: Path) -> None:
    """A figure is never held against the target of another dilation; what no pair makes keeps its target."""
    made = Bench(tmp_path, 1, dilation=4.0)
    targets = {row.name: row.target for row in made.rows()}
    assert targets["cold boot to protected"] == 4 * 60.0
    assert targets["image build from nothing"] == 600.0
    assert targets["peak host memory of a protected pair"] == 4096.0
    assert targets["daemon: share of a dom0 processor"] == 0.03
