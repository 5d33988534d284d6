"""One change, and one thing that goes wrong: every order of events, in seconds; larger worlds are in a file apart."""

from __future__ import annotations

import pytest

from tests.sim.agreed_worlds import Rules, explore


@pytest.mark.parametrize(
    ("rules", "worlds"),
    [(Rules(failures=1), 243), (Rules(crashes=1), 713), (Rules(cuts=1), 336), (Rules(refusals=1), 189)],
    ids=["a write", "a crash", "a cut", "a refusal"],
)
def test_one_thing_goes_wrong(rules: Rules, worlds: int) -> None:
    """Both nodes agree, or the change is withdrawn; the size is stated, so that a smaller world is noticed."""
    found = explore(rules)
    assert not found.broken, found.broken[0]
    assert not found.differ
    assert found.worlds >= worlds, found.text()


def test_changes_of_one_node_alone() -> None:
    """The other one takes them later, or both are told: 664 worlds."""
    found = explore(Rules(changes=2, verbs=("alone",), cuts=2))
    assert not found.broken, found.broken[0]
    assert found.differ
    assert found.worlds >= 664, found.text()
