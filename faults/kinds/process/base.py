"""What the faults of one process in a node share: who it is, its heartbeats at the switch, the look, the heal.

The order goes through the out-of-band channel. It is believed when the heartbeats of the node at the switch, which the
bed counts by itself, and a separate look at the node's process table agree; both were seen well before. Signals go to
one process by its number, and only while its start time proves that it is still the same one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import ClassVar

from faults.fault import Aim, Proof
from faults.kinds.evidence.comeback import boots_since
from faults.kinds.evidence.inside import shell
from faults.kinds.process.heartbeats import WINDOW_S, Beats, HeartbeatWatch
from faults.kinds.process.target import DAEMON, Process, Table, Target, check_target, find, look, parse_target
from testbed.bed import Bed
from testbed.bed.bed import BOOT_TIMEOUT_S
from testbed.errors import GuestCommandError, WaitTimeout
from testbed.history import HistoryRecord
from testbed.milestones import milestone_of
from testbed.wait import wait_until

HEAL_TIMEOUT_S = 60.0  # a daemon that starts anew needs 8 s under emulation, on a busy host more
RESTART_TIMEOUT_S = 30.0
LATE_FACTOR = 1.5  # heartbeats come at a fixed pace; a pause this much longer than any before is none of chance
# $1 pid, $2 start time, $3 signal: nothing is sent when the number belongs to another process by now.
_SEND = """
line=$(cat "/proc/$1/stat" 2> /dev/null) || { echo gone; exit 0; }
pid=$1 wanted=$2 signal=$3
set -- ${line##*) }
[ "${20}" = "$wanted" ] || { echo gone; exit 0; }
kill "-$signal" "$pid" && echo sent
"""


class ProcessFault:
    """What the faults of one process share: who it is, its heartbeats at the switch, and the look at the end."""

    name: ClassVar[str]
    aim: ClassVar[Aim] = Aim.PROCESS
    parts: ClassVar[tuple[str, ...]] = (DAEMON,)
    window_s = WINDOW_S

    def __init__(self, target: str) -> None:
        self.target = target
        self.place: Target = parse_target(target)
        self.beats = HeartbeatWatch(self.place.node)
        self.before: Beats
        self.victims: tuple[Process, ...] = ()
        self.injected_at_s: float | None = None
        self.mark = 0

    async def prepare(self, bed: Bed) -> None:
        """Find the process and count the heartbeats of its node."""
        check_target(bed, self.place, self.name, self.parts)
        self.victims = await find(bed, self.place, self.name)
        await self.beats.start(bed)
        await self.note_healthy(bed)
        self.mark = bed.history.mark()

    async def note_healthy(self, bed: Bed) -> None:
        """Count in one window before the fault."""
        self.before = await self.beats.window(bed, self.window_s)

    async def inject(self, bed: Bed) -> None:
        """Give the order."""
        await self.beats.reset(bed)
        self.injected_at_s = time.monotonic()  # before the order: the fault is there from now on at the earliest
        await self.order(bed)

    async def order(self, bed: Bed) -> None:
        """Do it; each fault has its own way."""
        raise NotImplementedError

    async def confirm(self, bed: Bed) -> Proof:
        """Let the fault be seen from outside and in the process table."""
        evidence: dict[str, object] = {"before": self.before.shown(), "process": [p.name for p in self.victims]}
        seen = await self.see(bed, evidence)
        was_well = self.before.on_all_links or self.place.part != DAEMON
        return Proof.of(seen if was_well else None, self.injected_at_s, evidence)

    async def see(self, bed: Bed, evidence: dict[str, object]) -> bool | None:
        """Look and say whether the fault is there; None when nobody can say."""
        raise NotImplementedError

    async def heal(self, bed: Bed) -> None:
        """Take it back, and verify that the process runs and sends heartbeats; raises WaitTimeout otherwise."""
        node = bed.nodes[self.place.node]
        if node.is_on:  # with the node everything inside it is gone
            if boots_since(bed, self.place.node, self.mark):  # so it is with a reset, by its watchdog or its peer
                await node.wait_booted(BOOT_TIMEOUT_S)
            else:
                await self.undo(bed)
            await self.wait_well(bed)

    async def remove_instruments(self, bed: Bed) -> None:
        """Take the taps away."""
        await self.beats.stop(bed)

    async def undo(self, bed: Bed) -> None:
        """Take back what the order did; nothing, when it is over by itself."""

    async def wait_well(self, bed: Bed) -> None:
        """Wait until the process runs and, for the daemon, heartbeats come on each link."""
        await self.beats.stop(bed)
        await self.beats.start(bed)

        async def well() -> bool:
            members = (await look(bed, self.place.node)).members(self.place.part)
            if not members or any(member.state in "TtZ" for member in members):
                return False
            return self.place.part != DAEMON or (await self.beats.so_far(bed)).on_all_links

        await wait_until(
            well,
            what=f"{self.target} to run well after {self.name}",
            timeout_s=HEAL_TIMEOUT_S,
            poll_s=0.5,
            tolerate=(GuestCommandError,),
        )

    async def send(self, bed: Bed, signal: str) -> bool:
        """Send a signal to each victim that still lives; returns whether one did."""
        words = [await shell(bed, self.place.node, _SEND, *named(victim), signal) for victim in self.victims]
        return any("sent" in word for word in words)

    def ended(self, table: Table) -> bool:
        """Say whether every victim has ended."""
        return all(table.now(victim) is None for victim in self.victims)

    def is_late(self, beats: Beats) -> bool:
        """Say whether heartbeats have paused for longer than they ever did before."""
        return beats.longest_gap_s > LATE_FACTOR * self.before.longest_gap_s

    def new_start(self, bed: Bed) -> HistoryRecord | None:
        """Return the journal's line of a daemon that has started since the injection, if there is one."""
        source = f"journal.{self.place.node}"
        started = (
            entry
            for entry in bed.history.since(self.mark)
            if entry.source == source and milestone_of(entry) == "daemon_started"
        )
        return next(started, None)

    def restart_shown(self, bed: Bed) -> Mapping[str, object]:
        """Return when the daemon started anew, as its journal told on its own port."""
        entry = self.new_start(bed)
        if entry is None or self.injected_at_s is None:
            return {"daemon_started_after_s": None}
        return {"daemon_started_after_s": round(entry.t_s - self.injected_at_s, 3)}


def named(victim: Process) -> tuple[str, str]:
    """Return pid and start time, as the scripts want them."""
    return str(victim.pid), str(victim.start_ticks)


class ProcessEnds(ProcessFault):
    """What the faults share that end the process: it is gone, its heartbeats pause, its supervisor starts it anew."""

    async def see(self, bed: Bed, evidence: dict[str, object]) -> bool | None:
        """The process is gone, and the heartbeats paused or the journal tells of a new start."""

        async def settled() -> bool:
            return self.new_start(bed) is not None or not self.ended(await look(bed, self.place.node))

        try:
            await wait_until(
                settled, what=f"a start of {self.target}", timeout_s=RESTART_TIMEOUT_S, tolerate=(GuestCommandError,)
            )
        except WaitTimeout:
            evidence["restart"] = f"none within {RESTART_TIMEOUT_S:g} s"
        beats, table = await self.beats.so_far(bed), await look(bed, self.place.node)
        evidence |= {"after": beats.shown(), "ended": self.ended(table), **self.restart_shown(bed)}
        return self.ended(table) and (self.is_late(beats) or self.new_start(bed) is not None)
