"""Two engines against each other in a tiny world: service is reached, one death is survived, nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avance.core import commands as c
from avance.core.model import NodeId, PairState, VmState
from tests.playbook import BIZ, PRIV, A, B
from tests.unit.avance.core.pair_world import World

TRANSCRIPT = Path(__file__).resolve().parents[4] / "tests" / "transcripts" / "heartbeat_loss.txt"
HISTORIES = 200


def in_service(seed: int = 0, tick_s: float = 0.25) -> World:
    """Return a world whose pair has elected itself and is protected."""
    world = World(seed, tick_s=tick_s)
    world.boot(A)
    world.boot(B)
    world.run_until(world.protected, 30.0)
    return world


def first(world: World, node: NodeId, name: str, since: float = 0.0) -> float:
    """Return when a node first commanded something after a moment."""
    return next(at for at, who, command in world.commands
                if who == node and type(command).__name__ == name and at >= since)  # fmt: skip


def test_first_election_reaches_protection() -> None:
    """Two empty nodes elect the lower name, make equal volumes, and run the VM once."""
    world = in_service()
    assert world.runner() == A
    assert world.machines[A].record == world.machines[B].record
    assert world.machines[A].record.owner == A
    assert world.machines[A].record.epoch == 1
    assert world.machines[A].record.fresh == (), "a volume that may have been written is not fresh any more"
    order = ["PrepareVolume", "AttachDisk", "ConnectDisk", "InitialiseDisk", "PromoteDisk", "StartDomain"]
    times = [first(world, A, name) for name in order]
    assert times == sorted(times)
    assert all(who == A for _, who, command in world.commands
               if isinstance(command, c.InitialiseDisk | c.PromoteDisk | c.StartDomain))  # fmt: skip


def test_death_of_the_primary_is_survived() -> None:
    """The backup waits, saves, promotes, starts, in this order, and has every acknowledged write."""
    world = in_service()
    world.run(20.0)
    dead_at = world.now
    world.kill(A)
    world.run_until(lambda: world.runner() == B, 25.0)
    saved, promoted = first(world, B, "SaveRecord", dead_at), first(world, B, "PromoteDisk", dead_at)
    started, held = first(world, B, "StartDomain", dead_at), first(world, B, "HoldAddress", dead_at)
    assert 16.0 <= saved - dead_at <= 17.5
    assert saved < promoted < started
    assert saved < held
    assert world.machines[B].record.epoch == 2
    assert world.machines[B].record.peer_outdated
    assert world.machines[B].log[: len(world.acknowledged)] == world.acknowledged


def test_returned_primary_becomes_backup() -> None:
    """The old primary adopts the epoch, connects only after both agree, is updated, and the pair is protected again."""
    world = in_service()
    world.kill(A)
    world.run_until(lambda: world.runner() == B, 30.0)
    world.run(10.0)
    back_at = world.now
    world.boot(A)
    world.run_until(world.protected, 30.0)
    engine = world.machines[A].engine
    assert engine is not None
    assert world.runner() == B
    adopted = first(world, A, "SaveRecord", back_at)
    assert adopted < first(world, A, "ConnectDisk", back_at)
    assert world.machines[A].record.owner == B
    assert not world.machines[A].record.peer_outdated
    assert not world.machines[B].record.peer_outdated
    assert world.machines[A].log == world.acknowledged
    assert [name for at, who, name in world.milestones if at >= back_at and who == B] == [
        "peer_returned", "resync_started", "protected",
    ]  # fmt: skip


def test_death_of_the_backup_stops_nothing() -> None:
    """The primary goes on alone without a restart of the VM, and is protected again when the backup is back."""
    world = in_service()
    dead_at = world.now
    world.kill(B)
    world.run(40.0)
    assert world.runner() == A
    assert not any(isinstance(cmd, c.StartDomain | c.DestroyDomain) for at, _, cmd in world.commands if at >= dead_at)
    assert world.machines[A].record.epoch == 2
    world.boot(B)
    world.run_until(world.protected, 30.0)
    assert world.machines[B].log == world.acknowledged


def test_second_takeover_after_recovery() -> None:
    """After a recovery the roles are those of the epoch: the new backup takes over in its turn."""
    world = in_service()
    for victim, heir in ((A, B), (B, A), (A, B)):
        world.kill(victim)
        world.run_until(lambda heir=heir: world.runner() == heir, 30.0)  # type: ignore[misc]  # binds the variable
        world.run(5.0)
        world.boot(victim)
        world.run_until(world.protected, 40.0)
    assert world.machines[A].record.epoch == 4


def test_stale_backup_refuses() -> None:
    """A backup that came back with an old copy and was not updated yet never takes over."""
    world = in_service()
    world.kill(B)
    world.run(30.0)
    world.links[PRIV] = False
    world.boot(B)
    world.run(10.0)
    world.kill(A)
    world.run(60.0)
    assert world.runner() is None
    engine = world.machines[B].engine
    assert engine is not None
    assert engine.units[next(iter(engine.units))].state is VmState.STANDBY
    world.links[PRIV] = True
    world.boot(A)
    world.run_until(world.protected, 60.0)
    assert world.runner() == A
    assert world.machines[B].log == world.acknowledged


def test_one_lost_link_changes_nothing() -> None:
    """Without the business link the pair stays paired and the VM runs on."""
    world = in_service()
    world.links[BIZ] = False
    world.run(40.0)
    assert world.protected()
    assert all(m.engine is not None and m.engine.pair is PairState.PAIRED for m in world.machines.values())


@pytest.mark.parametrize("block", range(10))
def test_random_histories_are_safe_and_recover(block: int) -> None:
    """In seeded histories of node deaths, single link cuts and odd outcomes, there is never a second writer.

    Every acknowledged write survives and the pair recovers at the end. Partitions without a death (both links cut
    between living nodes) are left out: today they can lead to two writers, until lease and watchdog exist.
    """
    for seed in range(block, HISTORIES, 10):
        try:
            _one_history(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def _one_history(seed: int) -> None:
    world = in_service(seed=seed, tick_s=0.5)
    world.trouble = 0.15 if seed % 3 else 0.0
    world.run(world.random.uniform(0.0, 20.0))
    for _ in range(world.random.randrange(1, 5)):
        node = A if world.random.random() < 0.5 else B
        happening = world.random.random()
        if happening < 0.6:
            (world.boot if world.machines[node].engine is None else world.kill)(node)
        else:
            link = PRIV if world.random.random() < 0.5 else BIZ
            if all(world.links.values()) or not world.links[link]:
                world.links[link] = not world.links[link]
                world._settle_disks()
        world.run(world.random.uniform(0.0, 30.0))
    world.links = {PRIV: True, BIZ: True}
    world._settle_disks()
    for machine in world.machines.values():
        if machine.engine is None:
            world.boot(machine.name)
    _recover(world)


def _recover(world: World) -> None:
    """Demand protection in bounded time; a fenced node is restarted once, as its alert asks for."""
    world.trouble = 0.0
    world.run(30.0)
    for machine in world.machines.values():
        if machine.engine is not None and machine.engine.pair is PairState.FENCED:
            world.run(5.0)
            world.kill(machine.name)
            world.boot(machine.name)
    world.run_until(world.protected, 120.0)
    runner = world.runner()
    assert runner is not None
    lost = set(world.acknowledged) - set(world.machines[runner].log)
    assert not lost, f"{len(lost)} acknowledged writes are lost"


def test_transcript_of_a_lost_heartbeat() -> None:
    """The story from a lost heartbeat to the restarted VM reads as it is kept in tests/transcripts."""
    world = in_service(tick_s=0.1)
    world.run(5.0)
    world.trace.clear()
    world.trace.append(f"{world.now - 1000.0:7.2f} s  -  node a is switched off; b heard it last just before")
    world.kill(A)
    world.run_until(lambda: world.runner() == B, 30.0)
    world.run(2.0)
    head = (
        "# Made by tests/unit/avance/core/test_pair_of_engines.py (AVANCE_REGENERATE=1 writes it anew).\n"
        "# time   node  event | changes => commands  # reasons\n"
    )
    text = head + "\n".join(world.trace) + "\n"
    if os.environ.get("AVANCE_REGENERATE"):
        TRANSCRIPT.write_text(text)
    assert TRANSCRIPT.read_text() == text
