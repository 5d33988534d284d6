"""Group H of the fault catalogue: gray faults of operating system and processes."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core.model import PairState, Stand, Version
from tests.playbook import A, B
from tests.sim.rows import PLAIN, SAFE, SEEDS, WITNESS, Row
from tests.sim.site import SimSite


@pytest.mark.parametrize("site", [WITNESS, PLAIN, SAFE])
@pytest.mark.parametrize("seed", SEEDS)
def test_h1_daemon_killed(seed: int, site: SimSite) -> None:
    """The supervisor restarts it; the VM keeps running, no failover, protected again."""
    for node, start_s in (("a", 3.0), ("b", 3.0), ("a", 6.5), ("b", 6.5)):
        row = Row(site, seed)
        row.world.supervisor_s = (start_s, start_s)  # 6.5: longer than the peer-lost time, as under emulation
        row.breaks("process.kill", f"{node}/daemon")
        row.passes(30.0)
        row.untouched()
        assert not row.resets(A) + row.resets(B)
        assert row.world.protected(), row.world.summary()
        row.recovers()


@pytest.mark.parametrize("site", [WITNESS, PLAIN])
@pytest.mark.parametrize("seed", SEEDS)
def test_h2_daemon_stopped_for_ever(seed: int, site: SimSite) -> None:
    """The watchdog resets A after 10 s, B takes over at about 17 s; B is not reset."""
    row = Row(site, seed)
    row.world.boot_s = (20.0, 30.0)  # a node that is back before the take-over wait ends simply goes on
    row.breaks("process.stop", "a/daemon")
    row.passes(30.0)
    assert 8.5 <= row.resets(A)[0] <= 10.5
    assert not row.resets(B)
    row.taken_over(by_s=20.0, not_before_s=15.5)
    row.recovers()


@pytest.mark.parametrize("site", [WITNESS, PLAIN, SAFE])
@pytest.mark.parametrize("seed", SEEDS)
def test_h3_daemon_stopped_for_a_moment(seed: int, site: SimSite) -> None:
    """Four seconds change nothing, but they are told."""
    row = Row(site, seed)
    before = row.epoch(A)
    fault = row.breaks("process.stop_for", "a/daemon")
    row.passes(4.0)
    row.heals(fault)
    row.passes(30.0)
    row.untouched(stall_s=1.0)
    assert (A, "daemon_lag") in [(node, code) for _, node, code in row.world.alerts]
    assert (A, "peer_lost") not in [(node, code) for _, node, code in row.world.alerts]
    assert row.epoch(A) == row.epoch(B) == before
    assert not row.resets(A) + row.resets(B)
    row.recovers()


@pytest.mark.parametrize("node", ["a", "b"])
def test_h5_busy_loop(node: str) -> None:
    """A loop that is blocked for 100 ms at a time, a thousand times, causes neither takeover nor reset."""
    row = Row(WITNESS)
    fault = row.breaks("process.blocked", f"{node}/daemon", blocked_s=0.1)
    row.passes(100.0)
    row.heals(fault)
    row.untouched(stall_s=1.0)
    assert not row.resets(A) + row.resets(B)
    row.recovers()


def test_h5_loop_slower_than_its_limit() -> None:
    """A loop that is always more than 2 s late does not feed the watchdog: the node is reset, B takes over."""
    row = Row(WITNESS)
    row.world.boot_s = (20.0, 30.0)
    row.breaks("process.blocked", "a/daemon", blocked_s=3.0)
    row.passes(16.0)
    assert row.resets(A), row.world.summary()
    row.passes(20.0)
    assert row.served_by() is not None
    row.recovers()


@pytest.mark.parametrize("how", ["node.pause", "node.freeze"])
@pytest.mark.parametrize("site", [WITNESS, SimSite(witnesses=2, policy="safety"), SimSite(witnesses=1, power=True)])
@pytest.mark.parametrize("seed", SEEDS)
def test_h6_primary_stands_still(seed: int, site: SimSite, how: str) -> None:
    """B takes over; A, when it continues, is fenced or reset; no write of A is acknowledged after the pause."""
    row = Row(site, seed)
    fault = row.breaks(how, "a")
    row.passes(60.0)
    assert row.served_by() == B
    alone = row.acknowledged_by(A)
    row.heals(fault)
    row.passes(15.0)
    assert row.acknowledged_by(A) == alone
    if not site.power:
        assert row.resets(A), row.world.summary()
    row.recovers()
    assert row.served_by() == B


@pytest.mark.parametrize("site", [WITNESS, PLAIN])
@pytest.mark.parametrize("seed", SEEDS)
def test_h8_backup_stands_still(seed: int, site: SimSite) -> None:
    """A goes on alone; B is updated after it continues."""
    row = Row(site, seed)
    fault = row.breaks("node.pause", "b")
    row.passes(60.0)
    row.untouched()
    row.heals(fault)
    row.passes(10.0)
    row.recovers()
    row.untouched()


@pytest.mark.parametrize("seed", SEEDS)
def test_h9_witness_paused(seed: int) -> None:
    """No effect while the nodes are connected; they elect a survivor."""
    row = Row(WITNESS, seed)
    row.breaks("witness.pause", "w1")
    row.passes(120.0)
    row.untouched(stall_s=1.0)
    assert row.world.machines[A].record.arbiters == row.world.machines[B].record.arbiters == ("survivor:a",)
    row.recovers()


def test_h20_configuration_of_one_node_differs() -> None:
    """A node with another configuration is told apart and never paired with; with the right one all is well again.

    Neither node's comes from the other's, so no node takes the other's by itself: nothing is guessed.
    """
    row = Row(WITNESS)
    node = row.world.machines[B]
    node.config_hash, node.stand = "spoiled", Stand(Version(0, "spoiled"))
    back = row.off(B)
    row.passes(20.0)
    row.heals(back)
    row.passes(60.0)
    assert row.served_by() == A
    assert row.pair(B) is not PairState.PAIRED
    assert "mismatch" in " ".join(row.alerts())
    assert not [command for _, who, command in row.world.commands if who == B and isinstance(command, c.StartDomain)]
    node.config_hash, node.stand = "c0ffee", Stand(Version(0, "c0ffee"))
    row.breaks("process.kill", "b/daemon")
    row.passes(60.0)
    row.recovers()
