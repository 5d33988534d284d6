"""Who is in office, and that no moment of a change lets both nodes get a right of their own."""

from __future__ import annotations

import itertools

import pytest

from avance.core import arbiters
from tests.playbook import A, B

W1, W2 = arbiters.witness("w1"), arbiters.witness("w2")
SA, SB = arbiters.survivor(A), arbiters.survivor(B)
SETS: tuple[tuple[str, ...], ...] = ((), (W1,), (W2,), (SA,), (SB,))
NAMES = ("w1", "w2")


def history(before: tuple[str, ...], after: tuple[str, ...]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return what the owner and the backup hold at every moment of a change: a crash keeps one of these pairs."""
    moments, owner, backup = [(before, before)], before, before
    while set(owner) != set(after):
        owner = arbiters.step(owner, after)
        moments.append((owner, backup))  # durable on the owner, not yet on the backup
        backup = owner
        moments.append((owner, backup))
        assert len(moments) < 10, "a change ends"
    return moments


def both_can_win(owner: tuple[str, ...], backup: tuple[str, ...]) -> bool:
    """Try every way in which each token says yes to one node only: can both nodes have all of theirs?"""
    tokens = sorted({*owner, *backup})
    for favoured in itertools.product((A, B), repeat=len(tokens)):
        says = dict(zip(tokens, favoured, strict=True)) | {SA: A, SB: B}
        if all(says[token] == A for token in owner) and all(says[token] == B for token in backup):
            return True
    return False


def joint(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Return the set in the middle of a change, in which a change of mind may find the nodes."""
    return (*one, *(token for token in other if token not in one))


STARTS = [one for one in SETS if one] + [joint(one, other) for one, other in itertools.permutations(SETS[1:], 2)]


@pytest.mark.parametrize("after", [one for one in SETS if one])
@pytest.mark.parametrize("before", STARTS)
def test_no_crash_point_lets_both_nodes_win(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Whatever the moment of a crash, arbiters that each favour one node cannot give both nodes their right."""
    for owner, backup in history(before, after):
        assert owner
        assert backup
        assert not both_can_win(owner, backup), (owner, backup)
        assert not both_can_win(backup, owner), (owner, backup)


def test_the_check_would_notice_a_jump() -> None:
    """A change in one step, without both in office for a while, is what the check exists for."""
    assert both_can_win((W1,), (W2,))
    assert both_can_win((SA,), (W1,))
    assert not both_can_win((W1, W2), (W2,))


@pytest.mark.parametrize("after", SETS)
@pytest.mark.parametrize("before", [(), *STARTS])
def test_a_change_ends_where_it_should(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Every change reaches its target on both nodes, in at most two steps."""
    moments = history(before, after)
    assert set(moments[-1][0]) == set(moments[-1][1]) == set(after)
    assert len(moments) <= 5


def test_names_are_taken_apart_again() -> None:
    """Tokens carry the names of witnesses and survivors, in order."""
    tokens = (W2, SA, W1)
    assert arbiters.witnesses(tokens) == ("w2", "w1")
    assert arbiters.survivors(tokens) == ("a",)


@pytest.mark.parametrize(
    ("current", "up", "lost", "expected"),
    [
        ((), ("w1", "w2"), (), (W1,)),  # the first that both nodes reach
        ((), ("w2",), (), (W2,)),
        ((), (), (), ()),  # nobody was asked for long enough
        ((), (), ("w1",), ()),
        ((), (), ("w1", "w2"), (SA,)),
        ((W1,), ("w2",), (), (W1,)),  # a witness that is silent for a moment stays in office
        ((W1,), ("w2",), ("w1",), (W2,)),  # lost: the other one takes its place
        ((W1,), (), ("w1",), (SA,)),
        ((W1,), (), ("w1", "w2"), (SA,)),
        ((W2,), ("w1", "w2"), (), (W2,)),  # no return to the first for its own sake
        ((SA,), ("w1",), (), (W1,)),  # a witness is better than a survivor
        ((SA,), (), ("w1", "w2"), (SA,)),
        ((SB,), (), ("w1", "w2"), (SA,)),  # after a take-over the present owner is to survive
        ((W1, W2), (), (), (W1,)),  # in the middle of a change
    ],
)
def test_who_should_be_in_office(
    current: tuple[str, ...], up: tuple[str, ...], lost: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """A witness in office stays until it is lost; without any witness the owner is to survive."""
    assert arbiters.wanted(current, A, configured=NAMES, up=up, lost=lost) == expected


def test_site_without_witnesses_has_no_arbiters() -> None:
    """Without a configured witness nobody is in office, also when there was one before."""
    assert arbiters.wanted((), A, configured=(), up=(), lost=()) == ()
    assert arbiters.wanted((W1,), A, configured=(), up=(), lost=()) == ()


def test_witness_that_left_the_configuration_leaves_the_office() -> None:
    """A witness that is configured no more is replaced, though it may still answer."""
    assert arbiters.wanted((arbiters.witness("old"),), A, configured=NAMES, up=("w2",), lost=()) == (W2,)
