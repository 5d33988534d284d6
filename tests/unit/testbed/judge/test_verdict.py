"""Tests of testbed.judge.verdict: what several verdicts say together."""

from __future__ import annotations

import itertools

from testbed.judge.verdict import Verdict, worst


def test_one_failure_outweighs_all_and_what_nobody_saw_outweighs_what_passed() -> None:
    """Never silently green; the order in which they come does not matter."""
    good, host, unseen, bad = Verdict.PASS, Verdict.INVALID_HOST, Verdict.INCONCLUSIVE, Verdict.FAIL
    for several in itertools.permutations([good, host, unseen, bad]):
        assert worst(several) is bad
    for several in itertools.permutations([good, host, unseen]):
        assert worst(several) is unseen
    assert worst([host, good]) is host
    assert worst([]) is good
