"""Group B of the fault catalogue: the private link."""

from __future__ import annotations

from itertools import pairwise

import pytest

from avance.core.model import LinkName, PairState
from tests.playbook import BIZ, PRIV, A, B
from tests.sim.links import LINKS
from tests.sim.rows import PLAIN, SAFE, SEEDS, WITNESS, Row
from tests.sim.site import SimSite

EVERY = [WITNESS, PLAIN, SAFE, SimSite(witnesses=1, power=True)]


@pytest.mark.parametrize("site", EVERY)
@pytest.mark.parametrize("seed", SEEDS)
def test_b1_private_link_cut(seed: int, site: SimSite) -> None:
    """By consent over biz0 A goes on alone; B restarts once, then is declared down; no reboot loop, no VM outage."""
    row = Row(site, seed)
    row.breaks("link.cut", "a.priv0")
    row.passes(12.0)
    row.untouched()
    assert row.world.machines[A].record.solo(A)
    assert row.epoch(B) == row.epoch(A)
    row.passes(600.0)
    row.untouched()
    assert len(row.resets(B)) == 1, row.resets(B)
    assert not row.resets(A)
    assert "backup_down" in row.alerts(A)
    row.recovers()
    row.untouched()


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("site", EVERY)
def test_b3_one_direction_cut(site: SimSite, direction: str) -> None:
    """A heartbeat counts only with its echo: both nodes call the link down, and the outcome is that of B1."""
    row = Row(site)
    row.breaks("link.cut_one_way", "a.priv0", direction=direction)
    row.passes(5.0)
    assert row.world.engine(A).liveness.states[PRIV] == "DOWN"
    row.passes(300.0)
    row.untouched()
    assert row.world.machines[A].record.solo(A)
    assert len(row.resets(B)) == 1
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_b4_flapping_private_link(seed: int) -> None:
    """Five minutes of 2 s up and 2 s down: at most one change to alone, at most one restart of B, no failover."""
    row = Row(WITNESS, seed)
    before = row.epoch(A)
    row.world.healed_at = row.world.elapsed_s + 300.0
    row.breaks("link.flap", "a.priv0", down_s=2.0, up_s=2.0)
    row.passes(300.0)
    row.untouched()
    assert row.epoch(A) <= before + 1
    assert len(row.resets(B)) <= 1
    row.recovers()
    row.untouched()


@pytest.mark.parametrize("seed", SEEDS)
def test_b6_heavy_loss(seed: int) -> None:
    """With 30 % loss for ten minutes the pair is protected and slow, or changes to alone; it does not swing.

    By chance a link can lose every echo of 3 s twice in that time: two changes are a minute apart, and never three.
    """
    row = Row(WITNESS, seed)
    before = row.epoch(A)
    row.breaks("link.loss", "a.priv0", probability=0.3)
    row.passes(600.0)
    row.untouched()
    assert row.epoch(A) <= before + 2
    restarts = row.resets(B)
    assert len(restarts) <= 2
    assert all(later - earlier >= 60.0 for earlier, later in pairwise(restarts))
    row.recovers()


@pytest.mark.parametrize("site", EVERY)
@pytest.mark.parametrize("seed", SEEDS)
def test_b10_short_silence(seed: int, site: SimSite) -> None:
    """A silence of 2 s on priv0 changes nothing."""
    row = Row(site, seed)
    before = row.epoch(A)
    fault = row.breaks("link.cut", "a.priv0")
    row.passes(2.0)
    row.heals(fault)
    row.passes(20.0)
    row.untouched(stall_s=3.0)
    assert row.epoch(A) == before
    assert not row.resets(A) + row.resets(B)
    assert row.pair(A) is row.pair(B) is PairState.PAIRED


def test_b13_replayed_heartbeats() -> None:
    """Recorded heartbeats are worth nothing, on any link, in the same run or after a restart; all are counted."""
    row = Row(WITNESS)
    world = row.world
    world.wire = True
    row.passes(20.0)
    recorded = list(world.recorded)
    assert len(recorded) > 50
    daemon = world.machines[B].daemon
    assert daemon is not None
    before = sum(daemon.receiver.rejected.values())
    mine = [(link, cargo) for who, link, cargo in recorded if who == B]
    for link, cargo in mine:
        world.arrive(world.machines[B], link, cargo)
        world.arrive(world.machines[B], next(name for name in ("priv0", "biz0") if name != link), cargo)  # type: ignore[arg-type]  # a link's name
    assert sum(daemon.receiver.rejected.values()) == before + 2 * len(mine)
    row.off(A)
    row.passes(1.0)
    for link, cargo in mine:
        world.arrive(world.machines[B], link, cargo)
    row.passes(30.0)
    row.taken_over(by_s=20.0)  # the echoes of the dead did not keep it alive
    row.recovers()


def test_b13_forged_heartbeats() -> None:
    """Datagrams of a foreign host and altered ones are refused and change nothing."""
    row = Row(WITNESS)
    world = row.world
    world.wire = True
    row.passes(5.0)
    for number, (who, link, cargo) in enumerate(list(world.recorded)):
        assert isinstance(cargo, bytes)
        spoiled = bytearray(cargo)
        spoiled[(number * 7) % len(spoiled)] ^= 1
        world.arrive(world.machines[who], link, bytes(spoiled))
        world.arrive(world.machines[who], link, b"AVH1" + bytes(range(40)))
    row.passes(10.0)
    row.untouched(stall_s=1.0)
    assert world.protected()
    for machine in world.machines.values():
        assert machine.daemon is not None
        assert machine.daemon.receiver.rejected["wrong authentication code"] > 0


def _once_each_way(row: Row, link: LinkName) -> None:
    """One heartbeat of A reaches B on a link, and then one of B, which echoes it, reaches A there."""
    world, port = row.world, row.world.network.ports[A, link]
    heard_s, port.cut_out = world.engine(B).liveness.heard_at_s, 0
    for _ in range(200):
        row.passes(0.005)
        if world.engine(B).liveness.heard_at_s != heard_s:
            break
    port.cut_out, port.cut_in = 1, 0
    lease_s = world.engine(A).liveness.lease_from_s
    for _ in range(200):
        row.passes(0.005)
        if world.engine(A).liveness.lease_from_s != lease_s:
            break
    port.cut_in = 1


@pytest.mark.parametrize("link", [PRIV, BIZ])
@pytest.mark.parametrize("seed", SEEDS)
def test_b16_openings_cross_while_the_backup_waits(seed: int, link: LinkName) -> None:
    """B waits; one heartbeat of A reaches it and its echo reaches A. Only A's watchdog works: B waits for that end."""
    row = Row(WITNESS, seed)
    row.world.boot_s = (30.0, 30.0)
    row.world.machines[A].useless |= {"pause", "reset"}
    row.breaks("witness.cut", "a/w1")
    ports = [row.world.network.ports[A, one] for one in LINKS]
    for port in ports:
        port.cut_in = 1
    row.world.poll()
    row.passes(1.0)
    for port in ports:
        port.cut_out = 1  # A has heard no echo for a second, so its lease ends before B's clock does
    row.world.poll()
    row.passes(5.4)
    assert row.pair(B) is PairState.WAITING
    _once_each_way(row, link)
    row.passes(30.0)
    assert row.resets(A)
    row.taken_over(by_s=60.0, not_before_s=row.resets(A)[0])


@pytest.mark.parametrize("loss", [0.8, 0.85, 0.9, 0.93])
def test_b16_single_frames_by_chance(loss: float) -> None:
    """A loses its way to the witness, and both links lose most frames: the VM runs on one node at every moment."""
    for seed in range(1, 26):
        row = Row(WITNESS, seed)
        row.world.tracing = False
        row.world.boot_s = (30.0, 30.0)
        row.breaks("witness.cut", "a/w1")
        for port in ("a.priv0", "a.biz0"):
            row.breaks("link.loss", port, probability=loss)
        row.passes(90.0)
