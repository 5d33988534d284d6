"""A link that carries heartbeats and no data: one clean step to go on alone, and no endless coming and going.

An MTU black hole lets small frames pass, so DRBD meets its peer again and again, and the guest stands still each time.
"""

from __future__ import annotations

import pytest

from avance.core import commands as c
from tests.playbook import A
from tests.sim.rows import PLAIN, POWER, SAFE, SEEDS, WITNESS, Row
from tests.sim.site import SimSite

SITES = pytest.mark.parametrize("site", [PLAIN, SAFE, WITNESS, POWER], ids=["plain", "safe", "witness", "power"])


def _waited_s(row: Row, seconds: float) -> float:
    """Let time pass; return for how long no write was acknowledged, in pauses of more than a second."""
    waited, last, count = 0.0, row.world.now, len(row.world.acknowledged)
    end = row.world.now + seconds
    while row.world.now < end:
        row.passes(0.25)
        now = len(row.world.acknowledged)
        if now != count or row.world.now >= end:
            waited += max(0.0, row.world.now - last - 1.0)
            last, count = row.world.now, now
    return waited


@SITES
@pytest.mark.parametrize("seed", SEEDS)
def test_black_hole_on_the_private_link(seed: int, site: SimSite) -> None:
    """The guest waits twice, then A goes on alone; later it is met less and less often, and it is told (B-rows)."""
    row = Row(site, seed)
    hole = row.breaks("link.no_large", "priv0")
    first = _waited_s(row, 60.0)
    assert first <= 25.0, f"{first:.1f} s of the first minute"
    assert row.world.machines[A].record.solo(A)
    later = _waited_s(row, 600.0)
    assert later <= 45.0, f"{later:.1f} s of the next ten minutes"
    row.untouched(stall_s=9.0)
    assert "replication_unsteady" in row.alerts(A)
    row.heals(hole)
    row.recovers()
    row.untouched(stall_s=9.0)


@SITES
@pytest.mark.parametrize("seed", SEEDS)
def test_replication_stands_while_heartbeats_pass(seed: int, site: SimSite) -> None:
    """Row H4: A goes on alone by consent at once, and nothing is started anew."""
    row = Row(site, seed)
    cut = row.breaks("link.no_streams", "priv0")
    row.passes(60.0)
    row.untouched()
    row.heals(cut)
    row.recovers()


@SITES
def test_one_short_break_is_met_again_at_once(site: SimSite) -> None:
    """A connection that breaks once, and is sound afterwards, is no reason to stay apart."""
    row = Row(site)
    hole = row.breaks("link.no_large", "priv0")
    row.passes(6.5)
    row.heals(hole)
    row.passes(20.0)
    row.untouched(stall_s=9.0)
    assert row.world.protected(), row.world.summary()
    assert "replication_unsteady" not in row.alerts(A)


@SITES
@pytest.mark.parametrize("seed", SEEDS)
def test_black_hole_while_the_backup_is_filled(seed: int, site: SimSite) -> None:
    """B returns, and its copy cannot be filled: A serves on, and does not stand still at each try."""
    row = Row(site, seed)
    row.world.resync_factor = 10.0
    streams = row.breaks("link.no_streams", "priv0")
    row.passes(20.0)
    row.breaks("link.no_large", "priv0")
    row.heals(streams)
    waited = _waited_s(row, 300.0)
    assert waited <= 40.0, f"{waited:.1f} s of five minutes"
    row.untouched(stall_s=9.0)
    assert len(row.since(A, c.ConnectDisk)) <= 6
