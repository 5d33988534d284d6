"""Tests of testbed.judge.finding: what several findings say together."""

from __future__ import annotations

from testbed.judge.finding import State, as_fields, blind, holds, violated, worst


def test_one_violation_outweighs_all_and_one_blind_oracle_outweighs_what_holds() -> None:
    """Never silently green."""
    good, bad, unseen = holds("x", "fine"), violated("y", "broken", count=1), blind("z", "dark")
    assert worst([good, unseen, bad]) is State.VIOLATED
    assert worst([good, unseen]) is State.BLIND
    assert worst([good]) is State.HOLDS


def test_a_finding_is_a_sentence_and_a_row() -> None:
    """For the terminal, and for result.json."""
    bad = violated("y", "broken", count=1)
    assert str(bad) == "y: violated: broken"
    assert as_fields([bad]) == [{"oracle": "y", "state": "violated", "text": "broken", "evidence": {"count": 1}}]
