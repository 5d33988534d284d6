"""Which process in a node is meant by `a/daemon`, `a/guest`, `a/replication`, and what the node's kernel says of it.

`daemon` is the product's daemon: the image's manifest names the file that holds its number. The other two are threads
of the node's kernel: `guest` those that carry the disk and the network of the VM (a paravirtual VM has no
process in dom0), `replication` those of DRBD. This module must never name a process by its command line: another one
may have the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faults.kinds.evidence.inside import check_node, shell
from testbed.bed import Bed
from testbed.errors import UsageError

DAEMON, GUEST, REPLICATION = "daemon", "guest", "replication"
PARTS = (DAEMON, GUEST, REPLICATION)
# Kernel threads by name: blkback and netback of one domain, and DRBD's threads of one resource.
THREADS = {
    GUEST: re.compile(r"\d+\.xvd[a-z]+-\d+|vif\d+\.\d+-q\d+-(guest-rx|dealloc)"),
    REPLICATION: re.compile(r"drbd_(w|r|a|s)_.+"),
}
POSSIBLE_INSTEAD = {
    GUEST: (
        "A paravirtual VM has no process in dom0, only kernel threads, which signals and limits do not reach. Possible "
        "are process.slow, and the guest.* faults, which hit the VM itself."
    ),
    REPLICATION: (
        "DRBD's threads belong to the kernel: signals and limits do not reach them. Possible are process.slow, "
        "link.match_drop (the replication's messages vanish while heartbeats pass) and the disk.* faults."
    ),
}
# Name, then the fields of proc(5) from the state on, of every process; then the daemon's pid.
_LOOK = r"""
cat /proc/[0-9]*/stat 2> /dev/null
[ -n "$1" ] && echo "daemon $(cat "$1" 2> /dev/null)"
true
"""


@dataclass(frozen=True)
class Process:
    """One process or kernel thread at one moment; pid and start together name it for ever."""

    pid: int
    name: str
    state: str
    start_ticks: int
    cpu_ticks: int

    @property
    def identity(self) -> tuple[int, int]:
        """What stays the same as long as it lives, and is never given to another one."""
        return self.pid, self.start_ticks


@dataclass(frozen=True)
class Table:
    """The processes of a node at one moment, and which of them is the daemon."""

    processes: Mapping[int, Process]
    daemon_pid: int | None

    def members(self, part: str) -> tuple[Process, ...]:
        """Return the processes of one part; none when there are none."""
        if part == DAEMON:
            found = self.processes.get(self.daemon_pid or 0)
            return (found,) if found is not None else ()
        return tuple(item for item in self.processes.values() if THREADS[part].fullmatch(item.name))

    def now(self, process: Process) -> Process | None:
        """Return the same process as it is now; None when it has ended, whoever has its number since."""
        found = self.processes.get(process.pid)
        return found if found is not None and found.identity == process.identity and found.state != "Z" else None


def parse_table(text: str) -> Table:
    """Read what the look in the node printed; a line that was cut off is left out."""
    processes: dict[int, Process] = {}
    daemon: int | None = None
    for line in text.splitlines():
        if line.startswith("daemon "):
            number = line.split()[1:]
            daemon = int(number[0]) if number and number[0].isdigit() else None
            continue
        head, _, rest = line.rpartition(")")
        pid, _, name = head.partition(" (")
        fields = rest.split()
        if not pid.isdigit() or len(fields) < 20:
            continue
        processes[int(pid)] = Process(int(pid), name, fields[0], int(fields[19]), int(fields[11]) + int(fields[12]))
    return Table(processes, daemon)


@dataclass(frozen=True)
class Target:
    """A target as it is written: the node, and what runs in it."""

    node: str
    part: str

    def __str__(self) -> str:
        return f"{self.node}/{self.part}"


def parse_target(text: str) -> Target:
    """Read `a/daemon`; raises UsageError naming the form."""
    node, slash, part = text.partition("/")
    if not slash or part not in PARTS:
        possible = ", ".join(f"{node or 'a'}/{name}" for name in PARTS)
        raise UsageError(f"A process fault needs a node and a process as target, not {text!r}; possible: {possible}.")
    return Target(node, part)


def check_target(bed: Bed, target: Target, fault: str, parts: Sequence[str]) -> None:
    """Refuse what cannot be done to this target, before anything changes."""
    if target.part not in parts:
        raise UsageError(f"{fault} is not possible for {target}. {POSSIBLE_INSTEAD[target.part]}")
    check_node(bed, target.node)
    if target.part == DAEMON and bed.image.product.daemon is None:
        raise UsageError(
            f"{fault} cannot be done to {target}: the image's manifest does not name the file with its number "
            "(product.daemon)."
        )


async def look(bed: Bed, node: str) -> Table:
    """Ask the node's kernel for its processes, by a command of its own."""
    return parse_table(await shell(bed, node, _LOOK, bed.image.product.daemon or ""))


async def find(bed: Bed, target: Target, fault: str) -> tuple[Process, ...]:
    """Return the processes of a target; raises UsageError when there are none."""
    found = (await look(bed, target.node)).members(target.part)
    if not found:
        missing = {
            DAEMON: "its daemon does not run",
            GUEST: "no VM runs there (it runs on the primary)",
            REPLICATION: "DRBD has no threads there: nothing is replicated",
        }
        raise UsageError(f"{fault} cannot be done to {target}: on node {target.node} {missing[target.part]}.")
    return found
