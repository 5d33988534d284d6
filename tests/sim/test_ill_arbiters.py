"""What gives a right is ill and stays so, or was away for a moment: it is never worse than silence, and asked again.

A witness that was restarted or has lost what it knew, a BMC that answers late, a survivor that boots without anybody.
"""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core.model import PairState
from tests.playbook import A, B
from tests.sim.rows import POWER, SEEDS, WITNESS, Row
from tests.sim.site import SimSite

POLICIES = ("availability", "safety")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_witness_is_restarted_while_a_node_is_alone(seed: int, policy: str) -> None:
    """B is dead, the witness restarts with its state, A reboots: the last man standing serves (H24, J3)."""
    row = Row(SimSite(witnesses=1, policy=policy), seed)
    row.off(B)
    row.passes(40.0)
    row.breaks("witness.restart", "w1")
    row.breaks("power.reset", "a")
    row.passes(120.0)
    assert row.served_by() == A, row.world.summary()
    row.recovers()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_witness_that_lost_everything_is_taught_by_the_lone_owner(seed: int, policy: str) -> None:
    """The owner that alone may write teaches it by itself, and later boots by its yes; B is refused all the time."""
    row = Row(SimSite(witnesses=1, policy=policy), seed)
    row.off(B)
    row.passes(40.0)
    row.heals(row.breaks("witness.wiped", "w1"))
    row.passes(10.0)
    row.breaks("power.reset", "a")
    row.passes(120.0)
    assert row.served_by() == A, row.world.summary()
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_untaught_witness_is_not_worse_than_a_silent_one(seed: int) -> None:
    """It loses its memory in the moment in which the last man standing loses its power: A serves as without it."""
    row = Row(WITNESS, seed)
    row.off(B)
    row.passes(40.0)
    off = row.off(A)
    row.heals(row.breaks("witness.wiped", "w1"))
    row.heals(off)
    row.passes(120.0)
    assert row.served_by() == A, row.world.summary()


@pytest.mark.parametrize("offset_s", [-3.0, -1.0, -0.2, 0.0, 0.2, 1.0, 4.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_witness_is_restarted_as_the_backup_dies(seed: int, offset_s: float) -> None:
    """It knows what it knew, so A goes on as if nothing had been (H24)."""
    row = Row(WITNESS, seed)
    if offset_s <= 0:
        row.breaks("witness.restart", "w1")
        row.passes(-offset_s)
    row.off(B)
    if offset_s > 0:
        row.passes(offset_s)
        row.breaks("witness.restart", "w1")
    row.passes(60.0)
    row.untouched()


@pytest.mark.parametrize("seed", SEEDS)
def test_witness_that_refuses_is_never_passed_over(seed: int) -> None:
    """B has taken over by the witness's yes; A comes back alone, and its no is a real answer: A does not serve."""
    row = Row(WITNESS, seed)
    off = row.off(A)
    row.passes(40.0)
    assert row.served_by() == B
    row.breaks("witness.restart", "w1")
    row.isolated(B)
    row.heals(off)
    row.passes(60.0)
    row.never_on(A)


@pytest.mark.parametrize("away_s", [2.0, 6.0, 10.0, 20.0, 60.0, 200.0])
def test_bmc_that_was_away_is_asked_again(away_s: float) -> None:
    """Policy safety, no witness: A is dead, and its BMC answers some time later. B serves then, and it was told."""
    row = Row(SimSite(power=True, policy="safety"))
    away = row.breaks("bmc.unreachable", "a")
    row.off(A)
    row.passes(away_s)
    row.heals(away)
    row.passes(min(max(away_s, 20.0), 160.0) + 30.0)
    assert row.served_by() == B, row.world.summary()
    assert ("fence_failed" in row.alerts(B)) == (away_s >= 10.0)


@pytest.mark.parametrize("site", [POWER, SimSite(power=True), SimSite(power=True, policy="safety")])
def test_bmc_that_stays_away_is_asked_less_and_less(site: SimSite) -> None:
    """An hour without an answer: thirty orders at most, one alert, and nobody waits for it who has another right."""
    row = Row(site)
    row.breaks("bmc.unreachable", "a")
    row.off(A)
    row.passes(3600.0)
    assert len(row.since(B, c.CutPeerPower)) <= 30
    assert row.alerts(B).count("fence_failed") <= 1
    assert row.served_by() == (B if site.witnesses or site.policy == "availability" else None)


def _elected(policy: str, seed: int) -> Row:
    """Return a pair whose witness is dead, so that A was elected as the survivor."""
    row = Row(SimSite(witnesses=1, policy=policy), seed)
    row.breaks("witness.down", "w1")
    row.passes(60.0)
    assert row.world.machines[A].record.arbiters == row.world.machines[B].record.arbiters == ("survivor:a",)
    return row


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_elected_survivor_boots_without_anybody(seed: int, policy: str, alone: bool) -> None:
    """Both lost their power, and the links stay cut, or B stays off: A serves by policy, and B never (row J13)."""
    row = _elected(policy, seed)
    off = row.breaks("power.cut_both", "a+b")
    apart = row.apart()
    row.passes(5.0)
    for node in (A,) if alone else (A, B):
        row.world.machines[node].power_on()
    row.passes(120.0)
    assert row.served_by() == (A if policy == "availability" else None), row.world.summary()
    if policy == "safety":
        assert "waits_for_peer" in row.alerts(A)
    row.never_on(B)
    row.heals(off, *apart)
    row.recovers()
    assert row.served_by() == A


@pytest.mark.parametrize("seed", SEEDS)
def test_other_node_never_boots_as_the_survivor(seed: int) -> None:
    """A was elected and stays off: B waits, and says for whom."""
    row = _elected("availability", seed)
    row.breaks("power.cut_both", "a+b")
    row.passes(5.0)
    row.world.machines[B].power_on()
    row.passes(300.0)
    row.never_on(B)
    assert row.pair(B) is PairState.WAITING
    assert "waits_for_peer" in row.alerts(B)
