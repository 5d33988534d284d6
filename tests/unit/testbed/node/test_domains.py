"""Xen's list of domains says which nodes run a VM; a node that cannot be asked is unknown, never "no"."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from testbed.errors import GuestCommandError
from testbed.history import History
from testbed.judge.oracles.twice import alive, domains_of, twice
from testbed.node import domains as guests
from testbed.node.domains import CRASH, NAMELESS, domains, parse_domains, runners, watch, where_runs
from testbed.node.node import Node
from testbed.wait import OwnedTask

HEAD = "Name                            ID   Mem VCPUs\tState\tTime(s)   UUID      Reason-Code\tSecurity Label\n"
DOM0 = "Domain-0                 0   640     1     r-----      36.6 00000000-0000-0000-0000-000000000000  -  -\n"
# Captured from Xen 4.17.
RUNS = "avance-web               1    96     1     -b----       2.4 e1bcf979-2755-4bab-9bea-82e04b896e4c  -  -\n"
CRASHED = "avance-web               1    96     1     --psc-       2.4 e1bcf979-2755-4bab-9bea-82e04b896e4c  3  -\n"
DYING = "(null)                   1     0     1     --p--d       2.9 5be772ea-8ede-4f7e-bf35-7d5f4425ac71  -\n"


class FakeGuest:
    """A dom0 that gives one answer, or fails."""

    def __init__(self, answer: str | None) -> None:
        self.answer = answer

    async def must_succeed(self, _argv: Sequence[str], *, timeout_s: float) -> str:
        """Answer."""
        if self.answer is None:
            raise GuestCommandError(f"no answer in {timeout_s:g} s")
        return self.answer


def node(name: str, answer: str | None, *, is_on: bool = True) -> Node:
    """A node with such a dom0, and without a control port."""
    image, machine = SimpleNamespace(questions={}), SimpleNamespace(guest=FakeGuest(answer))
    return cast("Node", SimpleNamespace(name=name, is_on=is_on, image=image, machine=machine))


class FakePort:
    """A control port that gives one answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def ask(self, question: str, *, timeout_s: float) -> dict[str, Any]:
        """Answer."""
        assert timeout_s > 0
        self.asked.append(question)
        return self.answer


def node_with_port(answer: dict[str, Any]) -> Node:
    """A node that is asked on its control port and has no agent."""
    image, machine = SimpleNamespace(questions={"domains": "domains"}), SimpleNamespace(control=FakePort(answer))
    return cast("Node", SimpleNamespace(name="a", is_on=True, image=image, machine=machine))


def test_a_listing_is_read() -> None:
    """Name, number, state, processor time and reason are those of the line; headings are left out."""
    dom0, web, dying = parse_domains(HEAD + DOM0 + CRASHED + DYING)
    assert (dom0.name, dom0.id, dom0.cpu_s, dom0.reason, dom0.is_running) == ("Domain-0", 0, 36.6, None, True)
    assert (web.id, web.reason, web.is_running) == (1, CRASH, False)
    assert (dying.name, dying.is_running) == (NAMELESS, False)


def test_each_node_is_yes_no_or_unknown() -> None:
    """A running VM is a runner; a crashed one, a dying one, one of another name and a node that is off are not."""
    nodes = {
        "a": node("a", HEAD + DOM0 + RUNS), "b": node("b", HEAD + DOM0 + RUNS), "c": node("c", HEAD + DOM0 + CRASHED),
        "d": node("d", None), "e": node("e", None, is_on=False), "f": node("f", HEAD + DOM0 + DYING),
    }  # fmt: skip
    found = asyncio.run(where_runs(nodes, "web"))
    assert sorted(runners(found)) == ["a", "b"], "the same VM runs twice"
    assert found["c"] is found["e"] is found["f"] is None
    assert isinstance(found["d"], str)
    assert "no answer" in found["d"]


def test_a_control_port_gives_the_same_domains() -> None:
    """What Xen says on the port is read as what `xl list -v` prints, without a program in the node."""
    rows = [
        {"name": "Domain-0", "id": 0, "flags": "r-----", "cpu_s": 36.6, "reason": None},
        {"name": "avance-web", "id": 1, "flags": "--psc-", "cpu_s": 2.4, "reason": 3},
        {"name": "(null)", "id": 2, "flags": "--p--d", "cpu_s": 2.9, "reason": None},
        {"name": "t w o", "id": 3, "flags": "-b----", "cpu_s": 1, "reason": None},
    ]
    asked = node_with_port({"domains": rows})
    found = asyncio.run(domains(asked))
    assert found[:3] == parse_domains(HEAD + DOM0 + CRASHED + DYING.replace(" 1     0", " 2     0"))
    assert (found[3].name, found[3].is_running) == ("t w o", True)
    assert asked.machine.control.asked == ["domains"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", [{}, {"domains": 3}, {"domains": [{}]}, {"domains": []}])
def test_an_answer_without_domains_is_an_error(answer: dict[str, Any]) -> None:
    """What is no list of domains is never read as `no domain`."""
    with pytest.raises(GuestCommandError, match=r"no list of domains|not even dom0"):
        asyncio.run(domains(node_with_port(answer)))


def test_an_empty_listing_is_an_error() -> None:
    """Even dom0 is a domain, so a list without any is no answer."""
    with pytest.raises(GuestCommandError, match="not even dom0"):
        asyncio.run(domains(node("a", HEAD)))


def test_what_is_watched_is_what_the_oracle_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes that run the VM at once are found from the records; one that is off, or silent, leaves none."""

    async def scenario() -> History:
        monkeypatch.setattr(guests, "PROGRAM_INTERVAL_S", 0.0)
        nodes = {name: node(name, HEAD + DOM0 + RUNS) for name in ("a", "b")}
        nodes |= {"off": node("off", RUNS, is_on=False), "silent": node("silent", None)}
        history = History()
        async with OwnedTask(watch(nodes, history), name="watch"), asyncio.timeout(100):
            while len(domains_of(history, "web")) < 4:
                await history.wait_beyond(history.mark())
        return history

    history = asyncio.run(scenario())
    assert {look.node for look in domains_of(history, "web")} == {"a", "b"}
    assert [item.instances for item in twice(alive(domains_of(history, "web"), {}, 0.0))] == [
        ("domain 1 of node a (life 0)", "domain 1 of node b (life 0)")
    ]
