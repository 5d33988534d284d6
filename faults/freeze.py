"""A node that stands still and may go on later, in two ways that its software sees differently.

`node.pause`: the machine is stopped with its clocks; to the node, no time passes. `node.freeze`: the machine's process
is stopped by the host's kernel; the host's clock runs on, and the node's clocks jump when it is thawed. Neither is a
crash: memory survives, and the node comes back with everything it believed. While a node is frozen its QMP is dead:
nothing may be sent there, and in neither state may a command be given that waits for the guest.
"""

from __future__ import annotations

import os
import signal
import time
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from faults.fault import FaultVerdict, Proof
from faults.silence import PortSilence
from testbed.bed import Bed
from testbed.errors import TestbedError

# Of 200 in a window of 2 s: a stopped guest leaves QEMU's own threads, which do next to nothing.
_CPU_TICKS_STILL_MAX = 20


class _StandStill:
    """What both ways share: the ports fall silent, the process stays, and both end when it goes on."""

    name: ClassVar[str]

    def __init__(self, target: str) -> None:
        self.target = target
        self._silence = PortSilence(target)
        self._injected_at_s: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """Let the node show that it talks on each link."""
        await self._silence.note_healthy(bed)

    async def inject(self, bed: Bed) -> None:
        """Let the node stand still."""
        await self._stop(bed)
        self._injected_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the process is there but does not work, and its busy ports are silent."""
        pid = bed.nodes[self.target].machine.pid
        ticks = cpu_ticks(pid)
        after = await self._silence.count(bed)
        still = self._stands_still(pid, cpu_ticks(pid) - ticks)
        evidence: dict[str, object] = {
            "process_state": process_state(pid),
            "cpu_ticks_in_2_s": cpu_ticks(pid) - ticks,
            "frames_in_2_s_before": self._silence.before,
            "frames_in_2_s_after": after,
        }
        if not self._silence.was_busy:
            return Proof(FaultVerdict.INCONCLUSIVE, None, evidence)
        if still and not any(after.values()):
            return Proof(FaultVerdict.CONFIRMED, self._injected_at_s, evidence)
        return Proof(FaultVerdict.MISMATCH, None, evidence)

    async def heal(self, bed: Bed) -> None:
        """Let the node go on; raises when it does not talk again."""
        await self._go_on(bed)
        after = await self._silence.count(bed)
        if not any(after.values()):
            raise TestbedError(f"Node {self.target} was to go on after {self.name}, but sends nothing: {after}.")

    @abstractmethod
    async def _stop(self, bed: Bed) -> None: ...

    @abstractmethod
    async def _go_on(self, bed: Bed) -> None: ...

    @abstractmethod
    def _stands_still(self, pid: int, ticks: int) -> bool: ...


class NodePause(_StandStill):
    """The whole node is paused with its clocks, its watchdog too; afterwards it cannot know that it slept."""

    name: ClassVar[str] = "node.pause"

    async def _stop(self, bed: Bed) -> None:
        await bed.nodes[self.target].machine.stop()

    async def _go_on(self, bed: Bed) -> None:
        await bed.nodes[self.target].machine.cont()

    def _stands_still(self, pid: int, ticks: int) -> bool:
        return process_state(pid) in ("S", "R", "D") and ticks <= _CPU_TICKS_STILL_MAX


class NodeFreeze(_StandStill):
    """The node's process is stopped while the world's clock runs on; its clocks jump when it is thawed."""

    name: ClassVar[str] = "node.freeze"

    async def _stop(self, bed: Bed) -> None:
        os.kill(bed.nodes[self.target].machine.pid, signal.SIGSTOP)

    async def _go_on(self, bed: Bed) -> None:
        os.kill(bed.nodes[self.target].machine.pid, signal.SIGCONT)

    def _stands_still(self, pid: int, ticks: int) -> bool:
        return process_state(pid) == "T" and ticks == 0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name of the program, from the state on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def process_state(pid: int) -> str:
    """Return the kernel's letter for the state of a process: R, S, D, T, Z; "gone" when there is none."""
    try:
        return _stat(pid)[0]
    except FileNotFoundError:
        return "gone"


def cpu_ticks(pid: int) -> int:
    """Return how many clock ticks (a hundredth of a second) a process has computed so far; 0 when it is gone."""
    try:
        fields = _stat(pid)
    except FileNotFoundError:
        return 0
    return int(fields[11]) + int(fields[12])
