"""Proves the verb `history`: what it shows, refuses and compares, on stores with planted differences."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from testbed.errors import UsageError
from testbed.figures import history
from testbed.figures.history import judgement, listing
from testbed.figures.statistics import SampleComparison, Value
from testbed.figures.store import MetricStore, Sample, Series, StoredRun

OLD, NEW = "0123abcd4567ef", "89abcdef0123"


def run_of(
    image: str, seed: int, *, verdict: str = "pass", accelerator: str = "tcg", scenario: str = "crash"
) -> StoredRun:
    """One run of an image; those of the old image are the older ones."""
    usable = verdict in {"pass", "fail"}
    started = f"2026-01-0{1 + (image == NEW)}T00:00:{seed:02}+00:00"
    return StoredRun(
        scenario, "node.kill", image, "rev-" + image[:2], "{}", accelerator, 1.0, seed, started, verdict, usable
    )


def fill(path: Path, *, factor: float = 1.1, n: int = 7, accelerator: str = "tcg") -> Path:
    """Two versions, the new one slower by a factor, with one run too late and one on a noisy host each."""
    chance = Random("planted")
    with MetricStore(path) as store:
        store._db.execute("PRAGMA synchronous = OFF")  # many small commits, and no power cut is played here
        for image, slower in ((OLD, 1.0), (NEW, factor)):
            used = "tcg" if image == OLD else accelerator
            for seed in range(n):
                samples = [
                    Sample("phase.vm_start", "s", Value(slower * chance.gauss(17.5, 0.3))),
                    Sample("ledger.lost", "", Value(0.0)),
                    Sample("host.steal", "share", Value(chance.random() / 100)),
                ]
                store.add(run_of(image, seed, accelerator=used), samples)
            late = [Sample("phase.vm_start", "s", Value(60.0, censored=True))]
            store.add(run_of(image, n, verdict="fail", accelerator=used), late)
            noisy = [Sample("phase.vm_start", "s", Value(500.0))]
            store.add(run_of(image, n + 1, verdict="invalid-host", accelerator=used), noisy)
    return path


def ask(path: Path, *words: str) -> int:
    """What `testbed history` does with these words."""
    parser = argparse.ArgumentParser()
    history.register(parser.add_subparsers(dest="verb", required=True))
    args = parser.parse_args(["history", "--store", str(path), *words])
    code = args.act(args)
    assert isinstance(code, int)
    return code


def told(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> list[str]:
    """The lines that it prints."""
    assert ask(path, *words) == 0
    return capsys.readouterr().out.splitlines()


def test_the_list_shows_each_version_and_what_was_not_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Late runs are in the figures, noisy ones beside them; constant figures are short; conditions are on demand."""
    path = fill(tmp_path / "m")
    heading, runs, old, new, *rest = told(capsys, path)
    assert heading == "crash (node.kill), accelerator tcg, dilation 1"
    assert runs == "  passed: 14 of 16 [64-97 %]; stored but not compared: 2 invalid-host"
    assert old.split()[:2] == ["phase.vm_start", OLD[:12]]
    assert "n=8]" in old
    assert old.endswith("max > 60.00")
    assert new.split()[1] == NEW
    assert [line.split()[0] for line in rest] == ["ledger.lost", "ledger.lost"]
    assert rest[0].endswith("always 0 [n=7]")
    assert any("host.steal" in line for line in told(capsys, path, "--metric", "host."))


def test_a_planted_slowdown_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tenth in eight runs each, one of them beyond the limit: different, by so much, with what could be seen."""
    lines = told(capsys, fill(tmp_path / "m"), "--compare", "0123", "rev-89")
    assert lines[:2] == [f"old {OLD}", f"new {NEW}"]
    (verdict,) = [line for line in lines if "p = " in line]
    assert verdict.startswith("    DIFFERENT: +1.")
    assert "the smallest that 8 and 8 such runs could show is 0." in verdict
    assert verdict.endswith("values beyond 60 s count as equal")
    assert "  ledger.lost: always 0" in lines
    assert not any("host." in line for line in lines)


def test_an_equal_pair_is_not_called_different(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same two versions without the slowdown."""
    (verdict,) = [x for x in told(capsys, fill(tmp_path / "m", factor=1.0), "--compare", OLD, NEW) if "p = " in x]
    assert "no difference shown" in verdict


def test_other_accelerators_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A version that ran under KVM only has nothing in common with one under TCG, and the text says so."""
    lines = told(capsys, fill(tmp_path / "m", accelerator="kvm"), "--compare", OLD, NEW)
    assert not any("p = " in line for line in lines)
    assert sum(line.startswith("not compared, because only one version") for line in lines) == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--compare", "77", NEW], f"no version that begins with '77'; stored are {OLD}, {NEW}"),
        (["--compare", "rev-", NEW], "more than one version that begins with 'rev-'"),
        (["--compare", OLD, "rev-01"], "are the same version"),
        (["--compare", "", NEW], "no version that begins with ''"),
        (["--metric", "weather"], "Nothing is stored in .* for scenario '' and metric 'weather'"),
    ],
    ids=["unknown", "ambiguous", "same", "empty", "no such metric"],
)
def test_what_cannot_be_shown_is_refused(tmp_path: Path, words: Sequence[str], problem: str) -> None:
    """The sentence names what there is."""
    with pytest.raises(UsageError, match=problem):
        ask(fill(tmp_path / "m", n=1), *words)


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    """A new user learns which commands store something."""
    with pytest.raises(UsageError, match="`testbed run` and `testbed bench` store"):
        ask(tmp_path / "m")


def test_the_csv_holds_every_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also those that are not compared, each with the column that says so."""
    text = "\n".join(told(capsys, fill(tmp_path / "m", n=2), "--csv", "--metric", "phase."))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 8
    assert {(row["verdict"], row["comparable"], row["censored"]) for row in rows} == {
        ("pass", "1", "0"),
        ("fail", "1", "1"),
        ("invalid-host", "0", "0"),
    }
    assert float(rows[0]["value"]) > 1


def test_too_many_series_for_one_picture_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names the metrics to choose from."""
    monkeypatch.setattr(history, "PANELS_MAX", 2)
    with pytest.raises(UsageError, match=r"3 series .* Metrics are phase.vm_start, ledger.lost, host.steal"):
        ask(fill(tmp_path / "m", n=1), "--picture", str(tmp_path / "h.png"))


def test_runs_that_say_nothing_still_show_that_they_were_made(tmp_path: Path) -> None:
    """Without one comparable run there is no figure, but the count."""
    with MetricStore(tmp_path / "m") as store:
        store.add(run_of(OLD, 1, verdict="inconclusive"), [Sample("outage", "s", Value(1.0))])
        lines = listing(store.series()).splitlines()
    assert lines[1:] == ["  passed: 0 of 0 [0-100 %]; stored but not compared: 1 inconclusive"]


@pytest.mark.parametrize(
    ("test", "text"),
    [
        (SampleComparison(0.5, False, 0.001, True, 0.25, None),
         "DIFFERENT: +0.50 s, p = 0.001; the smallest that 9 and 9 such runs could show is 0.25 s"),
        (SampleComparison(38.0, True, 0.008, True, 4.0, 60.0),
         ("DIFFERENT: +38.00 s or beyond, p = 0.008; the smallest that 9 and 9 such runs could show is 4.00 s;"
          " values beyond 60 s count as equal")),
        (SampleComparison(0.5, False, 0.1, True, None, None),
         "no difference shown: +0.50 s, p = 0.1; with 9 and 9 runs no difference, however large, could be shown"),
    ],
    ids=["found", "a bound", "too few"],
)  # fmt: skip
def test_the_judgement_says_what_could_have_been_seen(test: SampleComparison, text: str) -> None:
    """No difference shown is not "equal"."""
    assert judgement(test, 9, 9, "s") == text


def test_a_heading_names_the_conditions() -> None:
    """Nobody has to guess under what a figure was taken."""
    assert Series("bench", "", "none", 1.0, "x", "s").text() == "bench, x, accelerator none, dilation 1"
