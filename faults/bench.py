"""The benchmark: every promised number measured over several runs on this host, as a table and as `build/bench.json`.

It must never turn a time into a pass or a fail: correctness is the tests' business; here stand medians, spreads and
targets side by side. A run that was not valid is left out and counted.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from faults.node import NodeKill
from faults.scenario import Plan, primary_crash
from testbed.errors import ImageError, TestbedError
from testbed.process import run
from testbed.progress import Progress
from testbed.result import Result, Verdict
from testbed.session import Session
from testbed.site import SiteOptions

ROOT = Path(__file__).resolve().parent.parent
BUILD_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Row:
    """One line of the table; `target` is a limit, `better` says on which side of it."""

    name: str
    unit: str
    n: int
    median: float | None
    min: float | None
    max: float | None
    target: float
    better: str
    note: str


# name -> (unit, target); all are better when lower.
TARGETS = {
    "cold boot to protected": ("s", 60.0),
    "restore to protected, VM answering the client": ("s", 3.0),
    "primary crash: backup commands VM start": ("s", 20.0),
    "primary crash: client served again": ("s", 45.0),
    "primary crash: redundancy restored": ("s", 300.0),
    "image build from nothing": ("s", 600.0),
    "image build, nothing changed": ("s", 2.0),
    "peak host memory of a protected pair": ("MiB", 4096.0),
}


class Bench:
    """Collects the values of all runs."""

    def __init__(self, out: Path, runs: int) -> None:
        self.out = out
        self.runs = runs
        self.values: dict[str, list[float]] = {name: [] for name in TARGETS}
        self.left_out: list[str] = []
        self.accelerator = "unknown"
        self.progress = Progress()

    def add(self, name: str, value: float | None) -> None:
        """Note one value; None (never reached) is counted as left out."""
        if value is None:
            self.left_out.append(f"{name}: not reached")
        else:
            self.values[name].append(value)

    def rows(self) -> list[Row]:
        """Return the table."""
        note = f"accelerator {self.accelerator}, dilation 1"
        rows = []
        for name, (unit, target) in TARGETS.items():
            found = self.values[name]
            median, low, high = (statistics.median(found), min(found), max(found)) if found else (None, None, None)
            rows.append(Row(name, unit, len(found), median, low, high, target, "lower", note))
        return rows


async def main(out: Path, runs: int) -> int:
    """Measure everything; returns 0 when every row has a value."""
    bench = Bench(out, runs)
    await _builds(bench)
    async with Session(out / "snapshot", SiteOptions()) as session:
        await session.protect()  # makes the snapshot that the restores below are measured with
    for number in range(runs):
        bench.progress.say(f"bench: cold run {number + 1} of {runs}")
        await _guarded(bench, partial(_cold, bench, number))
        bench.progress.say(f"bench: restore run {number + 1} of {runs}")
        await _guarded(bench, partial(_restore, bench, number))
    rows = bench.rows()
    path = Path("build/bench.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    for text in bench.left_out:
        print(f"left out: {text}")
    print(path.resolve())
    return 0 if all(row.n for row in rows) else 1


async def _guarded(bench: Bench, act: Callable[[], Awaitable[None]]) -> None:
    try:
        await act()
    except TestbedError as error:
        bench.left_out.append(str(error).splitlines()[0])
        bench.progress.say(f"bench: this run is left out: {error}")


async def _builds(bench: Bench) -> None:
    """Build the image from nothing in a cache of its own, then time the build that finds nothing to do."""
    scratch = bench.out / "cache"
    for _ in range(bench.runs):
        async with bench.progress.step("bench: build the image from nothing"):
            took_s = await _timed_build(["--clean"], scratch)
        bench.add("image build from nothing", took_s)
    for _ in range(bench.runs):
        bench.add("image build, nothing changed", await _timed_build([], scratch))
    await run(["rm", "-rf", str(scratch)], timeout_s=BUILD_TIMEOUT_S)


async def _timed_build(arguments: list[str], cache: Path) -> float:
    env = {**os.environ, "AVANCE_CACHE": str(cache.resolve())}
    argv = [sys.executable, "-m", "images", "build", *arguments]
    began_s = time.monotonic()
    await run(argv, timeout_s=BUILD_TIMEOUT_S, env=env, cwd=ROOT, error=ImageError)
    return time.monotonic() - began_s


async def _cold(bench: Bench, number: int) -> None:
    out = bench.out / f"cold-{number}"
    async with Session(out, SiteOptions()) as session:
        bench.accelerator = session.bed.accelerator.name
        began_s = time.monotonic()
        await session.protect(cold=True)
        bench.add("cold boot to protected", time.monotonic() - began_s)
        result = await primary_crash(session.bed, Plan("primary-crash", out, number, NodeKill))
    _crash_values(bench, result)


def _crash_values(bench: Bench, result: Result) -> None:
    if result.verdict is not Verdict.PASS:
        bench.left_out.append(f"crash run with verdict {result.verdict}: {'; '.join(result.reasons)}")
        return
    bench.add("primary crash: backup commands VM start", result.phases_s["vm_start"])
    bench.add("primary crash: client served again", result.phases_s["service_up"])
    bench.add("primary crash: redundancy restored", result.phases_s["redundancy"])
    memory = result.host.get("memory_peak_mib")
    bench.add("peak host memory of a protected pair", float(memory) if isinstance(memory, int) else None)


async def _restore(bench: Bench, number: int) -> None:
    async with Session(bench.out / f"restore-{number}", SiteOptions()) as session:
        bed = session.bed
        assert bed.find_snapshot() is not None, "the benchmark begins with a session that makes the snapshot"
        began_s = time.monotonic()
        await session.protect()
        if bed.restore_failures:
            bench.left_out.append("a restore failed its health gate and fell back to a cold boot")
        else:
            bench.add("restore to protected, VM answering the client", time.monotonic() - began_s)


def table(rows: list[Row]) -> str:
    """Return the rows as aligned text."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    lines = [f"{'what':<48} {'unit':<5} {'n':>2} {'median':>8} {'min':>8} {'max':>8} {'target':>10}"]
    lines += [
        f"{row.name:<48} {row.unit:<5} {row.n:>2} {number(row.median):>8} {number(row.min):>8} {number(row.max):>8} "
        f"{'<= ' + number(row.target):>10}"
        for row in rows
    ]
    return "\n".join([*lines, rows[0].note])
