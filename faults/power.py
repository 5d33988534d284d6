"""Faults of a whole node. `node.kill` ends QEMU by SIGKILL: a crash of the machine whose disks keep every write that
the host's page cache holds. It is not a power cut and must never be called one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from faults.fault import FaultVerdict, Proof
from testbed.bed import BOOT_TIMEOUT_S, Bed
from testbed.errors import TestbedError
from testbed.site import PRIVATE, PUBLIC

# A healthy node sends two heartbeats a second on each link, so two seconds without a single frame are no chance.
SILENCE_S = 2.0
LINKS = (PRIVATE, PUBLIC)


@dataclass
class NodeKill:
    """The node's QEMU process is killed; evidence: the process table, and the silence of its ports at the switch."""

    target: str
    name: str = field(default="node.kill", init=False)
    _pid: int | None = field(default=None, init=False)
    _frames_before: dict[str, int] = field(default_factory=dict, init=False)
    _frames_at_injection: dict[str, int] = field(default_factory=dict, init=False)

    async def prepare(self, bed: Bed) -> None:
        """Note the process and let the node show that it talks on each link."""
        self._pid = bed.nodes[self.target].machine.pid
        self._frames_before = await self._frames(bed)
        await asyncio.sleep(SILENCE_S)
        self._frames_at_injection = await self._frames(bed)

    async def inject(self, bed: Bed) -> None:
        """Kill QEMU and reap it."""
        await bed.nodes[self.target].machine.kill()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the process is gone and ports that were busy before are silent now."""
        assert self._pid is not None, "prepare comes first"
        gone = not _runs_qemu(self._pid)
        first = await self._ports(bed)
        await asyncio.sleep(SILENCE_S)
        last = await self._ports(bed)
        spoke = {port: self._frames_at_injection[port] - self._frames_before[port] for port in self._frames_before}
        after = {port: last[port][0] - first[port][0] for port in last}
        evidence: dict[str, object] = {
            "process_gone": gone,
            "frames_in_2_s_before": spoke,
            "frames_in_2_s_after": after,
            "last_frame_at_s": {port: value[1] for port, value in last.items()},
        }
        if not all(spoke.values()):
            return Proof(FaultVerdict.INCONCLUSIVE, None, evidence)  # it was silent before: silence proves nothing
        if gone and not any(after.values()):
            killed = [entry.t_s for entry in bed.history if _is_kill(entry.source, entry.kind, self.target)]
            return Proof(FaultVerdict.CONFIRMED, killed[-1] if killed else None, evidence)
        return Proof(FaultVerdict.MISMATCH, None, evidence)

    async def heal(self, bed: Bed) -> None:
        """Switch the node on again, from the same disks; raises when it does not come back."""
        node = bed.nodes[self.target]
        if node.is_on:
            raise TestbedError(f"Node {self.target} was to be switched on again, but it is running: it was never down.")
        await node.power_on()
        await node.wait_booted(BOOT_TIMEOUT_S)

    async def _ports(self, bed: Bed) -> dict[str, tuple[int, float | None]]:
        states = await bed.switch.ports()
        wanted = [f"{self.target}.{link}" for link in LINKS]
        return {name: (states[name].inward.frames, states[name].inward.last_s) for name in wanted}

    async def _frames(self, bed: Bed) -> dict[str, int]:
        return {port: frames for port, (frames, _) in (await self._ports(bed)).items()}


def _is_kill(source: str, kind: str, target: str) -> bool:
    return source == f"machine.{target}" and kind == "killed"


def _runs_qemu(pid: int) -> bool:
    try:
        return b"qemu" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended between open and read
        return False
