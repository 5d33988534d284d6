"""How fast the pair goes on after the faults of which a time is promised, and what the heartbeats cost in a node.

Each figure comes from a row of the catalogue with all that belongs to a run: confirmed faults, oracles, replicas. It
must never turn a time into a pass or a fail.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

from faults import process_target
from faults.process_target import DAEMON
from faults.scenario import run_schedule
from faults.schedule import expand, load
from testbed.bed import Bed
from testbed.errors import TestbedError
from testbed.result import Result

SCHEDULES = Path(__file__).parent / "schedules"
# Row of the table -> (schedule, metric of its result).
RECOVERIES = {
    "power cut, its BMC reads off: VM start commanded": ("A1-power", "phase.vm_start"),
    "kernel panic, cut by the BMC: VM start commanded": ("A3-power", "phase.vm_start"),
    "power cut of the primary: VM start commanded": ("A1", "phase.vm_start"),
    "power cut of the primary: client served again": ("A1", "phase.service_up"),
    "power cut of the backup: service stands still": ("A2", "outage"),
    "hung disk of the backup: service stands still": ("E6", "outage"),
}
SHARE = "daemon: share of a dom0 processor"
MULTICASTS = "multicasts of a node on a link, most in a second"
SHARE_WINDOW_S = 30.0
_TICKS_PER_S = 100.0  # USER_HZ, the unit of /proc/PID/stat on every Linux (proc(5), time(7))


def names() -> list[str]:
    """Return the schedules that are needed, each once."""
    return list(dict.fromkeys(name for name, _ in RECOVERIES.values()))


def rows_of(name: str) -> dict[str, str]:
    """Return the rows that a schedule gives, each with its metric."""
    return {row: metric for row, (schedule, metric) in RECOVERIES.items() if schedule == name}


async def recover(name: str, out: Path) -> Result:
    """Run one row of the catalogue on a restored pair, at a new phase of the heartbeats."""
    return await run_schedule(expand(random.Random().getrandbits(32), load(SCHEDULES / f"{name}.jsonl")), out)


async def daemon_share(bed: Bed, node: str) -> float:
    """Return how much of one processor of dom0 the product's daemon takes while nothing happens (0 to 1).

    Raises:
        TestbedError: the daemon does not run, or is another one than at the beginning.
    """
    before = (await process_target.look(bed, node)).members(DAEMON)
    await asyncio.sleep(SHARE_WINDOW_S)
    after = (await process_target.look(bed, node)).members(DAEMON)
    if not before or not after or before[0].identity != after[0].identity:
        raise TestbedError(f"The daemon of node {node} did not run through {SHARE_WINDOW_S:g} s; its share is unknown.")
    return (after[0].cpu_ticks - before[0].cpu_ticks) / _TICKS_PER_S / SHARE_WINDOW_S


def most_multicasts(result: Result) -> int:
    """Return the most multicasts that one node sent on one link in any second.

    Raises:
        TestbedError: nobody counted.
    """
    evidence: Any = [one["evidence"] for one in result.findings if one["oracle"] == "multicasts"]
    peaks = [int(peak) for one in evidence for peak in one.get("peaks", {}).values()]
    if not peaks:
        raise TestbedError(f"Run {result.scenario}: nobody counted the multicasts.")
    return max(peaks)
