"""The commands about a domain: each reaches its port, and a move is made of steps that are undone in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from avance import domain_work as module
from avance.core import commands as c
from avance.core.model import Outcome, VmId
from avance.core.results import Done
from avance.domain_work import DomainCommand, DomainWork
from tests.playbook import WEB
from tests.unit.avance.adapters.tools import until

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN
MOVE = "boot.1"


class Node:
    """Disks and a hypervisor of which somebody says how each step ends; what was asked is noted in order.

    The ends of a step are used one after the other, the last of them again and again; without one it ends well.
    """

    def __init__(self, **ends: list[Outcome]) -> None:
        self.asked: list[str] = []
        self.ends = ends
        self.waits: str = ""  # this step waits until the moves are ended
        self.goes_on = asyncio.Event()
        self.work = DomainWork(self, self, 1.0)  # type: ignore[arg-type]  # what is used of both ports

    async def _step(self, step: str, name: str) -> Done:
        self.asked.append(step)
        if step == self.waits:
            await self.goes_on.wait()
        ends = self.ends.get(name, [OK])
        outcome = ends.pop(0) if len(ends) > 1 else ends[0]
        return Done(outcome, "" if outcome is OK else f"{name} {outcome}")

    def start(self, _vm: VmId) -> Awaitable[Done]:
        """Note it."""
        return self._step("start", "start")

    def destroy(self, _vm: VmId) -> Awaitable[Done]:
        """Note it."""
        return self._step("destroy", "destroy")

    def read(self, _vm: VmId) -> Awaitable[Done]:
        """Note it."""
        return self._step("read", "read")

    def send(self, _vm: VmId, move: str) -> Awaitable[Done]:
        """Note it."""
        return self._step(f"send {move}", "send")

    def receive(self, _vm: VmId, move: str) -> Awaitable[Done]:
        """Note it."""
        return self._step(f"receive {move}", "receive")

    def resume(self, _vm: VmId) -> Awaitable[Done]:
        """Note it."""
        return self._step("resume", "resume")

    def promote(self, _vm: VmId, *, forced: bool = False) -> Awaitable[Done]:
        """Note it."""
        assert not forced
        return self._step("promote", "promote")

    def demote(self, _vm: VmId) -> Awaitable[Done]:
        """Note it."""
        return self._step("demote", "demote")

    def two_writers(self, _vm: VmId, *, allowed: bool) -> Awaitable[Done]:
        """Note it."""
        return self._step("two" if allowed else "one", "two" if allowed else "one")

    def end_move(self) -> None:
        """Note it, and let what waits go on."""
        self.asked.append("end")
        self.goes_on.set()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step is waited for long."""
    for name, value in (("_PROMOTE_S", 0.05), ("_ONE_WRITER_S", 0.05), ("_AGAIN_S", 0.02)):
        monkeypatch.setattr(module, name, value)


def done(node: Node, command: DomainCommand) -> Outcome:
    """Return how a command ends."""

    async def story() -> Done:
        async with asyncio.timeout(10.0):
            return await node.work.work(command)

    said = asyncio.run(story())
    assert said.ok or said.detail
    return said.outcome


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (c.StartDomain(WEB), ["start"]),
        (c.DestroyDomain(WEB), ["destroy"]),
        (c.ReadDomain(WEB), ["read"]),
        (c.SendDomain(WEB, MOVE), ["two", f"send {MOVE}"]),
        (c.ReceiveDomain(WEB, MOVE), ["two", "promote", f"receive {MOVE}"]),
        (c.ResumeDomain(WEB), ["resume", "one"]),
    ],
)
def test_each_command_takes_its_steps(command: DomainCommand, asked: list[str]) -> None:
    """In this order, and no other step when all goes well."""
    node = Node()
    assert done(node, command) is OK
    assert node.asked == asked


RECEIVED = ["two", "promote", f"receive {MOVE}", "demote", "one"]


@pytest.mark.parametrize(
    ("ends", "outcome", "asked"),
    [
        ({"two": [FAILED]}, FAILED, ["two", "one"]),
        ({"two": [UNKNOWN]}, FAILED, ["two", "one"]),
        ({"two": [FAILED], "one": [FAILED]}, UNKNOWN, ["two", "one"]),
        ({"promote": [UNKNOWN]}, FAILED, ["two", "promote", "demote", "one"]),
        ({"promote": [UNKNOWN], "demote": [UNKNOWN]}, UNKNOWN, ["two", "promote", "demote", "one"]),
        ({"promote": [FAILED, FAILED, OK]}, OK, ["two", *["promote"] * 3, f"receive {MOVE}"]),
        ({"receive": [FAILED]}, FAILED, RECEIVED),
        ({"receive": [UNKNOWN]}, UNKNOWN, RECEIVED),
        ({"receive": [FAILED], "demote": [FAILED]}, UNKNOWN, RECEIVED),
        ({"receive": [FAILED], "one": [FAILED]}, UNKNOWN, RECEIVED),
        ({"receive": [UNKNOWN], "demote": [FAILED], "one": [FAILED]}, UNKNOWN, RECEIVED),
    ],
)
def test_receiver_takes_everything_back(
    monkeypatch: pytest.MonkeyPatch, ends: dict[str, list[Outcome]], outcome: Outcome, asked: list[str]
) -> None:
    """In reverse order, and FAILED only when it is certain that nothing of it is left."""
    monkeypatch.setattr(module, "_PROMOTE_S", 30.0)
    node = Node(**{name: list(steps) for name, steps in ends.items()})
    assert done(node, c.ReceiveDomain(WEB, MOVE)) is outcome
    assert node.asked == asked


def test_promotion_is_not_tried_for_ever() -> None:
    """An owner that never allows two writers is given up after a while."""
    node = Node(promote=[FAILED])
    assert done(node, c.ReceiveDomain(WEB, MOVE)) is FAILED
    assert node.asked[:2] == ["two", "promote"]
    assert node.asked[-2:] == ["demote", "one"]


@pytest.mark.parametrize(
    ("ends", "outcome", "asked"),
    [
        ({"two": [FAILED]}, FAILED, ["two", "one"]),
        ({"two": [UNKNOWN]}, FAILED, ["two", "one"]),
        ({"send": [FAILED]}, FAILED, ["two", f"send {MOVE}", "one"]),
        ({"send": [FAILED], "one": [FAILED, OK]}, FAILED, ["two", f"send {MOVE}", "one", "one"]),
        ({"send": [UNKNOWN], "one": [FAILED]}, UNKNOWN, ["two", f"send {MOVE}", "one"]),
    ],
)
def test_sender_has_one_writer_again(ends: dict[str, list[Outcome]], outcome: Outcome, asked: list[str]) -> None:
    """Unless the domain has left, which the demotion follows; where nothing is known, nobody waits for it."""
    node = Node(**{name: list(steps) for name, steps in ends.items()})
    assert done(node, c.SendDomain(WEB, MOVE)) is outcome
    assert node.asked == asked


def test_domain_that_does_not_go_on_keeps_its_writers() -> None:
    """What could not be resumed is not touched any further."""
    node = Node(resume=[FAILED])
    assert done(node, c.ResumeDomain(WEB)) is FAILED
    assert node.asked == ["resume"]


def test_end_of_two_writers_decides_nothing() -> None:
    """A domain that runs has been resumed, however that ends, and it is not waited for without an end."""
    node = Node(one=[FAILED])
    assert done(node, c.ResumeDomain(WEB)) is OK


@pytest.mark.parametrize(
    ("command", "waits", "rest"),
    [
        (c.SendDomain(WEB, MOVE), "two", ["end", "one"]),
        (c.ReceiveDomain(WEB, MOVE), "two", ["end", "promote", "demote", "one"]),
        (c.ReceiveDomain(WEB, MOVE), "promote", ["end", "demote", "one"]),
    ],
)
def test_move_is_broken_off_before_anything_moves(command: DomainCommand, waits: str, rest: list[str]) -> None:
    """A move that is ended while its first steps are under way begins no other, and takes them back."""

    async def story() -> None:
        node = Node()
        node.waits = waits
        async with asyncio.timeout(10.0), asyncio.TaskGroup() as tasks:

            async def moves() -> Done:
                return await node.work.work(command)

            moving = tasks.create_task(moves())
            await until(lambda: waits in node.asked)
            await node.work.end_moves()
        assert moving.result().outcome is FAILED
        assert node.asked[node.asked.index("end") :] == rest

    asyncio.run(story())
