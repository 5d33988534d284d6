"""Tests of testbed.judge.orders: what persons ordered, as the proven steps of a history tell, and what they chose."""

from __future__ import annotations

import pytest

from testbed.history import History
from testbed.judge.orders import Choice, Ordered, choice_of, orders_of
from testbed.judge.recorded import Recorded, Scene

Given = tuple[float, str, str, str]
# Node b is forced to run at 20 s, node a at 50 s, and the version of node b is chosen.
FORCED: tuple[Given, ...] = ((20.0, "b", "override", "a"), (50.0, "a", "override", "b"))
KEPT: tuple[Given, ...] = ((90.0, "b", "keep", "b"), (92.0, "a", "keep", "b"))


def tells(history: History, at_s: float, node: str, order: str, typed: str, kind: str = "confirmed") -> None:
    """A step of a person, proven a moment after it was given."""
    evidence = {"order": order, "typed": typed, "given_at_s": at_s}
    history.record_at(at_s + 0.5, "fault", kind, name="person.orders", target=node, evidence=evidence)


def chosen(*given: Given, expected: bool = True) -> Choice | str | None:
    """The choice of a run with these orders."""
    history = History()
    for at_s, node, order, typed in given:
        tells(history, at_s, node, order, typed)
    return choice_of(Recorded(Scene(), 0.0, 99.0, "none", "none", choice_expected=expected, records=tuple(history)))


def test_an_order_is_one_that_was_proven() -> None:
    """Other faults, and an order of which nobody knows that it was taken, are none."""
    history = History()
    history.record_at(1.0, "fault", "confirmed", name="link.cut", target="a.priv0", evidence={})
    tells(history, 2.0, "a", "override", "b", kind="mismatch")
    tells(history, 3.0, "a", "override", "b")
    history.record_at(4.0, "fault", "healed", name="person.orders", target="a")
    assert orders_of(history) == [Ordered("a", "override", "b", 3.0)]


def test_one_version_is_kept_and_the_other_one_given_up() -> None:
    """The node that gave up wrote alone from its own order on."""
    assert chosen(*FORCED, *KEPT) == Choice("b", "a", forced_s=50.0, both_s=50.0, chosen_s=90.0)
    other = [(at_s, node, order, "a") for at_s, node, order, _ in KEPT]
    assert chosen(*FORCED, *other) == Choice("a", "b", forced_s=20.0, both_s=50.0, chosen_s=90.0)


def test_only_between_the_orders_the_node_may_have_written_alone() -> None:
    """What was acknowledged before is in both versions, and what is acknowledged after the choice in the kept one."""
    choice = Choice("b", "a", forced_s=50.0, both_s=50.0, chosen_s=90.0)
    times = (None, 49.9, 50.0, 90.0, 90.1)
    assert [choice.may_have_written(at_s) for at_s in times] == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((), "nobody gave the order `override` on node a and b"),
        ((*FORCED[:1], *KEPT), "nobody gave the order `override` on node a"),
        (FORCED, "nobody gave the order `keep` on node a and b"),
        ((*FORCED, KEPT[0]), "nobody gave the order `keep` on node a"),
        ((*FORCED, KEPT[0], (92.0, "a", "keep", "a")), "different versions (b on node b, a on node a)"),
    ],
)
def test_a_run_without_a_choice_says_what_is_missing(given: tuple[Given, ...], why: str) -> None:
    """Half a choice is none."""
    found = chosen(*given)
    assert isinstance(found, str)
    assert found.startswith("no choice was made: ")
    assert why in found


def test_where_no_choice_is_to_be_made_there_is_none() -> None:
    """A schedule without the word gets no excuse, whatever persons ordered."""
    assert chosen(*FORCED, *KEPT, expected=False) is None
