"""The work by which a host's speed is measured: a Python loop of additions; a program of its own that starts at once.

`speed_work.py rounds COUNT WORKERS` does rounds of a million additions in several processes at once and prints what
each took. `speed_work.py trace EVERY_S` does a few milliseconds of it again and again until it is killed, and prints
for each time: the monotonic clock, how long it took, and how much of that it waited for a processor (in seconds).
"""

from __future__ import annotations

import os
import select
import sys
import time

ROUND_ADDITIONS = 1_000_000
TRACE_ADDITIONS = 100_000  # 5 ms at speed 1: each 5 s it is 0.1 % of a core
WARM_ADDITIONS = 10_000  # not counted: a processor that slept begins slowly


def add(count: int) -> int:
    """Add up so many numbers, one by one."""
    total = 0
    for number in range(count):
        total += number
    return total


def waited_s() -> float:
    """How long this process has waited for a processor so far; 0 when the kernel does not tell."""
    try:
        with open("/proc/self/schedstat", encoding="ascii") as stream:  # noqa: PTH123 - pathlib takes longer to import
            return int(stream.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def rounds(count: int) -> list[float]:
    """Return what each round took, in seconds of wall time."""
    found = []
    for _ in range(count):
        began_s = time.monotonic()
        add(ROUND_ADDITIONS)
        found.append(time.monotonic() - began_s)
    return found


def rounds_at_once(count: int, workers: int) -> list[float]:
    """Return the rounds of so many processes that work at the same time."""
    reader, writer = os.pipe()
    for _ in range(workers):
        if os.fork() == 0:
            os.write(writer, " ".join(map(str, rounds(count))).encode() + b" ")  # below PIPE_BUF: in one piece
            os._exit(0)
    os.close(writer)
    for _ in range(workers):
        os.wait()
    with os.fdopen(reader, "rb") as stream:
        return [float(word) for word in stream.read().split()]


def trace(every_s: float) -> None:
    """Print what a little work took, again and again."""
    while True:
        add(WARM_ADDITIONS)
        began_s, before_s = time.monotonic(), waited_s()
        add(TRACE_ADDITIONS)
        waited = waited_s() - before_s  # looked at within the time, or the wait could be longer than it
        ended_s = time.monotonic()
        print(f"{ended_s:.6f} {ended_s - began_s:.6f} {waited:.6f}", flush=True)
        select.select((), (), (), every_s)  # a sleep; this program has no loop and nobody to wait for


def main(argv: list[str]) -> None:
    """Do what the arguments say (see the top of this file)."""
    if argv[0] == "rounds":
        print(*rounds_at_once(int(argv[1]), int(argv[2])))
    else:
        trace(float(argv[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
