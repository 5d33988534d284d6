"""Proves the verbs of fault injection: what they refuse, what they print, and that an old result is never a new one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from faults.verbs import run as verbs
from faults.verbs.schedule import CODES
from testbed.errors import UsageError
from testbed.figures.store import MetricStore
from testbed.judge.result import Result
from testbed.judge.verdict import Verdict
from testbed.report import page as report
from testbed.vocabulary import PHASES


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A metric store of the test's own."""
    monkeypatch.setenv("AVANCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "metrics.sqlite"


def parse(*argv: str) -> argparse.Namespace:
    """What the verbs make of a command line."""
    parser = argparse.ArgumentParser()
    verbs.register(parser.add_subparsers(dest="verb", required=True))
    return parser.parse_args(list(argv))


def a_result(verdict: Verdict = Verdict.PASS) -> Result:
    """A result with some figures and a gap."""
    result = Result("primary-crash", "tcg", 1.0, 0xBEEF, "2026-01-01T00:00:00+00:00", verdict=verdict)
    result.phases_s |= dict.fromkeys(PHASES[:-1], 6.25)
    result.outage_s, result.outage_resolution_s, result.dual_active = 14.2, 0.05, 0
    result.ledger = {"acknowledged": 120, "lost": 0, "stale": 0}
    result.reasons = ["phase redundancy was never reached"]
    return result


def test_the_verbs_have_their_options() -> None:
    """Each verb knows its directory; seeds may be written as they are printed."""
    run = parse("run", "primary-crash", "--seed", "0xbeef", "--cold", "--out", "x")
    assert (run.scenario, run.seed, run.cold, run.out) == ("primary-crash", 0xBEEF, True, Path("x"))
    assert parse("run", "primary-crash").seed is None
    assert parse("demo").out == Path("build/demo")
    assert parse("bench", "--runs", "2").runs == 2


def test_an_unknown_scenario_is_refused_with_those_that_exist() -> None:
    """Nothing is started, and the sentence names what is possible."""
    args = parse("run", "meteor")
    with pytest.raises(UsageError, match=r"no scenario 'meteor'; possible are primary-crash"):
        args.act(args)


def test_a_bench_without_runs_is_refused() -> None:
    """A median of nothing is not printed."""
    args = parse("bench", "--runs", "0")
    with pytest.raises(UsageError, match="--runs must be at least 1"):
        args.act(args)


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(Verdict.PASS, 0), (Verdict.FAIL, 1), (Verdict.INCONCLUSIVE, 3), (Verdict.INVALID_HOST, 4)],
)
def test_the_exit_code_is_the_verdict(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verdict: Verdict,
    code: int,
) -> None:
    """Only a pass is 0, no two verdicts share a code, and 2 stays free for a refusal."""

    async def crash_once(out: Path, *, seed: int | None, cold: bool, **_more: object) -> Result:
        assert (out, seed, cold) == (tmp_path, 7, True)
        return a_result(verdict)

    monkeypatch.setattr(verbs, "crash_once", crash_once)
    (tmp_path / "timeline.txt").write_text("the story\n", encoding="utf-8")
    args = parse("run", "primary-crash", "--out", str(tmp_path), "--seed", "7", "--cold")
    assert args.act(args) == code
    assert f"verdict: {verdict}\n" in capsys.readouterr().out
    assert set(CODES) == set(Verdict)
    with MetricStore(tmp_path / "cache" / "metrics.sqlite") as store:
        ((_, points),) = store.series(metric="outage").items()
    assert [(point.run.verdict, point.value.at) for point in points] == [(verdict.value, 14.2)]


def test_a_store_that_cannot_be_written_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_store: Path
) -> None:
    """The run ends with its verdict, and a sentence says that no figure was kept."""

    async def crash_once(_out: Path, **_more: object) -> Result:
        return a_result()

    monkeypatch.setattr(verbs, "crash_once", crash_once)
    own_store.parent.mkdir()
    own_store.write_text("this is no database, and longer than its header would be", encoding="ascii")
    (tmp_path / "timeline.txt").write_text("the story\n", encoding="utf-8")
    args = parse("run", "primary-crash", "--out", str(tmp_path))
    assert args.act(args) == 0
    assert "cannot be used" in capsys.readouterr().err


def play(monkeypatch: pytest.MonkeyPatch, out: Path, act: Callable[[], int]) -> int:
    """Run the demo with this in place of the test on the real pair, and without the report tool."""

    async def live(argv: list[str], *, cwd: Path) -> int:
        assert str(out) in argv
        return act()

    async def generate(results: Path, page: Path, *, environment: dict[str, object]) -> Path:
        assert environment["seed"] == 0xBEEF
        return page / "index.html"

    monkeypatch.setattr(verbs, "run_live", live)
    monkeypatch.setattr(report, "generate", generate)
    args = parse("demo", "--out", str(out))
    code = args.act(args)
    assert isinstance(code, int)
    return code


def write_result(out: Path) -> None:
    """Leave a result as a run does."""
    out.mkdir(exist_ok=True)
    (out / "result.json").write_text(json.dumps(asdict(a_result())), encoding="utf-8")


@pytest.mark.parametrize("code", [0, 1])
def test_the_last_line_of_the_demo_is_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    """The exit code is that of the test, and a failure is reported as well."""
    out = tmp_path / "demo"

    def act() -> int:
        write_result(out)
        return code

    assert play(monkeypatch, out, act) == code
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "report" / "index.html")


@pytest.mark.parametrize("old", [True, False], ids=["with an old result", "with none"])
def test_a_demo_that_ended_early_shows_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], old: bool
) -> None:
    """The result of an earlier demo in the same directory is not taken for this one's."""
    out = tmp_path / "demo"
    if old:
        write_result(out)
    assert play(monkeypatch, out, lambda: 0) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "ended before there was a result" in told.err
