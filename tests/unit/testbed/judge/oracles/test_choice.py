"""Tests of testbed.judge.oracles.choice: a choice that was made, one that was not, and a copy that is missing."""

from __future__ import annotations

from testbed.history import History
from testbed.judge.finding import Finding
from testbed.judge.oracles.choice import ChoiceKept
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.verdict import Verdict
from testbed.replica.reading import Reading, unreadable
from tests.unit.testbed.judge.test_orders import FORCED, KEPT, Given, tells

SERVICE = Reading("the service", 99.0, ("w0",))
COPY = Reading("avance-web.kept-2 of a", 99.0, ("w0", "w1"), given_up_by="a")


def judged(
    *readings: Reading, given: tuple[Given, ...] = (*FORCED, *KEPT), expected: bool = True, why: str = ""
) -> Finding:
    """What the oracle says of a run in which node a was told to give its version up."""
    history = History()
    for at_s, node, order, typed in given:
        tells(history, at_s, node, order, typed)
    run = Recorded(
        Scene(), 0.0, 99.0, "none", why or {"web": (SERVICE, *readings)},
        choice_expected=expected, records=tuple(history),
    )  # fmt: skip
    return ChoiceKept().judge(run)


def test_a_choice_with_a_copy_of_the_other_version_passes() -> None:
    """It says how many writes are in it."""
    found = judged(COPY)
    assert (found.verdict, found.evidence) == (Verdict.PASS, {"avance-web.kept-2 of a": 2})


def test_a_run_without_a_choice_fails() -> None:
    """Planted: nobody chose; the copy of an earlier time does not help."""
    found = judged(COPY, given=FORCED)
    assert (found.verdict, found.text[:22]) == (Verdict.FAIL, "no choice was made: no")


def test_a_copy_that_is_missing_fails() -> None:
    """Planted: the version was given up, and nobody kept it."""
    found = judged()
    assert (found.verdict, found.text) == (
        Verdict.FAIL,
        "node a, whose version was given up, keeps no copy of it",
    )


def test_a_copy_on_the_node_that_was_to_be_kept_fails() -> None:
    """Planted: the pair chose the other side."""
    assert judged(Reading("avance-web.kept-2 of b", 99.0, ("w0",), given_up_by="b")).verdict is Verdict.FAIL


def test_a_copy_that_nobody_could_read_makes_it_blind() -> None:
    """So does a run in which nothing was read back."""
    found = judged(unreadable("kept version of a", 99.0, "no disk", given_up_by="a"))
    assert (found.verdict, found.text) == (Verdict.INCONCLUSIVE, "kept version of a could not be read: no disk")
    assert judged(why="the run broke off").verdict is Verdict.INCONCLUSIVE


def test_a_schedule_without_a_choice_asks_for_nothing() -> None:
    """The oracle is asked in each run."""
    assert judged(expected=False).verdict is Verdict.PASS
