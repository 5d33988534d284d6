"""Something else breaks before or while VMs move for the health of their node, and stays: somebody serves all the same.

A move is something that nobody is forced to. So it must never cost the service that it is for.
"""

from __future__ import annotations

from typing import Any

import pytest

from avance.core import commands as c
from tests.playbook import A, B
from tests.sim.rows import Row
from tests.sim.site import SimSite

SITES = [SimSite(witnesses=1), SimSite()]
IDS = ["witness", "plain"]
DUE_S = 32.0  # 2 s until it counts, 30 s held
MOMENTS = (31.9, 32.5, 33.1, 33.4, 34.2)
BREAKS: list[tuple[str, dict[str, Any]]] = [
    ("store.refuses", {}), ("store.errors", {"share": 1.0}), ("disk.hang", {"disk": "vda"}),
    ("disk.gone", {}), ("disk.hang", {"disk": "vdb"}),
]  # fmt: skip
BACK_S = 25.0  # 10 s until a dead record is sure, or DRBD's time-out for a disk; and the start


def _without_service(row: Row, seconds: float) -> float:
    """Let time pass; returns the longest time for which no client was served."""
    longest_s = since_s = 0.0
    for _ in range(int(seconds)):
        row.passes(1.0)
        since_s = 0.0 if row.served_by() is not None else since_s + 1.0
        longest_s = max(longest_s, since_s)
    return longest_s


@pytest.mark.parametrize("node", [A, B])
@pytest.mark.parametrize("site", SITES, ids=IDS)
@pytest.mark.parametrize(("name", "given"), BREAKS[:3], ids=["refuses", "errors", "hangs"])
def test_a_record_that_was_dead_before(name: str, given: dict[str, Any], node: str, site: SimSite) -> None:
    """Nobody knows it before the record is needed: it is looked at before the VM is stopped, and nothing is stopped."""
    row = Row(site)
    died = row.breaks(name, node, **given)
    row.breaks("link.carrier_loss", "a.biz0")
    row.passes(180.0)
    assert not row.since(A, c.DestroyDomain)
    row.untouched()
    row.heals(died)
    row.passes(90.0)
    assert row.served_by() == B, "it moves as soon as both can write"
    row.recovers()


def _breaks_on_the_way(site: SimSite, at_s: float, name: str, target: str, given: dict[str, Any]) -> None:
    """The VM runs somewhere again, on a copy that lacks nothing, while the fault stays."""
    row = Row(site)
    row.breaks("link.carrier_loss", "a.biz0")
    row.passes(at_s)
    row.breaks(name, target, **given)
    assert _without_service(row, 80.0) <= BACK_S, (at_s, row.world.trace[-40:])
    assert row.alerts().count("hands_over") <= 2
    row.recovers()


@pytest.mark.parametrize("site", SITES, ids=IDS)
def test_the_record_of_the_giver_dies_on_the_way(site: SimSite) -> None:
    """However it dies, and whenever."""
    for name, given in BREAKS[:3]:
        for at_s in MOMENTS:
            _breaks_on_the_way(site, at_s, name, "a", given)


@pytest.mark.parametrize("site", SITES, ids=IDS)
def test_the_data_of_the_giver_are_lost_on_the_way(site: SimSite) -> None:
    """The disks are gone, or hang."""
    for name, given in BREAKS[3:]:
        for at_s in MOMENTS:
            _breaks_on_the_way(site, at_s, name, "a", given)


@pytest.mark.parametrize("site", SITES, ids=IDS)
def test_the_taker_loses_its_disk_on_the_way(site: SimSite) -> None:
    """As long as it has not begun to write, the VM comes back to the other copy."""
    for at_s in MOMENTS[:4]:
        _breaks_on_the_way(site, at_s, "disk.gone", "b", {})


def test_a_move_that_fails_again_and_again() -> None:
    """The taker's daemon dies each time the VM has stopped: twice within the hour, and then the VM stays."""
    row = Row()
    row.breaks("link.carrier_loss", "a.biz0")
    for _ in range(12):
        before = row.alerts().count("hands_over")
        for _ in range(400):
            row.passes(0.25)
            if row.alerts().count("hands_over") > before:
                break
        row.passes(0.5)
        if row.served_by() is None:
            row.breaks("process.kill", "b/daemon")
        row.passes(20.0)
    assert row.alerts(A).count("hands_over") + row.alerts(B).count("hands_over") <= 3
    assert row.served_by() is not None
    row.recovers()
