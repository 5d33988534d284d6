"""Work that may hang in the kernel: done in a thread of its own with a deadline, and never waited for at the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_time(work: Callable[[], T], timeout_s: float) -> T:
    """Return what the work returns.

    Raises:
        OSError: the work raised it; nothing else may be raised by it.
        TimeoutError: it has not ended yet; its thread goes on by itself, and does not hold the process up.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def give(value: T | None, error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)  # type: ignore[arg-type]  # without an error the value is there

    def body() -> None:
        value: T | None = None
        error: OSError | None = None
        try:
            value = work()
        except OSError as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(give, value, error)

    threading.Thread(target=body, daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await answer
