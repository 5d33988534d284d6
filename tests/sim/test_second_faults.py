"""Somebody serves after a second fault: it meets a pair that starts, that was moved, or that may not be paired.

In each row a node with a good copy lives, and only a restart of it would have made it serve, or the death of its peer.
"""

from __future__ import annotations

import pytest

from avance.core.model import NodeId, PairState, Stand, Version
from tests.playbook import WEB, A, B
from tests.sim.demand import is_served, said
from tests.sim.rows import PLAIN, SAFE, WITNESS, Row
from tests.sim.site import SimSite


def _holds(row: Row, node: NodeId, version: str) -> None:
    """Let a node hold definitions of its own from its next start on; neither node's come from the other's."""
    machine = row.world.machines[node]
    machine.config_hash, machine.stand = version, Stand(Version(0, version))


def test_a_guest_that_was_moved_comes_back_with_the_right() -> None:
    """It died five times on A and runs on B; then B dies, and A, the only node left, starts it at once."""
    row = Row(WITNESS)
    row.world.machines[A].dying_vms[WEB] = 15.0
    row.world.machines[A].end_domain(WEB, crashed=True)
    row.passes(200.0)
    assert row.served_by() == B, row.world.summary()
    row.world.machines[A].dying_vms.clear()
    row.off(B)
    row.passes(60.0)
    assert row.served_by() == A, row.world.summary()
    row.recovers()


@pytest.mark.parametrize("site", [WITNESS, PLAIN])
@pytest.mark.parametrize("how", ["power.reset", "process.kill"])
def test_a_lone_owner_starts_beside_a_peer_with_another_site(site: SimSite, how: str) -> None:
    """A serves alone, B is back with other definitions, and A starts anew: B need not be off for A to serve."""
    row = Row(site)
    off = row.off(B)
    _holds(row, B, "other")
    row.passes(60.0)
    row.heals(off)
    row.passes(30.0)
    row.breaks(how, "a" if how == "power.reset" else "a/daemon")
    row.passes(60.0)
    assert row.served_by() == A, row.world.summary()
    assert row.pair(A) is PairState.ALONE
    assert any("configurations differ" in one or "outdated in epoch" in one for one in said(row.world))
    _holds(row, B, "c0ffee")
    row.breaks("process.kill", "b/daemon")
    row.recovers()


@pytest.mark.parametrize("site", [WITNESS, PLAIN, SAFE])
def test_nodes_with_other_sites_that_start_together(site: SimSite) -> None:
    """The witness lets the owner serve; without one neither does, and both say what both need, not that nobody came."""
    row = Row(site)
    off = row.breaks("power.cut_both", "a+b")
    _holds(row, A, "other")
    row.passes(5.0)
    row.heals(off)
    assert is_served(row.world) is bool(site.witnesses), row.world.summary()
    row.never_on(B)
    heard = [text.partition(",")[0] for text in said(row.world)]
    assert heard == ["a: node b is heard", "b: node a is heard"][bool(site.witnesses) :]
    assert row.alerts().count("pair_mismatch") == 2
    _holds(row, A, "c0ffee")
    row.breaks("process.kill", "a/daemon")
    row.recovers()


@pytest.mark.parametrize("site", [WITNESS, PLAIN, SAFE])
def test_no_right_is_given_to_a_node_without_a_record(site: SimSite) -> None:
    """A's disks die and B cannot write its record: the VM runs on over the link, and is not stopped for a move."""
    row = Row(site)
    row.breaks("store.refuses", "b")
    row.breaks("disk.gone", "a")
    assert is_served(row.world)
    assert "store_failed" in row.alerts(B)
    row.recovers()


@pytest.mark.parametrize("site", [WITNESS, PLAIN])
def test_an_owner_that_loses_all_its_disks_says_so(site: SimSite) -> None:
    """It cannot record that it hands over, so nothing moves, and the VM runs on over the link; people hear of both."""
    row = Row(site)
    row.breaks("disk.gone", "a")
    row.breaks("store.refuses", "a")
    assert is_served(row.world)
    assert {"copy_lost", "store_failed"} <= {*row.alerts(A)}
    row.recovers()
