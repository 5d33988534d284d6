"""What a backup foresees beside what happens: the seconds of each means, and no takeover where none is foreseen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avance.core.model import Forecast
from avance.core.readiness import AGAIN_S, TOLD_S
from tests.playbook import DB, WEB, A, B
from tests.sim.rows import PLAIN, POWER, SAFE, SEEDS, TWO, WITNESS, Row
from tests.sim.site import SimSite

WITHIN_S = 1.5
BMC_ALONE = SimSite(power=True, policy="safety")
BMC_OR_POLICY = SimSite(power=True)
NO_GATEWAY = SimSite(gateway=False)
TWO_VMS = SimSite(witnesses=1, vms=(WEB, DB))


def foreseen(row: Row) -> Forecast:
    """Return what the backup foresees; the owner shows the same."""
    found = []
    for node in (A, B):
        engine = row.world.engine(node)
        found.append(engine.readiness.seen(engine.sight, row.world.machines[node].mono()))
    assert found[0] == found[1]
    assert found[1] is not None
    assert found[1][0] == B
    forecast: Forecast = found[1][1]
    return forecast


@pytest.mark.parametrize("site", [WITNESS, TWO, PLAIN, NO_GATEWAY])
@pytest.mark.parametrize("seed", SEEDS)
def test_a1_the_seconds_come_true(seed: int, site: SimSite) -> None:
    """By a witness, and by policy."""
    row = Row(site, seed)
    found = foreseen(row)
    assert found.ready
    assert found.seconds is not None
    assert row.world.engine(B).view(row.world.machines[B].mono()).forecast is None, "what is usual costs nothing"
    row.off(A)
    row.passes(30.0)
    assert abs(row.passed(B, "vm_start_commanded") - found.seconds) <= WITHIN_S


@pytest.mark.parametrize("site", [POWER, BMC_ALONE, BMC_OR_POLICY])
@pytest.mark.parametrize("power", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_a1_the_seconds_with_a_bmc_come_true(seed: int, power: bool, site: SimSite) -> None:
    """One figure for a death that leaves the power on, and one for a power cut."""
    row = Row(site, seed)
    found = foreseen(row)
    seconds = found.seconds if power else found.off_s
    assert seconds is not None
    if power:
        row.breaks("node.pause", "a")
    else:
        row.off(A)
    row.passes(30.0)
    assert abs(row.passed(B, "vm_start_commanded") - seconds) <= WITHIN_S


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bmc_out_of_reach_is_foreseen(seed: int) -> None:
    """The witness gives the right all the same; it takes longer."""
    row = Row(POWER, seed)
    row.breaks("bmc.unreachable", "a")
    row.passes(200.0)
    found = foreseen(row)
    assert found.seconds is not None
    row.breaks("node.pause", "a")
    row.passes(40.0)
    assert abs(row.passed(B, "vm_start_commanded") - found.seconds) <= WITHIN_S


def _survivor(row: Row) -> None:
    row.breaks("witness.down", "w1")
    row.passes(150.0)


def _witness(row: Row) -> None:
    row.breaks("witness.down", "w1")
    row.passes(10.0)


def _copy_filled(row: Row) -> None:
    back = row.off(B)
    row.passes(40.0)
    row.world.resync_factor = 100.0
    row.heals(back)
    row.world.run_until(lambda: row.world.resources[WEB].sides[B].syncing != "", 60.0)
    row.passes(2.0)


def _quarantine(row: Row) -> None:
    for _ in range(7):
        row.off(B)
        row.passes(25.0)
        row.world.machines[B].power_on()
        row.passes(45.0)


def _bmc(row: Row) -> None:
    row.breaks("bmc.unreachable", "a")
    row.passes(200.0)


@pytest.mark.parametrize(
    ("site", "before", "why"),
    [
        (SAFE, lambda row: row.passes(1.0), "site policy safety gives no right"),
        (WITNESS, _survivor, "node a is the pre-elected survivor"),
        (WITNESS, _witness, "witness w1 is in office and does not answer"),
        (WITNESS, _copy_filled, ""),
        (WITNESS, _quarantine, ""),
        (BMC_ALONE, _bmc, "site policy safety gives no right"),
    ],
)
def test_a_takeover_that_is_not_foreseen_does_not_come(site: SimSite, before: Callable[[Row], None], why: str) -> None:
    """The survivor is the other node, the witness is away, the copy is behind, the backup is in quarantine ..."""
    row = Row(site)
    before(row)
    found = foreseen(row)
    assert found.seconds is None
    assert found.reasons[0].startswith(why)
    assert why or {one.lacks for one in found.vms} <= {"filling", "quarantine"}
    row.breaks("node.pause", "a")
    row.passes(120.0)
    row.never_on(B)


def test_d7_people_hear_of_it_before() -> None:
    """The pre-elected survivor is the primary: its death would end the service, and that is told a minute later."""
    row = Row(WITNESS)
    fault = row.breaks("witness.down", "w1")
    row.passes(45.0)
    assert "not_ready" not in row.alerts()
    row.passes(TOLD_S + 60.0)
    assert row.alerts().count("not_ready") == 1
    assert "not_ready" in row.alerts(B)
    row.heals(fault)
    row.passes(60.0)
    assert row.alerts(B).count("ready_again") == 1
    assert foreseen(row).ready


def test_g20_memory_that_does_not_hold_all_vms_is_told() -> None:
    """In the order of the definitions: the first fits, and the last does not."""
    row = Row(TWO_VMS)
    row.world.machines[B].free_mib = 150
    row.passes(TOLD_S + 10.0)
    assert [(one.vm, one.lacks) for one in foreseen(row).vms] == [(DB, "memory")]
    assert row.alerts(B).count("not_ready") == 1
    row.world.machines[B].free_mib = 4096
    row.passes(10.0)
    assert row.alerts(B).count("ready_again") == 1


def test_a_resynchronisation_is_a_reason_and_no_alert() -> None:
    """The pair says that it is not protected; one that lasts is told."""
    row = Row(WITNESS)
    _copy_filled(row)
    assert [(one.vm, one.lacks) for one in foreseen(row).vms] == [(WEB, "filling")]
    row.passes(2 * TOLD_S)
    assert "not_ready" not in row.alerts()


def test_a_calm_pair_stays_calm() -> None:
    """A forecast that is made anew changes nothing and is not sent."""
    row = Row(WITNESS)
    row.world.alerts.clear()
    row.passes(3 * AGAIN_S)
    assert row.world.engine(B).rest_until_s > row.world.machines[B].mono() - 0.5
    assert not row.alerts()
