"""Tests of testbed.judge.oracles.replicas: what a comparison says, and when it says nothing."""

from __future__ import annotations

from testbed.judge.finding import Finding
from testbed.judge.oracles.replicas import HalvesEqual, ReplicasEqual
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.verdict import Verdict
from testbed.replica.compare import Comparison, ReplicaReport


def run(report: ReplicaReport | str) -> Recorded:
    """A run at whose end the replicas were compared."""
    return Recorded(Scene(), 0.0, 9.0, {"web": report}, "nobody wrote")


def replicas(report: ReplicaReport | str) -> Finding:
    """The word on both nodes."""
    return ReplicasEqual().judge(run(report))


def halves(report: ReplicaReport | str) -> Finding:
    """The word on the mirror inside each node."""
    return HalvesEqual().judge(run(report))


def unequal(**changes: object) -> ReplicaReport:
    """A report on two replicas that differ in one block."""
    fields = {"sha256": {"a": "x", "b": "y"}, "nodes": (Comparison("a", "b", 9, 1, ((0, 9),)),), "halves": ()}
    return ReplicaReport(**{**fields, **changes})  # type: ignore[arg-type]


def test_unequal_replicas_are_a_violation_with_their_places() -> None:
    """The caller said that they must be equal."""
    found = replicas(unequal())
    assert (found.verdict, found.evidence["ranges"]) == (Verdict.FAIL, {"a, b": ((0, 9),)})
    assert found.evidence["sha256"] == {"a": "x", "b": "y"}


def test_one_replica_alone_is_blind() -> None:
    """There is nothing to compare it with."""
    assert replicas(unequal(nodes=())).verdict is Verdict.INCONCLUSIVE


def test_unequal_halves_count_while_the_mirror_says_that_it_is_clean() -> None:
    """While it is written they may differ; a missing half leaves nothing to compare."""
    both = (Comparison("a on vdb", "on vdc", 9, 1, ((0, 9),)),)
    assert halves(unequal(halves=both)).verdict is Verdict.FAIL
    busy = halves(unequal(halves=both, dirty=("a",)))
    assert (busy.verdict, "not a quiet point" in busy.text) == (Verdict.INCONCLUSIVE, True)
    assert halves(unequal(problems=("disk vdb of node a is behind",))).verdict is Verdict.INCONCLUSIVE
    assert halves(unequal()).text == "no node has a second half"
