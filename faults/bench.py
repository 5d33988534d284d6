"""The benchmark: every promised number measured over several runs on this host, as a table and as `build/bench.json`.

Every figure also goes into the metric store, so that `testbed history` can compare versions. It must never turn a time
into a pass or a fail: correctness is the tests' business; here stand medians with their intervals, spreads and targets
side by side. A run whose fault was not proven or whose host was too noisy is left out and counted; one that did not get
there in time is "greater than" and stays in.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from faults import scenario
from faults.scenario import Plan, primary_crash
from testbed.errors import ImageError, TestbedError
from testbed.metrics import Run, Sample, Store, default_path, git_revision, run_of, samples_of
from testbed.process import run
from testbed.progress import Progress
from testbed.result import Result, Verdict
from testbed.session import Session
from testbed.site import SiteOptions
from testbed.statistics import Summary, Value, summarise

ROOT = Path(__file__).resolve().parent.parent
BUILD_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Row:
    """One line of the table; `target` is a limit, `better` says on which side of it; no summary without a value."""

    name: str
    unit: str
    target: float
    better: str
    note: str
    summary: Summary | None

    @property
    def n(self) -> int:
        """How many values the row has."""
        return 0 if self.summary is None else self.summary.n

    def as_json(self) -> dict[str, object]:
        """The row in fixed keys; a value that is only known to be more is a text such as "> 60.0"."""
        found = self.summary
        names = ("median", "min", "p90", "max")
        shown = {name: None if found is None else _plain(getattr(found, name)) for name in names}
        interval = None if found is None or found.interval is None else [_plain(end) for end in found.interval]
        fields = {key: value for key, value in asdict(self).items() if key != "summary"}
        return {**fields, "n": self.n, **shown, "median_interval": interval}


def _plain(value: Value) -> float | str:
    return value.text() if value.censored else value.at


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


# Rows that come from the crash runs -> metric of their result.
CRASH_ROWS = {
    "primary crash: backup commands VM start": "phase.vm_start",
    "primary crash: client served again": "phase.service_up",
    "primary crash: redundancy restored": "phase.redundancy",
    "peak host memory of a protected pair": "memory_peak",
}


@dataclass
class Bench:
    """Collects the values of all runs, and stores them at once where a store is given."""

    out: Path
    runs: int
    store: Path | None = None
    revision: str = ""
    accelerator: str = "unknown"
    values: dict[str, list[Value]] = field(default_factory=lambda: {name: [] for name in TARGETS})
    left_out: list[str] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    def add(self, name: str, value: float, *, image: str = "", accelerator: str = "none") -> None:
        """Note and store one value of its own; the image and accelerator that it was measured with belong to it."""
        self.values[name].append(Value(value))
        made = Run(
            scenario="bench", fault="", image=image, revision=self.revision, versions="{}", accelerator=accelerator,
            dilation=1.0, seed=0, started_wall=dt.datetime.now(dt.UTC).isoformat(), verdict=Verdict.PASS,
            comparable=True,
        )  # fmt: skip
        self._keep(lambda store: store.add(made, [Sample(name, TARGETS[name][0], Value(value))]))

    def add_crash(self, result: Result) -> None:
        """Store a crash run and note its values, also of one that failed; only an invalid one is left out."""
        self._keep(lambda store: store.record(result, revision=self.revision))
        document = asdict(result)
        if result.verdict is not Verdict.PASS:
            self.left_out.append(f"crash run with verdict {result.verdict}: {'; '.join(result.reasons)}")
        if not run_of(document).comparable:
            return
        found = {sample.name: sample.value for sample in samples_of(document)}
        for name, metric in CRASH_ROWS.items():
            if metric in found:
                self.values[name].append(found[metric])
            else:
                self.left_out.append(f"{name}: unknown")

    def _keep(self, act: Callable[[Store], object]) -> None:
        """A store that cannot be written costs the history, not the measurement."""
        if self.store is None:
            return
        try:
            with Store(self.store) as store:
                act(store)
        except TestbedError as error:
            self.progress.say(f"bench: {error}")

    def rows(self) -> list[Row]:
        """Return the table."""
        note = f"accelerator {self.accelerator}, dilation 1; interval: 95 %, bootstrap of the median"
        return [
            Row(name, unit, target, "lower", note, summarise(self.values[name]) if self.values[name] else None)
            for name, (unit, target) in TARGETS.items()
        ]


async def main(out: Path, runs: int) -> int:
    """Measure everything; returns 0 when every row has a value."""
    bench = Bench(out, runs, store=default_path(), revision=await git_revision(ROOT))
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
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n", encoding="utf-8")
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
        _add_stage(bench, session, "cold boot to protected", time.monotonic() - began_s)
        bench.add_crash(await scenario.run(session.bed, Plan(primary_crash(number), out)))


def _add_stage(bench: Bench, session: Session, name: str, took_s: float) -> None:
    bench.add(name, took_s, image=session.bed.image.hash, accelerator=session.bed.accelerator.name)


async def _restore(bench: Bench, number: int) -> None:
    async with Session(bench.out / f"restore-{number}", SiteOptions()) as session:
        bed = session.bed
        assert bed.find_snapshot() is not None, "the benchmark begins with a session that makes the snapshot"
        began_s = time.monotonic()
        await session.protect()
        if bed.restore_failures:
            bench.left_out.append("a restore failed its health gate and fell back to a cold boot")
        else:
            _add_stage(bench, session, "restore to protected, VM answering the client", time.monotonic() - began_s)


def table(rows: list[Row]) -> str:
    """Return the rows as aligned text."""
    heads = f"{'median':>8} {'interval':>17} {'min':>8} {'p90':>8} {'max':>8} {'target':>10}"
    lines = [f"{'what':<48} {'unit':<5} {'n':>2} {heads}"]
    for row in rows:
        found = row.summary
        interval = "-" if found is None or found.interval is None else found.interval.text()
        shown = ["-"] * 4
        if found is not None:
            shown = [value.text() for value in (found.median, found.min, found.p90, found.max)]
        median, least, p90, most = shown
        lines.append(
            f"{row.name:<48} {row.unit:<5} {row.n:>2} {median:>8} {interval:>17} {least:>8} {p90:>8} {most:>8} "
            f"{f'<= {row.target:.1f}':>10}"
        )
    return "\n".join([*lines, rows[0].note])
