"""The hardware watchdog of this machine, and its immediate reset.

The first feed opens the device and so arms it; from then on the machine is reset when nobody feeds it. It is never
closed in order, so it outlives this process, which is meant: whoever hangs or dies without the right to go on is reset.

The kernel feeds the device once more when its last user closes it without the magic letter ("watchdog did not stop!",
drivers/watchdog/watchdog_dev.c, watchdog_release). A hung daemon that is killed late would so give its machine another
ten seconds, which the peer does not count on. Therefore a sleeping process keeps the device open beside the daemon,
and the next daemon takes it over from there, at its own first feed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import struct
import threading
from pathlib import Path
from typing import Protocol

from avance.adapters.process import keep_open
from avance.clock import wall_text
from avance.errors import AvanceError
from avance.files import read_small, read_text, write_durably, write_text

DEVICE = Path("/dev/watchdog")
KEEPER = Path("/run/avance/watchdog-keeper")  # number of the process that keeps the device open; in memory
SYSRQ = Path("/proc/sysrq-trigger")
KERNEL_LOG = Path("/dev/kmsg")
REASON = Path("/var/lib/avance/reset")  # what the next start tells; on the system disk
MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")  # proc(5): a new one at each start of the kernel

# linux/watchdog.h; the codes of ioctl(2) for an int: direction, size 4, 'W', number
_SETTIMEOUT, _GETTIMEOUT, _KEEPALIVE = 0xC0045706, 0x80045707, 0x80045705
_PIDFD_GETFD = 438  # asm/unistd.h; the same on all architectures
_KEPT_AS = 3  # the descriptor in the keeper
_NUMBER_MAX = 20  # digits of the number of a process, and more
_NOW_S = 1  # the shortest time of the Linux watchdog API
_LEAVE_S = 0.5  # for the reason to reach the disk; one that hangs must not put the reset off


class WatchdogFailed(AvanceError):
    """The watchdog cannot be used as it must be; the text says why."""


class Timer(Protocol):
    """What an open watchdog device can do."""

    def set_timeout(self, seconds: int) -> int:
        """Ask for a time and return the one that counts now."""
        ...

    def feed(self) -> None:
        """Start the time anew."""
        ...


class LinuxTimer:
    """An open watchdog device (Documentation/watchdog/watchdog-api.rst of the kernel)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def set_timeout(self, seconds: int) -> int:
        """Ask for a time and return the one that counts now; a device that cannot be set keeps its own."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, _SETTIMEOUT, struct.pack("i", seconds))
        answer: int = struct.unpack("i", fcntl.ioctl(self._descriptor, _GETTIMEOUT, struct.pack("i", 0)))[0]
        return answer

    def feed(self) -> None:
        """Start the time anew."""
        fcntl.ioctl(self._descriptor, _KEEPALIVE, struct.pack("i", 0))


class NodeWatchdog:
    """The port `Watchdog`."""

    def __init__(self, watchdog_s: float, device: Path = DEVICE, keeper: Path = KEEPER) -> None:
        self._limit_s = int(watchdog_s)  # whole seconds, never more than the timers promise
        self._device = device
        self._keeper = keeper
        self._timer: Timer | None = None
        self._starving = False
        self._too_slow: str | None = None
        self._to_keep: int | None = None  # the descriptor that no keeper holds yet
        self.problem: str | None = None

    @property
    def armed(self) -> bool:
        """The device is open in this process, with a time that is short enough."""
        return self._timer is not None and self.problem is None

    def feed(self) -> None:
        """Start its time anew; the first feed opens the device. What went wrong stands in `problem`."""
        if self._starving:
            return
        try:
            if self._timer is None:
                self._arm()
            else:
                self._timer.feed()
            self.problem = self._too_slow
            if self._to_keep is not None:
                self._keep(self._to_keep)
        except (OSError, AvanceError) as error:
            self.problem = f"{self._device}: {error}"

    def reset(self, reason: str) -> None:
        """Reset this machine at once; when the kernel does not do it, the watchdog runs out as soon as it can.

        Before, the reason is left on the disk, within half a second at most: the watchdog has nearly run out by then.
        The letter b resets without a look at disks or processes, and for root it works whatever `kernel.sysrq` says
        (Documentation/admin-guide/sysrq.rst). In dom0 it ends in a call to Xen, which resets the machine.
        """
        self._starving = True
        if self._timer is not None:
            with contextlib.suppress(OSError):
                self._timer.set_timeout(_NOW_S)
        leave(REASON, reason)
        _say(KERNEL_LOG, f"<0>avance: this node resets itself: {reason}\n")  # level 0: a quiet console shows it too
        _say(SYSRQ, "b")

    def _arm(self) -> None:
        descriptor = take_over(self._keeper, self._device)
        inherited = descriptor is not None
        if descriptor is None:
            descriptor = os.open(self._device, os.O_WRONLY | os.O_CLOEXEC)  # it runs from here on
        self._timer = LinuxTimer(descriptor)
        actual_s = self._timer.set_timeout(self._limit_s)
        self._timer.feed()
        if actual_s > self._limit_s:
            # It runs and cannot be stopped, so it is fed all the same: a reset every minute would help nobody.
            self._too_slow = f"{self._device}: its time is {actual_s} s, but must be at most {self._limit_s} s"
        self._to_keep = None if inherited else descriptor

    def _keep(self, descriptor: int) -> None:
        """Let a process hold the device beside this one, and note which; raises OSError when it cannot be noted."""
        write_text(self._keeper, " " * _NUMBER_MAX)  # before there is a process: a full /run has no room for its number
        pid = keep_open(descriptor, _KEPT_AS)
        with self._keeper.open("r+") as file:
            file.write(str(pid))
        self._to_keep = None


def leave(path: Path, reason: str) -> None:
    """Make durable why this machine is reset; gives up after half a second, and never raises."""

    def write() -> None:
        with contextlib.suppress(OSError):
            left = {"reason": reason, "wall": wall_text(), "boot": read_text(MACHINE_BOOT)}
            write_durably(path, json.dumps(left).encode())

    writing = threading.Thread(target=write, daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread can be started any more
        writing.start()
        writing.join(_LEAVE_S)


def left_before(path: Path) -> tuple[str, str] | None:
    """Return why, and when by the wall clock, an earlier boot of this machine was reset; None when nothing is left."""
    try:
        left = json.loads(read_small(path))
        reason, wall, boot = str(left["reason"]), str(left["wall"]), str(left["boot"])
        return None if boot == read_text(MACHINE_BOOT) else (reason, wall)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def take_over(keeper: Path, device: Path) -> int | None:
    """Return a descriptor of the device that an earlier daemon's keeper holds, or None: nobody does (pidfd_getfd(2)).

    Opening it a second time is refused by the kernel (EBUSY), and would feed it.
    """
    try:
        pid = int(read_text(keeper))
        if Path(f"/proc/{pid}/fd/{_KEPT_AS}").readlink() != device:
            return None
        handle = os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor: int = libc.syscall(_PIDFD_GETFD, handle, _KEPT_AS, 0)
    finally:
        os.close(handle)
    if descriptor < 0:
        raise WatchdogFailed(f"process {pid} holds it and does not share it: {os.strerror(ctypes.get_errno())}")
    return descriptor


def _say(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode(errors="replace"))
        finally:
            os.close(descriptor)
