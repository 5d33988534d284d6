"""Proves that codes are told by the stories that they make up, and that nothing is left out."""

from __future__ import annotations

from faults.alarms.stories import AWAY, CURE, LINK, MOVE, NAMED, in_stories
from faults.alarms.table import ROWS


def test_codes_become_stories() -> None:
    """The longest first; one that is part of those before it is not named, and what is left stands by itself."""
    assert in_stories((*CURE, *MOVE, "split")) == (["cure", "move"], ["split"])
    assert in_stories(AWAY) == (["node away"], [])
    assert in_stories(("link_down", "split")) == ([], ["link_down", "split"])
    assert in_stories((*LINK, *LINK, "link_up")) == (["link"], [])


def test_nothing_of_the_table_is_left_out() -> None:
    """What the stories of a case hold, and what stands beside them, is what the case allows."""
    for row in ROWS:
        for case in row.cases:
            names, codes = in_stories((*case.may, *case.may_hit))
            assert {*codes, *(code for name in names for code in NAMED[name])} == {*case.may, *case.may_hit}
