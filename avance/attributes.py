"""Waiting for a change of attributes in sysfs, which tell it by POLLPRI alone (kernel, fs/kernfs/file.c)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self


class Attributes:
    """Wakes its owner when one of the watched attributes changes; a context manager, because it owns descriptors.

    An attribute always counts as readable, so the descriptors stand in an epoll set of their own that only waits for
    the urgent condition, and the event loop waits for that set.
    """

    def __init__(self) -> None:
        self._set = select.epoll()
        self._open: dict[Path, int] = {}
        self._woken = asyncio.Event()

    def __enter__(self) -> Self:
        """Begin to listen."""
        asyncio.get_running_loop().add_reader(self._set.fileno(), self._changed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        asyncio.get_running_loop().remove_reader(self._set.fileno())
        self.watch(())
        self._set.close()

    def _changed(self) -> None:
        by_descriptor = {descriptor: path for path, descriptor in self._open.items()}
        for descriptor, _ in self._set.poll(0):
            try:
                os.pread(descriptor, 64, 0)  # a change is told once for each time that it was read
            except OSError as error:
                if error.errno == errno.ENODEV:  # its device is gone, and would wake for ever; `watch` opens a new one
                    self._forget(by_descriptor[descriptor])
        self._woken.set()

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch exactly these from now on; one that does not exist is left out."""
        wanted = set(paths)
        for gone in self._open.keys() - wanted:
            self._forget(gone)
        for path in wanted - self._open.keys():
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._open[path] = descriptor
                os.pread(descriptor, 64, 0)
                self._set.register(descriptor, select.EPOLLPRI | select.EPOLLERR)

    def _forget(self, path: Path) -> None:
        descriptor = self._open.pop(path)
        with contextlib.suppress(OSError):
            self._set.unregister(descriptor)
        with contextlib.suppress(OSError):
            os.close(descriptor)

    async def wait(self, timeout_s: float) -> None:
        """Return when something has changed since the last call, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # `wait_for` of Python 3.11 can swallow a cancellation
                await self._woken.wait()
        self._woken.clear()
