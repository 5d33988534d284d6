"""The verbs around schedules: `list`, `check`, `replay` and `shrink`.

They read arguments, ask somebody else to run a schedule, and say how often it failed. What is refused is refused
before the first run. They must never turn a run that said nothing into one that failed, or into one that passed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from faults.run.summary import summary
from testbed import pace
from testbed.errors import HostError, TestbedError, UsageError
from testbed.judge.result import Result
from testbed.judge.verdict import Verdict, worst
from testbed.out_directory import made
from testbed.report.story import again

if TYPE_CHECKING:
    from faults.capability import Capability
    from faults.registry import FaultKind
    from faults.schedule.schedule import Schedule

Run = Callable[["Schedule", Path], Awaitable[Result]]

PASSED, FAILED, SAID_NOTHING, INVALID_HOST = 0, 1, 3, 4
CODES = {
    Verdict.PASS: PASSED,
    Verdict.FAIL: FAILED,
    Verdict.INCONCLUSIVE: SAID_NOTHING,
    Verdict.INVALID_HOST: INVALID_HOST,
}
PLAN_FILE, REPLAY_FILE, SHRUNK_FILE = "schedule.jsonl", "replay.json", "shrunk.jsonl"
BROKEN = "broken bed"
DIGITS = re.compile(r"\d[\d.,]*")


def register(verbs: Any) -> None:  # noqa: ANN401 - argparse does not publish the type of its sub-parsers
    """Add the verbs."""
    listing = verbs.add_parser("list", help="every fault: what it does, its target and parameters, can this host do it")
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(act=_list)
    look = verbs.add_parser("check", help="look whether a schedule is possible, and print it with every number fixed")
    again = verbs.add_parser("replay", help="run a schedule again; exit code 0 pass, 1 fail, 3 inconclusive, 4 host")
    small = verbs.add_parser("shrink", help="make a failing schedule as small as it can be while it still fails")
    for verb, act in ((look, _check), (again, _replay), (small, _shrink)):
        verb.add_argument("file", type=Path, help="a schedule (docs/testing.md shows one)")
        verb.add_argument("--seed", type=_seed, default=None, help="draw with this seed, not the file's own")
        verb.set_defaults(act=act)
    for verb in (again, small):
        pace.add_option(verb)
    again.add_argument("--times", type=int, default=1, help="so many runs; what was interrupted goes on")
    again.add_argument("--out", type=Path, default=Path("build/replay"), help="directory; each run gets one in it")
    small.add_argument("--budget", type=int, default=40, help="the most runs, all in all")
    small.add_argument("--confirm", type=int, default=5, help="of these, runs of the smallest schedule at the end")
    small.add_argument("--tries", type=int, default=1, help="runs before a candidate counts as not failing")
    small.add_argument("--out", type=Path, default=Path("build/shrink"), help="directory; each run gets one in it")


def _seed(text: str) -> int:
    """A seed as it is printed: decimal, or hexadecimal with 0x."""
    try:
        seed = int(text, 0)
    except ValueError:
        seed = -1
    if seed < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; give a whole number from 0 on, such as 0xbeef")
    return seed


def director() -> Run:
    """Return the function that runs a schedule on the bed; imported late, because it imports the whole bed."""
    return cast("Run", importlib.import_module("faults.run.scenario").run_schedule)  # its own module types it


def _list(args: argparse.Namespace) -> int:
    from faults.capability import capability  # noqa: PLC0415 - the registry imports scapy: `testbed doctor` must not
    from faults.registry import kinds  # noqa: PLC0415

    known = list(kinds().values())
    found = asyncio.run(capability(need for kind in known for need in kind.needs))
    print(as_json(known, found) if args.json else table(known, found))
    return PASSED


def table(known: Sequence[FaultKind], found: Iterable[Capability]) -> str:
    """Return the faults as text: one line for each, its parameters below, and why it cannot be done here."""
    missing = {item.need: item.reason for item in found if not item.there}
    width = max(len(kind.name) for kind in known)
    lines: list[str] = []
    for family in dict.fromkeys(kind.family for kind in known):
        members = [kind for kind in known if kind.family == family]
        usual = members[0].aim
        lines += ["", f"{family}.*  target: {usual}"]
        for kind in members:
            details = [f"target: {kind.aim}"] if kind.aim != usual else []
            details += [f"with: {', '.join(item.text() for item in kind.parameters)}"] if kind.parameters else []
            details += [f"NOT ON THIS HOST: {missing[need]}" for need in kind.needs if need in missing]
            lines.append(f"  {kind.name:<{width}}  {kind.summary}")
            lines += [f"  {'':<{width}}    {detail}" for detail in details]
    lacking = sum(any(need in missing for need in kind.needs) for kind in known)
    here = "this host can do all of them" if not lacking else f"this host cannot do {lacking} of them"
    return "\n".join([*lines[1:], "", f"{len(known)} faults; {here}."])


def as_json(known: Sequence[FaultKind], found: Iterable[Capability]) -> str:
    """Return the faults for programs."""
    answers = {item.need: item for item in found}
    made = [
        {
            "name": kind.name,
            "summary": kind.summary,
            "target": kind.aim,
            "parameters": [
                {"name": item.name, "type": item.type_name, "required": item.required, "default": item.default}
                for item in kind.parameters
            ],
            "needs": [{"name": n, "there": answers[n].there, "reason": answers[n].reason} for n in kind.needs],
            "possible_here": all(answers[need].there for need in kind.needs),
        }
        for kind in known
    ]
    return json.dumps(made, indent=1, default=lambda value: value.value if isinstance(value, Enum) else str(value))


def read(args: argparse.Namespace) -> Schedule:
    """Return the schedule of a command line, with every number fixed."""
    from faults.schedule.schedule import expand, load  # noqa: PLC0415 - these import scapy: `testbed doctor` must not

    template = load(args.file)
    return expand(template.seed if args.seed is None else args.seed, template)


def require(schedule: Schedule) -> None:
    """Raise HostError when this host cannot do a fault of the schedule."""
    from faults import capability, registry  # noqa: PLC0415 - as above

    needs = {f"step {step.name} ({step.fault})": registry.find(step.fault).needs for step in schedule.steps}
    asyncio.run(capability.require(needs))


def _check(args: argparse.Namespace) -> int:
    from faults.schedule.schedule import dump  # noqa: PLC0415 - as above

    schedule = read(args)
    print(dump(schedule), end="")
    print(story(schedule), file=sys.stderr)
    require(schedule)
    return PASSED


def story(schedule: Schedule) -> str:
    """Return a schedule as sentences."""
    from faults.schedule.trigger import describe  # noqa: PLC0415 - as above

    lines = [f"{schedule.scenario}: {schedule.about}".rstrip(": ")]
    for step in schedule.steps:
        until = "the end" if step.until is None else describe(step.until)
        lines.append(f"  {step.name}: {step.fault} on {step.target}, {describe(step.when)}; until {until}")
    return "\n".join(lines)


@dataclass(frozen=True)
class ReplayedRun:
    """One run of a replay: its directory, its verdict (or that the bed broke) and the reasons."""

    directory: str
    verdict: str
    reasons: list[str]


def _replay(args: argparse.Namespace) -> int:
    if args.times < 1:
        raise UsageError("--times must be at least 1.")
    schedule = read(args)
    require(schedule)
    revision = asyncio.run(_revision())
    earlier = kept(args.out, schedule, revision)
    if args.times == 1:
        earlier.pop("run-1", None)  # whoever asks for one run wants to see one
    if not earlier:  # what is there is of another schedule or another product, and must not be taken for this one's
        (made(args.out) / REPLAY_FILE).unlink(missing_ok=True)
    _keep(args.out, PLAN_FILE, schedule)
    outcomes = asyncio.run(replay(schedule, args.out, args.times, director(), earlier=earlier, revision=revision))
    if args.times > 1:
        print(f"again: {again(args.out)} --times {args.times}")
        print(tally(schedule.scenario, outcomes))
    return exit_code(outcomes)


async def _revision() -> str:
    from testbed.figures.store import git_revision  # noqa: PLC0415 - only what runs has a revision
    from testbed.site import ROOT  # noqa: PLC0415 - as above

    return await git_revision(ROOT)


def kept(out: Path, schedule: Schedule, revision: str) -> dict[str, ReplayedRun]:
    """Return what an interrupted replay has left, by directory: of this schedule, of this revision, and no broken bed.

    A checkout that differs from its revision keeps nothing: the product may be another one.
    """
    from faults.schedule.schedule import dump  # noqa: PLC0415 - as above

    if not revision or revision.endswith("+"):
        return {}
    try:
        made = json.loads((out / REPLAY_FILE).read_text(encoding="utf-8"))
        if made["revision"] != revision or (out / PLAN_FILE).read_text(encoding="utf-8") != dump(schedule):
            return {}
        runs = [ReplayedRun(**one) for one in made["runs"]]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {one.directory: one for one in runs if one.verdict not in (BROKEN, Verdict.INVALID_HOST.value)}


async def replay(
    schedule: Schedule, out: Path, times: int, run: Run, *, earlier: Mapping[str, ReplayedRun], revision: str
) -> list[ReplayedRun]:
    """Run a schedule so many times and print each; a bed that breaks is noted, and the next run begins with a new one.

    A single run is printed with its whole story. What an `earlier` replay has done is taken over.
    """
    outcomes: list[ReplayedRun] = []
    for number in range(1, times + 1):
        directory = f"run-{number}"
        if directory in earlier:
            outcomes.append(earlier[directory])
            print(f"run {number} of {times}: {_told(outcomes[-1])} (kept from before; another --out runs it again)")
            continue
        try:
            result = await run(schedule, out / directory)
            outcomes.append(ReplayedRun(directory, result.verdict.value, result.reasons))
            if times == 1:
                print(summary(out / directory, result), flush=True)
        except (HostError, UsageError):
            raise
        except TestbedError as error:
            outcomes.append(ReplayedRun(directory, BROKEN, [str(error)]))
        if times > 1 or outcomes[-1].verdict == BROKEN:
            print(f"run {number} of {times}: {_told(outcomes[-1])}", flush=True)
        known = {**earlier, **{one.directory: one for one in outcomes}}  # an interruption loses nothing
        made = {"schedule": PLAN_FILE, "revision": revision, "runs": [vars(one) for one in known.values()]}
        (out / REPLAY_FILE).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return outcomes


def _told(outcome: ReplayedRun) -> str:
    return outcome.verdict + "".join(f"\n  because {reason}" for reason in outcome.reasons)


def tally(name: str, outcomes: Sequence[ReplayedRun]) -> str:
    """Return `x: failed in 3 of 5 runs (pass 1, inconclusive 1)`."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    failed = counts.pop(Verdict.FAIL.value, 0)
    others = ", ".join(f"{verdict} {count}" for verdict, count in counts.items())
    return f"{name}: failed in {failed} of {len(outcomes)} runs{f' ({others})' if others else ''}"


def exit_code(outcomes: Sequence[ReplayedRun]) -> int:
    """Return the code of the worst run; only when every run passed it is 0."""
    return CODES[worst(Verdict.FAIL if one.verdict == BROKEN else Verdict(one.verdict) for one in outcomes)]


def _shrink(args: argparse.Namespace) -> int:
    from faults.schedule.shrink import shrink  # noqa: PLC0415 - as above

    schedule = read(args)
    require(schedule)
    _keep(args.out, PLAN_FILE, schedule)
    judge = FailsAlike(args.out, director())
    found = asyncio.run(
        shrink(
            schedule, judge, budget=args.budget, confirm=args.confirm, tries=args.tries,
            say=lambda line: print(line, flush=True),
        )
    )  # fmt: skip
    print(found.text())
    if not found.reproduced:
        return SAID_NOTHING
    path = _keep(args.out, SHRUNK_FILE, found.schedule)
    print(story(found.schedule))
    print(f"again: testbed replay {path} --times {args.confirm}")
    return PASSED if found.confirmed.failed else SAID_NOTHING


class FailsAlike:
    """Runs schedules and says whether they fail for a reason for which the first one failed (figures aside)."""

    def __init__(self, out: Path, run: Run) -> None:
        self._out = out
        self._run = run
        self._wanted: frozenset[str] | None = None
        self.runs = 0

    async def __call__(self, schedule: Schedule) -> bool | None:
        """Run once: True when it failed alike, False when it did not, None when the run says nothing."""
        self.runs += 1
        try:
            result = await self._run(schedule, self._out / f"run-{self.runs}")
        except (HostError, UsageError):
            raise
        except TestbedError as error:
            print(f"  the bed broke, which says nothing: {error}", flush=True)
            return None
        if result.verdict is not Verdict.FAIL:
            return False if result.verdict is Verdict.PASS else None
        reasons = frozenset(DIGITS.sub("#", reason) for reason in result.reasons)
        if self._wanted is None:
            self._wanted = reasons
        alike = bool(reasons & self._wanted) or not self._wanted
        if not alike:
            print(f"  it failed in another way: {'; '.join(result.reasons)}", flush=True)
        return alike


def _keep(out: Path, name: str, schedule: Schedule) -> Path:
    from faults.schedule.schedule import dump  # noqa: PLC0415 - as above

    path = made(out) / name
    path.write_text(dump(schedule), encoding="utf-8")
    return path
