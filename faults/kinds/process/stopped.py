"""Faults of one process in a node: killed, stopped for ever or for a while.

Signals end or stop the daemon only; the threads of the node's kernel that carry the VM or the replication ignore them,
and a fault that cannot be done is refused. This module must never signal a process that took over a number.
"""

from __future__ import annotations

import time

from faults.kinds.evidence.inside import check_number, shell
from faults.kinds.process.base import ProcessEnds, ProcessFault, named
from faults.kinds.process.heartbeats import Beats
from faults.kinds.process.target import look
from testbed import pace
from testbed.bed import Bed
from testbed.wait import wait_until

# $1 pid, $2 start time, $3 seconds: stopped, and continued by a sleeper that outlives the order.
_SEND_AND_GO_ON = """
pid=$1 wanted=$2 pause=$3
line=$(cat "/proc/$pid/stat" 2> /dev/null) || { echo gone; exit 0; }
set -- ${line##*) }
[ "${20}" = "$wanted" ] || { echo gone; exit 0; }
kill -STOP "$pid" || exit 1
( exec < /dev/null > /dev/null 2>&1; setsid sh -c 'sleep "$1"; kill -CONT "$2"' sh "$pause" "$pid" & )
echo sent
"""


class ProcessKill(ProcessEnds):
    """The process is killed; its supervisor may start it again."""

    name = "process.kill"

    async def order(self, bed: Bed) -> None:
        """SIGKILL."""
        await self.send(bed, "KILL")


class ProcessStop(ProcessFault):
    """The process is stopped and stays so; it is there, holds what it holds, and does nothing."""

    name = "process.stop"

    async def order(self, bed: Bed) -> None:
        """SIGSTOP."""
        await self.send(bed, "STOP")

    async def see(self, bed: Bed, evidence: dict[str, object]) -> bool | None:
        """The process table says stopped, and no heartbeat comes in a whole window."""
        first = await look(bed, self.place.node)
        beats = await self.beats.window(bed, self.window_s)
        last = await look(bed, self.place.node)
        pairs = [(first.now(victim), last.now(victim)) for victim in self.victims]
        states = [(one.state, two.state) for one, two in pairs if one is not None and two is not None]
        computed = sum(two.cpu_ticks - one.cpu_ticks for one, two in pairs if one is not None and two is not None)
        evidence |= {"during": beats.shown(), "states": states, "cpu_ticks_in_window": computed}
        is_stopped = len(states) == len(self.victims) and all(state == ("T", "T") for state in states)
        return is_stopped and beats.silent and computed == 0

    async def undo(self, bed: Bed) -> None:
        """SIGCONT; a process that has ended meanwhile needs none."""
        await self.send(bed, "CONT")


class ProcessStopFor(ProcessStop):
    """The process is stopped and goes on by itself after a while."""

    name = "process.stop_for"

    def __init__(self, target: str, *, seconds: float = 4.0) -> None:
        super().__init__(target)
        check_number("seconds", seconds, 0.5, 3600)
        self.seconds = seconds

    async def order(self, bed: Bed) -> None:
        """SIGSTOP, and a sleeper in the node that sends SIGCONT."""
        for victim in self.victims:
            await shell(bed, self.place.node, _SEND_AND_GO_ON, *named(victim), f"{self.seconds:g}")

    async def see(self, bed: Bed, evidence: dict[str, object]) -> bool | None:
        """Heartbeats pause for that long and come again, while the process was seen stopped and never ended."""
        states = [item.state for item in (await look(bed, self.place.node)).members(self.place.part)]
        elapsed_s = time.monotonic() - (self.injected_at_s or time.monotonic())
        # A heartbeat and the way of the order come on top.
        over_s = self.seconds - elapsed_s + pace.scaled(self.window_s + 1.0)
        beats = await self._watch(bed, max(over_s, 0.1))
        table = await look(bed, self.place.node)
        evidence |= {"states_during": states, "during": beats.shown(), "ended": self.ended(table)}
        paused = beats.longest_gap_s >= 0.9 * self.seconds and self.is_late(beats)
        evidence["went_on"] = went_on = await self._goes_on(bed)
        return paused and went_on and not self.ended(table)

    async def _watch(self, bed: Bed, more_s: float) -> Beats:
        end_s = time.monotonic() + more_s

        async def over() -> bool:
            return time.monotonic() >= end_s

        await wait_until(over, what="the end of the pause", timeout_s=more_s + 5)
        return await self.beats.so_far(bed)

    async def _goes_on(self, bed: Bed) -> bool:
        return not (await self.beats.window(bed, self.window_s)).silent


FAULTS = (ProcessKill, ProcessStop, ProcessStopFor)
