"""Proves that every run ends with verdict, reasons, what to do, story and picture, however early it ended."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from faults.run import ending, scenario
from faults.run.scenario import primary_crash, run_schedule
from testbed.client.ledger import Ledger, load
from testbed.errors import HostError, SlowHostError, SwitchError, TestbedError, UsageError, WaitTimeout
from testbed.history import History
from testbed.host import speedometer
from testbed.host.accelerator import Accelerator
from testbed.host.speed import Measured, SpeedSample
from testbed.judge import panel, recorded
from testbed.judge.finding import Finding
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.result import FaultResult, Result
from testbed.judge.verdict import Verdict
from testbed.replica.reading import Reading
from testbed.site import SiteOptions
from testbed.topology import Topology
from testbed.vocabulary import PHASES
from tests.unit.testbed.small_image import small_image


class BrokenSession:
    """A session that ends at a chosen place with a chosen error, on a host of a chosen speed."""

    error: BaseException = WaitTimeout("Waited 240 s for node a booted; it did not come.")
    at = "protect"
    speed = 1.0
    dilation = 2.0

    def __init__(self, out: Path, _site: SiteOptions) -> None:
        self.out = out
        self.began = False
        self.measured = Measured(self.speed)
        self.meter: speedometer.Speedometer | None = None
        self.accelerator = Accelerator("tcg", "a test", 0.0)
        self.image = small_image(out.parent / "image")
        self.history = History()

    async def __aenter__(self) -> Self:
        if self.at == "refused":
            raise self.error
        self.out.mkdir()
        self.began = True
        self.history.zero_at_s = 100.0
        if self.at == "world":
            raise self.error
        self.meter = speedometer.Speedometer(self.out / "speed.log", measured=self.measured)
        self.meter.points = [SpeedSample(104.0 + 4 * number, self.speed, 1.0) for number in range(30)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def protect(self, *, cold: bool) -> None:
        """End here."""
        assert not cold
        raise self.error


def end(out: Path, monkeypatch: pytest.MonkeyPatch, **chosen: object) -> Result:
    """Run a crash in a session that breaks."""
    monkeypatch.setattr(scenario, "Session", type("Session", (BrokenSession,), chosen))
    return asyncio.run(run_schedule(primary_crash(7), out))


ENDS: list[tuple[dict[str, object], Verdict, str, str]] = [
    ({}, Verdict.INCONCLUSIVE, "the run broke off: Waited 240 s for node a booted", "console-*.log"),
    ({"speed": 0.4}, Verdict.INVALID_HOST, "it ran at 0.4 of the reference", "--dilation 4"),
    ({"speed": 0.1, "dilation": 8.0}, Verdict.INVALID_HOST, "it ran at 0.1 of the reference", "end other programs"),
    ({"at": "world", "error": SwitchError("no switch")}, Verdict.INCONCLUSIVE, "no switch", "run it again"),
    ({"at": "world", "error": OSError(28, "No space")}, Verdict.INCONCLUSIVE, "No space", "run it again"),
    (
        {"at": "world", "error": SlowHostError("its speed 0.1 is below 1/8"), "speed": 0.1, "dilation": 8.0},
        Verdict.INVALID_HOST,
        "its speed 0.1 is below 1/8",
        "end other programs",
    ),
]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("chosen", "verdict", "reason", "to_do"), ENDS)
def test_a_run_that_never_had_a_client_has_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, Any], verdict: Verdict, reason: str, to_do: str
) -> None:
    """Slowness is invalid-host with a way out, anything else inconclusive; all files of a run are there."""
    out = tmp_path / "run"
    result = end(out, monkeypatch, **chosen)
    assert result.verdict is verdict
    assert reason in result.reasons[0]
    assert to_do in result.what_to_do
    fields = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert fields["verdict"] == verdict.value
    assert fields["what_to_do"] == result.what_to_do
    assert fields["host"]["speed"]["start"]["loop"] == chosen.get("speed", 1.0)
    for name in ("timeline.txt", "timeline.jsonl", "timeline.png", "recorded.json", "schedule.jsonl"):
        assert (out / name).is_file()


@pytest.mark.parametrize("error", [HostError("another bed runs"), UsageError("no such thing")])
def test_what_is_refused_before_anything_was_done_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: TestbedError
) -> None:
    """The refusal is passed on, and no directory was touched."""
    with pytest.raises(type(error), match=str(error)):
        end(tmp_path / "run", monkeypatch, at="refused", error=error)
    assert not (tmp_path / "run").exists()


def test_a_mistake_of_ours_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the harness itself is no end of a run."""
    with pytest.raises(KeyError):
        end(tmp_path / "run", monkeypatch, error=KeyError("ours"))


def test_a_violation_that_was_seen_before_the_end_fails_the_run(tmp_path: Path) -> None:
    """Two nodes that used the VM's address at once are a failure, though the run broke off on a slow host."""
    history = History()
    history.record_at(99.0, "switch", "watching")
    result = Result("x", "tcg", 1.0, 1, "now", phases_s=dict.fromkeys(PHASES), broken="it broke")
    for port in ("a.biz0", "b.biz0"):
        history.record_at(
            110.0, "switch", "claim", mac="00:16:3e:77:00:20", port=port, first_s=101.0, last_s=109.0, reached=True,
        )  # fmt: skip
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    ending.keep(result, history, ending.broken_off(result, history, 100.0, Topology()), run_dir)
    ending.judge_all(result, run_dir)
    assert result.verdict is Verdict.FAIL
    verdicts = {one["oracle"]: one["verdict"] for one in result.findings}
    assert verdicts["dual_active"] == "fail"
    assert verdicts["writes"] == verdicts["replicas_equal"] == "inconclusive"


class Raises:
    """An oracle with a mistake; with a `BaseException` it ends the program."""

    name = "mistaken"
    is_needed = False

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def judge(self, _recorded: Recorded) -> Finding:
        """Fail."""
        raise self.error


def whole_run(directory: Path) -> tuple[Result, History, Recorded]:
    """A run with a client's book on disk and both copies read, in which no oracle but the switch's was blind."""
    history = History()
    history.record_at(99.0, "switch", "watching")
    history.record_at(101.0, "switch", "claim", mac="00:16:3e:77:00:20", port="a.biz0", first_s=101.0, last_s=109.0)
    result = Result("x", "tcg", 1.0, 1, "now", is_redundant=True, host={"probe_lateness_p99_s": 0.0})
    result.faults = [FaultResult("node.kill", "a", "confirmed", 4.0, {})]
    with Ledger(directory / "ledger.jsonl") as ledger:
        ledger.invoked("w0", 101.0)
        ledger.ok("w0", 0, 102.0)
    readings = (Reading("the service", 108.0, ("w0",), totals=(1,)),)
    return result, history, Recorded(Scene(), 100.0, 108.0, "not compared", {"web": readings})


@pytest.mark.usefixtures("undrawn")
def test_an_oracle_that_raises_loses_nothing_and_is_never_green(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is inconclusive with the reason, the others have spoken, and all that was recorded is on disk."""
    result, history, run = whole_run(tmp_path)
    monkeypatch.setattr(panel, "ORACLES", (*panel.ORACLES, Raises(KeyError("mac"))))
    ending.keep(result, history, run, tmp_path)
    ending.judge_all(result, tmp_path)
    ending.write(result, history, tmp_path, 100.0)
    fields = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert fields["verdict"] == "inconclusive"
    reason = "the oracle mistaken could not see: it failed itself: KeyError: 'mac'"
    assert any(one.startswith(reason) for one in fields["reasons"])
    assert {one["oracle"]: one["verdict"] for one in fields["findings"]}["writes"] == "pass"
    assert fields["ledger"]["acknowledged"] == 1
    book = load(tmp_path / "ledger.jsonl").entries()
    assert recorded.load(tmp_path) == replace(run, records=tuple(history), books={"web": book})


def test_everything_recorded_is_on_disk_before_the_first_judge_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A judge that ends the whole program leaves records and a result that says that nobody has judged it."""
    result, history, run = whole_run(tmp_path)
    monkeypatch.setattr(panel, "ORACLES", (Raises(KeyboardInterrupt()), *panel.ORACLES))
    ending.keep(result, history, run, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        ending.judge_all(result, tmp_path)
    fields = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (fields["verdict"], fields["reasons"]) == ("inconclusive", [ending.NOT_JUDGED])
    assert len(recorded.load(tmp_path).records) == len(history)
    assert recorded.load(tmp_path).readings == run.readings


def test_a_judgement_or_a_demand_that_raises_leaves_the_run_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; what the oracles said stays."""
    result, history, run = whole_run(tmp_path)
    ending.keep(result, history, run, tmp_path)
    ending.judge_all(result, tmp_path, unmet=lambda: [str(1 / 0)])
    assert any("the oracle demands could not see: it failed itself: ZeroDivisionError" in one for one in result.reasons)
    monkeypatch.setattr(ending, "judge", Raises(KeyError("verdict")).judge)
    ending.judge_all(result, tmp_path)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reasons[0].startswith("verdict: inconclusive: it failed itself: TypeError")
    assert len(result.findings) == len(panel.ORACLES)


def test_records_that_cannot_be_read_back_leave_the_run_inconclusive(tmp_path: Path) -> None:
    """No oracle could be asked, and each of them says so."""
    result, history, run = whole_run(tmp_path)
    ending.keep(result, history, run, tmp_path)
    (tmp_path / recorded.RECORDED).write_text("{", encoding="utf-8")
    ending.judge_all(result, tmp_path)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "the oracle writes was not asked" in result.reasons
    assert any("the oracle records could not see: it failed itself: JSONDecodeError" in one for one in result.reasons)


def test_the_first_error_of_several_tasks_is_told() -> None:
    """A person reads one sentence, not a tree of exceptions; an error without words is at least named."""
    assert ending.text_of(ExceptionGroup("tasks", [SwitchError("no answer"), OSError()])) == "no answer"
    assert ending.text_of(TimeoutError()) == "TimeoutError"
