"""Proves that the host is measured at the start and while a bed runs, and that others' work shows in it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path

from testbed.history import History
from testbed.host.speedometer import Accounts, Speedometer, measure, tcg_work_s
from testbed.process import Child
from testbed.wait import wait_until

SPIN = [sys.executable, "-I", "-S", "-c", "while True: pass"]


class OneNode:
    """A bed of one process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def node_pids(self) -> Collection[int]:
        """The node."""
        return [self.pid]

    def pids(self) -> Collection[int]:
        """The node, and one that has ended."""
        return [self.pid, 2**22 + 1]


def test_loops_and_qemu_both_do_their_work() -> None:
    """Both give a speed that a computer can have; the lower one counts."""
    found = asyncio.run(measure())
    assert found.tcg is not None
    assert 0.001 < found.speed <= min(found.loop, found.tcg) < 100


def test_the_work_of_qemu_is_not_only_its_start() -> None:
    """A fixed loop inside takes most of the time, so an emulator that is slow shows."""
    assert asyncio.run(tcg_work_s(1)) > 0.1


def test_accounts_are_read_since_the_last_look(tmp_path: Path) -> None:
    """All threads count; what is gone counts as nothing, and so does a figure that shrinks."""
    accounts = Accounts(tmp_path)

    def write(ran_ns: int, waited_ns: int) -> None:
        for thread in ("7", "8"):
            path = tmp_path / "7" / "task" / thread / "schedstat"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{ran_ns} {waited_ns} 3\n", encoding="ascii")

    write(1_000_000_000, 500_000_000)
    assert accounts.since([7, 99]) == (2.0, 1.0)
    write(1_500_000_000, 500_000_000)
    assert accounts.since([7]) == (1.0, 0.0)
    write(0, 0)
    assert accounts.since([7]) == (0.0, 0.0)


async def shares(tmp_path: Path, *, spinning_inside: int, spinning_outside: int) -> float:
    """The last share of a node that computes, pinned to a processor with others of the bed and not of it."""
    pinned = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *SPIN]
    async with AsyncExitStack() as stack:

        async def start() -> Child:
            return await stack.enter_async_context(Child(pinned, name="spin", log=tmp_path / "log"))

        node = await start()
        inside = [await start() for _ in range(spinning_inside)]
        for _ in range(spinning_outside):
            await start()
        meter = await stack.enter_async_context(Speedometer(tmp_path / "speed.log", history=History(), every_s=0.4))
        bed = OneNode(node.pid)
        bed.pids = lambda: [node.pid, *(child.pid for child in inside)]  # type: ignore[method-assign]
        meter.processes = bed

        async def enough() -> bool:
            return len(meter.points) >= 4

        await wait_until(enough, what="four points", timeout_s=30)
        return meter.points[-1].share


def test_a_program_beside_the_bed_takes_its_share(tmp_path: Path) -> None:
    """With three strangers on its processor the node gets about a quarter of what it wants."""
    assert asyncio.run(shares(tmp_path, spinning_inside=0, spinning_outside=3)) < 0.6


def test_points_stand_in_the_history(tmp_path: Path) -> None:
    """Each point is recorded with both its factors, for the picture."""

    async def scenario() -> tuple[History, int]:
        history = History()
        async with Speedometer(tmp_path / "speed.log", history=history, every_s=0.1) as meter:

            async def some() -> bool:
                return len(meter.points) >= 2

            await wait_until(some, what="two points", timeout_s=20)
            assert meter.since(meter.points[1].t_s) == meter.points[1:]
            return history, len(meter.points)

    history, count = asyncio.run(scenario())
    told = [entry.fields for entry in history if (entry.source, entry.kind) == ("host", "speed")]
    assert len(told) == count
    assert all(0 < float(str(entry["processor"])) < 100 and entry["share"] == 1.0 for entry in told)
