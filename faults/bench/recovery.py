"""How fast the pair goes on after the faults of which a time is promised, and what the heartbeats cost in a node.

Each figure comes from a row of the catalogue with all that belongs to a run: confirmed faults, oracles, replicas. It
must never turn a time into a pass or a fail.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

from faults.kinds.evidence.inside import shell
from faults.kinds.process import target
from faults.kinds.process.heartbeats import HeartbeatWatch
from faults.kinds.process.target import DAEMON
from faults.run.scenario import run_schedule
from faults.schedule.schedule import expand, load
from testbed.bed import Bed
from testbed.errors import TestbedError
from testbed.judge.result import Result
from testbed.site import ROOT

SCHEDULES = ROOT / "faults" / "schedules"
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
IDLE = "protected pair at rest: host cores"
RESTART = "daemon: killed to its first heartbeat"
SHARE_WINDOW_S = 30.0
RESTART_WINDOW_S = 15.0  # well above the 7 to 8 s of a start from nothing
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
    before = (await target.look(bed, node)).members(DAEMON)
    await asyncio.sleep(SHARE_WINDOW_S)
    after = (await target.look(bed, node)).members(DAEMON)
    if not before or not after or before[0].identity != after[0].identity:
        raise TestbedError(f"The daemon of node {node} did not run through {SHARE_WINDOW_S:g} s; its share is unknown.")
    return (after[0].cpu_ticks - before[0].cpu_ticks) / _TICKS_PER_S / SHARE_WINDOW_S


async def idle_cores(root: Path = Path("/proc"), pid: int | None = None, window_s: float = SHARE_WINDOW_S) -> float:
    """Return how many cores of the host this process and all its children take while nothing happens."""
    pid = os.getpid() if pid is None else pid
    before = family_ticks(root, pid)
    await asyncio.sleep(window_s)
    after = family_ticks(root, pid)
    return sum(ticks - before.get(one, 0) for one, ticks in after.items()) / _TICKS_PER_S / window_s


def family_ticks(root: Path, pid: int) -> dict[int, int]:
    """Return the processor time of a process and all that descend from it, by number, in ticks (proc(5), stat)."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in root.glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        number = int(path.parent.name)
        parents[number], ticks[number] = int(fields[1]), int(fields[11]) + int(fields[12])
    family, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return {one: ticks[one] for one in family if one in ticks}


async def daemon_restart_s(bed: Bed, node: str) -> float:
    """Kill the daemon of a node, and return how long no heartbeat left it: at most half a second more than it took.

    Raises:
        TestbedError: there was no daemon, or no heartbeat came any more.
    """
    table = await target.look(bed, node)
    if not table.members(DAEMON):
        raise TestbedError(f"The daemon of node {node} does not run; it cannot be killed.")
    watch = HeartbeatWatch(node)
    await watch.start(bed)
    try:
        await watch.reset(bed)
        await shell(bed, node, 'kill -KILL "$1"', str(table.daemon_pid))
        await asyncio.sleep(RESTART_WINDOW_S)
        beats = await watch.so_far(bed)
    finally:
        await watch.stop(bed)
    again = await target.look(bed, node)
    if not beats.on_all_links or again.daemon_pid == table.daemon_pid:
        raise TestbedError(f"The daemon of node {node} did not come back within {RESTART_WINDOW_S:g} s.")
    return beats.longest_gap_s


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
