"""The daemon hands the work on domains on, and ends a move after it has begun."""

from __future__ import annotations

import asyncio

import pytest

from avance.core import commands as c
from avance.core.events import CommandDone, Event
from avance.core.model import Outcome
from avance.core.results import Done
from tests.playbook import WEB
from tests.unit.avance.adapters.tools import until
from tests.unit.avance.site import vm
from tests.unit.avance.test_daemon import Channel, directories, node, outcome

__all__ = ["directories"]


class Domains:
    """Stands for the work on domains; notes what was begun and ended."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.ended = asyncio.Event()

    async def work(self, command: c.Work) -> Done:
        """Note it, and wait for the end of the moves."""
        self.asked.append(command)
        await self.ended.wait()
        return Done(Outcome.FAILED, "broken off")

    async def end_moves(self) -> None:
        """Note it."""
        self.asked.append("end")
        self.ended.set()


@pytest.mark.parametrize(
    "command",
    [c.StartDomain(WEB), c.DestroyDomain(WEB), c.ReadDomain(WEB), c.SendDomain(WEB, "m"), c.ReceiveDomain(WEB, "m"),
     c.ResumeDomain(WEB)],
)  # fmt: skip
def test_work_on_domains_is_performed(command: c.Work) -> None:
    """Each of them is handed on as it is."""
    one, domains = node(vm()), Domains()
    one._domains = domains  # type: ignore[assignment]  # what is used of it
    domains.ended.set()
    assert asyncio.run(outcome(one, command)) is Outcome.FAILED
    assert domains.asked == [command]


def test_end_of_a_move_comes_after_its_beginning() -> None:
    """A move that the core begins and ends in one breath is ended."""

    async def story() -> Event:
        one, domains = node(vm()), Domains()
        one._domains = domains  # type: ignore[assignment]  # what is used of it
        async with asyncio.timeout(10.0), asyncio.TaskGroup() as tasks:
            one._attach(Channel(), tasks)
            one._dispatch(c.SendDomain(WEB, "m"))
            one._dispatch(c.EndMove())
            await until(lambda: len(domains.asked) == 2)
        assert domains.asked == [c.SendDomain(WEB, "m"), "end"]
        return one._loop.waiting.popleft()

    assert asyncio.run(story()) == CommandDone(c.SendDomain(WEB, "m"), Done(Outcome.FAILED, "broken off"))
