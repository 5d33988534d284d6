"""Tests of testbed.judge.oracles.two_writers: two writers need a VM that is on its way, seen by Xen."""

from __future__ import annotations

import pytest

from testbed.history import History
from testbed.judge.oracles.two_writers import SIGN_S, TwoWriters, looks_of
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.verdict import Verdict

ONE, BOTH, APART = {"0": "Primary/Secondary"}, {"0": "Primary/Primary"}, {"0": "Primary/Unknown"}
RUNS = {"name": "avance-web", "id": 1, "state": "-b----"}
STANDS = {"name": "avance-web", "id": 1, "state": "--p---"}
COMES = {"name": "avance-web--incoming", "id": 1, "state": "--p---"}
Look = tuple[float, str, dict[str, str], list[dict[str, object]]]


def verdict(*looks: Look) -> tuple[Verdict, str]:
    """What the oracle says of some looks."""
    history = History()
    for at_s, node, roles, domains in looks:
        history.record_at(at_s, "guests", "domains", node=node, asked_s=at_s, domains=domains, roles=roles)
    found = TwoWriters().judge(Recorded(Scene(), 0.0, 200.0, "none", "none", records=tuple(history)))
    return found.verdict, found.text


def test_one_writer_is_the_rule() -> None:
    """Also two that have lost each other: that is for other oracles."""
    assert verdict((1.0, "a", ONE, [RUNS]), (1.0, "b", APART, []))[0] is Verdict.PASS


@pytest.mark.parametrize("sign", [COMES, STANDS])
def test_a_move_may_have_two(sign: dict[str, object]) -> None:
    """The second writer is there a moment before the VM comes, and until the first one has let go."""
    looks = [(float(at_s), "a", BOTH, [RUNS]) for at_s in range(10, 30)]
    assert verdict(*looks, (15.0, "b", BOTH, [sign]))[0] is Verdict.PASS


@pytest.mark.parametrize(
    "domains", [[], [RUNS], [{"name": "other", "id": 4, "state": "-b----"}]], ids=["none", "it runs", "another"]
)
def test_without_a_sign_of_a_move_two_are_a_failure(domains: list[dict[str, object]]) -> None:
    """Whatever runs: nobody is on the way."""
    found, text = verdict((9.0, "a", ONE, [RUNS]), (10.0, "a", BOTH, [RUNS]), (10.5, "b", BOTH, domains))
    assert found is Verdict.FAIL
    assert "10.000 s" in text


def test_a_move_does_not_excuse_what_lasts() -> None:
    """The second writer stays after the VM has arrived."""
    late = 40.0 + SIGN_S + 1.0
    found, text = verdict((40.0, "b", BOTH, [COMES]), (late, "a", BOTH, []))
    assert found is Verdict.FAIL
    assert "no VM was on its way" in text


def test_a_domain_that_stands_still_is_a_sign_only_beside_two_writers() -> None:
    """The lease of a node has ended, long before."""
    assert verdict((10.0, "a", ONE, [STANDS]), (15.0, "a", BOTH, [RUNS]))[0] is Verdict.FAIL


def test_nobody_asked_is_blind() -> None:
    """A node without a control port tells no roles."""
    history = History()
    history.record_at(1.0, "guests", "domains", node="a", asked_s=1.0, domains=[])
    assert looks_of(history) == []
    assert verdict()[0] is Verdict.INCONCLUSIVE
