"""The documented hole, as the judges know it: it forgives what was written in it while it is open, nothing else."""

from __future__ import annotations

import pytest

from tests.playbook import WEB, A, B
from tests.sim.history import split
from tests.sim.judges import STOPS_S, Violation
from tests.sim.rows import PLAIN, SEEDS, Row


def _in_the_hole(seed: int = 1) -> Row:
    """Return a pair whose nodes have no path to each other, and whose hole is open; A went on alone by policy."""
    row = Row(PLAIN, seed)
    row.apart()
    row.world.run_until(lambda: row.acknowledged_by(A) > 3, 20.0)
    assert row.world.judges.hole_open
    return row


@pytest.mark.parametrize("seed", SEEDS)
def test_writes_before_the_hole_are_not_forgiven(seed: int) -> None:
    """B's copy lacks a write that both had confirmed before: its VM must not start, hole or not."""
    row = _in_the_hole(seed)
    before = [n for n in row.world.acknowledged if n not in row.world.judges.alone[A]]
    row.world.loses(B, before[-1])
    with pytest.raises(Violation, match="I2"):
        row.passes(60.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_writes_of_the_hole_belong_to_their_node(seed: int) -> None:
    """What A acknowledged alone may be missing on B's copy, and never on A's own."""
    row = _in_the_hole(seed)
    judges, sides = row.world.judges, row.world.resources[WEB].sides
    assert not judges.missing(WEB, sides[B].data, B)
    own = max(judges.alone[A])
    assert not judges.missing(WEB, sides[A].data, A)
    row.world.loses(A, own)
    assert own in judges.missing(WEB, sides[A].data, A)


def test_hole_closes_when_the_nodes_have_met() -> None:
    """Some seconds after both hear each other again the usual rules hold: two running VMs are a violation."""
    row = Row(PLAIN)
    apart = row.apart()
    row.passes(4.0)
    opened = row.world.judges.hole_open
    row.heals(*apart)
    row.passes(12.0)
    assert (opened, row.world.judges.hole_open, row.world.judges.hole) == (True, False, True)
    row.world.machines[B].domains[WEB] = True
    with pytest.raises(Violation, match="I4"):
        row.world.judges.placement_changed()


def test_writes_after_a_known_split_are_a_violation() -> None:
    """A node that knows of the split and goes on acknowledging is found, whatever was forgiven before."""
    row = Row(PLAIN)
    apart = row.apart()
    row.passes(60.0)
    row.heals(*apart)
    row.world.run_until(lambda: split(row.world), 15.0)
    _acknowledges(row)
    row.world.now += STOPS_S + 1.0
    with pytest.raises(Violation, match="I3"):
        _acknowledges(row)


def _acknowledges(row: Row) -> None:
    resource = row.world.resources[WEB]
    side, other = resource.pair(A)
    row.world.judges.acknowledged(resource, side, other, row.world.next_write(), alone=False)


def test_equal_copies_are_judged_when_the_daemon_knows() -> None:
    """In the 10 ms between a detach and its event nobody says anything false; a second later it would be."""
    row = Row(PLAIN)
    row.breaks("disk.gone", "b")
    row.world.resources[WEB].write(A)
    row.world.judges.look()
    row.passes(0.1)
    assert not row.world.protected()
