"""Work inside a node's Linux through the out-of-band channel, for faults that live there.

The channel works while every network is cut. What is started here to last is detached from the channel, carries a mark
and a time limit of its own, so that it ends also when nobody comes back for it. It must never leave the judgement to
the command that did the work: evidence is read by a command of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from testbed.bed import Bed
from testbed.errors import GuestCommandError, UsageError
from testbed.wait import wait_until

COMMAND_TIMEOUT_S = 30.0  # a shell under emulation needs tenths of a second, on a starved node seconds
END_TIMEOUT_S = 20.0
MARK = "TESTBED_LOAD"
# $1 is the time limit, the rest the command. It has a session of its own, so that it outlives the channel.
_START = """
limit=$1; shift
setsid timeout -s KILL "$limit" "$@" < /dev/null > /dev/null 2>&1 &
"""
# $1 is the mark: a variable that everything started by the command inherits, and nothing else has.
_MEMBERS = """
grep -lzxF -e "$1" /proc/[0-9]*/environ 2> /dev/null | while IFS=/ read -r _ _ pid _; do echo "$pid"; done
"""
_END = """
for pid in $(grep -lzxF -e "$1" /proc/[0-9]*/environ 2> /dev/null | cut -d / -f 3); do kill -KILL "$pid"; done
true
"""


def check_node(bed: Bed, node: str) -> None:
    """Refuse a node that does not exist or is off."""
    if node not in bed.nodes:
        raise UsageError(f"There is no node {node!r}; possible are {', '.join(sorted(bed.nodes))}.")
    if not bed.nodes[node].is_on:
        raise UsageError(f"Node {node} is off: nothing inside it can be broken. Switch it on first.")


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Refuse a setting outside its limits."""
    if isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"{name} is {value!r}; possible is {low:g} to {high:g}.")


async def shell(bed: Bed, node: str, script: str, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """Run a script of the node's shell that has to succeed, and return what it wrote."""
    argv = ["/bin/sh", "-c", script, "sh", *arguments]
    return await bed.nodes[node].machine.guest.must_succeed(argv, timeout_s=timeout_s)


async def program(bed: Bed, node: str, source: str, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """Run a program of the node's Python that has to succeed, and return what it wrote."""
    argv = ["/usr/bin/python3", "-I", "-c", source, *arguments]
    return await bed.nodes[node].machine.guest.must_succeed(argv, timeout_s=timeout_s)


async def read_text(bed: Bed, node: str, path: str) -> str:
    """Read a file of the node by the channel itself, with no command in between."""
    return (await bed.nodes[node].machine.guest.read_file(path)).decode(errors="replace")


async def boot_id(bed: Bed, node: str) -> str:
    """Return the name of this run of the node's kernel; another one means that what was done in it is gone."""
    return (await read_text(bed, node, "/proc/sys/kernel/random/boot_id")).strip()


async def start_lasting(bed: Bed, node: str, name: str, argv: Sequence[str], *, limit_s: float) -> None:
    """Start a command that goes on until `end_lasting`, or until its limit."""
    words = ["env", f"{MARK}={name}", "/bin/sh", "-c", _START, "sh", f"{limit_s:g}", *argv]
    await bed.nodes[node].machine.guest.must_succeed(words, timeout_s=COMMAND_TIMEOUT_S)


async def lasting(bed: Bed, node: str, name: str) -> int:
    """Count the processes of a lasting command that live, as the node's process table says."""
    return len((await shell(bed, node, _MEMBERS, f"{MARK}={name}")).split())


async def end_lasting(bed: Bed, node: str, name: str) -> None:
    """End a lasting command with all its processes; raises WaitTimeout when one stays."""

    async def gone() -> bool:
        await shell(bed, node, _END, f"{MARK}={name}")
        return await lasting(bed, node, name) == 0

    await wait_until(
        gone, what=f"the end of what loads node {node} ({name})", timeout_s=END_TIMEOUT_S, tolerate=(GuestCommandError,)
    )


def figures(text: str) -> Mapping[str, int]:
    """Read lines such as `MemFree:  12 kB` into numbers by name; lines of another form are left out."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdigit():
            found[words[0]] = int(words[1])
    return found
