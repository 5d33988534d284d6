"""The verbs that fault injection adds to the `testbed` command: `run`, `demo` and `bench`, and those of schedules."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from faults.run.summary import summary
from faults.verbs import alarms, live, schedule
from faults.verbs.schedule import CODES
from testbed import pace
from testbed.errors import TestbedError, UsageError
from testbed.judge.result import Result
from testbed.judge.verdict import Verdict
from testbed.out_directory import made
from testbed.process import run_live
from testbed.site import ROOT

SCENARIOS = ("primary-crash",)
BENCH_PARTS = ("switch", "disk", "pair", "image")
DEMO_TEST = "tests/system/test_primary_crash.py::test_service_survives_the_crash_of_the_primary"


def register(verbs: Any) -> None:  # noqa: ANN401 - argparse does not publish the type of its sub-parsers
    """Add the verbs."""
    run = verbs.add_parser("run", help="run a scenario; exit code 0 pass, 1 fail, 3 inconclusive, 4 invalid host")
    run.add_argument("scenario", help=f"one of {', '.join(SCENARIOS)}")
    run.add_argument("--out", type=Path, default=Path("build/run"), help="directory for everything that the run leaves")
    run.add_argument("--seed", type=_seed, default=None, help="repeats the plan of another run")
    run.add_argument("--cold", action="store_true", help="boot the pair instead of using its snapshot")
    run.add_argument("--capture", action="store_true", help="keep every frame in wire.pcapng")
    run.set_defaults(act=_run)
    demo = verbs.add_parser("demo", help="the crash of the primary on a freshly booted pair, with a report")
    demo.add_argument("--out", type=Path, default=Path("build/demo"))
    demo.set_defaults(act=_demo)
    bench = verbs.add_parser("bench", help="measure boot, takeover, switch, disks and more; prints a table")
    bench.add_argument("--runs", type=int, default=5)
    bench.add_argument("--only", action="append", choices=BENCH_PARTS, default=[], help="this part; can be repeated")
    bench.add_argument("--out", type=Path, default=Path("build/bench"))
    bench.set_defaults(act=_bench)
    crashes = verbs.add_parser("crashes", help="crash the primary again and again under write load; can be interrupted")
    crashes.add_argument("--runs", type=int, default=20)
    crashes.add_argument("--out", type=Path, default=Path("build/crashes"), help="what is there is not run again")
    crashes.set_defaults(act=_crashes)
    for verb in (run, demo, bench, crashes):
        pace.add_option(verb)
    schedule.register(verbs)
    live.register(verbs)
    alarms.register(verbs)


def _seed(text: str) -> int:
    """A seed as it is printed: decimal, or hexadecimal with 0x."""
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; give a whole number such as 0xbeef") from None


def _run(args: argparse.Namespace) -> int:
    if args.scenario not in SCENARIOS:
        raise UsageError(f"There is no scenario {args.scenario!r}; possible are {', '.join(SCENARIOS)}.")
    result = asyncio.run(crash_once(made(args.out), seed=args.seed, cold=args.cold, capture=args.capture))
    print(summary(args.out, result))
    asyncio.run(_store(result))
    return CODES[result.verdict]


async def _store(result: Result | dict[str, Any]) -> None:
    """Keep what was measured for `testbed history`; a store that cannot be written changes no verdict."""
    from testbed.figures.store import MetricStore, git_revision  # noqa: PLC0415 - only what ran has something to store

    try:
        with MetricStore() as store:
            store.record(result, revision=await git_revision(ROOT))
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)


async def crash_once(out: Path, *, seed: int | None = None, cold: bool = False, capture: bool = False) -> Result:
    """Make a session, protect the pair and crash its primary."""
    from faults.run.scenario import primary_crash, run_schedule  # noqa: PLC0415 - scapy and matplotlib: not for `doctor`

    chosen = seed if seed is not None else int.from_bytes(os.urandom(4))
    return await run_schedule(primary_crash(chosen), out, cold=cold, capture=capture)


def _demo(args: argparse.Namespace) -> int:
    return asyncio.run(_demo_run(made(args.out)))


async def _demo_run(out: Path) -> int:
    """Run the crash test under Allure, print its story, make the report; the report's path is the last line."""
    from testbed.report.page import generate, tool_argv  # noqa: PLC0415 - imports allure

    tool_argv()  # refuses at once, instead of after the run, when the report tool is missing
    results = out.with_name(out.name + "-allure")
    argv = [
        sys.executable, "-m", "pytest", "-q", "-s", "--run-dir", str(out), "--cold-bed", "--alluredir", str(results),
        "--clean-alluredir", "-p", "no:cacheprovider", DEMO_TEST,
    ]  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    result_path = out / "result.json"
    before = _written_ns(result_path)
    code = await run_live(argv, cwd=ROOT)
    if _written_ns(result_path) in (None, before):  # an earlier demo's result must not be taken for this one's
        print("testbed: the demo ended before there was a result; see the lines above", file=sys.stderr)
        return code or 1
    fields = json.loads(result_path.read_text(encoding="utf-8"))
    environment = {key: fields[key] for key in ("accel", "dilation", "seed", "verdict")} | fields["versions"]
    environment["host speed"] = (fields["host"].get("speed") or {}).get("median")
    await _store(fields)
    page = await generate(results, out / "report", environment=environment)
    print(f"result: {result_path.resolve()}")
    print(page.resolve())
    return (code and CODES.get(Verdict(fields["verdict"]), code)) or code


def _written_ns(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def _crashes(args: argparse.Namespace) -> int:
    from faults.run.crashes import main  # noqa: PLC0415 - imports the whole bed

    if args.runs < 1:
        raise UsageError("--runs must be at least 1.")
    return asyncio.run(main(made(args.out), args.runs))


def _bench(args: argparse.Namespace) -> int:
    from faults.bench.bench import main  # noqa: PLC0415 - imports the whole bed
    from faults.bench.rows import Area  # noqa: PLC0415 - as above

    if args.runs < 1:
        raise UsageError("--runs must be at least 1; 5 make a median worth reading.")
    code: int = asyncio.run(main(made(args.out), args.runs, [Area(name) for name in args.only]))
    return code
