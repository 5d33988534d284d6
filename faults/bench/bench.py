"""The benchmark: every promised number measured over several runs on this host, as a table and as `build/bench.json`.

It has parts, of which each can be measured by itself. Every figure also goes into the metric store, so that `testbed
history` can compare versions. It must never turn a time into a pass or a fail: correctness is the tests' business; here
stand medians with their intervals, spreads and targets side by side. A run whose fault was not proven or whose host was
too noisy is left out and counted; one that did not get there in time is "greater than" and stays in.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from faults.bench import injection, recovery
from faults.bench.rows import PROMISES, Area, Promise, Row, disk_ratio, disk_speed, loads_text, table
from faults.run import scenario
from faults.run.plan import Plan
from faults.run.scenario import primary_crash
from testbed.bed import Session
from testbed.bed.session import fix_dilation
from testbed.bench import guest_disk, switch
from testbed.errors import ImageError, TestbedError
from testbed.figures.statistics import Value, summarise
from testbed.figures.store import MetricStore, Sample, StoredRun, default_path, git_revision, run_of, samples_of
from testbed.judge.result import Result
from testbed.judge.verdict import Verdict
from testbed.process import run
from testbed.progress import Progress
from testbed.site import ROOT, SiteOptions

BUILD_TIMEOUT_S = 1800.0


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
    accelerator: str = "none (no machine ran)"
    dilation: float = 1.0  # of every pair that runs
    parts: Collection[Area] = tuple(Area)
    values: dict[str, list[Value]] = field(default_factory=lambda: {name: [] for name in PROMISES})
    loads: dict[Area, list[float]] = field(default_factory=lambda: {part: [] for part in Area})
    left_out: list[str] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    def add(self, name: str, value: float, *, image: str = "", accelerator: str = "none") -> None:
        """Note and store one value of its own; the image and accelerator that it was measured with belong to it."""
        self.values[name].append(Value(value))
        made = StoredRun(
            scenario="bench", fault="", image=image, revision=self.revision, versions="{}", accelerator=accelerator,
            dilation=1.0 if accelerator == "none" else self.dilation, seed=0,
            started_wall=dt.datetime.now(dt.UTC).isoformat(), verdict=Verdict.PASS,
            comparable=True,
        )  # fmt: skip
        samples = [Sample(name, PROMISES[name].unit, Value(value))]
        loads = self.loads[PROMISES[name].part]
        samples += [Sample("host.load_before", "", Value(loads[-1]))] if loads else []
        self._keep(lambda store: store.add(made, samples))

    def note_load(self, part: Area) -> None:
        """Remember how busy the host is before a measurement begins."""
        self.loads[part].append(os.getloadavg()[0])

    def add_run(self, result: Result, rows: Mapping[str, str]) -> None:
        """Store a run and note its values, also of one that failed; only an invalid one is left out.

        `rows` says which row comes from which metric.
        """
        self._keep(lambda store: store.record(result, revision=self.revision))
        document = asdict(result)
        if result.verdict is not Verdict.PASS:
            self.left_out.append(f"{result.scenario} with verdict {result.verdict}: {'; '.join(result.reasons)}")
        if not run_of(document).comparable:
            return
        found = {sample.name: sample.value for sample in samples_of(document)}
        for name, metric in rows.items():
            if metric in found:
                self.values[name].append(found[metric])
            else:
                self.left_out.append(f"{name}: unknown")

    def _keep(self, act: Callable[[MetricStore], object]) -> None:
        """A store that cannot be written costs the history, not the measurement."""
        if self.store is None:
            return
        try:
            with MetricStore(self.store) as store:
                act(store)
        except TestbedError as error:
            self.progress.say(f"bench: {error}")

    def _target(self, promise: Promise) -> float | None:
        """The target of a figure; one of seconds of a pair is multiplied by the dilation, as the figure is."""
        is_dilated = promise.unit == "s" and promise.part in (Area.PAIR, Area.RECOVERY)
        return promise.target if promise.target is None or not is_dilated else promise.target * self.dilation

    def rows(self) -> list[Row]:
        """Return the table of the parts that were asked for."""
        note = (
            f"accelerator {self.accelerator}, dilation {self.dilation:g}; interval: 95 %, bootstrap of the median; "
            f"{loads_text({part: seen for part, seen in self.loads.items() if part in self.parts})}"
        )
        return [
            Row(
                name, promise.unit, self._target(promise), promise.better, note,
                summarise(self.values[name]) if self.values[name] else None, promise.digits,
            )
            for name, promise in PROMISES.items() if promise.part in self.parts
        ]  # fmt: skip


async def main(out: Path, runs: int, only: Collection[Area] = ()) -> int:
    """Measure the parts (all, when none is named); returns 0 when every row of theirs has a value."""
    bench = Bench(out, runs, store=default_path(), revision=await git_revision(ROOT), parts=tuple(only) or tuple(Area))
    for part, measure in ((Area.SWITCH, _switch), (Area.DISK, _disk), (Area.IMAGE, _builds), (Area.PAIR, _pair),
                          (Area.RECOVERY, _recovery)):  # fmt: skip
        if part in bench.parts:
            if part in (Area.PAIR, Area.RECOVERY):
                bench.dilation = await fix_dilation(bench.progress)
            await measure(bench)
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
    except (TestbedError, OSError) as error:  # OSError: a frame of the switch's figures that never came
        bench.left_out.append((str(error) or type(error).__name__).splitlines()[0])
        bench.progress.say(f"bench: this run is left out: {error}")


async def _switch(bench: Bench) -> None:
    """Forwarding and latency of the switch alone, and how late a timed cut is; a value is the median of one run."""
    for number in range(bench.runs):
        bench.progress.say(f"bench: switch run {number + 1} of {bench.runs}")
        bench.note_load(Area.SWITCH)
        await _guarded(bench, partial(_switch_once, bench))


async def _switch_once(bench: Bench) -> None:
    # Each of these runs a loop of its own, hence the thread; this loop sleeps meanwhile.
    plain = await asyncio.to_thread(switch.bench)
    jumbo = await asyncio.to_thread(switch.bench, frame_bytes=switch.JUMBO_BYTES)
    for name, result, value in (
        ("switch: frames of 1,500 bytes", plain, plain.frames_per_s),
        ("switch: with frames of 9,000 bytes", jumbo, jumbo.bytes_per_s / 1e6),
    ):
        if result.lost:
            bench.left_out.append(f"{name}: {result.lost} of {result.frames} frames were lost")
        else:
            bench.add(name, value)
    added = await asyncio.to_thread(switch.added_latency)
    own = await asyncio.to_thread(switch.rule_lateness)
    cut = await asyncio.to_thread(switch.cut_lateness)
    bench.add("switch: added latency when idle", added.median_s * 1e6)
    bench.add("switch: own lateness, as it exports it", own.median_s * 1e3)
    bench.add("switch: lateness of a timed cut", cut.median_s * 1e3)
    injected = await injection.measure()
    name = "link.cut by the director: due to cut"
    if injected.unproven:
        bench.left_out.append(f"{name}: {injected.unproven} cuts were not proven")
    if injected.late_s:
        bench.add(name, statistics.median(injected.late_s) * 1e3)


async def _disk(bench: Bench) -> None:
    """Boot a node anew for each run, and let it write to a disk behind the disk server and to a plain file."""
    for number in range(bench.runs):
        bench.progress.say(f"bench: disk run {number + 1} of {bench.runs}")
        bench.note_load(Area.DISK)
        await _guarded(bench, partial(_disk_once, bench, number))


async def _disk_once(bench: Bench, number: int) -> None:
    async with Session(bench.out / f"disk-{number}", SiteOptions()) as session:
        bed = session.bed
        bench.accelerator = bed.accelerator.name
        passes = await guest_disk.measure(bed, turn=number)
        for (kind, is_fresh), found in guest_disk.compare(passes).items():
            _add_with_bed(bench, session, disk_ratio(kind, is_fresh=is_fresh), found.ratio)
            _add_with_bed(bench, session, disk_speed(kind, is_fresh=is_fresh), found.server / 1e6)


async def _pair(bench: Bench) -> None:
    """Cold boots with a crash each, and restores of the snapshot that is made first."""
    async with Session(bench.out / "snapshot", SiteOptions()) as session:
        await session.protect()  # makes the snapshot that the restores below are measured with
    for number in range(bench.runs):
        bench.note_load(Area.PAIR)
        bench.progress.say(f"bench: cold run {number + 1} of {bench.runs}")
        await _guarded(bench, partial(_cold, bench, number))
        bench.progress.say(f"bench: restore run {number + 1} of {bench.runs}")
        await _guarded(bench, partial(_restore, bench, number))


async def _recovery(bench: Bench) -> None:
    """Run the rows of the catalogue of which a time is promised, and look at a pair at rest."""
    async with Session(bench.out / "rest", SiteOptions()) as session:
        await session.protect()
        for _ in range(bench.runs):
            bench.note_load(Area.RECOVERY)
            await _guarded(bench, partial(_rest, bench, session))
    for number in range(bench.runs):
        for name in recovery.names():
            bench.progress.say(f"bench: row {name}, run {number + 1} of {bench.runs}")
            bench.note_load(Area.RECOVERY)
            await _guarded(bench, partial(_recover, bench, name, number))


async def _rest(bench: Bench, session: Session) -> None:
    bench.accelerator = session.bed.accelerator.name
    share = await recovery.daemon_share(session.bed, "a")
    _add_with_bed(bench, session, recovery.SHARE, share)
    _add_with_bed(bench, session, recovery.IDLE, await recovery.idle_cores())
    _add_with_bed(bench, session, recovery.RESTART, await recovery.daemon_restart_s(session.bed, "b"))


async def _recover(bench: Bench, name: str, number: int) -> None:
    result = await recovery.recover(name, bench.out / f"{name}-{number}")
    bench.accelerator = result.accel
    bench.add_run(result, recovery.rows_of(name))
    bench.values[recovery.MULTICASTS].append(Value(recovery.most_multicasts(result)))


async def _builds(bench: Bench) -> None:
    """Build the image from nothing in a cache of its own, then time the build that finds nothing to do."""
    scratch = bench.out / "cache"
    for _ in range(bench.runs):
        bench.note_load(Area.IMAGE)
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
        _add_with_bed(bench, session, "cold boot to protected", time.monotonic() - began_s)
        bench.add_run(await scenario.run(session.bed, Plan(primary_crash(number), out)), CRASH_ROWS)


def _add_with_bed(bench: Bench, session: Session, name: str, took_s: float) -> None:
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
            _add_with_bed(bench, session, "restore to protected, VM answering the client", time.monotonic() - began_s)
