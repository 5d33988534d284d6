"""Faults of load: processor, memory or disks of a node are kept busy from inside, or the host itself is loaded.

What loads a node carries a time limit and a mark there, so that it ends in any case. It is believed when the node's
kernel accounts for it and QEMU, seen from the host, does more than before. A node that was busy before cannot prove
anything. What loads the host is believed when the host's kernel accounts for what those processes computed. It must
never load the host with anything but processes of its own, which end with it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faults.fault import Aim, Proof
from faults.kinds.evidence.inside import (
    check_node,
    check_number,
    end_lasting,
    figures,
    lasting,
    read_text,
    shell,
    start_lasting,
)
from faults.kinds.evidence.qemu_process import cpu_ticks
from testbed import pace
from testbed.bed import Bed
from testbed.errors import MachineError, TestbedError, UsageError, WaitTimeout
from testbed.process import Child
from testbed.wait import wait_until

HOST = "host"
WINDOW_S = 3.0
LIMIT_S = 900.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SETTLE_TIMEOUT_S = 30.0
BUSY_SHARE = 0.85  # of the node's processor time
IDLE_BEFORE = 0.25
ROOM_MIB = 64  # so much more than what is left must be there before, or nothing can be shown
REQUESTS_FACTOR = 3.0
REQUESTS_PER_S_MIN = 50.0
HOST_SHARE = 0.25  # of all processor time of the host
IO_FILE = "/var/lib/testbed-load-io"
_SPIN = "i=0; while [ $i -lt $1 ]; do (while :; do :; done) & i=$((i + 1)); done; wait"
# Takes all but so much, is the first to be given up if the kernel runs out, and takes more when more becomes free.
_TAKE = """
import sys, time
open("/proc/self/oom_score_adj", "w").write("1000")
leave, kept = int(sys.argv[1]) * 1024, []
while True:
    lines = open("/proc/meminfo").read().splitlines()
    free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    if free > leave + 1024:
        kept.append(b"x" * (min(free - leave, 16384) * 1024))
    else:
        time.sleep(0.2)
"""
_WRITE = 'while :; do dd if=/dev/zero of="$1" bs=64k count=256 conv=notrunc oflag=direct 2> /dev/null || exit 1; done'
_READ = "while :; do dd if=/dev/md0 of=/dev/null bs=64k count=2048 iflag=direct 2> /dev/null || exit 1; done"


@dataclass(frozen=True)
class Activity:
    """What a node did in one window, per second: its own kernel's accounts, and QEMU seen from the host."""

    idle_share: float
    available_mib: float
    qemu_cpu_share: float
    requests_per_s: float | None
    pressure_share: dict[str, float]

    def shown(self) -> dict[str, object]:
        """Return it as evidence."""
        return {
            "idle_share": round(self.idle_share, 3),
            "available_mib": round(self.available_mib),
            "qemu_cpu_share_seen_by_host": round(self.qemu_cpu_share, 3),
            "disk_requests_per_s_seen_by_qemu": self.requests_per_s and round(self.requests_per_s, 1),
            "pressure_share": {name: round(value, 3) for name, value in self.pressure_share.items()},
        }


@dataclass(frozen=True)
class _LoadSample:
    at_s: float
    idle: int
    total: int
    available_mib: float
    qemu_ticks: int
    requests: int | None
    stalled_us: dict[str, int]


def processor_times(stat: str) -> tuple[int, int]:
    """Return idle and all ticks from the first line of /proc/stat; waiting for a disk is idle, stolen time is not."""
    ticks = [int(word) for word in stat.splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def stalled_us(pressure: str) -> int:
    """Return the total of the line `some` of a file of /proc/pressure; 0 when the kernel keeps none."""
    line = next((line for line in pressure.splitlines() if line.startswith("some ")), "")
    return int(line.rpartition("total=")[2] or 0)


async def _look(bed: Bed, node: str) -> _LoadSample:
    text = await shell(
        bed,
        node,
        "head -1 /proc/stat; grep MemAvailable /proc/meminfo; "
        'for n in cpu memory io; do echo "$n $(cat /proc/pressure/$n 2> /dev/null | grep some)"; done',
    )
    pressure = {
        name: stalled_us(line.partition(" ")[2])
        for name in ("cpu", "memory", "io")
        for line in text.splitlines()
        if line.startswith(f"{name} ") and "some" in line
    }
    machine = bed.nodes[node].machine
    available = figures(text).get("MemAvailable", 0) / 1024
    return _LoadSample(
        time.monotonic(),
        *processor_times(text),
        available,
        cpu_ticks(machine.pid),
        await _requests(bed, node),
        pressure,
    )


async def _requests(bed: Bed, node: str) -> int | None:
    """All reads and writes of all disks that QEMU has counted; None when it does not answer."""
    try:
        answer: Any = await bed.nodes[node].machine.execute("query-blockstats", timeout_s=WINDOW_S)
    except MachineError:
        return None
    return sum(int(entry["stats"][name]) for entry in answer for name in ("rd_operations", "wr_operations"))


async def watch(bed: Bed, node: str, window_s: float = WINDOW_S) -> Activity:
    """Return what the node does in one window from now on."""
    first = await _look(bed, node)
    await pace.sleep(window_s)
    last = await _look(bed, node)
    took_s = last.at_s - first.at_s
    requests = None
    if first.requests is not None and last.requests is not None:
        requests = (last.requests - first.requests) / took_s
    return Activity(
        (last.idle - first.idle) / max(last.total - first.total, 1),
        last.available_mib,
        (last.qemu_ticks - first.qemu_ticks) / TICKS_PER_S / took_s,
        requests,
        {name: (last.stalled_us[name] - first.stalled_us.get(name, 0)) / 1e6 / took_s for name in last.stalled_us},
    )


class NodeLoad:
    """What the loads of one node share: the activity before, a command that lasts, and its verified end."""

    name: ClassVar[str]
    window_s = WINDOW_S

    def __init__(self, target: str, *, limit_s: float = LIMIT_S) -> None:
        if target == HOST:
            raise UsageError(f"{self.name} loads a node; the host is loaded by load.host.")
        check_number("limit_s", limit_s, 5, 86400)
        self.target = target
        self.limit_s = limit_s
        self._before: Activity
        self._injected_at_s: float | None = None

    def argv(self) -> list[str]:
        """The command that makes the load."""
        raise NotImplementedError

    def judge(self, before: Activity, during: Activity) -> bool | None:
        """Say whether the load is there; None when nobody can say."""
        raise NotImplementedError

    async def prepare(self, bed: Bed) -> None:
        """Watch the node for a window."""
        check_node(bed, self.target)
        self._before = await watch(bed, self.target, self.window_s)

    async def inject(self, bed: Bed) -> None:
        """Start it in the node."""
        self._injected_at_s = time.monotonic()
        await start_lasting(bed, self.target, self.name, self.argv(), limit_s=self.limit_s)

    async def confirm(self, bed: Bed) -> Proof:
        """Watch again, until it shows, at most for a while; a load builds up."""
        shown: list[Activity] = []

        async def seen() -> bool:
            shown.append(await watch(bed, self.target, self.window_s))
            return self.judge(self._before, shown[-1]) is not False or not await lasting(bed, self.target, self.name)

        with suppress(WaitTimeout):  # the last window is judged below
            await wait_until(seen, what=f"{self.name} on node {self.target} to show", timeout_s=SETTLE_TIMEOUT_S)
        seen_last = self.judge(self._before, shown[-1]) if shown else None
        evidence = {
            "before": self._before.shown(),
            "during": shown[-1].shown() if shown else None,
            "processes": await lasting(bed, self.target, self.name),
        }
        return Proof.of(seen_last, self._injected_at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """End every process of it; raises WaitTimeout when one stays. A node that is off has none."""
        if self.target in bed.nodes and bed.nodes[self.target].is_on:
            await end_lasting(bed, self.target, self.name)
            await self.tidy(bed)

    async def tidy(self, bed: Bed) -> None:
        """Remove what the load left, and verify that it is over."""


class LoadCpu(NodeLoad):
    """The processor of the node is kept busy by processes that compute for nothing."""

    name = "load.cpu"

    def __init__(self, target: str, *, processes: int = 2, niceness: int = 0, limit_s: float = LIMIT_S) -> None:
        super().__init__(target, limit_s=limit_s)
        check_number("processes", processes, 1, 64)
        check_number("niceness", niceness, -20, 19)
        self.processes = processes
        self.niceness = niceness

    def argv(self) -> list[str]:
        """Shells that loop."""
        return ["nice", "-n", str(self.niceness), "sh", "-c", _SPIN, "sh", str(self.processes)]

    def judge(self, before: Activity, during: Activity) -> bool | None:
        """The node was idle in part, is not now, and QEMU takes more of the host's processor."""
        if before.idle_share < IDLE_BEFORE:
            return None
        return during.idle_share <= 1 - BUSY_SHARE and during.qemu_cpu_share > before.qemu_cpu_share


class LoadMemory(NodeLoad):
    """The memory of the node is taken, but for a little."""

    name = "load.memory"

    def __init__(self, target: str, *, leave_mib: int = 32, limit_s: float = LIMIT_S) -> None:
        super().__init__(target, limit_s=limit_s)
        check_number("leave_mib", leave_mib, 4, 65536)
        self.leave_mib = leave_mib

    def argv(self) -> list[str]:
        """A program that takes what is available."""
        return ["python3", "-I", "-c", _TAKE, str(self.leave_mib)]

    def judge(self, before: Activity, during: Activity) -> bool | None:
        """The kernel had room and has next to none now."""
        if before.available_mib < self.leave_mib + ROOM_MIB:
            return None
        return during.available_mib <= self.leave_mib + ROOM_MIB / 2

    async def tidy(self, bed: Bed) -> None:
        """Most of what was there before must be there again."""
        wanted_mib = self._before.available_mib * 0.75

        async def freed() -> bool:
            text = await read_text(bed, self.target, "/proc/meminfo")
            return figures(text)["MemAvailable"] / 1024 >= wanted_mib

        await wait_until(freed, what=f"the memory of node {self.target} to be free again", timeout_s=SETTLE_TIMEOUT_S)


class LoadIo(NodeLoad):
    """The disks of the node are kept busy past the cache: its root disk by writes, or its data disks by reads."""

    name = "load.io"

    def __init__(self, target: str, *, disks: str = "root", limit_s: float = LIMIT_S) -> None:
        super().__init__(target, limit_s=limit_s)
        if disks not in ("root", "data"):
            raise UsageError(f"disks is {disks!r}; possible are root (writes) and data (reads).")
        self.disks = disks

    def argv(self) -> list[str]:
        """Copies without end."""
        return ["sh", "-c", _WRITE if self.disks == "root" else _READ, "sh", IO_FILE]

    def judge(self, before: Activity, during: Activity) -> bool | None:
        """QEMU counts many more requests than before."""
        if before.requests_per_s is None or during.requests_per_s is None:
            return None
        return during.requests_per_s >= max(REQUESTS_FACTOR * before.requests_per_s, REQUESTS_PER_S_MIN)

    async def tidy(self, bed: Bed) -> None:
        """Remove the file."""
        await shell(bed, self.target, 'rm -f "$1"', IO_FILE)


# ---------------------------------------------------------------- the host


@dataclass(frozen=True)
class HostActivity:
    """What the load took of the host in one window, and what that did to the bed; shares of the time of the window.

    `taken_share`: of all processors. `waiting_share`: the threads of a node's QEMU that could run had no processor.
    `pressure_share`: the kernel's word on the whole host, None where it keeps none.
    """

    taken_share: float
    waiting_share: dict[str, float]
    pressure_share: float | None

    def shown(self) -> dict[str, object]:
        """Return it as evidence."""
        shares = {name: round(value, 3) for name, value in self.waiting_share.items()}
        pressure = None if self.pressure_share is None else round(self.pressure_share, 3)
        return {
            "taken_share_of_the_host": round(self.taken_share, 3),
            "qemu_waiting_share": shares,
            "host_pressure_share": pressure,
        }


def waited_ns(pid: int) -> int:
    """Return how long the threads of a process have waited for a processor so far; 0 when it is gone."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text(encoding="ascii").split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended between the listing and the look
    return total


def host_stalled_us() -> int | None:
    """Return the host's total of time in which somebody waited for a processor, or None when it keeps none."""
    try:
        return stalled_us(Path("/proc/pressure/cpu").read_text(encoding="ascii"))
    except OSError:
        return None


async def watch_host(bed: Bed, load_pids: Sequence[int], window_s: float = WINDOW_S) -> HostActivity:
    """Return what these processes take of the host, and how long the nodes' wait, in one window from now on."""
    nodes = {name: node.machine.pid for name, node in bed.nodes.items() if node.is_on}
    began_s, waited = time.monotonic(), {name: waited_ns(pid) for name, pid in nodes.items()}
    ticks, stalled = {pid: cpu_ticks(pid) for pid in load_pids}, host_stalled_us()
    await pace.sleep(window_s)
    took_s, after = time.monotonic() - began_s, host_stalled_us()
    taken_s = sum(max(cpu_ticks(pid) - ticks[pid], 0) for pid in load_pids) / TICKS_PER_S
    return HostActivity(
        taken_s / took_s / (os.cpu_count() or 1),
        {name: max(waited_ns(pid) - waited[name], 0) / 1e9 / took_s for name, pid in nodes.items()},
        None if stalled is None or after is None else (after - stalled) / 1e6 / took_s,
    )


class LoadHost:
    """Other programs compute on the host, and take a quarter of it or more."""

    name: ClassVar[str] = "load.host"
    aim: ClassVar[Aim] = Aim.HOST
    window_s = WINDOW_S

    def __init__(self, target: str = HOST, *, processes: int = 0, niceness: int = 0) -> None:
        if target != HOST:
            raise UsageError(f"load.host loads the host, not {target!r}; a node is loaded by load.cpu.")
        check_number("processes", processes, 0, 256)
        check_number("niceness", niceness, -20, 19)
        if niceness < 0 and os.geteuid() != 0:
            raise UsageError(f"niceness is {niceness}; below 0 is for root only.")
        self.target = target
        self.processes = processes or 3 * (os.cpu_count() or 1)
        self.niceness = niceness
        self._before: HostActivity
        self._injected_at_s: float | None = None
        self._stack = AsyncExitStack()
        self._hogs: list[Child] = []

    async def prepare(self, bed: Bed) -> None:
        """Watch the bed's processes for a window."""
        if not any(node.is_on for node in bed.nodes.values()):
            raise UsageError("Both nodes are off: nobody would notice a loaded host. Switch one on first.")
        self._before = await watch_host(bed, (), self.window_s)

    async def inject(self, bed: Bed) -> None:
        """Start processes that compute for nothing."""
        argv = ["nice", "-n", str(self.niceness), sys.executable, "-I", "-S", "-c", "while True: pass"]
        log = bed.options.artefacts / "load-host.log"
        self._injected_at_s = time.monotonic()
        for number in range(self.processes):
            self._hogs.append(await self._stack.enter_async_context(Child(argv, name=f"load {number}", log=log)))

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when every process is there and together they take a quarter of the host.

        Whether the nodes wait for a processor is evidence and no condition: an idle node asks for little, and gets it.
        """
        during = await watch_host(bed, [hog.pid for hog in self._hogs], self.window_s)
        alive = sum(hog.alive for hog in self._hogs)
        evidence = {
            "before": self._before.shown(),
            "during": during.shown(),
            "processes": alive,
            "niceness": self.niceness,
        }
        seen = alive == self.processes and during.taken_share >= HOST_SHARE
        return Proof.of(seen, self._injected_at_s, evidence)

    async def heal(self, bed: Bed) -> None:  # noqa: ARG002 - part of the protocol
        """Kill and reap them; raises TestbedError when one is left."""
        await self._stack.aclose()
        left = [hog.pid for hog in self._hogs if hog.alive]
        self._hogs.clear()
        if left:
            raise TestbedError(f"Processes that load the host are still there: {left}. End them by their pids.")


FAULTS = (LoadCpu, LoadMemory, LoadIo, LoadHost)
