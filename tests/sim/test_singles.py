"""Every single fault that stays: a sample of the table of singles.py; the whole is in the nightly tier."""

from __future__ import annotations

import pytest

from tests.sim import singles
from tests.sim.demand import demand
from tests.sim.inject import NAMES
from tests.sim.judges import Violation
from tests.sim.plan import PASSING
from tests.sim.rows import PLAIN, Row
from tests.sim.singles import Single

SAMPLE = 7  # one row of so many
ROWS = singles.rows()
# What is made of two others here, hits both nodes at once (test_damping.py has the crash loop), or passes by itself.
ELSEWHERE = PASSING | {"power.cut_both", "disk.half", "guest.crash_loop"}


@pytest.mark.parametrize("row", [row for row in ROWS if row.place % SAMPLE == 0], ids=lambda row: row.text)
def test_somebody_serves_or_it_is_told_why(row: Single) -> None:
    """Within 120 s the VM runs on a good copy, or a node says what is missing and who can give it."""
    assert not singles.run(row).wrong


def test_every_fault_is_in_the_table() -> None:
    """A fault that the simulator can draw and that can stay has its rows."""
    named = {row.name for row in ROWS}
    assert set(NAMES) - ELSEWHERE <= named | PASSING, set(NAMES) - ELSEWHERE - named
    assert {row.state for row in ROWS} == set(singles.STATES)
    assert {row.site for row in ROWS} == set(singles.SITES)


def test_rows_have_different_names() -> None:
    """A row is found by its text."""
    assert len({row.text for row in ROWS}) == len(ROWS)


def test_the_demand_can_fail() -> None:
    """Nobody serves and nobody says why: here because no daemon runs that could, and nothing resets the nodes."""
    row = Row(PLAIN)
    for node, machine in row.world.machines.items():
        machine.useless.add("watchdog")
        row.breaks("process.stop", f"{node}/daemon")
    row.breaks("guest.crash", "web")
    with pytest.raises(Violation, match="nobody says why"):
        demand(row.world)
