"""Where a bed keeps things on this host: its lock, its sockets, its cache; and which bed runs now.

It must never remove a directory whose owner lives, or end a process of somebody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from testbed.errors import HostError

SOCKET_DIR_PREFIX = "tb-"
COMMAND_SHOWN_CHARS = 200


def cache_directory() -> Path:
    """Return the cache of images and verdicts: $AVANCE_CACHE, or `avance` in the user's cache."""
    if given := os.environ.get("AVANCE_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avance"


def lock_path() -> Path:
    """Where the host-wide lock of this user lies."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"avance-testbed-{os.getuid()}.lock"  # noqa: S108 - flock, O_NOFOLLOW


@contextlib.contextmanager
def host_lock(name: str, path: Path | None = None) -> Iterator[None]:
    """Hold the host for one bed; raises HostError that names the holder. The kernel drops the lock of a dead holder."""
    path = path or lock_path()
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostError(f"The lock file {path} cannot be opened: {error}. Remove it if it is not yours.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(handle)
            raise HostError(
                f"Another test bed runs on this host: {holder}. Two at once would spoil both measurements. "
                "`testbed status` shows how it is, if it is one of `testbed up`. Wait until it is done, or end it."
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {datetime.now(UTC).isoformat(timespec='seconds')} {name}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def this_command() -> str:
    """Return what this process was started to do, as a person would type it; for the lock, so that others read it."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.stem == "__main__" else program.name
    return shlex.join([name, *sys.argv[1:]])[:COMMAND_SHOWN_CHARS]


def _holder(handle: int) -> str:
    """Say who holds the lock: `testbed up --cold, pid 4711, since 14:07:40 (3 min)`."""
    pid, _, rest = os.pread(handle, 1000, 0).decode(errors="replace").strip().partition(" ")
    since, _, name = rest.partition(" ")
    try:
        began = datetime.fromisoformat(since).astimezone()
    except ValueError:
        return f"pid {pid or 'unknown: it has just started'}"
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    return f"{name}, pid {pid}, since {began:%H:%M:%S} ({minutes:.0f} min)"


def running_bed(path: Path | None = None) -> str | None:
    """Return who holds the host's lock, or None."""
    path = path or lock_path()
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(handle)
    finally:
        os.close(handle)
    return None


def bed_sockets(base: Path | None = None, path: Path | None = None) -> Path | None:
    """Return the socket directory of this user's running bed, or None."""
    if running_bed(path) is None:
        return None
    stale = stale_socket_dirs(base)
    mine = (base or Path(tempfile.gettempdir())).glob(f"{SOCKET_DIR_PREFIX}*")
    holder = (path or lock_path()).read_text(encoding="ascii", errors="replace").split()[:1]
    for directory in sorted(mine):
        try:
            owner = (directory / "owner").read_text(encoding="ascii").split()[:1]
        except OSError:
            continue
        if owner == holder and directory not in stale and directory.stat().st_uid == os.getuid():
            return directory
    return None


def _started_at(pid: int) -> str | None:
    """Return the kernel's start time of a process (field 22 of its stat), which tells a reused pid from the old one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


@contextlib.contextmanager
def socket_dir(base: Path | None = None) -> Iterator[Path]:
    """Make a short private directory for the sockets of one run, marked with its owner, and remove it afterwards."""
    path = Path(tempfile.mkdtemp(prefix=SOCKET_DIR_PREFIX, dir=base))
    try:
        (path / "owner").write_text(f"{os.getpid()} {_started_at(os.getpid())}\n", encoding="ascii")
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def stale_socket_dirs(base: Path | None = None) -> list[Path]:
    """Return this user's socket directories whose owner is gone; one without an owner mark is left alone."""
    stale: list[Path] = []
    for path in sorted((base or Path(tempfile.gettempdir())).glob(f"{SOCKET_DIR_PREFIX}*")):
        try:
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            pid, started_at = (path / "owner").read_text(encoding="ascii").split()
            alive = _started_at(int(pid)) == started_at
        except (OSError, ValueError):
            continue
        if not alive:
            stale.append(path)
    return stale


def sweep_socket_dirs(base: Path | None = None) -> list[Path]:
    """Remove the socket directories that dead runs left, and return them."""
    stale = stale_socket_dirs(base)
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return stale
