"""What the host's kernel says of a node's QEMU process: is it there, does it work, how much has it computed.

It is the evidence that no node, no QEMU and no fault can invent. It must never ask QEMU itself.
"""

from __future__ import annotations

from pathlib import Path

from testbed.bed import Bed
from testbed.errors import UsageError
from testbed.node.node import Node

TICKS_PER_S = 100  # USER_HZ, which is part of the kernel's interface on x86


def running_node(bed: Bed, name: str) -> Node:
    """Return a node that is on; raises UsageError when there is none of this name, or when it is off."""
    if name not in bed.nodes:
        raise UsageError(f"there is no node {name!r}; there are: {', '.join(sorted(bed.nodes))}")
    node = bed.nodes[name]
    if not node.is_on:
        raise UsageError(f"node {name} is off; this fault needs a node that runs, so switch it on first")
    return node


def runs_qemu(pid: int) -> bool:
    """True while the process is there and is a QEMU; a killed one that was reaped is not."""
    try:
        return b"qemu" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended between open and read
        return False


def process_state(pid: int) -> str:
    """Return the kernel's letter for the state of a process: R, S, D, T, Z; "gone" when there is none."""
    fields = _stat(pid)
    return fields[0] if fields else "gone"


def cpu_ticks(pid: int) -> int:
    """Return how many clock ticks (a hundredth of a second) a process has computed so far; 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name of the program, from the state on (proc(5)); none when gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
