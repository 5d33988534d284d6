"""Faults of one process that lacks something: processor time, memory, file descriptors, room in its file system.

Processor time is taken by a control group of the node's kernel, which holds for kernel threads as well; memory by the
kernel's own OOM killer. Each is believed only when something besides the order shows it: heartbeats at the switch, the
scheduler's accounts, the console, the product's own answer, a write that somebody else tries.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from faults.kinds.evidence.inside import check_number, read_text, shell
from faults.kinds.process.base import ProcessEnds, ProcessFault, named
from faults.kinds.process.target import DAEMON, GUEST, REPLICATION, Process, look
from testbed.bed import Bed
from testbed.errors import GuestCommandError, TestbedError, WaitTimeout
from testbed.wait import wait_for_record

SLOW_WINDOW_S = 6.0
PERIOD_US = 1_000_000  # the longest that the kernel takes: a slow process then works in few, short pieces
QUOTA_US_MIN = 1000  # the kernel's limit
WAIT_FACTOR = 3.0
WAIT_S_MIN = 0.02  # of waiting for one turn; a healthy thread waits less than a scheduler's slice
TURNS_MIN = 2
CONSOLE_TIMEOUT_S = 8.0  # the killer works at once; a serial console is slow
STATUS_TIMEOUT_S = 8  # an answer of a healthy daemon takes 1 s under emulation
TRIAL_BYTES = 256 * 1024
FILL_TIMEOUT_S = 120.0

# $1 quota, $2 period, then pids. The control group's file system is mounted where nobody else looks for one.
_SLOW = """
set -e
root=/run/testbed-groups; quota=$1 period=$2; shift 2
mkdir -p $root
grep -q " $root cgroup2 " /proc/mounts || mount -t cgroup2 none $root
echo +cpu > $root/cgroup.subtree_control
mkdir -p $root/slow
echo "$quota $period" > $root/slow/cpu.max
for pid in "$@"; do echo "$pid" > $root/slow/cgroup.procs; done
"""
# Processes that began in the group while it was emptied are found by the next round.
_NOT_SLOW = """
root=/run/testbed-groups
[ -d $root/slow ] || { umount $root 2> /dev/null; exit 0; }
echo max > $root/slow/cpu.max
for round in 1 2 3 4 5; do
    for pid in $(cat $root/slow/cgroup.procs); do echo "$pid" > $root/cgroup.procs; done 2> /dev/null
    rmdir $root/slow 2> /dev/null && break
    sleep 0.1
done
[ ! -d $root/slow ] || { echo "not empty: $(cat $root/slow/cgroup.procs)" >&2; exit 1; }
umount $root
"""
_GROUP = "cat /run/testbed-groups/slow/cpu.stat 2> /dev/null; true"
# $1 pid, $2 start time. The victim is the first choice of the killer; `f` calls the killer once.
_OUT_OF_MEMORY = """
line=$(cat "/proc/$1/stat" 2> /dev/null) || { echo gone; exit 0; }
pid=$1 wanted=$2
set -- ${line##*) }
[ "${20}" = "$wanted" ] || { echo gone; exit 0; }
echo 1000 > "/proc/$pid/oom_score_adj"
echo f > /proc/sysrq-trigger
"""
_LIMIT_FILES = """
cd "/proc/$1/fd" || { echo gone; exit 0; }
n=0; while [ -e "$n" ] || [ -L "$n" ]; do n=$((n + 1)); done
prlimit --pid "$1" --nofile="$n:"
"""
_RESTORE_FILES = '[ -d "/proc/$1" ] || exit 0; prlimit --pid "$1" --nofile="$2:"'
_FILL = """
dir=$1; file=$1/.testbed-fill
free=$(($(stat -f -c %f "$dir") * $(stat -f -c %S "$dir")))
[ "$free" -gt 8388608 ] && fallocate -l $((free - 8388608)) "$file" 2> /dev/null
dd if=/dev/zero of="$file.rest" bs=64k 2> /dev/null
dd if=/dev/zero of="$file.last" bs=1k 2> /dev/null
true
"""
_EMPTY = 'rm -f "$1/.testbed-fill" "$1/.testbed-fill.rest" "$1/.testbed-fill.last" "$1/.testbed-trial"; sync -f "$1"'
_FREE = 'echo $(($(stat -f -c %a "$1") * $(stat -f -c %S "$1")))'


# By pid: nanoseconds waited for a turn, and turns had, since the thread's start (the kernel's schedstat).
Turns = dict[int, tuple[int, int]]


class ProcessSlow(ProcessFault):
    """The process gets only a small share of processor time, in pieces with long pauses between."""

    name = "process.slow"
    parts = (DAEMON, GUEST, REPLICATION)
    window_s = SLOW_WINDOW_S

    def __init__(self, target: str, *, share: float = 0.01) -> None:
        super().__init__(target)
        check_number("share", share, QUOTA_US_MIN / PERIOD_US, 0.5)
        self.share = share
        self._waited_before_s: float | None = None

    async def note_healthy(self, bed: Bed) -> None:
        """Count heartbeats, and how long the threads wait for their turns meanwhile."""
        first = await turns(bed, self.place.node, self.victims)
        await super().note_healthy(bed)
        self._waited_before_s = wait_for_a_turn_s(first, await turns(bed, self.place.node, self.victims))

    async def order(self, bed: Bed) -> None:
        """Put it into a control group with a quota."""
        quota = str(round(self.share * PERIOD_US))
        pids = [str(victim.pid) for victim in self.victims]
        await shell(bed, self.place.node, _SLOW, quota, str(PERIOD_US), *pids)

    async def see(self, bed: Bed, evidence: dict[str, object]) -> bool | None:
        """The daemon's heartbeats come late; kernel threads wait long for their turns, by the scheduler's accounts."""
        first = await turns(bed, self.place.node, self.victims)
        beats = await self.beats.window(bed, self.window_s)
        last = await turns(bed, self.place.node, self.victims)
        waited_s = wait_for_a_turn_s(first, last)
        evidence |= {
            "during": beats.shown(),
            "wait_for_a_turn_s": {"before": self._waited_before_s, "during": waited_s},
            "turns": {victim.name: had(first, last, victim.pid) for victim in self.victims},
            "control_group": await shell(bed, self.place.node, _GROUP),
        }
        if self.place.part == DAEMON:
            return self.is_late(beats)
        return judge_waits(self._waited_before_s, waited_s)

    async def undo(self, bed: Bed) -> None:
        """Put everything back where it was and remove the group; fails when a process stays in it."""
        await shell(bed, self.place.node, _NOT_SLOW)


async def turns(bed: Bed, node: str, processes: tuple[Process, ...]) -> Turns:
    """Read the scheduler's accounts of these processes by the channel itself."""
    found: Turns = {}
    for process in processes:
        try:
            words = (await read_text(bed, node, f"/proc/{process.pid}/schedstat")).split()
        except GuestCommandError:
            continue  # it has ended, or will be found missing by whoever looks at the process table
        found[process.pid] = (int(words[1]), int(words[2]))
    return found


def had(first: Turns, last: Turns, pid: int) -> int:
    """Return how many turns a thread had between two looks."""
    return last[pid][1] - first[pid][1] if pid in first and pid in last else 0


def wait_for_a_turn_s(first: Turns, last: Turns) -> float | None:
    """Return the longest mean wait of any thread with enough turns between two looks; None when none had."""
    waits = [
        (last[pid][0] - first[pid][0]) / 1e9 / had(first, last, pid)
        for pid in first.keys() & last.keys()
        if had(first, last, pid) >= TURNS_MIN
    ]
    return max(waits, default=None)


def judge_waits(before_s: float | None, during_s: float | None) -> bool | None:
    """Say whether threads wait much longer than before; None when they had nothing to do."""
    if before_s is None or during_s is None:
        return None
    return during_s >= max(WAIT_FACTOR * before_s, WAIT_S_MIN)


class ProcessOutOfMemory(ProcessEnds):
    """The kernel takes the process for the one to give up for lack of memory, and kills it."""

    name = "process.out_of_memory"

    async def order(self, bed: Bed) -> None:
        """Make it the first choice of the OOM killer, and call the killer."""
        for victim in self.victims:
            await shell(bed, self.place.node, _OUT_OF_MEMORY, *named(victim))

    async def see(self, bed: Bed, evidence: dict[str, object]) -> bool | None:
        """The kernel says on the console whom it killed, and the process is gone."""
        source = f"console.{self.place.node}"
        pids = [str(victim.pid) for victim in self.victims]
        try:
            entry = await wait_for_record(
                bed.history,
                lambda item: item.source == source and says_killed(str(item.fields.get("text")), pids),
                what=f"the OOM killer's word on the console of node {self.place.node}",
                timeout_s=CONSOLE_TIMEOUT_S,
                after=self.mark,
            )
        except WaitTimeout:
            evidence["console"] = None
            return False
        evidence["console"] = entry.fields.get("text")
        return await super().see(bed, evidence)


def says_killed(text: str, pids: list[str]) -> bool:
    """Say whether a line of the console is the OOM killer's word about one of these processes."""
    return any(f"Killed process {pid} " in text for pid in pids)


class ProcessNoFileDescriptors(ProcessFault):
    """The process has as many files open as it may, so it opens, accepts and starts nothing more."""

    name = "process.no_file_descriptors"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._limit_before = ""
        self._answered_before = False

    async def prepare(self, bed: Bed) -> None:
        """Note the limit, and let the product answer."""
        await super().prepare(bed)
        self._limit_before = open_files_limit(await self._limits(bed))
        self._answered_before = await answers(bed, self.place.node)

    async def order(self, bed: Bed) -> None:
        """Set the limit of the living process to the lowest descriptor that is free."""
        for victim in self.victims:
            await shell(bed, self.place.node, _LIMIT_FILES, str(victim.pid))

    async def see(self, bed: Bed, evidence: dict[str, object]) -> bool | None:
        """The kernel shows the low limit and the product does not answer any more; or the process has ended."""
        answered = await answers(bed, self.place.node)
        ended = self.ended(await look(bed, self.place.node))
        limit = "" if ended else open_files_limit(await self._limits(bed))
        evidence |= {
            "limit": {"before": self._limit_before, "during": limit},
            "answered": {"before": self._answered_before, "during": answered},
            "ended": ended,
            "during": (await self.beats.so_far(bed)).shown(),
            **self.restart_shown(bed),
        }
        if not self._answered_before:
            return None
        return ended or (limit != self._limit_before and not answered)

    async def undo(self, bed: Bed) -> None:
        """Give the limit back to a process that still lives, and let the product answer."""
        table = await look(bed, self.place.node)
        for victim in self.victims:
            if table.now(victim) is not None:
                await shell(bed, self.place.node, _RESTORE_FILES, str(victim.pid), self._limit_before)

    async def wait_well(self, bed: Bed) -> None:
        """As for all, and the product must answer again."""
        await super().wait_well(bed)
        if self._answered_before and not await answers(bed, self.place.node):
            raise TestbedError(f"{self.name} was taken back from {self.target}, but the product does not answer.")

    async def _limits(self, bed: Bed) -> str:
        return await read_text(bed, self.place.node, f"/proc/{self.victims[0].pid}/limits")


def open_files_limit(limits: str) -> str:
    """Return the soft limit of open files from the text of /proc/<pid>/limits; empty when it is not there."""
    line = next((line for line in limits.splitlines() if line.startswith("Max open files")), "")
    words = line.removeprefix("Max open files").split()
    return words[0] if words else ""


async def answers(bed: Bed, node: str) -> bool:
    """Ask the product for its status; an answer that takes too long is none."""
    try:
        await bed.nodes[node].status(timeout_s=STATUS_TIMEOUT_S)
    except GuestCommandError:
        return False
    return True


class ProcessFileSystemFull(ProcessFault):
    """The file system that holds what the process writes is full to the last block."""

    name = "process.file_system_full"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._trial_before = ""
        self._free_before = 0

    def _directory(self, bed: Bed) -> str:
        return str(PurePosixPath(bed.image.product.journal).parent)

    async def prepare(self, bed: Bed) -> None:
        """Note the room, and let the agent write a file there."""
        await super().prepare(bed)
        self._free_before = int(await shell(bed, self.place.node, _FREE, self._directory(bed)))
        self._trial_before = await self._trial(bed)

    async def order(self, bed: Bed) -> None:
        """Fill it."""
        await shell(bed, self.place.node, _FILL, self._directory(bed), timeout_s=FILL_TIMEOUT_S)

    async def see(self, bed: Bed, evidence: dict[str, object]) -> bool | None:
        """The agent, which could write there before, cannot now; the kernel says that there is no room."""
        trial = await self._trial(bed)
        free = int(await shell(bed, self.place.node, _FREE, self._directory(bed)))
        evidence |= {
            "directory": self._directory(bed),
            "free_bytes": {"before": self._free_before, "during": free},
            "trial_write": {"before": self._trial_before, "during": trial},
            "during": (await self.beats.window(bed, self.window_s)).shown(),
            "ended": self.ended(await look(bed, self.place.node)),
        }
        if self._trial_before != "ok":
            return None
        return trial != "ok" and free < TRIAL_BYTES

    async def undo(self, bed: Bed) -> None:
        """Remove what fills it, and let the agent write again; raises when it cannot."""
        await shell(bed, self.place.node, _EMPTY, self._directory(bed))
        trial = await self._trial(bed)
        if trial != "ok" and self._trial_before == "ok":
            raise TestbedError(f"What filled {self._directory(bed)} of node {self.place.node} is gone, but: {trial}")

    async def _trial(self, bed: Bed) -> str:
        """Write a file of some size by the channel itself, and remove it."""
        path = f"{self._directory(bed)}/.testbed-trial"
        guest = bed.nodes[self.place.node].machine.guest
        outcome = "ok"
        try:
            await guest.write_file(path, bytes(TRIAL_BYTES))
        except GuestCommandError as error:
            outcome = str(error)
        await shell(bed, self.place.node, 'rm -f "$1"', path)
        return outcome


FAULTS = (ProcessSlow, ProcessOutOfMemory, ProcessNoFileDescriptors, ProcessFileSystemFull)
