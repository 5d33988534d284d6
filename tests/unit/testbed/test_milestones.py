"""Tests of testbed.milestones: which records publish one, and what each is called."""

from __future__ import annotations

from typing import get_args

import pytest

from testbed.history import HistoryRecord
from testbed.milestones import MILESTONES, in_words, milestone_of
from testbed.vocabulary import Milestone


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"entry": {"milestone": "paired", "node": "a"}}, "paired"),
        ({"entry": {"milestone": None, "node": "a"}}, None),
        ({"entry": {"milestone": 7, "node": "a"}}, None),
        ({}, None),
        ({"entry": "half a li"}, None),
    ],
)
def test_only_a_text_is_a_milestone(fields: dict[str, object], expected: str | None) -> None:
    """A line without one, or a line that could not be read, publishes nothing."""
    assert milestone_of(HistoryRecord(0, 0.0, "journal.a", "entry", fields)) == expected


def test_every_milestone_has_its_words() -> None:
    """In the order in which the product lists them; one that a newer product has added is shown as it is."""
    assert tuple(MILESTONES) == get_args(Milestone)
    assert in_words("peer_lost") == "peer lost (no heartbeat on any link)"
    assert in_words("newer_than_this") == "newer than this"
