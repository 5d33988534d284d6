"""The simulator's command: `python -m tests.sim --seeds 0..2999 [--jobs 2]`, or `--seed N` to see one history.

`--singles` tries every single fault that stays (tests/sim/singles.py); `--single "TEXT"` shows one of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from avance.core.model import VmId
from tests.sim import singles
from tests.sim.export import export
from tests.sim.history import Result, run
from tests.sim.inject import Fault
from tests.sim.plan import Plan, draw, shrink
from tests.sim.site import SimSite

CHUNK = 50
PROGRESS_S = 10.0
TRACE_LINES = 80
FAILURES_SHOWN = 20


def main(argv: list[str] | None = None) -> int:
    """Run histories; 0 when all hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", help="a range of seeds, both ends included: 0..2999")
    which.add_argument("--seed", type=int, help="one seed, with its story")
    which.add_argument("--plan", type=Path, help="a plan that an earlier run wrote")
    which.add_argument("--singles", action="store_true", help="every single fault that stays, from every state")
    which.add_argument("--single", help="one of these, by its text, with its story")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--lines", type=int, default=TRACE_LINES, help="how much of the story is shown")
    parser.add_argument("--out", type=Path, default=Path("build/sim"), help="where failing plans are written")
    parser.add_argument("--keep-going", action="store_true", help="count failures instead of shrinking the first")
    given = parser.parse_args(argv)
    if given.seed is not None:
        return _one(draw(given.seed), given.lines)
    if given.plan is not None:
        return _one(read(given.plan), given.lines)
    if given.singles or given.single is not None:
        return _singles(given.single, given.jobs)
    first, _, last = given.seeds.partition("..")
    return _many(int(first), int(last or first), given.jobs, given.out, keep_going=given.keep_going)


def _one(plan: Plan, lines: int) -> int:
    print(plan.text())
    result = run(plan, tracing=True)
    print("\n".join(result.trace[-lines:]))
    print(
        result.violation
        or f"holds; recovered {result.recovered_s:.0f} s after healing, split: {result.split}, operator: {result.asked}"
    )
    return 1 if result.violation else 0


def _singles(text: str | None, jobs: int) -> int:
    chosen = [row for row in singles.rows() if text in (None, row.text)]
    if not chosen:
        print(f"there is no row {text!r}", file=sys.stderr)
        return 2
    if text is not None:
        outcome = singles.run(chosen[0], tell=print)
        print(outcome.wrong or " / ".join(outcome.says) or "served")
        return 1 if outcome.wrong else 0
    wrong = waiting = 0
    with ProcessPoolExecutor(jobs) as pool:
        for outcome in pool.map(singles.run, chosen, chunksize=CHUNK) if jobs > 1 else map(singles.run, chosen):
            waiting += bool(outcome.says)
            if outcome.wrong:
                wrong += 1
                print(f'python -m tests.sim --single "{outcome.row.text}"  # {outcome.wrong[:300]}', flush=True)
    print(f"{len(chosen)} single faults that stay: {wrong} wrong, {waiting} wait for somebody and say so")
    return 1 if wrong else 0


def _chunk(seeds: range) -> list[tuple[int, Result]]:
    found = []
    gc.disable()  # a world is one great cycle: looking for it after each history instead is a tenth of the time
    for seed in seeds:
        result = run(draw(seed))
        found.append((seed, replace(result, trace=[])))
    gc.collect()
    return found


def _many(first: int, last: int, jobs: int, out: Path, *, keep_going: bool) -> int:
    print(f"seeds {first}..{last}", flush=True)
    begin_s = told_s = time.monotonic()
    chunks = [range(low, min(low + CHUNK, last + 1)) for low in range(first, last + 1, CHUNK)]
    failures: list[tuple[int, str]] = []
    splits = asked = done = 0
    with ProcessPoolExecutor(jobs) as pool:
        for results in pool.map(_chunk, chunks) if jobs > 1 else map(_chunk, chunks):
            done += len(results)
            splits += sum(result.split for _, result in results)
            asked += sum(result.asked for _, result in results)
            found = [(seed, result.violation) for seed, result in results if result.violation is not None]
            failures += found
            for seed, violation in found:
                print(f"seed {seed} failed: {violation[:300]}", file=sys.stderr, flush=True)
            if time.monotonic() >= told_s + PROGRESS_S:
                told_s = time.monotonic()
                rate = done / (told_s - begin_s) * 60
                print(f"{done} of {last - first + 1}, {rate:.0f} a minute, {len(failures)} failed", file=sys.stderr)
            if failures and not keep_going:
                break
    spent_s = time.monotonic() - begin_s
    print(
        f"{done} histories in {spent_s:.1f} s with {jobs} jobs: {done / spent_s * 60:.0f} a minute; "
        f"{len(failures)} failed, {splits} found the documented hole, {asked} asked an operator"
    )
    for seed, violation in failures[:FAILURES_SHOWN]:
        print(f"python -m tests.sim --seed {seed}  # {violation[:300]}")
    if failures and not keep_going:
        _explain(failures[0][0], out)
    return 1 if failures else 0


def _explain(seed: int, out: Path) -> None:
    """Make the failing plan small and write it, with its schedule for the bed."""
    plan = draw(seed)
    rule = _rule(run(plan))
    small = shrink(plan, lambda candidate: _rule(run(candidate)) == rule)
    out.mkdir(parents=True, exist_ok=True)
    written = out / f"seed-{seed}.json"
    written.write_text(json.dumps(asdict(small), indent=1) + "\n")
    (out / f"seed-{seed}.jsonl").write_text(export(small))
    print(f"\nmade smaller: python -m tests.sim --plan {written}  # for the bed: {written}l\n{small.text()}")
    result = run(small, tracing=True)
    print("\n".join(result.trace[-TRACE_LINES:]))
    print(result.violation)


def _rule(result: Result) -> str:
    return "" if result.violation is None else result.violation.partition(":")[0]


def read(path: Path) -> Plan:
    """Return a plan that was written by an earlier run."""
    made: dict[str, Any] = json.loads(path.read_text())
    site = SimSite(**{**made["site"], "vms": tuple(VmId(vm) for vm in made["site"]["vms"])})
    plan = Plan(made["seed"], site, tuple(Fault(**fault) for fault in made["faults"]), made["settle_s"])
    return replace(plan)


if __name__ == "__main__":
    sys.exit(main())
