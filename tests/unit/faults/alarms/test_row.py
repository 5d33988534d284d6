"""Proves that a row which says nothing, or two things at once, is found out."""

from __future__ import annotations

import pytest

from faults.alarms.row import AlarmCase, AlarmDue, AlarmRow, Given, Kept, Spot, Teller, Unseen, flaw

DUE = AlarmDue(("peer_lost",), Teller.PEER, over=("peer_returned",))


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ((), "the last case must hold always"),
        ((AlarmCase(Given((Spot.PRIVATE,)), (DUE,)),), "the last case must hold always"),
        ((AlarmCase(),), "must either bring an alert"),
        ((AlarmCase(must=(DUE,), unseen=Unseen.GAP, reason="Why."),), "must either bring an alert"),
        ((AlarmCase(unseen=Unseen.GAP),), "has a reason"),
        ((AlarmCase(must=(DUE,), reason="Why."),), "has a reason"),
        ((AlarmCase(must=(AlarmDue(("peer_lost",), Teller.PEER),)),), "must either have an end"),
        (
            (AlarmCase(must=(AlarmDue(("peer_lost",), Teller.PEER, over=("link_up",), ends="x"),)),),
            "either have an end",
        ),
    ],
)
def test_a_row_that_says_too_little_or_too_much_is_found(cases: tuple[AlarmCase, ...], said: str) -> None:
    """With the fault and the case."""
    found = flaw(AlarmRow("node.kill", cases))
    assert found is not None
    assert "node.kill" in found
    assert said in found


def test_a_sound_row_has_no_flaw() -> None:
    """It has a last case for all that is left."""
    first = AlarmCase(Given((Spot.PRIVATE,)), unseen=Unseen.HARMLESS, reason="Why.")
    assert flaw(AlarmRow("node.kill", (first, AlarmCase(must=(DUE,))))) is None


def test_circumstances_are_told_in_words() -> None:
    """Each that is said, and nothing for one that is not."""
    given = Given((Spot.PRIVATE,), (Kept.ALL,), power=False, values={"correctable": False}, least=("celsius", 100))
    assert given.text == (
        "the private link, every frame, `correctable` is `false`, `celsius` is 100 or more, the site names no BMC"
    )
    assert not Given().text
