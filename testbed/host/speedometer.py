"""Measures the host's speed: fully before a bed starts, and by a trace while it runs (see `testbed.host.speed`).

The full measure takes one to two seconds on a host of speed 1. The trace costs five milliseconds of a processor each
five seconds, in a process of its own with the priority of the nodes, and some reads of /proc in the bed's. It must
never disturb what it measures, and never fail a run: what cannot be read is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import fmean, median
from types import TracebackType
from typing import Protocol, Self

from testbed.errors import HostError
from testbed.history import History
from testbed.host import speed_work
from testbed.host.accelerator import find_qemu
from testbed.host.noise import HostSample, between
from testbed.host.speed import SPEED_MIN, TCG_REFERENCE_S, Measured, SpeedSample, of_loop, share
from testbed.node.spec import CPU
from testbed.process import Child, run
from testbed.wait import OwnedTask

ROUNDS, WORKERS = 7, 2  # a round is 0.05 s at speed 1, many times a scheduler's slice; two nodes run at once
EVERY_S = 5.0
SPEED_MAX = 10.0  # no processor is so fast
PATIENCE_S = 120.0  # for work of a second: beyond it the host is too slow for anything
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# mov ecx, COUNT; loop: dec ecx, jnz loop (as the one instruction `loop`); mov al, 1; mov dx, 0xf4; out dx, al; hlt
_TCG_COUNT = 500_000_000
_TCG_WORK = b"\x66\xb9" + struct.pack("<I", _TCG_COUNT) + bytes.fromhex("67e2fd b001 baf400 ee f4")
_TCG_DONE = 3  # isa-debug-exit ends QEMU with (value << 1) | 1
_PROGRAM = (sys.executable, "-I", "-S", str(Path(speed_work.__file__)))


async def measure(*, tcg: bool = True) -> Measured:
    """Measure the host now, by loops and, if wished, by QEMU's fixed work under TCG; raises HostError."""
    done = await run([*_PROGRAM, "rounds", str(ROUNDS), str(WORKERS)], timeout_s=PATIENCE_S)
    rounds = [float(word) for word in done.stdout.split()]
    if not rounds:
        raise HostError(f"The host's speed could not be measured: {done.stderr.strip() or 'no word of the loops'}.")
    loop = of_loop(speed_work.ROUND_ADDITIONS, median(rounds))
    if not tcg or loop < SPEED_MIN:
        return Measured(loop)
    return Measured(loop, TCG_REFERENCE_S / await tcg_work_s())


async def tcg_work_s(workers: int = WORKERS) -> float:
    """Return how long so many QEMU at once take for a fixed piece of work under TCG; raises HostError."""
    qemu = await find_qemu()
    with tempfile.TemporaryDirectory(prefix="avance-speed-") as name:
        sector = Path(name) / "sector.img"
        sector.write_bytes(_TCG_WORK.ljust(510, b"\0") + b"\x55\xaa")
        argv = [str(qemu.path), "-machine", "pc", "-accel", "tcg", "-cpu", CPU["tcg"], "-nodefaults",
                "-no-user-config", "-display", "none", "-no-reboot", "-m", "16",
                "-snapshot", "-drive", f"file={sector},format=raw,if=ide",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]  # fmt: skip

        async def one() -> float:
            began_s = time.monotonic()
            done = await run(argv, timeout_s=PATIENCE_S, check=False)
            if done.returncode != _TCG_DONE:
                last = done.stderr.strip() or "no message"
                raise HostError(f"QEMU did not do its work for the measure of speed (code {done.returncode}): {last}")
            return time.monotonic() - began_s

        return fmean(await asyncio.gather(*(one() for _ in range(workers))))


class Processes(Protocol):
    """Whose time the share is of; read anew for each point."""

    def node_pids(self) -> Collection[int]:
        """The processes of the nodes."""

    def pids(self) -> Collection[int]:
        """All processes of the bed, those of the nodes as well."""


class Accounts:
    """What processes have run and waited since the last look, each counted from its own last figures."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._last: dict[int, tuple[float, float]] = {}

    def since(self, pids: Collection[int]) -> tuple[float, float]:
        """Return the seconds that these ran and waited for a processor since the last look at each of them."""
        ran_s = waited_s = 0.0
        for pid in pids:
            now, before = self._read(pid), self._last.get(pid, (0.0, 0.0))
            self._last[pid] = now
            ran_s += max(now[0] - before[0], 0.0)  # less than before: a thread has ended, or the number is another's
            waited_s += max(now[1] - before[1], 0.0)
        return ran_s, waited_s

    def _read(self, pid: int) -> tuple[float, float]:
        ran = waited = 0
        for path in (self._proc / str(pid) / "task").glob("*/schedstat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                words = path.read_text(encoding="ascii").split()
                ran, waited = ran + int(words[0]), waited + int(words[1])
        return ran / 1e9, waited / 1e9


class Speedometer:
    """The trace of the host's speed, as an async context manager."""

    def __init__(
        self, log: Path, *, measured: Measured | None = None, history: History | None = None, every_s: float = EVERY_S,
        take: Callable[[], HostSample] = HostSample.take,
    ) -> None:  # fmt: skip
        self.measured = measured
        self.points: list[SpeedSample] = []
        self.processes: Processes | None = None
        self._log = log
        self._history = history
        self._every_s = every_s
        self._take = take
        self._read_bytes = 0
        self._nodes, self._others = Accounts(), Accounts()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._log.unlink(missing_ok=True)
            argv = [*_PROGRAM, "trace", str(self._every_s)]
            await stack.enter_async_context(Child(argv, name="the measure of the host's speed", log=self._log))
            await stack.enter_async_context(OwnedTask(self._work(), name="speed"))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def since(self, at_s: float) -> list[SpeedSample]:
        """The points from a moment on."""
        return [point for point in self.points if point.t_s >= at_s]

    async def _work(self) -> None:
        before = self._take()
        self._share(0.0)
        while True:
            await asyncio.sleep(self._every_s)
            now = self._take()
            stolen = now.steal_ticks - before.steal_ticks
            part = self._share((now.busy_ticks - before.busy_ticks - stolen) / TICKS_PER_S)
            processor = self._processor()
            if processor is not None:
                told = between(before, now)
                self._keep(SpeedSample(now.t_s, processor, part, told["cpu_pressure_some"], told["steal"]))
            before = now

    def _keep(self, point: SpeedSample) -> None:
        self.points.append(point)
        if self._history is not None:
            self._history.record(
                "host", "speed", speed=round(point.speed, 3), processor=round(point.processor, 3),
                share=round(point.share, 3), pressure=point.pressure, steal=point.steal,
            )  # fmt: skip

    def _share(self, busy_s: float) -> float:
        """Which part of their wish the nodes got since the last call, in which all processors worked so long."""
        if self.processes is None:
            return 1.0
        nodes = set(self.processes.node_pids())
        ran_s, waited_s = self._nodes.since(nodes)
        others_s, _ = self._others.since({*self.processes.pids(), os.getpid()} - nodes)
        return share(ran_s, waited_s, busy_s - ran_s - others_s)

    def _processor(self) -> float | None:
        """The speed on a processor, by the work done since the last call; None when none was done."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._read_bytes)
                lines = stream.read().rpartition(b"\n")[0]
        except OSError:
            return None
        self._read_bytes += len(lines) + 1 if lines else 0
        found = []
        for line in lines.splitlines():
            with contextlib.suppress(ValueError):
                _at_s, took_s, waited_s = map(float, line.split())
                speed = of_loop(speed_work.TRACE_ADDITIONS, took_s - waited_s)
                if speed <= SPEED_MAX:  # else the kernel's account of waiting was ahead of the clock
                    found.append(speed)
        return median(found) if found else None
