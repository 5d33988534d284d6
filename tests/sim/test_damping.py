"""What repeats is damped: restarts of a backup whose cable comes and goes, restarts of a guest that dies each time.

Both are told in one alert that says what to do, and begin anew with time or with a person's word. What safety or the
service needs is never held back.
"""

from __future__ import annotations

import pytest

from avance.core.cure import CURES_MAX
from tests.playbook import A, B
from tests.sim.rows import PLAIN, WITNESS, Row
from tests.sim.site import SimSite


def flaps(row: Row, times: int, *, down_s: float = 4.0, up_s: float = 56.0) -> None:
    """Cut the private cable for some seconds, again and again; it comes back by itself each time."""
    for _ in range(times):
        cut = row.breaks("link.cut", "a.priv0")
        row.passes(down_s)
        row.heals(cut)
        row.passes(up_s)


@pytest.mark.parametrize("site", [WITNESS, PLAIN])
def test_a_cable_that_comes_and_goes_costs_three_restarts(site: SimSite) -> None:
    """Seven short cuts: three restarts of the backup, one alert; the VM never stops, and the pair is whole again."""
    row = Row(site)
    flaps(row, 7)
    assert len(row.world.machines[B].resets) == CURES_MAX
    assert row.alerts(B).count("cures_used_up") == 1
    assert not row.world.machines[A].resets
    row.untouched(stall_s=20.0)
    row.recovers()


def test_the_count_outlives_the_restarts_and_ends_by_a_persons_word() -> None:
    """The fourth restart comes only after somebody has said that the cable is mended."""
    row = Row(WITNESS)
    flaps(row, 5)
    assert row.world.machines[B].record.cures == CURES_MAX
    row.world.operator(B, "reset-device", B)
    row.passes(120.0)
    assert row.world.machines[B].record.cures == 0
    flaps(row, 1)
    assert len(row.world.machines[B].resets) == CURES_MAX + 1


def test_a_backup_that_restarts_no_more_still_takes_over() -> None:
    """Damping is about cures only: when the primary dies, the backup serves as ever."""
    row = Row(WITNESS)
    flaps(row, 5)
    row.passes(200.0)
    assert row.world.protected(), row.world.summary()
    row.off(A)
    row.passes(40.0)
    row.taken_over()
