"""A node that is late: `node.slow` works a stated share of the time only, `node.stale_burst` gets old frames at once.

Both stop and continue the machine's process by signals, so the world's clock runs on and the node's jumps. Neither may
leave a stopped process behind, and neither may send anything to QEMU meanwhile, because it answers late or never.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

from faults.fault import Proof, Trait
from faults.kinds.evidence import silence
from faults.kinds.evidence.qemu_process import TICKS_PER_S, cpu_ticks, process_state, running_node
from faults.kinds.evidence.silence import PortSilence
from testbed import pace
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError
from testbed.wait import OwnedTask, wait_until

PERIOD_MIN_S = 0.02  # the loop that gives the signals is some milliseconds late at times
SHARE_MIN, SHARE_MAX = 0.05, 0.95
SHARE_TOLERANCE = 0.15
SAMPLE_S = 0.0017  # no multiple of a usual period, so that the samples do not walk with the signals
STOPPED_SHARE_HEALTHY_MAX = 0.02
QUEUE_POLL_S = 0.02
BURST_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Sampled:
    """What a window showed of the process: the share of looks that found it stopped, and its use of the processor."""

    looks: int
    stopped_share: float
    cpu_share: float


def signal_node(bed: Bed, name: str, number: signal.Signals) -> None:
    """Send a signal to the node's process, if there is one."""
    if bed.nodes[name].is_on:
        with contextlib.suppress(ProcessLookupError):
            os.kill(bed.nodes[name].machine.pid, number)


async def sample(pid: int, window_s: float) -> Sampled:
    """Look at the state of a process again and again, and at the time that it computed."""
    begun_s, ticks, looks, stopped = time.monotonic(), cpu_ticks(pid), 0, 0
    while time.monotonic() - begun_s < window_s:
        looks += 1
        stopped += process_state(pid) == "T"
        await asyncio.sleep(SAMPLE_S)
    took_s = time.monotonic() - begun_s
    cpu_share = (cpu_ticks(pid) - ticks) / TICKS_PER_S / took_s
    return Sampled(looks, round(stopped / looks, 3), round(cpu_share, 3))


class NodeSlow:
    """The node works a stated share of the time only, in short turns, as on a host that has too little for it."""

    name: ClassVar[str] = "node.slow"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.HOLDS_MACHINE})

    def __init__(self, target: str, *, share: float = 0.2, period_s: float = 0.1) -> None:
        self.target = target
        self.share = share
        self.period_s = period_s
        self._silence = PortSilence(target)
        self._before: Sampled
        self._duty: OwnedTask | None = None
        self._injected_at_s: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """Count what the node sends, and look how it works, while it is not slow."""
        if not SHARE_MIN <= self.share <= SHARE_MAX:
            raise UsageError(f"a node cannot work {self.share:g} of the time; give {SHARE_MIN:g} to {SHARE_MAX:g}")
        if self.period_s < PERIOD_MIN_S:
            raise UsageError(f"a period of {self.period_s:g} s cannot be kept; give at least {PERIOD_MIN_S:g} s")
        pid = running_node(bed, self.target).machine.pid
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._silence.note_healthy(bed))
            looks = tasks.create_task(sample(pid, pace.scaled(silence.WINDOW_S)))
        self._before = looks.result()

    async def inject(self, bed: Bed) -> None:
        """Begin the turns."""
        self._duty = OwnedTask(self._turns(bed), name=f"slow-{self.target}")
        self._injected_at_s = time.monotonic()

    async def _turns(self, bed: Bed) -> None:
        """Open loop: the plan of the turns is fixed; one that comes too late is left out, and none moves the next."""
        begun_s = time.monotonic()
        try:
            while True:
                number = int((time.monotonic() - begun_s) / self.period_s)
                signal_node(bed, self.target, signal.SIGCONT)
                await _until(begun_s + (number + self.share) * self.period_s)
                signal_node(bed, self.target, signal.SIGSTOP)
                await _until(begun_s + (number + 1) * self.period_s)
        finally:
            signal_node(bed, self.target, signal.SIGCONT)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the kernel shows the process stopped for the rest of the time, and never before."""
        pid = bed.nodes[self.target].machine.pid
        async with asyncio.TaskGroup() as tasks:
            frames = tasks.create_task(self._silence.count(bed))
            looks = tasks.create_task(sample(pid, pace.scaled(silence.WINDOW_S)))
        during = looks.result()
        evidence: dict[str, object] = {
            "share": self.share,
            "period_s": self.period_s,
            "before": asdict(self._before),
            "during": asdict(during),
            "frames_in_2_s_before": self._silence.before,
            "frames_in_2_s_during": frames.result(),
        }
        was_well = self._before.stopped_share <= STOPPED_SHARE_HEALTHY_MAX
        slow = abs(during.stopped_share - (1 - self.share)) <= min(SHARE_TOLERANCE, (1 - self.share) / 2)
        return Proof.of(slow if was_well else None, self._injected_at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """End the turns; raises when the node is still stopped at times, or does not talk."""
        duty, self._duty = self._duty, None
        if duty is not None:
            await duty.cancel()
        signal_node(bed, self.target, signal.SIGCONT)
        if not bed.nodes[self.target].is_on:
            return  # something else has ended it: it is not slow any more
        pid = bed.nodes[self.target].machine.pid
        async with asyncio.TaskGroup() as tasks:
            frames = tasks.create_task(self._silence.count(bed))
            looks = tasks.create_task(sample(pid, pace.scaled(silence.WINDOW_S)))
        after = looks.result()
        if after.stopped_share > STOPPED_SHARE_HEALTHY_MAX or not any(frames.result().values()):
            raise TestbedError(
                f"Node {self.target} was to be as fast as before, but it was stopped {after.stopped_share:.0%} of the "
                f"time and sent {frames.result()}."
            )


async def _until(at_s: float) -> None:
    await asyncio.sleep(max(at_s - time.monotonic(), 0.0))


@dataclass(frozen=True)
class Queues:
    """What waited for the frozen node at one port, and how old the first frame in each place was at the thaw."""

    in_node: int
    in_node_oldest_s: float | None
    in_switch: int
    in_switch_oldest_s: float | None
    lost_full: int
    delivered: int


class NodeStaleBurst:
    """The node freezes, and everything that came for it meanwhile arrives at once, and old, when it is thawed."""

    name: ClassVar[str] = "node.stale_burst"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.HOLDS_MACHINE})

    def __init__(self, target: str, *, freeze_s: float = 5.0) -> None:
        self.target = target
        self.freeze_s = freeze_s
        self._silence = PortSilence(target)
        self._queues: dict[str, Queues] = {}
        self._queued_before: dict[str, int] = {}
        self._state = ""
        self._burst_s: float | None = None
        self._thawed_at_s: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """Note what waits at the node's ports while it is well."""
        if self.freeze_s <= 0:
            raise UsageError(f"a freeze of {self.freeze_s:g} s lets nothing queue; give more")
        running_node(bed, self.target)
        await self._silence.note_healthy(bed)
        self._queued_before = {port: state[0] for port, state in (await self._outward(bed)).items()}

    async def inject(self, bed: Bed) -> None:
        """Freeze, look at the queues as they grow, thaw, and wait until the queues of the switch are empty."""
        pid = bed.nodes[self.target].machine.pid
        signal_node(bed, self.target, signal.SIGSTOP)
        try:
            grown = await self._watch(bed)
            self._state = process_state(pid)
        finally:
            signal_node(bed, self.target, signal.SIGCONT)
        self._thawed_at_s = time.monotonic()

        async def empty() -> bool:
            return not any(queued for queued, _, _ in (await self._outward(bed)).values())

        await wait_until(
            empty, what=f"the queues of node {self.target} to empty", timeout_s=BURST_TIMEOUT_S, poll_s=0.005
        )
        self._burst_s = round(time.monotonic() - self._thawed_at_s, 3)
        after = await self._outward(bed)
        self._queues = {port: growth.at(self._thawed_at_s, after[port]) for port, growth in grown.items()}

    async def _watch(self, bed: Bed) -> dict[str, _Growth]:
        ends_s = time.monotonic() + self.freeze_s
        grown = {port: _Growth(*state) for port, state in (await self._outward(bed)).items()}
        while time.monotonic() < ends_s:
            for port, state in (await self._outward(bed)).items():
                grown[port].look(*state)
            await asyncio.sleep(QUEUE_POLL_S)
        return grown

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when old frames waited at a port, where none had waited before, and left it after the thaw."""
        still_queued = {port: state[0] for port, state in (await self._outward(bed)).items()}
        waited = sum(queues.in_node + queues.in_switch for queues in self._queues.values())
        evidence: dict[str, object] = {
            "process_state_while_frozen": self._state,
            "freeze_s": self.freeze_s,
            "queued_before": self._queued_before,
            "frames_waiting": waited,
            "ports": {port: asdict(queues) for port, queues in self._queues.items()},
            "burst_s": self._burst_s,
            "queued_after": still_queued,
        }
        if self._state != "T":
            return Proof.of(False, None, evidence)
        if any(self._queued_before.values()) or not waited:  # something waited before, or nobody sent anything to it
            return Proof.of(None, None, evidence)
        left = all(queues.delivered >= queues.in_switch for queues in self._queues.values())
        return Proof.of(left, self._thawed_at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Let the node go on, whatever happened; raises when it does not talk."""
        signal_node(bed, self.target, signal.SIGCONT)
        after = await self._silence.count(bed)
        if not any(after.values()):
            raise TestbedError(f"Node {self.target} was to go on after {self.name}, but sends nothing: {after}.")

    async def _outward(self, bed: Bed) -> Mapping[str, tuple[int, int, int]]:
        """By port: frames queued in the switch, handed to the node's socket so far, and lost at a full queue so far."""
        states = await bed.switch.ports()
        ports = {port: states[port] for port in bed.topology.ports(self.target)}
        return {
            port: (state.queued, state.outward.frames, state.outward.dropped_queue) for port, state in ports.items()
        }


class _Growth:
    """How the queues of one port grew from the freeze on."""

    def __init__(self, queued: int, handed: int, lost: int) -> None:
        self._handed_first, self._lost_first = handed, lost
        self._queued, self._handed, self._lost = queued, handed, lost
        self._in_node_since_s: float | None = None
        self._in_switch_since_s: float | None = None

    def look(self, queued: int, handed: int, lost: int) -> None:
        """Take in what the switch counts now; a frame is at least as old as the look that saw it first."""
        now_s = time.monotonic()
        if handed > self._handed_first and self._in_node_since_s is None:
            self._in_node_since_s = now_s
        if queued and self._in_switch_since_s is None:
            self._in_switch_since_s = now_s
        self._queued, self._handed, self._lost = queued, handed, lost

    def at(self, thawed_at_s: float, after: tuple[int, int, int]) -> Queues:
        """The queues at the thaw, and what the switch has handed over since."""

        def age(since_s: float | None) -> float | None:
            return None if since_s is None else round(thawed_at_s - since_s, 3)

        return Queues(
            in_node=self._handed - self._handed_first,
            in_node_oldest_s=age(self._in_node_since_s),
            in_switch=self._queued,
            in_switch_oldest_s=age(self._in_switch_since_s),
            lost_full=self._lost - self._lost_first,
            delivered=after[1] - self._handed,
        )


FAULTS = (NodeSlow, NodeStaleBurst)
