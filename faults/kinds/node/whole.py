"""A whole node as its peer sees it: killed, standing still in two ways, slow, and late with everything at once.

`node.kill` ends QEMU by SIGKILL: a crash of the machine whose disks keep every write that the host's page cache holds.
It is not a power cut and must never be called one. `node.pause` stops the machine with its clocks; to the node, no time
passes. `node.freeze` stops the machine's process; the host's clock runs on, and the node's clocks jump when it is
thawed. While a node is frozen its QMP is dead: nothing may be sent there, and in neither state may a command be given
that waits for the guest.
"""

from __future__ import annotations

import os
import signal
import time
from abc import abstractmethod
from typing import ClassVar

from faults.fault import Proof, Trait
from faults.kinds.evidence.comeback import boots_since
from faults.kinds.evidence.qemu_process import cpu_ticks, process_state, running_node, runs_qemu
from faults.kinds.evidence.silence import PortSilence
from testbed.bed import Bed
from testbed.bed.bed import BOOT_TIMEOUT_S
from testbed.errors import TestbedError, WaitTimeout
from testbed.wait import wait_until

# Of 200 in a window of 2 s: a stopped guest leaves QEMU's own threads, which do next to nothing.
_CPU_TICKS_STILL_MAX = 20
RESET_TIMEOUT_S = 15.0  # a node that was away for too long resets itself at once, or its watchdog does within 10 s


class NodeKill:
    """The node crashes at one instant: its process is gone, its memory with it, and its disks keep what they had."""

    name: ClassVar[str] = "node.kill"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.SWITCHES_OFF, Trait.ASKS_NO_NODE})

    def __init__(self, target: str) -> None:
        self.target = target
        self._silence = PortSilence(target)
        self._pid: int
        self._mark: int

    async def prepare(self, bed: Bed) -> None:
        """Note the process and let the node be heard."""
        self._pid = running_node(bed, self.target).machine.pid
        self._mark = bed.history.mark()
        await self._silence.note_healthy(bed)

    async def inject(self, bed: Bed) -> None:
        """Kill QEMU and reap it."""
        await bed.nodes[self.target].machine.kill()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the process that was killed is gone, and the node is silent that was heard before."""
        gone = not runs_qemu(self._pid)
        silent = await self._silence.falls_silent(bed)
        kill, since = (f"machine.{self.target}", "killed"), bed.history.since(self._mark)
        killed = [entry.t_s for entry in since if (entry.source, entry.kind) == kill]
        evidence: dict[str, object] = {
            "process_gone": gone,
            **self._silence.shown(),
            "last_frame_at_s": await self._silence.last_frames_at_s(bed),
        }
        if not gone or not silent:
            return Proof.of(False, None, evidence)
        nobody_knows = not self._silence.was_heard or not killed  # one that ended by itself was not killed by this
        return Proof.of(None if nobody_knows else True, killed[-1] if killed else None, evidence)

    async def heal(self, bed: Bed) -> None:
        """Switch the node on again, from the same disks; raises when it does not come back.

        One that is on is only waited for: another party has switched it on, as the peer does by its BMC, or it was
        never down, which its proof has said.
        """
        node = bed.nodes[self.target]
        if not node.is_on:
            await node.power_on()
        await node.wait_booted(BOOT_TIMEOUT_S)


class _StandStill:
    """What both ways share: the ports fall silent, the process stays, and both end when it goes on."""

    name: ClassVar[str]

    def __init__(self, target: str) -> None:
        self.target = target
        self._silence = PortSilence(target)
        self._injected_at_s: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """Let the node be heard."""
        running_node(bed, self.target)
        await self._silence.note_healthy(bed)

    async def inject(self, bed: Bed) -> None:
        """Let the node stand still."""
        await self._stop(bed)
        self._injected_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the process is there but does not work, and the node is silent that was heard before."""
        pid = bed.nodes[self.target].machine.pid
        ticks = cpu_ticks(pid)
        silent = await self._silence.falls_silent(bed)
        still = self._stands_still(pid, cpu_ticks(pid) - ticks)
        evidence: dict[str, object] = {
            "process_state": process_state(pid),
            "cpu_ticks_in_2_s": cpu_ticks(pid) - ticks,
            **self._silence.shown(),
        }
        return Proof.of(still and silent if self._silence.was_heard else None, self._injected_at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Let the node go on; raises when it neither talks nor boots, as one does that is reset for its absence."""
        mark = bed.history.mark()
        await self._go_on(bed)
        after = await self._silence.count(bed)

        async def boots() -> bool:
            return boots_since(bed, self.target, mark)

        if any(after.values()) and not await boots():
            return
        try:
            await wait_until(boots, what=f"a boot of node {self.target}", timeout_s=RESET_TIMEOUT_S, poll_s=0.2)
        except WaitTimeout as error:
            why = f"Node {self.target} was to go on after {self.name}, but sends nothing: {after}."
            raise TestbedError(why) from error
        await bed.nodes[self.target].wait_booted(BOOT_TIMEOUT_S)

    @abstractmethod
    async def _stop(self, bed: Bed) -> None: ...

    @abstractmethod
    async def _go_on(self, bed: Bed) -> None: ...

    @abstractmethod
    def _stands_still(self, pid: int, ticks: int) -> bool: ...


class NodePause(_StandStill):
    """The whole node is paused with its clocks, its watchdog too; afterwards only its battery clock knows of it."""

    name: ClassVar[str] = "node.pause"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.STANDS_STILL, Trait.HOLDS_MACHINE, Trait.DRAINS_DISKS})

    async def _stop(self, bed: Bed) -> None:
        await bed.nodes[self.target].machine.stop()

    async def _go_on(self, bed: Bed) -> None:
        await bed.nodes[self.target].machine.cont()

    def _stands_still(self, pid: int, ticks: int) -> bool:
        return process_state(pid) in ("S", "R", "D") and ticks <= _CPU_TICKS_STILL_MAX


class NodeFreeze(_StandStill):
    """The node's process is stopped while the world's clock runs on; its clocks jump when it is thawed."""

    name: ClassVar[str] = "node.freeze"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.STANDS_STILL, Trait.HOLDS_MACHINE, Trait.SILENCES_QMP})

    async def _stop(self, bed: Bed) -> None:
        os.kill(bed.nodes[self.target].machine.pid, signal.SIGSTOP)

    async def _go_on(self, bed: Bed) -> None:
        os.kill(bed.nodes[self.target].machine.pid, signal.SIGCONT)

    def _stands_still(self, pid: int, ticks: int) -> bool:
        return process_state(pid) == "T" and ticks == 0


FAULTS = (NodeKill, NodePause, NodeFreeze)
