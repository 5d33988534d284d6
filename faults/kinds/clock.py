"""Faults of a node's wall clock: it jumps, it runs fast or slow, both nodes' clocks lie apart.

The order is a system call in the node. It is believed when the guest agent, asked for its own time, and the host's
clock tell the same of it; how long the question took bounds the error. Only the wall clock is set; but a changed pace
also holds for the node's monotonic clock, and what that has gained can never be taken back. A heal puts the wall clock
where it would be without the fault, not where a correct clock would be: a node whose clock was wrong stays as wrong.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import ClassVar

from faults.fault import Aim, Proof
from faults.kinds.evidence.inside import boot_id, check_node, check_number, program
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError

READINGS = 4  # the one with the shortest way counts
HEALED_WITHIN_S = 0.5
JUMP_S_MAX = 20 * 365.25 * 86400
JUMP_SEEN_SHARE = 0.9
DAY_S = 86400.0
PPM_MIN, PPM_MAX = 500, 100_000  # what a tick of 9000 to 11000 us makes, in steps of 100 ppm; less is not measurable
PPM_PER_TICK_US = 100
SEEN_AT_LEAST = 0.5  # of the drift that was asked for, beyond the error of the measurement
_MOVE = """
import sys, time
clock = time.CLOCK_REALTIME
time.clock_settime(clock, time.clock_gettime(clock) + float(sys.argv[1]))
"""
# The kernel refuses a wall clock below the time since boot: a day after the epoch, or later after a longer life.
_TO_1970 = """
import time
time.clock_settime(time.CLOCK_REALTIME, max(86400.0, time.clock_gettime(time.CLOCK_BOOTTIME) + 3600.0))
"""
# struct timex up to `tick` (adjtimex(2)); ADJ_TICK is 0x4000. Prints the tick before.
_TICK = """
import ctypes, sys
class Timex(ctypes.Structure):
    _fields_ = [("modes", ctypes.c_uint)] + [(name, ctypes.c_long) for name in (
        "offset", "freq", "maxerror", "esterror")] + [("status", ctypes.c_int)] + [(name, ctypes.c_long) for name in (
        "constant", "precision", "tolerance", "sec", "usec", "tick")] + [("rest", ctypes.c_byte * 256)]
libc, now = ctypes.CDLL(None, use_errno=True), Timex()
if libc.adjtimex(ctypes.byref(now)) < 0:
    sys.exit("adjtimex cannot be read")
print(now.tick)
if sys.argv[1:]:
    new = Timex(modes=0x4000, tick=int(sys.argv[1]))
    if libc.adjtimex(ctypes.byref(new)) < 0:
        sys.exit("adjtimex refused")
"""
# The pace of the steered clock against the bare counter, by the node's own kernel.
_PACE = """
import json, time
def both():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), time.clock_gettime_ns(time.CLOCK_MONOTONIC)
first = both(); time.sleep(0.5); last = both()
print(json.dumps(((last[1] - first[1]) / (last[0] - first[0]) - 1) * 1e6))
"""


@dataclass(frozen=True)
class ClockOffset:
    """How far the node's wall clock was from the host's at one moment; the error is at most half of the way."""

    at_s: float
    offset_s: float
    error_s: float

    def shown(self) -> dict[str, float]:
        """Return it as evidence."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


async def read_clock(bed: Bed, node: str) -> ClockOffset:
    """Compare the node's wall clock, asked from the agent, with the host's."""
    found: list[ClockOffset] = []
    for _ in range(READINGS):
        began_s, host_s = time.monotonic(), datetime.now(UTC).timestamp()
        told_s = await bed.nodes[node].machine.guest.wall_clock_s()
        half_s = (time.monotonic() - began_s) / 2
        found.append(ClockOffset(began_s + half_s, told_s - host_s - half_s, half_s))
    return min(found, key=lambda reading: reading.error_s)


def drift_ppm(first: ClockOffset, last: ClockOffset) -> tuple[float, float]:
    """Return the pace between two readings in millionths, and the bound of its error."""
    span_s = last.at_s - first.at_s
    return (last.offset_s - first.offset_s) / span_s * 1e6, (last.error_s + first.error_s) / span_s * 1e6


def judge_jump(before: ClockOffset, now: ClockOffset, by_s: float) -> bool:
    """Say whether the clock is away from where it was, by about so much and in this direction."""
    moved_s = now.offset_s - before.offset_s
    wrong_s = abs(moved_s - by_s)
    return wrong_s <= (1 - JUMP_SEEN_SHARE) * abs(by_s) + before.error_s + now.error_s


def judge_drift(before_ppm: float, during_ppm: float, error_ppm: float, wanted_ppm: float) -> bool | None:
    """Say whether the pace changed as asked; None when the measurement is too coarse for it."""
    if error_ppm > SEEN_AT_LEAST * abs(wanted_ppm):
        return None
    changed = (during_ppm - before_ppm) * (1 if wanted_ppm > 0 else -1)
    return SEEN_AT_LEAST * abs(wanted_ppm) <= changed <= abs(wanted_ppm) / SEEN_AT_LEAST


@dataclass
class _Clock:
    """The clock of one node before the fault, in one run of its kernel."""

    boot: str
    before: ClockOffset


class ClockFault:
    """What the faults of wall clocks share: where the clocks were before, and a heal that is verified."""

    name: ClassVar[str]

    def __init__(self, target: str) -> None:
        self.target = target
        self.nodes: tuple[str, ...] = (target,)
        self.injected_at_s: float | None = None
        self.clocks: dict[str, _Clock] = {}

    async def prepare(self, bed: Bed) -> None:
        """Compare the clock with the host's."""
        for node in self.nodes:
            check_node(bed, node)
        for node in self.nodes:
            self.clocks[node] = _Clock(await boot_id(bed, node), await read_clock(bed, node))

    async def inject(self, bed: Bed) -> None:
        """Set it."""
        self.injected_at_s = time.monotonic()
        await self.order(bed)

    async def order(self, bed: Bed) -> None:
        """Do it; each fault has its own way."""
        raise NotImplementedError

    async def heal(self, bed: Bed) -> None:
        """Put the clock where it would be without the fault; raises TestbedError when it stays elsewhere.

        A node that was restarted meanwhile has its clock from its hardware, and is left alone.
        """
        for node, clock in self.clocks.items():
            if bed.nodes[node].is_on and await boot_id(bed, node) == clock.boot:
                await self.undo(bed, node)
                await self._put_back(bed, node, clock.before)

    async def undo(self, bed: Bed, node: str) -> None:
        """Take back what else was done to one node."""

    async def _put_back(self, bed: Bed, node: str, before: ClockOffset) -> None:
        now = await read_clock(bed, node)
        if abs(now.offset_s - before.offset_s) > now.error_s + before.error_s:
            await program(bed, node, _MOVE, repr(before.offset_s - now.offset_s))
            now = await read_clock(bed, node)
        wrong_s = abs(now.offset_s - before.offset_s)
        if wrong_s > HEALED_WITHIN_S + now.error_s + before.error_s:
            raise TestbedError(
                f"The wall clock of node {node} should be {before.offset_s:+.3f} s from the host's again after "
                f"{self.name}, but is {now.offset_s:+.3f} s from it. Set it before the node is used for a verdict."
            )


class ClockJump(ClockFault):
    """The wall clock of the node jumps, forward or back by some seconds, or to the beginning of 1970."""

    name = "clock.jump"

    def __init__(self, target: str, *, by_s: float = 3600.0, to_1970: bool = False) -> None:
        super().__init__(target)
        check_number("by_s", abs(by_s), 1.0, JUMP_S_MAX)
        self.by_s = by_s
        self.to_1970 = to_1970

    async def order(self, bed: Bed) -> None:
        """Set the clock."""
        source = _TO_1970 if self.to_1970 else _MOVE
        await program(bed, self.target, source, repr(self.by_s))

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the agent tells another time than before, by about as much as asked."""
        before, now = self.clocks[self.target].before, await read_clock(bed, self.target)
        told_s = datetime.now(UTC).timestamp() + now.offset_s
        evidence = {"before": before.shown(), "now": now.shown(), "node_says": told_s}
        seen = 0 < told_s < 365 * DAY_S if self.to_1970 else judge_jump(before, now, self.by_s)
        return Proof.of(seen, self.injected_at_s, evidence)


class ClockDrift(ClockFault):
    """The clocks of the node run fast or slow by some millionths, the monotonic one as well."""

    name = "clock.drift"

    def __init__(self, target: str, *, ppm: float = 50_000.0, window_s: float = 4.0) -> None:
        super().__init__(target)
        check_number("ppm", abs(ppm), PPM_MIN, PPM_MAX)
        check_number("window_s", window_s, 1.0, 600.0)
        if round(ppm) % PPM_PER_TICK_US:
            raise UsageError(f"ppm is {ppm!r}; the clock is steered in steps of {PPM_PER_TICK_US}.")
        self.ppm = ppm
        self.window_s = window_s
        self._tick_before: int
        self._pace_before = 0.0
        self._ppm_before = 0.0

    async def prepare(self, bed: Bed) -> None:
        """Measure the pace, from outside over a window and by the node's own counters."""
        await super().prepare(bed)
        self._pace_before = float(json.loads(await program(bed, self.target, _PACE)))
        first = self.clocks[self.target].before
        await asyncio.sleep(max(self.window_s - (time.monotonic() - first.at_s), 0.0))
        self._ppm_before = drift_ppm(first, await read_clock(bed, self.target))[0]
        self._tick_before = int(await program(bed, self.target, _TICK))

    async def order(self, bed: Bed) -> None:
        """Change the length of the kernel's tick."""
        await program(bed, self.target, _TICK, str(self._tick_before + round(self.ppm / PPM_PER_TICK_US)))

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the agent's time gains or loses on the host's by about as much as asked."""
        first = await read_clock(bed, self.target)
        await asyncio.sleep(self.window_s)
        last = await read_clock(bed, self.target)
        during_ppm, error_ppm = drift_ppm(first, last)
        pace = float(json.loads(await program(bed, self.target, _PACE)))
        evidence = {
            "seen_from_outside_ppm": {"before": round(self._ppm_before), "during": round(during_ppm)},
            "error_at_most_ppm": round(error_ppm),
            "against_the_bare_counter_ppm": {"before": round(self._pace_before), "during": round(pace)},
        }
        return Proof.of(judge_drift(self._ppm_before, during_ppm, error_ppm, self.ppm), self.injected_at_s, evidence)

    async def undo(self, bed: Bed, node: str) -> None:
        """Give the tick its length back, and see that the kernel has it."""
        await program(bed, node, _TICK, str(self._tick_before))
        tick = int(await program(bed, node, _TICK))
        if tick != self._tick_before:
            raise TestbedError(f"The tick of node {node} should be {self._tick_before} us again and is {tick} us.")


class ClockApart(ClockFault):
    """The wall clocks of both nodes lie apart: one jumps forward and the other one back, by the same time."""

    name = "clock.apart"
    aim: ClassVar[Aim] = Aim.PAIR

    def __init__(self, target: str = "a+b", *, apart_s: float = 600.0) -> None:
        super().__init__(target)
        check_number("apart_s", apart_s, 2.0, JUMP_S_MAX)
        self.nodes = tuple(target.split("+"))
        if len(set(self.nodes)) != 2:
            raise UsageError(f"Two clocks are needed to lie apart, not {target!r}; possible are a+b and b+a.")
        self.apart_s = apart_s

    def _shares(self) -> dict[str, float]:
        return dict(zip(self.nodes, (self.apart_s / 2, -self.apart_s / 2), strict=True))

    async def order(self, bed: Bed) -> None:
        """The first node goes ahead by half, the second back."""
        for node, by_s in self._shares().items():
            await program(bed, node, _MOVE, repr(by_s))

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when both agents tell of it, each in its own direction."""
        now = {node: await read_clock(bed, node) for node in self.nodes}
        first, second = self.nodes
        evidence: dict[str, object] = {
            "before": {node: clock.before.shown() for node, clock in self.clocks.items()},
            "now": {node: reading.shown() for node, reading in now.items()},
            "apart_s": round(now[first].offset_s - now[second].offset_s, 3),
        }
        seen = all(judge_jump(self.clocks[node].before, now[node], by_s) for node, by_s in self._shares().items())
        return Proof.of(seen, self.injected_at_s, evidence)


FAULTS = (ClockJump, ClockDrift, ClockApart)
