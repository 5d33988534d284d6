"""Each command is answered by the class that belongs to it; that is checked where the classes are made."""

from __future__ import annotations

from typing import get_args

import pytest

from avance.core import commands as c
from avance.core import results as r
from avance.core.model import Outcome, Record
from tests.playbook import WEB, A


def test_a_command_has_one_class_of_answers() -> None:
    """A second one is refused when it is declared, before anything runs."""
    with pytest.raises(AssertionError, match="ReadPeerPower is answered by PowerRead already"):
        r.answers(c.ReadPeerPower)(r.Done)


def test_every_result_that_decides_belongs_to_a_command() -> None:
    """None is left over, and only commands with an outcome are answered."""
    kinds = {r.answer_of(command) for command in (c.PrepareVolume(WEB), c.ReadGeneration(WEB), c.ReadInFlight(WEB),
                                                  c.ReadPeerPower(), c.AskWitness("w1", 4, "n"), c.SaveRecord(Record()),
                                                  c.TeachWitness("w1", 4, A, paired=True))}  # fmt: skip
    assert kinds == {*get_args(r.Result)}


def test_a_failure_needs_no_answer_of_its_own() -> None:
    """Whoever was not even asked said nothing; what was done has an answer."""
    failed = r.answered(c.ReadPeerPower(), r.Done(Outcome.FAILED, "the site names no BMC for the peer"))
    assert failed == r.PowerRead(Outcome.FAILED, "the site names no BMC for the peer", off=False)
    assert r.answered(c.ReadPeerPower(), r.PowerRead(Outcome.OK, "off", off=True)).ok
    with pytest.raises(AssertionError, match="was done and has no PowerRead"):
        r.answered(c.ReadPeerPower(), r.Done(Outcome.OK, "off"))


def test_no_outcome_is_assumed() -> None:
    """An outcome must be stated; only the evidence may be missing."""
    with pytest.raises(TypeError):
        r.Done()  # type: ignore[call-arg]  # the point of the test
    assert r.Done(Outcome.OK).detail == ""
    assert not r.Done(Outcome.UNKNOWN).ok
