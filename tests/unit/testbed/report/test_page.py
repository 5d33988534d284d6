"""The report never trusts the tool's exit code, never calls home, and is not published broken."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import HostError, TestbedError
from testbed.judge.result import FaultResult, Result
from testbed.judge.verdict import Verdict
from testbed.report import page as report
from testbed.report.page import Category

# As written by Allure 3.18.0 into a single-file report.
ANALYTICS = """<script async src="https://www.googletagmanager.com/gtag/js?id=G-LNDJ3J7WT0"></script>
    <script>
        window.dataLayer = window.dataLayer || [];
        function gtag(){dataLayer.push(arguments);}
        gtag('js', new Date());
        gtag('config', 'G-LNDJ3J7WT0', {
          "report": "awesome", "single_file": "true"
        });
    </script>"""
BEFORE, AFTER = "<body><script>window.allure = {};</script>", "<script defer>d('data')</script></body>"


def test_analytics_is_removed_and_nothing_else() -> None:
    """Opening the report asks the network for nothing, and its own scripts stay."""
    assert report.without_analytics(f"{BEFORE}{ANALYTICS}{AFTER}") == BEFORE + AFTER


@pytest.mark.parametrize(
    "outside",
    [
        '<script src="https://example.org/x.js"></script>',
        '<link rel="stylesheet" href="//example.org/x.css">',
        '<img alt="" src="http://example.org/x.png">',
    ],
)
def test_other_outside_request_stops_publication(outside: str) -> None:
    """A changed tool that loads something else from outside is noticed."""
    with pytest.raises(TestbedError, match="from outside"):
        report.without_analytics(f"{BEFORE}{outside}{AFTER}")


def test_plugin_crash_is_found_in_the_output() -> None:
    """The tool's only sign of a crashed plugin is a coloured line; a quiet run has none."""
    assert report.plugin_errors("ok\n\x1b[31mplugin awesome error\x1b[0m: Invalid group") == [
        "plugin awesome error: Invalid group"
    ]
    assert report.plugin_errors("report successfully generated") == []


def test_regular_expression_flag_is_refused() -> None:
    """A flag that crashes the report tool does not get as far as the tool."""
    with pytest.raises(AssertionError, match="flag"):
        report.tool_config("x", Path("out"), [Category("bad", "failed", "(?s).*")])


def test_all_categories_are_accepted_by_the_tool() -> None:
    """The project's categories keep to what the tool can read, and the page is one file."""
    config = report.tool_config("x", Path("out"))
    assert "'singleFile': True" in str(config)
    assert all(category.name in str(config) for category in report.CATEGORIES)


def test_history_is_kept_only_where_it_is_wanted() -> None:
    """A report of one run has none; a report of everything has a file with a bounded number of runs."""
    assert "historyPath" not in report.tool_config("x", Path("out"))
    config = report.tool_config("x", Path("out"), history=Path("past.jsonl"))
    assert (config["historyPath"], config["historyLimit"]) == ("past.jsonl", report.HISTORY_RUNS)


def test_what_is_no_test_is_a_result_with_its_output(tmp_path: Path) -> None:
    """The colours of a terminal are left out of the attachment."""
    log = tmp_path / "check.log"
    log.write_text("\x1b[31mred\x1b[0m\n", encoding="utf-8")
    results = tmp_path / "results"
    results.mkdir()
    report.write_result(results, "check", "failed", "it broke", log=log, began_s=1.0, ended_s=2.5)
    (path,) = results.glob("*-result.json")
    made = json.loads(path.read_text(encoding="utf-8"))
    assert (made["status"], made["start"], made["stop"], made["statusDetails"]) == (
        "failed",
        1000,
        2500,
        {"message": "it broke"},
    )
    assert (results / made["attachments"][0]["source"]).read_text(encoding="utf-8") == "red\n"


def test_environment_is_written_as_properties() -> None:
    """Values and names with special characters survive the properties format."""
    text = report.environment_properties({"accel": "tcg", "time dilation": 1.5, "path": "a\\b\nc"})
    assert text == "accel=tcg\ntime\\ dilation=1.5\npath=a\\\\b\\nc\n"


def test_missing_page_is_an_error_and_keeps_the_old_report(tmp_path: Path) -> None:
    """Exit code 0 without a page is a failure, and yesterday's report is not destroyed by it."""
    old = tmp_path / "report" / "index.html"
    old.parent.mkdir()
    old.write_text("old")
    with pytest.raises(TestbedError, match="made no usable report; it said: strange"):
        report.publish(tmp_path / "absent.html", old, "strange")
    assert old.read_text() == "old"


def test_page_beside_a_plugin_crash_is_an_error(tmp_path: Path) -> None:
    """A page that was made although a plugin crashed is not published."""
    made = tmp_path / "index.html"
    made.write_text(BEFORE)
    with pytest.raises(TestbedError, match="plugin awesome error"):
        report.publish(made, tmp_path / "out" / "index.html", "plugin awesome error")
    assert not (tmp_path / "out").exists()


def test_missing_tool_says_how_to_get_it(tmp_path: Path) -> None:
    """Without the tool a person learns which command installs it."""
    with pytest.raises(HostError, match="make setup"):
        report.tool_argv(tmp_path)


def test_no_results_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty results directory is not turned into an empty green report."""
    monkeypatch.setattr(report, "tool_argv", lambda: ["never-started"])
    with pytest.raises(TestbedError, match="no test results"):
        asyncio.run(report.generate(tmp_path, tmp_path / "out", environment={}))


def test_wrong_arguments_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """The command explains itself and ends with the code for misuse."""
    assert report.main([]) == 2
    assert "RESULTS_DIR" in capsys.readouterr().err


class Recorder:
    """Stands where the report tool's own functions are, and notes what is asked of it with its place in the steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path: list[str] = []
        self.failed: list[str] = []
        self.noted: list[tuple[str, ...]] = []
        monkeypatch.setattr(report, "step", self.step)
        monkeypatch.setattr(report, "label", lambda name, value: self.noted.append(("label", name, value)))
        monkeypatch.setattr(report, "attach_file", lambda _path, name: self.noted.append((*self.path, "file", name)))
        monkeypatch.setattr(report, "attach_text", lambda text, name: self.noted.append((*self.path, name, text)))
        monkeypatch.setattr(report, "attach_json", lambda v, name: self.noted.append((*self.path, name, str(v))))
        monkeypatch.setattr(report, "show_picture", lambda _path, *texts: self.noted.append(("picture", *texts)))

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step that fails as the tool's own does."""
        self.path.append(name)
        try:
            yield
        except AssertionError:
            self.failed.append(name)
            raise
        finally:
            self.path.pop()


def a_run(out: Path) -> Result:
    """A run with a proven fault and one that never came, and some of its files."""
    out.mkdir()
    for name in ("schedule.jsonl", "timeline.png", "result.json"):
        (out / name).write_text("x", encoding="utf-8")
    result = Result("cut", "tcg", 1.0, 7, "2026-01-01T00:00:00+00:00", verdict=Verdict.INCONCLUSIVE, outage_s=3.0)
    result.faults = [
        FaultResult("node.kill", "a", "confirmed", 4.0, {"gone": True}, "dead", 0.001, 20.0),
        FaultResult("link.cut", "b.priv0", "not injected", None, {}, "cut", problem="waited in vain"),
    ]
    result.reasons = ["fault link.cut on b.priv0: not injected"]
    return result


def test_a_run_is_shown_with_a_step_for_each_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels, picture, steps with evidence, tables and those files that are there; a missing one is no error."""
    recorder, out = Recorder(monkeypatch), tmp_path / "run"
    report.attach_run(out, a_run(out))
    noted = recorder.noted
    assert [note[1:] for note in noted if note[0] == "label"] == [
        ("fault", "node.kill"),
        ("fault", "link.cut"),
        ("family", "node"),
        ("family", "link"),
    ]
    ((picture, tables),) = [note[1:] for note in noted if note[0] == "picture"]
    assert "link.cut   b.priv0  cut   not injected" in tables
    assert picture.startswith("Verdict inconclusive: outage 3.0 s. Because fault link.cut")
    assert picture.endswith(f"Again: testbed replay {out / 'schedule.jsonl'}")
    dead = "fault node.kill on a: confirmed"
    assert (dead, "confirmed at +0.0 s", "evidence", "{'gone': True}") in noted
    assert [note[1] for note in noted if note[0] == "file"] == ["schedule.jsonl", "result.json", "timeline.png"]
    assert any(note[0] == "faults, levels and oracles" for note in noted)


def test_a_fault_that_never_came_is_a_failed_step_and_no_failed_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run is worth is for its verdict to say; the proven fault's steps all pass."""
    recorder, out = Recorder(monkeypatch), tmp_path / "run"
    report.attach_run(out, a_run(out))
    assert recorder.failed == ["waited in vain", "fault link.cut on b.priv0: not injected"]
