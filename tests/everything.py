"""Runs the stages of `make test` and makes one report of them, also when one fails: `python -m tests.everything`.

Each stage is a target of the Makefile. The first that fails ends the run. What was not run stands in the report as
skipped, with the reason. It must never end well after a stage that failed, nor lose the report because of it.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from testbed import process
from testbed.errors import TestbedError
from testbed.report import page
from testbed.site import ROOT

RESULTS = ROOT / "build" / "test-results"  # the Makefile tells pytest the same place
REPORT = ROOT / "build" / "test-report"
HISTORY = ROOT / "build" / "test-history.jsonl"  # what each test was in the runs before
STAGES = ("check", "integration", "sim", "system")
# What is no part of `make test`, with the way to it.
ELSEWHERE = {
    "selftest": "each injector proves itself; run `make selftest` when a fault or an oracle has changed",
    "mutants": "each seeded defect is noticed; run `make mutants` when avance/core has changed",
    "catalogue": "each row of the fault catalogue on a real pair takes more than an hour; run `make catalogue`",
    "crashes": "20 power cuts of the primary under write load; run `make crashes`",
    "sim-nightly": "100,000 random histories; run `make sim-nightly`",
}
TEE = ("bash", "-o", "pipefail", "-c", '"${@:2}" 2>&1 | tee "$1"', "tee")  # then the log, then the command
UNUSABLE = 2  # the code when all stages passed and there is no report


@dataclass(frozen=True)
class Places:
    """Where results, report and history are."""

    results: Path = RESULTS
    report: Path = REPORT
    history: Path = HISTORY


def make(stage: str) -> Sequence[str]:
    """The command of a stage."""
    return ("make", "--no-print-directory", stage)


async def run_stages(stages: Sequence[str], results: Path, command: Callable[[str], Sequence[str]] = make) -> int:
    """Run one after the other until one fails, and record each; returns the code of the one that failed, or 0."""
    failed, code = "", 0
    for stage in stages:
        began_s = now_s()
        if failed:
            reason = f"not run: the stage {failed} failed"
            page.write_result(results, stage, "skipped", reason, log=None, began_s=began_s, ended_s=began_s)
            continue
        log = results.with_name(f"{results.name}-{stage}.log")
        code = await process.run_live([*TEE, str(log), *command(stage)], cwd=ROOT)
        status = "failed" if code else "passed"
        message = f"ended with {code}:\n{process.tail(log)}" if code else ""
        page.write_result(results, stage, status, message, log=log, began_s=began_s, ended_s=now_s())
        failed = stage if code else ""
    return code


def now_s() -> float:
    """The time for the report, which is for people."""
    return datetime.now(UTC).timestamp()


async def everything(
    places: Places, stages: Sequence[str] = STAGES, command: Callable[[str], Sequence[str]] = make
) -> int:
    """Run all stages, make the report and print its path last; returns the code of the stage that failed, or 0."""
    shutil.rmtree(places.results, ignore_errors=True)
    places.results.mkdir(parents=True)
    code = await run_stages(stages, places.results, command)
    for name, reason in ELSEWHERE.items():
        at_s = now_s()
        page.write_result(places.results, name, "skipped", f"not run: {reason}", log=None, began_s=at_s, ended_s=at_s)
    began_s = time.monotonic()
    environment = {"processors": os.cpu_count(), "python": platform.python_version(), "failed": bool(code)}
    try:
        made = await page.generate(
            places.results, places.report, environment=environment, name="Avance: everything", history=places.history
        )
    except TestbedError as error:
        print(f"report: {error}", file=sys.stderr)
        return code or UNUSABLE
    print(f"the report took {time.monotonic() - began_s:.1f} s\n{made}")
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(everything(Places())))
