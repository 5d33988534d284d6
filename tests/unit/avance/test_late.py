"""Work that may hang: it is waited for until a deadline, and no longer."""

from __future__ import annotations

import asyncio
import threading

import pytest

from avance.late import in_time


def test_work_that_ends_gives_its_value() -> None:
    """The ordinary case, in another thread."""
    assert asyncio.run(in_time(threading.get_ident, 5.0)) != threading.get_ident()


def test_an_error_of_the_work_is_raised_where_it_is_waited_for() -> None:
    """A disk that says no is no hang."""

    def refuse() -> None:
        raise OSError(5, "refused")

    with pytest.raises(OSError, match="refused"):
        asyncio.run(in_time(refuse, 5.0))


def test_work_that_hangs_is_left_behind() -> None:
    """The deadline holds, and what comes later disturbs nobody."""
    go_on = threading.Event()

    async def story() -> None:
        with pytest.raises(TimeoutError):
            await in_time(go_on.wait, 0.02)
        go_on.set()
        assert await in_time(lambda: 7, 5.0) == 7

    asyncio.run(story())


def test_the_end_of_the_program_does_not_wait_for_it() -> None:
    """The loop may be gone when a hanging disk answers at last."""
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait()
        ended.set()

    async def story() -> None:
        with pytest.raises(TimeoutError):
            await in_time(work, 0.02)

    asyncio.run(story())
    go_on.set()
    assert ended.wait(5.0)
