"""Proves that the measurement of injections counts from due to held, and counts proven cuts only."""

from __future__ import annotations

import pytest

from faults.bench.injection import lateness
from faults.fault import FaultVerdict, Proof
from faults.kinds.link.cut import Cut
from faults.run.director import Act
from faults.schedule.step import Step
from faults.schedule.trigger import Trigger


@pytest.mark.parametrize(
    ("proof", "expected"),
    [
        (Proof(FaultVerdict.CONFIRMED, 10.25), 0.25),
        (Proof(FaultVerdict.INCONCLUSIVE, None), None),
        (Proof(FaultVerdict.MISMATCH, None), None),
        (None, None),
    ],
)
def test_only_a_proven_cut_has_a_lateness(proof: Proof | None, expected: float | None) -> None:
    """It counts from the time at which the step was due."""
    act = Act(Step("cut", "link.cut", "a.priv0", Trigger()), Cut("a.priv0"), due_s=10.0, late_s=0.1, proof=proof)
    assert lateness(act) == expected
