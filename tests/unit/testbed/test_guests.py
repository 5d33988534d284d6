"""Xen's list of domains says which nodes run a VM; a node that cannot be asked is unknown, never "no"."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from testbed.errors import GuestCommandError
from testbed.guests import CRASH, NAMELESS, domains, parse_domains, runners, where_runs
from testbed.node import Node

HEAD = "Name                            ID   Mem VCPUs\tState\tTime(s)   UUID      Reason-Code\tSecurity Label\n"
DOM0 = "Domain-0                 0   640     1     r-----      36.6 00000000-0000-0000-0000-000000000000  -  -\n"
# Captured from Xen 4.17.
RUNS = "web                      1    96     1     -b----       2.4 e1bcf979-2755-4bab-9bea-82e04b896e4c  -  -\n"
CRASHED = "web                      1    96     1     --psc-       2.4 e1bcf979-2755-4bab-9bea-82e04b896e4c  3  -\n"
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
    """A node with such a dom0."""
    return cast("Node", SimpleNamespace(name=name, is_on=is_on, machine=SimpleNamespace(guest=FakeGuest(answer))))


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


def test_an_empty_listing_is_an_error() -> None:
    """Even dom0 is a domain, so a list without any is no answer."""
    with pytest.raises(GuestCommandError, match="not even dom0"):
        asyncio.run(domains(node("a", HEAD)))
