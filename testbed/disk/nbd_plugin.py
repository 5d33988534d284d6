"""The disk of a node as nbdkit's Python plugin: the functions that nbdkit calls, and the control socket of the disk.

It runs in the system's Python inside nbdkit, so it uses the standard library only. It must never decide anything about
the disk (see `core`), and never let a request that waits block the control socket.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.disk.core import CACHE_BYTES, BadCommand, DiskCore, DiskFailure
from testbed.socket_line import packed, parsed, received


class _Handler(socketserver.BaseRequestHandler):
    """One client of the control socket: a line of JSON in, a line of JSON out."""

    server: DiskControl

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client is gone, or writes a line without end
            for line in received(self.request):
                self.request.sendall(self._answer(line) + b"\n")

    def _answer(self, line: bytes) -> bytes:
        try:
            request = parsed(line)
            result = self.server.core.command(request["command"], request.get("arguments", {}))
            return packed({"ok": True, "result": result})
        except (BadCommand, OSError, ValueError, KeyError, TypeError) as error:
            return packed({"ok": False, "error": f"{type(error).__name__}: {error}"})


class DiskControl(socketserver.ThreadingUnixStreamServer):
    """The control socket, served by threads of its own."""

    daemon_threads = True

    def __init__(self, path: Path, core: DiskCore) -> None:
        self.core = core
        super().__init__(str(path), _Handler)

    def start(self) -> None:
        """Serve until the process ends."""
        threading.Thread(target=self.serve_forever, name="control", daemon=True).start()


# -------------------------------------------------------------------- what nbdkit calls; the names are nbdkit's

API_VERSION = 2
_settings: dict[str, str] = {}
_disks: list[DiskCore] = []
_nbdkit: Any = importlib.import_module("nbdkit") if importlib.util.find_spec("nbdkit") else None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Give nbdkit the error number of a refused request."""
    try:
        yield
    except DiskFailure as failure:
        _nbdkit.set_error(failure.number)
        raise
    except OSError as error:
        _nbdkit.set_error(error.errno or errno.EIO)
        raise


def thread_model() -> int:
    """A request that waits must not stall the others; the core locks for itself."""
    return int(_nbdkit.THREAD_MODEL_PARALLEL)


def config(key: str, value: str) -> None:
    """Take `image`, `size`, `control`, `backing` and `cache` from the command line."""
    _settings[key] = value


def after_fork() -> None:
    """Open the disk and its control socket; threads may be started only from here on."""
    backing = _settings.get("backing")
    core = DiskCore(
        Path(_settings["image"]),
        int(_settings["size"]),
        backing=None if backing is None else Path(backing),
        cache_bytes=int(_settings.get("cache", CACHE_BYTES)),
    )
    _disks.append(core)
    DiskControl(Path(_settings["control"]), core).start()


def open(_readonly: bool) -> int:  # noqa: A001, FBT001 - nbdkit's name and call
    """A client connects."""
    return _disks[0].connect()


def get_size(_handle: int) -> int:
    """The size that clients see."""
    return _disks[0].size


def can_flush(_handle: int) -> bool:
    """There is a cache to flush."""
    return True


def can_fua(_handle: int) -> int:
    """FUA is done natively: else nbdkit makes a full flush of it and hides missing ones."""
    return int(_nbdkit.FUA_NATIVE)


def can_multi_conn(_handle: int) -> bool:
    """All connections share one cache, so a flush on one is a flush for all."""
    return True


def pread(handle: int, buffer: Any, offset: int, _flags: int) -> None:  # noqa: ANN401 - a writable buffer
    """Read."""
    with _told():
        buffer[:] = _disks[0].read(handle, len(buffer), offset)


def pwrite(handle: int, buffer: Any, offset: int, flags: int) -> None:  # noqa: ANN401 - a buffer of nbdkit's
    """Write; the buffer is nbdkit's and is copied."""
    with _told():
        _disks[0].write(handle, bytes(buffer), offset, fua=bool(flags & _nbdkit.FLAG_FUA))


def flush(handle: int, _flags: int) -> None:
    """Flush."""
    with _told():
        _disks[0].flush(handle)
