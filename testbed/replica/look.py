"""One look at the replicas of both nodes, through their disk servers or in plain files: compared, and their logs read.

It is what a scenario does at its end, and what `testbed replicas DIRECTORY` does by hand. It must never raise because a
disk is gone or damaged: that is a look that saw less, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.disk.server import NbdClient
from testbed.errors import UsageError, WaitTimeout
from testbed.replica.compare import RawFile, Reader, Replica, ReplicaReport, compare, kept_volumes, open_replica
from testbed.replica.layout import ReplicaError
from testbed.replica.reading import Reading, from_replica, unreadable
from testbed.replica.worklog import Log, read_log
from testbed.topology import NODES
from testbed.wait import wait_until

DATA_DISKS = ("vdb", "vdc")
QUIET_POLL_S = 0.3  # md calls itself clean 0.2 s after the last write


@dataclass(frozen=True)
class Inspection:
    """What was seen: the comparison (or why there is none), the log of each node, and the same as readings."""

    report: ReplicaReport | str
    logs: Mapping[str, Log]
    readings: tuple[Reading, ...]


async def look(disks: Mapping[str, Mapping[str, Path]], vm: str) -> Inspection:
    """Look at the VM's replica on each node, given the socket or the raw file of each data disk.

    They must be equal only when both nodes say that they are in sync and nobody writes; the caller sees to that.
    """
    opened: dict[str, Replica] = {}
    logs: dict[str, Log] = {}
    readings: list[Reading] = []
    problems: list[str] = []
    report: ReplicaReport | str
    async with AsyncExitStack() as stack:
        for node, paths in disks.items():
            at_s = time.monotonic()
            name = f"replica {node}"
            try:
                readers, unreached = await _readers(stack, paths)
                opened[node] = await open_replica(node, readers, vm)
                logs[node] = await read_log(opened[node], opened[node].size, name)
                readings.append(from_replica(name, at_s, logs[node]))
                problems += [f"disk {text} of node {node}" for text in unreached]
            except ReplicaError as error:
                problems.append(str(error))
                readings.append(unreadable(name, at_s, str(error)))
        if len(opened) < len(disks):
            report = "; ".join(problems)
        else:
            report = await _compared(list(opened.values()), tuple(problems))
    return Inspection(report, logs, tuple(readings))


async def look_kept(disks: Mapping[str, Mapping[str, Path]], vm: str) -> tuple[Reading, ...]:
    """Read each version of the VM that a node keeps because a person gave it up; no reading means that none is kept."""
    readings: list[Reading] = []
    async with AsyncExitStack() as stack:
        for node, paths in disks.items():
            at_s, name = time.monotonic(), f"kept version of {node}"
            try:
                readers, _ = await _readers(stack, paths)
                for volume in await kept_volumes(node, readers, vm):
                    kept = await open_replica(node, readers, vm, volume=volume)
                    name = f"{volume} of {node}"
                    log = await read_log(kept, kept.size, name)
                    readings.append(from_replica(name, at_s, log, given_up_by=node))
            except ReplicaError as error:
                readings.append(unreadable(name, at_s, str(error), given_up_by=node))
    return tuple(readings)


async def look_when_quiet(disks: Mapping[str, Mapping[str, Path]], vm: str, *, timeout_s: float) -> Inspection:
    """Look until no node's mirror says that it is being written, at least once; the last look when time is up."""
    seen = await look(disks, vm)

    async def quiet() -> bool:
        nonlocal seen
        if _is_busy(seen):
            seen = await look(disks, vm)
        return not _is_busy(seen)

    with contextlib.suppress(WaitTimeout):  # the look itself says that it was not quiet
        await wait_until(quiet, what="quiet mirrors on both nodes", timeout_s=timeout_s, poll_s=QUIET_POLL_S)
    return seen


def _is_busy(seen: Inspection) -> bool:
    return not isinstance(seen.report, str) and bool(seen.report.dirty)


async def _compared(replicas: list[Replica], problems: tuple[str, ...]) -> ReplicaReport | str:
    try:
        report = await compare(replicas)
    except ReplicaError as error:
        return str(error)
    return ReplicaReport(
        report.sha256, report.nodes, report.halves, problems + report.problems, report.generations, report.dirty
    )


async def _readers(stack: AsyncExitStack, paths: Mapping[str, Path]) -> tuple[dict[str, Reader], list[str]]:
    """A reader for each disk that can be reached, and what is wrong with the others."""
    readers: dict[str, Reader] = {}
    problems = []
    for disk, path in paths.items():
        try:
            readers[disk] = await stack.enter_async_context(_reader(path))
        except OSError as error:  # TimeoutError is one
            problems.append(f"{disk} ({str(error) or type(error).__name__})")
    return readers, problems


@asynccontextmanager
async def _reader(path: Path) -> AsyncIterator[Reader]:
    if path.is_socket():
        async with NbdClient(path) as client:
            yield client
    else:
        with RawFile(path) as file:
            yield file


def find_disks(directory: Path) -> dict[str, dict[str, Path]]:
    """The data disks of both nodes in a directory: sockets of disk servers (n-a-vdb) or raw files (a-vdb.raw)."""
    for form in ("n-{}-{}", "{}-{}.raw"):
        found = {node: {disk: directory / form.format(node, disk) for disk in DATA_DISKS} for node in NODES}
        if any(path.exists() for paths in found.values() for path in paths.values()):
            return found
    raise UsageError(
        f"{directory} has no data disks: neither sockets such as n-a-vdb nor raw files such as a-vdb.raw. Name the "
        "directory of sockets that `testbed up` prints, or a directory with the raw images of a run."
    )


def main(directory: Path, vm: str) -> int:
    """Print what a look at a VM's replicas shows; 0 when they are equal, 1 when they are not or cannot be compared."""
    seen = asyncio.run(look(find_disks(directory), vm))
    for node, log in seen.logs.items():
        boots = ", ".join(f"{boot.count} by {boot.boot}" for boot in log.boots)
        print(f"replica {node}: {len(log.ids)} records ({boots or 'none'}) {log.damage}".rstrip())
    if isinstance(seen.report, str):
        print(f"not compared: {seen.report}")
        return 1
    for comparison in (*seen.report.nodes, *seen.report.halves):
        print(comparison)
    for text in (*seen.report.problems, *(f"the mirror of node {node} is being written" for node in seen.report.dirty)):
        print(f"note: {text}")
    return 0 if seen.report.is_equal else 1
