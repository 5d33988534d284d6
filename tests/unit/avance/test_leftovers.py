"""What is left of removed VMs: which step waits for what, and what is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from avance import leftovers as module
from avance.core.leftover import MayGo
from avance.core.model import Outcome, VmId
from avance.core.results import Done
from avance.leftovers import Leftovers
from avance.vm_config import Tombstone
from tests.playbook import WEB
from tests.unit.avance.adapters.tools import beside, until

DB = VmId("db")
NOTHING, DOMAIN = MayGo(domain=False, disk=False, forgotten=False), MayGo(domain=True, disk=False, forgotten=False)
NAMED, ALL = MayGo(domain=True, disk=True, forgotten=False), MayGo(domain=True, disk=True, forgotten=True)


class Node:
    """A hypervisor and disks of which somebody says how each step ends, and how often each was asked."""

    def __init__(self, may: MayGo = ALL) -> None:
        self.may = may
        self.asked: list[str] = []
        self.ends: dict[str, Done] = {}
        self.domains, self.disks = _Domains(self), _Disks(self)

    def leftovers(self, *names: VmId) -> Leftovers:
        """Return what is under test, with these VMs removed."""
        made = Leftovers(self.domains, self.disks, lambda _: self.may, dilation=1.0)  # type: ignore[arg-type]
        made.take_on(Tombstone(name, place) for place, name in enumerate(names))
        return made

    def step(self, what: str) -> Done:
        """Note a step; return how it ends."""
        self.asked.append(what)
        return self.ends.get(what, Done(Outcome.OK))


class _Domains:
    def __init__(self, node: Node) -> None:
        self._node = node

    async def clear(self, vm: VmId) -> Done:
        return self._node.step(f"domain {vm}")


class _Disks:
    def __init__(self, node: Node) -> None:
        self._node = node

    async def clear(self, vm: VmId, minor: int) -> Done:
        return self._node.step(f"disk {vm} {minor}")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.001)


def goes_on(made: Leftovers, seen: Callable[[], bool]) -> None:
    """Let it work until something holds, and a few looks more."""

    async def body() -> None:
        await until(seen)
        await asyncio.sleep(0.02)

    beside(made.run(), body)


def test_all_of_it_goes_in_order() -> None:
    """The domain first, because it holds the disk open; what is gone needs nothing more."""
    node = Node()
    made = node.leftovers(WEB, DB)
    assert made.unfinished == (WEB, DB)
    goes_on(made, lambda: not made.unfinished)
    assert node.asked == ["domain web", "disk web 0", "domain db", "disk db 1"]
    made = node.leftovers(WEB)
    goes_on(made, lambda: not made.unfinished)
    assert node.asked[4:] == ["domain web", "disk web 0"], "after a start of the daemon all of it is looked at again"


def test_nothing_goes_while_a_command_is_under_way() -> None:
    """What creates the domain or the volume must have ended."""
    node = Node(NOTHING)
    goes_on(node.leftovers(WEB), lambda: True)
    assert node.asked == []


def test_disk_waits_for_the_peer() -> None:
    """The domain does not: it must not run any more, whatever the peer knows."""
    node = Node(DOMAIN)
    made = node.leftovers(WEB)
    goes_on(made, lambda: bool(node.asked))
    assert node.asked == ["domain web"]
    node.may = ALL
    goes_on(made, lambda: not made.unfinished)
    assert node.asked == ["domain web", "disk web 0"]


def test_step_that_fails_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute later, from the beginning: what holds the disk open may be the domain."""
    node, hour = Node(), {"now": 100.0}
    monkeypatch.setattr(module, "now_s", lambda: hour["now"])
    node.ends["disk web 0"] = Done(Outcome.FAILED, "held open by someone")
    made = node.leftovers(WEB, DB)
    goes_on(made, lambda: made.unfinished == (WEB,))
    assert node.asked.count("domain web") == node.asked.count("disk web 0") == 1
    assert made.problem == "", "it may be in order the next time"
    made = node.leftovers(WEB)
    made._removals[WEB].failing, made._removals[WEB].failures = "disk", 1
    goes_on(made, lambda: bool(made.problem))
    assert made.problem == (
        "the removed VM web is not gone from this node yet: held open by someone. It is tried again each minute"
    )
    hour["now"] += module.AGAIN_S
    del node.ends["disk web 0"]
    goes_on(made, lambda: not made.unfinished)
    assert made.problem == ""
    assert node.asked[-2:] == ["domain web", "disk web 0"]


def test_vm_that_the_record_names_is_not_gone() -> None:
    """Another VM of the same name would be taken for the old one."""
    node = Node(NAMED)
    made = node.leftovers(WEB)
    goes_on(made, lambda: len(node.asked) == 2)
    assert made.unfinished == (WEB,)
    node.may = ALL
    goes_on(made, lambda: not made.unfinished)
    assert len(node.asked) == 2


def test_vm_that_is_gone_is_gone_until_its_name_is_given_again() -> None:
    """Each change of the definitions names all tombstones; one that is dropped may stand for another VM later."""
    node = Node()
    made = node.leftovers(WEB)

    async def body() -> None:
        await until(lambda: not made.unfinished)
        made.take_on([Tombstone(WEB, 0), Tombstone(DB, 1)])
        assert made.unfinished == (DB,)
        await until(lambda: not made.unfinished)
        made.take_on([])
        made.take_on([Tombstone(WEB, 0)])
        assert made.unfinished == (WEB,)
        await until(lambda: not made.unfinished)

    beside(made.run(), body)
    assert [step for step in node.asked if step.startswith("domain")] == ["domain web", "domain db", "domain web"]
