"""Proves that waits end on their event and that a time-out says what was awaited and what was last seen."""

from __future__ import annotations

import asyncio

import pytest

from testbed.errors import WaitTimeout
from testbed.history import History, HistoryRecord
from testbed.wait import ForbiddenSeen, OwnedTask, wait_for_record, wait_until


def _is_up(entry: HistoryRecord) -> bool:
    return entry.kind == "up"


def _is_panic(entry: HistoryRecord) -> bool:
    return entry.kind == "panic"


def test_a_record_that_comes_later_ends_the_wait() -> None:
    """The first fitting record after the mark is returned, an older one is not."""

    async def scenario() -> HistoryRecord:
        history = History()
        history.record("a", "up", number=1)
        async with asyncio.TaskGroup() as group:
            wait = wait_for_record(history, _is_up, what="node a", timeout_s=5, after=history.mark())
            waiter = group.create_task(wait)
            await asyncio.sleep(0)
            history.record("a", "noise")
            history.record("a", "up", number=2)
        return waiter.result()

    assert asyncio.run(scenario()).fields == {"number": 2}


def test_a_time_out_names_what_was_awaited_and_the_last_thing_seen() -> None:
    """The text holds the limit, the wish and the last relevant record."""

    async def scenario() -> None:
        history = History(clock=lambda: 7.0)
        history.record("console.a", "line", text="Booting")
        history.record("switch", "counters")
        await wait_for_record(
            history, _is_up, what="node a to boot", timeout_s=0.01, relevant=lambda entry: entry.source == "console.a"
        )

    with pytest.raises(WaitTimeout) as caught:
        asyncio.run(scenario())
    assert str(caught.value) == (
        "Waited 0.01 s for node a to boot; it did not come. Last thing seen: [    7.000] console.a line text=Booting"
    )


def test_a_forbidden_record_ends_the_wait_at_once() -> None:
    """A panic is reported instead of a time-out a minute later."""

    async def scenario() -> None:
        history = History()
        history.record("console.a", "panic")
        history.record("a", "up")
        await wait_for_record(history, _is_up, what="node a", timeout_s=60, forbidden=_is_panic)

    with pytest.raises(ForbiddenSeen, match=r"While waiting for node a .* console.a panic"):
        asyncio.run(scenario())


def test_polling_returns_the_first_true_answer() -> None:
    """False answers and tolerated errors mean not yet."""

    async def scenario() -> str:
        answers: list[str | Exception] = ["", OSError("no socket"), "ready", "later"]

        async def probe() -> str:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return await wait_until(probe, what="an answer", timeout_s=5, poll_s=0, tolerate=(OSError,))

    assert asyncio.run(scenario()) == "ready"


def test_polling_says_on_time_out_what_the_last_answer_was() -> None:
    """The last tolerated error stands in the text."""

    async def refuse() -> bool:
        raise OSError("connection refused")

    with pytest.raises(
        WaitTimeout, match=r"for the agent; it did not come. Last thing seen: OSError: connection refused"
    ):
        asyncio.run(wait_until(refuse, what="the agent", timeout_s=0.02, poll_s=0.001, tolerate=(OSError,)))


def test_an_error_that_is_not_tolerated_passes_through() -> None:
    """Polling hides nothing that the caller did not name."""

    async def fail() -> bool:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match=r"a bug"):
        asyncio.run(wait_until(fail, what="anything", timeout_s=5, tolerate=(OSError,)))


def test_an_owned_task_ends_with_its_owner_and_hands_on_its_error() -> None:
    """Leaving the context cancels the task; a failure of the task is raised there and not lost."""

    async def scenario() -> list[str]:
        seen: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("cancelled")

        async def broken() -> None:
            raise ValueError("reader broke")

        async with OwnedTask(work(), name="work"):
            await asyncio.sleep(0)
        task = OwnedTask(broken(), name="broken")
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match=r"reader broke"):
            await task.cancel()
        return seen

    assert asyncio.run(scenario()) == ["cancelled"]
