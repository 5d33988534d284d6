"""Tests of testbed.judge.finding: a finding in words and as a row."""

from __future__ import annotations

from testbed.judge.finding import as_fields, blind, failed, passed, together
from testbed.judge.verdict import Verdict


def test_a_finding_is_a_sentence_and_a_row() -> None:
    """For the terminal, and for result.json."""
    bad = failed("y", "broken", count=1)
    assert str(bad) == "y: fail: broken"
    row = {"oracle": "y", "verdict": "fail", "text": "broken", "needed": True, "evidence": {"count": 1}}
    assert as_fields([bad]) == [row]


def test_several_vms_are_as_good_as_the_worst_of_them() -> None:
    """The sentence names those for which the verdict holds; a single VM's finding stays as it is."""
    good, bad, unseen = passed("y", "all is well", count=1), failed("y", "broken", count=2), blind("y", "dark")
    assert together("y", {"web": good}) is good
    found = together("y", {"web": good, "web1": bad, "web2": unseen})
    assert (found.verdict, found.text) == (Verdict.FAIL, "VM web1: broken")
    assert found.evidence == {"web": {"count": 1}, "web1": {"count": 2}, "web2": {}}
    assert together("y", {"web": good, "web1": unseen}).verdict is Verdict.INCONCLUSIVE
    assert together("y", {"web": good, "web1": good}).text == "VM web: all is well; VM web1: all is well"
