"""Proves that a proof says one thing only: a time belongs to a confirmed fault, and to no other."""

from __future__ import annotations

import pytest

from faults.fault import FaultVerdict, Proof


def test_only_a_confirmed_proof_has_a_time() -> None:
    """Nothing can be counted from a fault that nobody has seen, and a confirmed one always has a time."""
    assert Proof.of(seen=True, at_s=1.0, evidence={}) == Proof(FaultVerdict.CONFIRMED, 1.0)
    assert Proof.of(seen=False, at_s=1.0, evidence={}) == Proof(FaultVerdict.MISMATCH, None)
    assert Proof.of(seen=None, at_s=1.0, evidence={}) == Proof(FaultVerdict.INCONCLUSIVE, None)
    with pytest.raises(AssertionError, match="confirmed at None"):
        Proof.of(seen=True, at_s=None, evidence={})
    with pytest.raises(AssertionError, match=r"mismatch at 1.0"):
        Proof(FaultVerdict.MISMATCH, 1.0)
