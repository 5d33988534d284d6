"""Proves on a real switch that the measurement of injections measures proven cuts only, from due to held."""

from __future__ import annotations

import asyncio

from faults.bench.injection import measure


def test_cuts_on_a_real_switch_are_proven_and_not_early() -> None:
    """The switch says when each held; the order came before that."""
    found = asyncio.run(measure(2))
    assert len(found.late_s) + found.unproven == 2
    assert found.unproven == 0
    for late_s, order_late_s in zip(found.late_s, found.order_late_s, strict=True):
        assert 0 <= order_late_s <= late_s
