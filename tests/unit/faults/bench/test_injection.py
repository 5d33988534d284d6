"""Proves that the measurement of injections measures proven cuts only, from due to held."""

from __future__ import annotations

import asyncio

import pytest

from faults.bench.injection import lateness, measure
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


def test_cuts_on_a_real_switch_are_proven_and_not_early() -> None:
    """The switch says when each held; the order came before that."""
    found = asyncio.run(measure(2))
    assert len(found.late_s) + found.unproven == 2
    assert found.unproven == 0
    for late_s, order_late_s in zip(found.late_s, found.order_late_s, strict=True):
        assert 0 <= order_late_s <= late_s
