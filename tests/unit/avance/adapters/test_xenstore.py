"""xenstored on a real socket: it is asked with a deadline, and one that hangs or dies never stops the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from avance.adapters.xenstore import Xenstore
from tests.unit.avance.adapters.tools import until
from tests.unit.avance.adapters.xen_host import FakeStore

DOM0 = "/local/domain/0/name"


def told(story: Callable[[FakeStore, Xenstore, list[str]], Awaitable[None]], directory: Path) -> None:
    """Run a story with a store, an adapter whose deadline is 0.2 s, and the list of its calls."""

    async def play() -> None:
        changes: list[str] = []
        async with asyncio.timeout(10.0), FakeStore(directory / "s").serving() as store:
            adapter = Xenstore(lambda: changes.append("changed"), str(store.path), answer_s=0.2)
            try:
                await story(store, adapter, changes)
            finally:
                adapter.close()

    asyncio.run(play())


def test_value_and_missing_node(tmp_path: Path) -> None:
    """A node that is there has its value, blanks included, and one that is not has none."""

    async def story(store: FakeStore, adapter: Xenstore, _: list[str]) -> None:
        store.nodes["/local/domain/4/name"] = "t w o"
        assert await adapter.read("/local/domain/4/name") == "t w o"
        assert await adapter.read("/local/domain/5/name") is None
        assert store.connections == 1

    told(story, tmp_path)


def test_changes_are_told(tmp_path: Path) -> None:
    """Both special watches are set, and each of their events is passed on."""

    async def story(store: FakeStore, adapter: Xenstore, changes: list[str]) -> None:
        await adapter.read(DOM0)
        await until(lambda: len(changes) == 2)
        assert store.watched == ["@introduceDomain", "@releaseDomain"]
        store.fire("@releaseDomain")
        await until(lambda: len(changes) == 3)

    told(story, tmp_path)


def test_silence_ends_at_the_deadline(tmp_path: Path) -> None:
    """A store that answers nothing is a TimeoutError, soon, also for ten at once; the loop goes on meanwhile."""

    async def story(store: FakeStore, adapter: Xenstore, _: list[str]) -> None:
        await adapter.read(DOM0)
        store.silent = True
        began, turns = time.monotonic(), 0
        asking = asyncio.gather(*(adapter.read(DOM0) for _ in range(10)), return_exceptions=True)
        while not asking.done():
            turns += 1
            await asyncio.sleep(0.01)
        assert all(isinstance(one, TimeoutError) for one in asking.result())
        assert time.monotonic() - began < 2.0
        assert turns > 5
        store.silent = False
        assert await adapter.read(DOM0) == "Domain-0"

    told(story, tmp_path)


def test_late_answer_is_not_taken_for_another_one(tmp_path: Path) -> None:
    """What was asked before the silence is answered after it, to nobody."""

    async def story(store: FakeStore, adapter: Xenstore, _: list[str]) -> None:
        await adapter.read(DOM0)
        store.silent = True
        with pytest.raises(TimeoutError):
            await adapter.read(DOM0)
        late = store.asked.index(DOM0, 1) + 3  # its number: the two watches and the first question came before
        store.silent = False
        store.nodes["/x"] = "value"
        for writer in store.writers:
            store.answer(writer, 2, late, DOM0)
        assert await adapter.read("/x") == "value"

    told(story, tmp_path)


def test_dead_store_is_an_error_and_a_new_one_is_met(tmp_path: Path) -> None:
    """A closed connection fails who waits, and the next question makes a new one, with its watches."""

    async def story(store: FakeStore, adapter: Xenstore, _: list[str]) -> None:
        await adapter.read(DOM0)
        store.silent = True
        asking = asyncio.gather(adapter.read(DOM0), return_exceptions=True)
        await until(lambda: len(store.asked) == 2)
        store.hang_up()
        assert "closed the connection" in str((await asking)[0])
        store.silent = False
        assert await adapter.read(DOM0) == "Domain-0"
        assert (store.connections, len(store.watched)) == (2, 4)

    told(story, tmp_path)


def test_no_store_is_an_error(tmp_path: Path) -> None:
    """Nobody on the socket is an OSError."""

    async def ask() -> None:
        with pytest.raises(OSError, match="No such file"):
            await Xenstore(lambda: None, str(tmp_path / "none")).read(DOM0)

    asyncio.run(ask())
