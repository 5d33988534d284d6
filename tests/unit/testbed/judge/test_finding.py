"""Tests of testbed.judge.finding: a finding in words and as a row."""

from __future__ import annotations

from testbed.judge.finding import as_fields, failed


def test_a_finding_is_a_sentence_and_a_row() -> None:
    """For the terminal, and for result.json."""
    bad = failed("y", "broken", count=1)
    assert str(bad) == "y: fail: broken"
    row = {"oracle": "y", "verdict": "fail", "text": "broken", "needed": True, "evidence": {"count": 1}}
    assert as_fields([bad]) == [row]
