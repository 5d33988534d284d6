"""An order of a person is believed when the node's journal tells of it, and is given again while it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from faults import registry
from faults.fault import FaultVerdict, Proof
from faults.kinds import person
from faults.kinds.person import PersonOrders, PersonsOrder, Whom
from faults.life import FaultFailed, Life
from testbed.bed import Bed
from testbed.errors import GuestCommandError, UsageError
from testbed.history import History
from testbed.node.agent import ExecResult


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """This world answers at once."""
    monkeypatch.setattr(person, "ASK_AGAIN_S", 0.002)
    monkeypatch.setattr(person, "SEEN_TIMEOUT_S", 0.05)


@dataclass
class Node:
    """A node whose product refuses some times, cannot be reached once, and then takes the order and writes a line."""

    name: str
    history: History
    refusals: int = 0
    is_deaf: bool = False
    tells: bool = True
    is_on: bool = True
    asked: list[str] = field(default_factory=list)

    @property
    def machine(self) -> object:
        """The way in."""
        return SimpleNamespace(guest=self)

    async def run(self, argv: Sequence[str], *, timeout_s: float) -> ExecResult:
        """Answer the order."""
        assert timeout_s > 0
        self.asked.append(" ".join(argv))
        if self.is_deaf:
            self.is_deaf = False
            raise GuestCommandError("no answer")
        if self.refusals:
            self.refusals -= 1
            return ExecResult(2, "", "avance: this node is PAIRED\n")
        event = {"type": "OperatorAsked", "request": argv[1], "node": argv[2]}
        if self.tells:
            self.history.record(f"journal.{self.name}", "entry", entry={"event": event})
        return ExecResult(0, "done\n", "")


def given(fault: PersonOrders, **how: object) -> tuple[Proof, list[str]]:
    """Let a person give the order on node a, and return the proof and what was asked there."""
    history = History()
    node = Node("a", history, **how)  # type: ignore[arg-type]

    async def story() -> Proof:
        bed = cast("Bed", SimpleNamespace(nodes={"a": node, "b": None}, history=history))
        async with Life(fault, bed) as life:
            return await life.prove()

    return asyncio.run(story()), node.asked


def test_the_order_is_given_again_until_it_is_taken() -> None:
    """A node that is starting and a product that refuses at first are asked again."""
    proof, asked = given(PersonOrders("a", order=PersonsOrder.OVERRIDE), refusals=2, is_deaf=True)
    assert asked == ["avance override b"] * 4
    assert proof.verdict is FaultVerdict.CONFIRMED
    assert proof.evidence["answers"] == ["avance: this node is PAIRED"] * 2 + ["done"]
    assert (proof.evidence["order"], proof.evidence["typed"]) == ("override", "b")
    assert proof.evidence["given_at_s"] == proof.injected_at_s


def test_the_name_that_is_typed_is_the_own_one_or_that_of_the_peer() -> None:
    """`keep` on both nodes names the same node."""
    proof, asked = given(PersonOrders("a", order=PersonsOrder.KEEP, whom=Whom.OWN))
    assert (asked, proof.verdict) == (["avance keep a"], FaultVerdict.CONFIRMED)


def test_an_order_of_which_the_journal_does_not_tell_was_not_there() -> None:
    """The exit code of the command alone proves nothing."""
    proof, _ = given(PersonOrders("a", order=PersonsOrder.KEEP), tells=False)
    assert proof.verdict is FaultVerdict.MISMATCH


def test_an_order_that_is_refused_all_the_time_fails_with_the_products_words() -> None:
    """The person gives up after a while."""
    fault = PersonOrders("a", order=PersonsOrder.OVERRIDE, patience_s=1.0)
    with pytest.raises(FaultFailed, match="this node is PAIRED"):
        given(fault, refusals=10**6)


def test_a_node_that_is_off_is_refused() -> None:
    """Nobody can type there."""
    with pytest.raises(UsageError, match="is off"):
        given(PersonOrders("a", order=PersonsOrder.KEEP), is_on=False)


def test_a_schedule_may_write_it() -> None:
    """The registry finds it, and refuses an order that there is none of."""
    fault = registry.build("person.orders", "a", {"order": "reset-device", "whom": "own"}, seed=1)
    assert (fault.name, fault.target) == ("person.orders", "a")
    with pytest.raises(UsageError, match="order must be"):
        registry.build("person.orders", "a", {"order": "reboot"}, seed=1)
