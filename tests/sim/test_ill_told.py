"""Nothing that stays broken is silence: somebody hears of each fault, also of one that harms nobody yet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.playbook import A, B
from tests.sim import singles
from tests.sim.rows import POWER, WITNESS, Row

LIMIT_S = 120.0
FAULTS = [one for one in singles.faults() if not one[0].startswith("half.")]  # test_ill_halves.py
# What nobody hears of here while all else is well, and why.
ELSEWHERE = {
    "node.deaf": "a reset that would do nothing cannot be tried",
    "domain.undead": "found out by whoever destroys it",
    "tool.hang": "found out by whoever needs the tool; each command that fails is told",
    "store.errors": "the journal is on the same disk, and is written all the time (NodePart.JOURNAL)",
    "store.refuses": "as before",
    "bmc.unreachable": "the adapter looks, once a minute (NodePart.BMC)",
    "bmc.slow": "as before",
    "bmc.deaf": "an order that is only pretended cannot be tried",
    "gateway.down": "asked by who wants the right by policy only",
    "gateway.cut": "as before",
    "process.blocked": "half a second is within what is allowed",
    "link.delay": "two seconds are within what a link is allowed (docs/safety.md, S22)",
    "link.duplicate": "each datagram counts once",
    "commands.odd": "commands are given again until they are done",
    "witness.wiped": "taught again in a moment",
    "witness.restart": "as before",
}


def is_told_elsewhere(name: str, given: dict[str, Any]) -> bool:
    """Say whether the fault has its reason above; a system disk counts as the record, a few lost frames as late."""
    return name in ELSEWHERE or given.get("disk") == "vda" or given.get("probability") == 0.3


@pytest.mark.parametrize(
    "fault",
    [one for one in FAULTS if not is_told_elsewhere(one[0], one[2])],
    ids=lambda one: f"{one[0]} {one[1]} {one[2]}",
)
def test_fault_that_stays_is_told(fault: tuple[str, str, dict[str, Any]]) -> None:
    """Within two minutes a node tells the service centre."""
    row = Row(POWER)
    before = len(row.world.alerts)
    row.breaks(fault[0], fault[1], **fault[2])
    row.passes(LIMIT_S)
    assert row.world.alerts[before:], row.world.summary()


@pytest.mark.parametrize(
    ("fault", "who"), [("witness.down w1", [A, B]), ("witness.mute w1", [A, B]), ("witness.cut b/w1", [B])]
)
def test_witness_that_is_missed_is_told_and_that_it_is_back(fault: str, who: list[str]) -> None:
    """Each node tells what it sees for itself, once."""
    row = Row(WITNESS)
    found = row.breaks(*fault.split())
    row.passes(25.0)
    assert "witness_failed" not in row.alerts()
    row.passes(35.0)
    assert [row.alerts(node).count("witness_failed") for node in (A, B)] == [node in who for node in (A, B)]
    assert row.world.protected()
    row.heals(found)
    row.passes(20.0)
    assert [row.alerts(node).count("witness_restored") for node in (A, B)] == [node in who for node in (A, B)]


def test_node_that_was_out_of_service_for_long_missed_no_witness() -> None:
    """It asked nobody while it waited for its peer, so nobody was silent."""
    row = Row(WITNESS)
    row.breaks("power.cut_both", "a+b")
    row.world.machines[B].power_on()
    row.passes(120.0)
    row.world.machines[A].power_on()
    row.passes(60.0)
    assert "witness_failed" not in row.alerts()
    row.recovers()
