"""One daemon at a time, and a second process that stands ready: whoever holds the lock is the daemon.

A start costs seconds in dom0, nearly all of them for imports. So the supervisor keeps two processes of the same
program. The first one gets the lock; the other one has imported everything and waits for it, without taking a turn of
the processor. The kernel gives the lock up with the process that held it, however that ended: the other one is the
daemon at once, and the supervisor starts a new one to stand ready. A daemon that is stopped, or hangs, keeps the lock:
that is for the watchdog to end. Which of the two is killed makes no difference, and both at once cost one ordinary
start.

It must never read anything of the node before it has the lock: what is true then is not yet written.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path

from avance.files import write_text

LOCK = Path("/run/avance/daemon.lock")
PID = Path("/run/avance/daemon.pid")  # which process is the daemon; in memory, as the lock
_NICE = -10  # a heartbeat comes before whatever else the node does


def await_turn(prepare: Callable[[], None], lock: Path = LOCK, pid: Path = PID) -> int:
    """Wait until no other daemon runs, however long; returns the lock's descriptor, to be kept open for life.

    `prepare` is called only where there is something to wait for.

    Raises:
        OSError: there can be no lock.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        prepare()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with contextlib.suppress(OSError):  # not permitted: slower under load, and no reason not to serve
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    try:
        write_text(pid, f"{os.getpid()}\n")
    except OSError as error:  # a full /run: who looks for the daemon does not find it, and it serves all the same
        print(f"avance: {pid} was not written ({error}): make room there", file=sys.stderr, flush=True)
    return descriptor
