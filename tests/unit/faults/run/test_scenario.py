"""Proves the bookkeeping of a scenario, and a whole run without machines; the rest is proven on the real pair."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from faults.run import scenario
from faults.run.plan import Plan
from faults.run.scenario import STEADY_S, primary_crash, run, run_schedule
from faults.schedule import schedule
from faults.schedule.schedule import Schedule
from faults.schedule.step import Step
from faults.schedule.trigger import Range, Trigger
from testbed.bed import Bed
from testbed.errors import SwitchError, TestbedError, UsageError, WaitTimeout
from testbed.history import History
from testbed.host.speed import SpeedSample
from testbed.host.speedometer import Speedometer
from testbed.judge.result import FaultResult, Result
from testbed.judge.verdict import Verdict
from testbed.progress import Progress
from testbed.site import SiteOptions
from testbed.topology import Topology
from tests.unit.faults.run.whole_run import without_machines
from tests.unit.testbed.small_image import cold_bed


def test_the_same_seed_gives_the_same_plan() -> None:
    """The load before the crash is drawn from the seed, within its limits, and nothing is left to draw."""
    one, same, other = primary_crash(7), primary_crash(7), primary_crash(8)
    assert one == same
    assert one.steps != other.steps
    delay_s = one.steps[0].when.delay_s
    assert not isinstance(delay_s, Range)
    assert STEADY_S.low_s <= delay_s <= STEADY_S.high_s
    assert one.is_fixed


class DeadSwitch:
    """A switch that ends at its first order, and knows whether the run had begun by then."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.zero_when_counting_s: list[float] = []

    async def count_multicasts(self) -> None:
        """Note the moment, and end."""
        self.zero_when_counting_s.append(self.history.zero_at_s)
        raise SwitchError("the switch has ended")

    async def rules(self) -> dict[str, object]:
        """Answer nothing."""
        raise SwitchError("the switch has ended")


def broken_run(directory: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, speed: float) -> Result:
    """Run a crash that breaks off after the injection, on a host of this speed, at dilation 2."""

    async def act(_bed: Bed, _plan: Plan, result: Result, _began_s: float) -> float:
        result.faults = [FaultResult("node.kill", "a", "confirmed", 4.0, {})]
        raise error

    monkeypatch.setattr(scenario, "_act", act)
    monkeypatch.setattr(Bed, "peak_memory_mib", lambda _bed: 0)
    (directory / "run").mkdir()
    bed = cold_bed(directory, directory, History(), site=SiteOptions(dilation=2.0))
    bed.nodes = {}
    switch = DeadSwitch(bed.history)
    vars(bed)["switch"] = switch
    bed.speedometer = Speedometer(directory / "speed.log")
    bed.speedometer.points = [SpeedSample(1e12 + 5 * number, speed, 1.0) for number in range(40)]
    plan = Plan(replace(primary_crash(7), site=SiteOptions(dilation=2.0)), directory / "run")
    try:
        return asyncio.run(run(bed, plan))
    finally:
        assert switch.zero_when_counting_s[:1] == [0.0], "multicasts were not counted from before the run began"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("speed", "verdict", "first"),
    [(0.4, Verdict.INVALID_HOST, "0.4 of the reference"), (0.6, Verdict.INCONCLUSIVE, "Waited 30 s for a status")],
)
def test_a_run_that_breaks_off_half_way_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float, verdict: Verdict, first: str
) -> None:
    """A time limit on a slow host is invalid-host, on a fast one inconclusive; faults, story and picture are kept."""
    result = broken_run(tmp_path, monkeypatch, WaitTimeout("Waited 30 s for a status"), speed)
    assert result.verdict is verdict
    assert first in result.reasons[0]
    assert "Waited 30 s for a status" in result.reasons[-1]
    fields = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert fields["faults"][0]["verdict"] == "confirmed"
    assert fields["dilation"] == 2.0
    assert "the run broke off: Waited 30 s" in (tmp_path / "run" / "timeline.txt").read_text(encoding="utf-8")
    assert (tmp_path / "run" / "timeline.png").is_file()


@pytest.mark.parametrize("error", [UsageError("no such node")])
def test_a_schedule_that_is_impossible_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: TestbedError
) -> None:
    """That is no end of a run."""
    with pytest.raises(UsageError, match="no such node"):
        broken_run(tmp_path, monkeypatch, error, 1.0)


class Watched(AsyncExitStack):
    """A probe of a bed without machines, with what it was asked for."""

    def __init__(self, **asked: Any) -> None:  # noqa: ANN401 - whatever it was asked for
        super().__init__()
        self.asked = asked


def test_a_run_does_not_end_in_the_middle_of_a_hiccup(monkeypatch: pytest.MonkeyPatch) -> None:
    """As both copies became equal the client was not answered for a moment: it is served again before the run ends."""
    monkeypatch.setattr(scenario, "POLL_S", 0.001)
    looks = iter([True, False, False, True])
    order: list[str] = []

    class Hiccup:
        @property
        def is_up(self) -> bool:
            order.append("up" if (now := next(looks)) else "down")
            return now

    async def redundant(_stages: object, _zero_s: float) -> None:
        order.append("redundant")

    async def story() -> None:
        with History() as history:
            bed = SimpleNamespace(progress=Progress(), history=history)
            result = Result(scenario="x", accel="tcg", dilation=1.0, seed=1, started_wall="")
            parts: list[Any] = [bed, None, result, None, Hiccup(), None]
            monkeypatch.setattr(scenario._RunStages, "_redundant", redundant)
            await scenario._RunStages(*parts)._recover(0.0)
            assert (result.is_redundant, result.problems) == (True, [])

    asyncio.run(story())
    assert order == ["up", "redundant", "down", "down", "up"]


def test_each_vm_has_a_client_with_a_book_and_a_watch_on_its_boots(tmp_path: Path) -> None:
    """The writes of another VM than the first carry its name; the levels are those of the first."""
    made: list[Watched] = []

    def make(kind: str) -> Callable[..., Watched]:
        def asked(*words: object, **more: object) -> Watched:
            made.append(Watched(kind=kind, words=words, **more))
            return made[-1]

        return asked

    kinds = {kind: make(kind) for kind in ("probe", "probe_levels", "boot_probe")}
    topology = Topology(vms=2)
    bed = cast("Bed", SimpleNamespace(topology=topology, nodes={}, history=History(), **kinds))
    plan = Plan(primary_crash(0xBEEF), tmp_path)

    async def story() -> None:
        with ExitStack() as books:
            async with scenario._clients(bed, plan, books):
                pass
            files = {one.asked["vm"].name: one.asked["ledger"].path.name for one in made if "ledger" in one.asked}
            assert files == {"web": "ledger.jsonl", "web1": "ledger@web1.jsonl"}

    asyncio.run(story())
    assert [(one.asked["kind"], one.asked["words"]) for one in made] == [
        ("probe", ("wbeef",)),
        ("probe", ("wbeef.web1",)),
        ("probe_levels", (made[0],)),
        ("boot_probe", (topology.guests[0],)),
        ("boot_probe", (topology.guests[1],)),
    ]


def pulled(out: Path, monkeypatch: pytest.MonkeyPatch, *, obeys: bool = True) -> Result:
    """Play a run without machines in which the primary's disk is told to go, for a moment."""
    without_machines(monkeypatch, obeys=obeys)
    step = Step("gone", "disk.gone", "primary", Trigger(0.1), parameters={"disk": "vdb"})
    return asyncio.run(run_schedule(Schedule("x", 1, (step,)), out))


@pytest.mark.usefixtures("undrawn")
def test_a_whole_run_proves_its_fault_takes_it_back_and_keeps_what_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule is kept as it was given, by role, so that it fits the next bed, and as it was used, by node."""
    result = pulled(tmp_path / "run", monkeypatch)
    (fault,) = result.faults
    assert (fault.step, fault.target, fault.verdict, fault.problem) == ("gone", "a", "confirmed", None)
    assert fault.healed_at_s is not None
    assert result.is_redundant
    assert result.ledger["acknowledged"]
    kept = [schedule.load(tmp_path / "run" / name) for name in ("schedule.jsonl", "schedule-used.jsonl")]
    assert [one.steps[0].target for one in kept] == ["primary", "a"]


@pytest.mark.usefixtures("undrawn")
def test_a_whole_run_whose_fault_did_not_happen_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk server that says that the disk is gone, and still answers, is found out."""
    result = pulled(tmp_path / "run", monkeypatch, obeys=False)
    assert [fault.verdict for fault in result.faults] == ["mismatch"]
    assert (result.verdict, result.reasons[0]) == (Verdict.INCONCLUSIVE, "fault disk.gone on a: mismatch")
