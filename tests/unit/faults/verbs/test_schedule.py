"""Proves what the verbs around schedules say and refuse, and which exit code they end with."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults import registry
from faults.capability import Capability
from faults.kinds.node.whole import NodeKill
from faults.registry import kind_of
from faults.schedule.schedule import Schedule, load
from faults.verbs import schedule as verbs_schedule
from faults.verbs.schedule import (
    FAILED,
    INVALID_HOST,
    PASSED,
    SAID_NOTHING,
    FailsAlike,
    ReplayedRun,
    as_json,
    exit_code,
    table,
    tally,
)
from testbed import __main__ as command
from testbed.errors import HostError, MachineError
from testbed.judge.result import Result
from testbed.judge.verdict import Verdict

FILE = """{"schema": "testbed.schedule/1", "scenario": "cut", "seed": 7, "about": "two cuts"}
{"name": "one", "fault": "link.cut", "target": "primary.priv0", "when": {"after_s": [3, 5]}, "until": {"after_s": 9}}
{"name": "two", "fault": "link.loss", "target": "backup.biz0", "when": {"event": "outage_began"}}
"""


def a_result(verdict: Verdict, *reasons: str) -> Result:
    """A result of a run."""
    return Result("cut", "tcg", 1.0, 7, "now", verdict=verdict, reasons=list(reasons))


class World:
    """Takes the place of the director: answers with planted results, and remembers what was run."""

    def __init__(self, *answers: Result | Exception) -> None:
        self._answers: Iterator[Result | Exception] = iter(answers)
        self.ran: list[tuple[Schedule, Path]] = []

    async def run_schedule(self, schedule: Schedule, out: Path) -> Result:
        """Answer with the next one."""
        self.ran.append((schedule, out))
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A schedule file."""
    path = tmp_path / "cut.jsonl"
    path.write_text(FILE, encoding="utf-8")
    return path


def direct(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Put a world in the director's place."""
    monkeypatch.setattr(verbs_schedule, "director", lambda: world.run_schedule)


def parse(*argv: str) -> argparse.Namespace:
    """The arguments of one of these verbs."""
    parser = argparse.ArgumentParser()
    verbs_schedule.register(parser.add_subparsers(dest="verb"))
    return parser.parse_args(argv)


def test_the_verbs_belong_to_the_testbed(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`testbed check` ends with 0 and prints the schedule fixed, so that the output is a schedule again."""
    assert command.main(["check", str(plan)]) == PASSED
    told = capsys.readouterr()
    plan.write_text(told.out, encoding="utf-8")
    assert load(plan).is_fixed
    assert "one: link.cut on primary.priv0, " in told.err
    assert "until 9 s after one was injected" in told.err
    assert "two: link.loss on backup.biz0, outage_began, counted from the start, within 120 s; until the" in told.err


def test_another_seed_draws_other_times(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file's own seed is what is used without one."""
    printed = []
    for more in ([], ["--seed", "7"], ["--seed", "0x8"]):
        assert command.main(["check", str(plan), *more]) == PASSED
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]
    with pytest.raises(SystemExit):
        parse("check", str(plan), "--seed", "-1")


@pytest.mark.parametrize("verb", ["check", "replay", "shrink"])
def test_a_bad_schedule_is_refused_with_its_line(
    verb: str, plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, a sentence, and nothing was run."""
    world = World()
    direct(monkeypatch, world)
    plan.write_text(FILE.replace("link.loss", "link.los"), encoding="utf-8")
    assert command.main([verb, str(plan)]) == 2
    assert "cut.jsonl, line 3: There is no fault 'link.los' (did you mean link.loss" in capsys.readouterr().err
    assert world.ran == []


@pytest.mark.parametrize("verb", ["check", "replay", "shrink"])
def test_what_the_host_cannot_do_is_refused(
    verb: str, plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names the step and what is missing, before anything was run."""
    direct(monkeypatch, World())
    kinds = {**registry.kinds(), "link.loss": replace(registry.find("link.loss"), needs=("nix!",))}
    monkeypatch.setattr(registry, "kinds", lambda: kinds)
    assert command.main([verb, str(plan)]) == 2
    assert "step two (link.loss) cannot be done on this host: the program nix! is not" in capsys.readouterr().err


def test_every_fault_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """For people and for programs, each with what it is and what can be given."""
    assert command.main(["list"]) == PASSED
    text = capsys.readouterr().out
    assert command.main(["list", "--json"]) == PASSED
    made = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert made.keys() == registry.kinds().keys()
    assert all(name in text for name in made)
    assert "with: direction=in (in, out, both), window_s=2.0 (float)" in text
    direction = made["link.cut_one_way"]["parameters"][0]
    assert direction == {"name": "direction", "type": "in, out, both", "required": False, "default": "in"}


def test_the_list_says_what_this_host_lacks() -> None:
    """What cannot be done here stands beside the fault, with the reason, and is counted."""
    one = kind_of(NodeKill)
    other = kind_of(type("Beast", (NodeKill,), {"name": "node.beast", "needs": ("teeth",), "__doc__": "It bites."}))
    lacking = [Capability("teeth", False, "the program teeth is not installed")]
    text = table([one, other], lacking)
    assert "node.beast  It bites.\n" in text
    assert "NOT ON THIS HOST: the program teeth is not installed" in text
    assert text.endswith("2 faults; this host cannot do 1 of them.")
    made = json.loads(as_json([one, other], lacking))
    assert [item["possible_here"] for item in made] == [True, False]
    assert "this host can do all of them" in table([one], [])


def test_a_replay_says_how_often_it_failed(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each run has the same fixed schedule and a directory of its own; what was run lies beside."""
    world = World(
        a_result(Verdict.FAIL, "2 acknowledged writes were lost"),
        a_result(Verdict.PASS),
        MachineError("QEMU is gone"),
        a_result(Verdict.FAIL, "x"),
        a_result(Verdict.INCONCLUSIVE, "fault link.cut: mismatch"),
    )
    direct(monkeypatch, world)
    out = tmp_path / "out"
    assert command.main(["replay", str(plan), "--times", "5", "--out", str(out)]) == FAILED
    told = capsys.readouterr().out
    assert told.splitlines()[-1] == "cut: failed in 2 of 5 runs (pass 1, broken bed 1, inconclusive 1)"
    assert "run 1 of 5: fail\n  because 2 acknowledged writes were lost" in told
    assert "run 3 of 5: broken bed\n  because QEMU is gone" in told
    assert [where for _, where in world.ran] == [out / f"run-{number}" for number in range(1, 6)]
    assert {id(schedule) for schedule, _ in world.ran} == {id(world.ran[0][0])}
    assert load(out / "schedule.jsonl") == world.ran[0][0]
    runs = json.loads((out / "replay.json").read_text(encoding="utf-8"))["runs"]
    assert [run["verdict"] for run in runs] == ["fail", "pass", "broken bed", "fail", "inconclusive"]


def test_a_single_replay_shows_its_story_and_its_schedule(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary of `testbed run`, with the line that runs it again; several runs have theirs, too."""
    direct(monkeypatch, World(a_result(Verdict.FAIL, "x"), a_result(Verdict.PASS), a_result(Verdict.PASS)))
    out = tmp_path / "out"
    assert command.main(["replay", str(plan), "--out", str(out)]) == FAILED
    told = capsys.readouterr().out
    assert "verdict: fail\n  because x\n" in told
    assert told.splitlines()[-1] == f"again: testbed replay {out / 'run-1' / 'schedule.jsonl'}"
    twice = tmp_path / "twice"
    assert command.main(["replay", str(plan), "--times", "2", "--out", str(twice)]) == PASSED
    assert f"again: testbed replay {twice / 'schedule.jsonl'} --times 2" in capsys.readouterr().out


def test_what_another_schedule_did_is_never_taken_over(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its verdicts lie in the same directory, and the new schedule is interrupted before its first run has ended."""

    async def told() -> str:
        return "abc"

    monkeypatch.setattr(verbs_schedule, "_revision", told)
    out = tmp_path / "out"
    argv = ["replay", str(plan), "--times", "2", "--out", str(out)]
    direct(monkeypatch, World(*[a_result(Verdict.PASS)] * 2))
    assert command.main(argv) == PASSED
    plan.write_text(FILE.replace('"seed": 7', '"seed": 8'), encoding="utf-8")
    direct(monkeypatch, World(HostError("full")))
    assert command.main(argv) == 2
    second = World(*[a_result(Verdict.FAIL, "x")] * 2)
    direct(monkeypatch, second)
    assert command.main(argv) == FAILED
    assert len(second.ran) == 2


@pytest.mark.parametrize("change", ["nothing", "revision", "changed files", "schedule", "half a file"])
def test_an_interrupted_replay_goes_on(
    change: str, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What one revision has done is not done again; a broken bed or a slow host is; another product begins anew."""
    revision = "abc+" if change == "changed files" else "abc"

    async def told() -> str:
        return revision

    monkeypatch.setattr(verbs_schedule, "_revision", told)
    out = tmp_path / "out"
    argv = ["replay", str(plan), "--times", "4", "--out", str(out)]
    direct(
        monkeypatch, World(MachineError("gone"), MachineError("gone"), a_result(Verdict.FAIL, "x"), HostError("full"))
    )
    assert command.main(argv) == 2
    direct(monkeypatch, World(a_result(Verdict.INVALID_HOST), HostError("full"), *[HostError("full")] * 2))
    assert command.main(argv) == 2, "what the second try did not come to is still known"
    if change == "revision":
        revision = "abd"
    if change == "schedule":
        plan.write_text(FILE.replace('"seed": 7', '"seed": 8'), encoding="utf-8")
    if change == "half a file":
        path = out / "replay.json"
        path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    capsys.readouterr()
    second = World(*[a_result(Verdict.PASS)] * 4)
    direct(monkeypatch, second)
    code = command.main(argv)
    if change == "nothing":
        assert [where.name for _, where in second.ran] == ["run-1", "run-2", "run-4"]
        assert code == FAILED, "what failed before the interruption still counts"
        printed = capsys.readouterr().out
        assert "run 3 of 4: fail\n  because x (kept from before" in printed
        assert printed.splitlines()[-1] == "cut: failed in 1 of 4 runs (pass 3)"
    else:
        assert len(second.ran) == 4
        assert code == PASSED


def test_a_single_replay_on_a_broken_bed_says_what_broke(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no result, and so no summary."""
    direct(monkeypatch, World(MachineError("QEMU is gone")))
    assert command.main(["replay", str(plan), "--out", str(tmp_path / "out")]) == FAILED
    assert "run 1 of 1: broken bed\n  because QEMU is gone" in capsys.readouterr().out


def test_a_refusal_of_the_host_ends_a_replay(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that cannot run the bed is not tried again."""
    world = World(HostError("no memory"), a_result(Verdict.PASS))
    direct(monkeypatch, world)
    assert command.main(["replay", str(plan), "--times", "2", "--out", str(tmp_path / "out")]) == 2
    assert len(world.ran) == 1


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["pass", "pass"], PASSED),
        (["pass", "fail", "inconclusive"], FAILED),
        (["pass", "broken bed"], FAILED),
        (["pass", "invalid-host", "inconclusive"], SAID_NOTHING),
        (["pass", "invalid-host"], INVALID_HOST),
    ],
)
def test_the_worst_run_decides(verdicts: list[str], code: int) -> None:
    """Only when every run passed the code is 0."""
    assert exit_code([ReplayedRun("x", verdict, []) for verdict in verdicts]) == code


def test_a_tally_of_passes_says_so() -> None:
    """Nothing failed is said as a number too."""
    assert tally("cut", [ReplayedRun("x", "pass", [])]) == "cut: failed in 0 of 1 runs (pass 1)"


def test_shrinking_leaves_the_smallest_schedule_and_the_way_to_run_it(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A planted cause is found, written, and confirmed by runs of its own."""

    class Planted(World):
        async def run_schedule(self, schedule: Schedule, out: Path) -> Result:
            self.ran.append((schedule, out))
            if any(step.name == "two" for step in schedule.steps):
                return a_result(Verdict.FAIL, f"{len(self.ran)} acknowledged writes were lost")
            return a_result(Verdict.PASS)

    world, out = Planted(), tmp_path / "out"
    direct(monkeypatch, world)
    assert command.main(["shrink", str(plan), "--confirm", "2", "--budget", "20", "--out", str(out)]) == PASSED
    told = capsys.readouterr().out
    assert [step.name for step in load(out / "shrunk.jsonl").steps] == ["two"]
    assert "Run again, this schedule failed in 2 of 2 runs." in told
    assert told.splitlines()[-1] == f"again: testbed replay {out / 'shrunk.jsonl'} --times 2"
    assert world.ran[-1][1] == out / f"run-{len(world.ran)}"


def test_shrinking_what_does_not_fail_says_nothing(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with its own code and leaves no smaller file."""
    direct(monkeypatch, World(a_result(Verdict.PASS)))
    assert command.main(["shrink", str(plan), "--out", str(tmp_path / "out")]) == SAID_NOTHING
    assert "did not fail, so nothing was made smaller" in capsys.readouterr().out
    assert not (tmp_path / "out" / "shrunk.jsonl").exists()


def test_luck_is_no_success(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A smallest schedule that never failed again is left for inspection, and the code says that nobody knows."""
    passes = [a_result(Verdict.PASS) for _ in range(40)]
    direct(monkeypatch, World(a_result(Verdict.FAIL, "x"), *passes))
    assert command.main(["shrink", str(plan), "--out", str(tmp_path / "out")]) == SAID_NOTHING
    assert (tmp_path / "out" / "shrunk.jsonl").exists()


@pytest.mark.parametrize("argv", [["replay", "--times", "0"], ["shrink", "--budget", "5"], ["shrink", "--tries", "0"]])
def test_senseless_numbers_are_refused(
    argv: list[str], plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is run."""
    world = World()
    direct(monkeypatch, world)
    assert command.main([argv[0], str(plan), *argv[1:], "--out", str(tmp_path / "out")]) == 2
    assert world.ran == []


@pytest.mark.parametrize("verb", ["replay", "shrink"])
def test_a_directory_that_cannot_be_made_is_refused(
    verb: str, plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and nothing is run."""
    world = World()
    direct(monkeypatch, world)
    for out in ("/proc/nope", str(plan)):
        assert command.main([verb, str(plan), "--out", out]) == 2
        assert "cannot be a directory here" in capsys.readouterr().err
    assert world.ran == []


def test_only_the_same_failure_counts(plan: Path, tmp_path: Path) -> None:
    """Figures may differ; another reason is another failure, and a broken bed says nothing."""
    answers: list[Result | Exception] = [
        a_result(Verdict.FAIL, "2 acknowledged writes were lost", "phase detect was never reached"),
        a_result(Verdict.FAIL, "17 acknowledged writes were lost"),
        a_result(Verdict.FAIL, "the moon is full"),
        a_result(Verdict.PASS),
        a_result(Verdict.INVALID_HOST, "late"),
        MachineError("gone"),
    ]
    judge, schedule = FailsAlike(tmp_path, World(*answers).run_schedule), load(plan)

    async def ask() -> list[bool | None]:
        return [await judge(schedule) for _ in answers]

    assert asyncio.run(ask()) == [True, True, False, False, None, None]
    assert judge.runs == 6


def test_the_director_is_imported_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verbs name the module and the function, and load it only when something is run."""
    world = World()
    asked: list[str] = []

    def load_module(name: str) -> World:
        asked.append(name)
        return world

    monkeypatch.setattr(importlib, "import_module", load_module)
    assert verbs_schedule.director() == world.run_schedule
    assert asked == ["faults.run.scenario"]


def test_the_director_is_there() -> None:
    """What runs a schedule takes one and a directory, and is awaited."""
    run = verbs_schedule.director()
    assert inspect.iscoroutinefunction(run)
    inspect.signature(run).bind(Schedule("x", 1, ()), Path("x"))
