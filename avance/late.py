"""Work that may hang in the kernel: done in a thread of its own with a deadline, and never waited for at the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def in_time(work: Callable[[], T], timeout_s: float) -> T:
    """Return what the work returns.

    Raises:
        OSError: the work raised it, and nothing else may be raised by it; or there is no thread for it.
        TimeoutError: it has not ended yet; its thread goes on by itself, and does not hold the process up.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def give(tell: Callable[[], None]) -> None:
        if not answer.done():
            tell()

    def body() -> None:
        try:
            tell = partial(answer.set_result, work())
        except OSError as error:
            tell = partial(answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(give, tell)

    try:
        threading.Thread(target=body, daemon=True).start()
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, str(error)) from error
    async with asyncio.timeout(timeout_s):
        return await answer
