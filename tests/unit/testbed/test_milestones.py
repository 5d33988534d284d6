"""Tests of testbed.milestones: which records publish one."""

from __future__ import annotations

import pytest

from testbed.history import Record
from testbed.milestones import milestone_of


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
    assert milestone_of(Record(0, 0.0, "journal.a", "entry", fields)) == expected
