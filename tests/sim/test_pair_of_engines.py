"""Two engines against each other in the simulated world: the stories that a reader should know, kept as transcripts.

The world is that of `tests/sim`, which tries them with thousands of other histories; here each story is one.
"""

from __future__ import annotations

import os
import pickle
from functools import cache
from pathlib import Path

import pytest

from avance.core import commands as c
from avance.core.model import NodeId, PairState
from tests.playbook import A, B
from tests.sim import inject as faults
from tests.sim.inject import Fault
from tests.sim.site import SimSite
from tests.sim.world import World

TRANSCRIPTS = Path(__file__).resolve().parents[1] / "transcripts"
HEAD = (
    "# Made by tests/sim/test_pair_of_engines.py (AVANCE_REGENERATE=1 writes it anew).\n"
    "# time   node  event | changes => commands  # reasons\n"
)
PLAIN = SimSite()


@cache
def frozen(site: SimSite) -> bytes:
    """Return such a world as bytes: to make equal ones of it is much faster than to let each come into service."""
    world = World.in_service(0, site=site, tick_s=0.1)
    world.trace.clear()
    assert world.runner() == A
    return world.frozen_copy()


def in_service(site: SimSite = PLAIN) -> World:
    """Return a world whose pair is protected, with an empty trace; node a runs the VM."""
    world: World = pickle.loads(frozen(site))
    return world


def breaks(world: World, name: str, target: str) -> Fault:
    """Inject a fault."""
    fault = Fault(name, target, world.elapsed_s, None, {})
    faults.inject(world, fault)
    return fault


def first(world: World, node: NodeId, kind: type[c.Command], since: float = 0.0) -> float:
    """Return when a node first gave a command of a kind after a moment."""
    return next(at for at, who, command in world.commands if who == node and isinstance(command, kind) and at >= since)


def compare(world: World, name: str) -> None:
    """Compare what was traced with the kept transcript."""
    text = HEAD + "\n".join(world.trace) + "\n"
    path = TRANSCRIPTS / f"{name}.txt"
    if os.environ.get("AVANCE_REGENERATE"):
        path.write_text(text)
    assert path.read_text() == text


# ---------------------------------------------------------------- transcripts


def test_transcript_of_a_lost_heartbeat() -> None:
    """The story from a lost heartbeat to the restarted VM reads as it is kept in tests/transcripts."""
    world = in_service()
    world.kill(A)
    world.run_until(lambda: world.runner() == B, 30.0)
    world.run(2.0)
    compare(world, "heartbeat_loss")


def test_transcript_of_a_lost_private_link() -> None:
    """The backup consents over the public link and restarts once; the cured link makes the pair redundant again."""
    world = in_service()
    cut = breaks(world, "link.cut", "a.priv0")
    world.run(40.0)
    assert world.runner() == A, "the VM has not moved"
    assert [command.reason for _, who, command in world.commands if isinstance(command, c.ResetNode) and who == B] == [
        "the private link is down: this backup restarts in the hope of a cure"
    ]
    faults.heal(world, cut)
    world.run_until(world.protected, 60.0)
    compare(world, "private_link_lost")


def test_transcript_of_an_operators_override() -> None:
    """Under policy `safety` the backup waits until a person vouches that the dead primary stays off."""
    world = in_service(SimSite(policy="safety"))
    world.kill(A)
    world.run(25.0)
    assert world.runner() is None
    world.operator(B, "override", B)
    world.run(1.0)
    assert world.runner() is None, "the wrong name was typed"
    world.operator(B, "override", A)
    world.run_until(lambda: world.runner() == B, 5.0)
    compare(world, "operator_override")


def test_transcript_of_a_frozen_primary() -> None:
    """A primary that stood still while the other took over is fenced when it goes on, and returns as the backup."""
    world = in_service()
    pause = breaks(world, "node.pause", "a")
    world.run_until(lambda: world.runner() == B, 30.0)
    world.run(10.0)
    faults.heal(world, pause)
    world.run_until(lambda: bool(world.machines[A].resets), 2.0)
    world.run_until(world.protected, 60.0)
    assert world.runner() == B
    compare(world, "frozen_primary")


def test_transcript_of_a_primary_that_is_switched_off() -> None:
    """With a witness and a BMC the backup is granted the epoch, switches the silent primary off, and takes over."""
    world = in_service(SimSite(witnesses=1, power=True))
    breaks(world, "node.pause", "a")
    world.run_until(lambda: world.runner() == B, 15.0)
    compare(world, "fenced_by_power")


# ---------------------------------------------------------------- promises


def test_first_election_reaches_protection() -> None:
    """Two empty nodes elect the lower name, make equal volumes, and run the VM once."""
    world = World.in_service(0, site=PLAIN)
    assert world.runner() == A
    for machine in world.machines.values():
        assert (machine.record.epoch, machine.record.owner, machine.record.fresh) == (1, A, ())
    order = (c.PrepareVolume, c.AttachDisk, c.ConnectDisk, c.InitialiseDisk, c.PromoteDisk, c.StartDomain)
    times = [first(world, A, kind) for kind in order]
    assert times == sorted(times)
    assert all(
        who == A
        for _, who, command in world.commands
        if isinstance(command, c.InitialiseDisk | c.PromoteDisk | c.StartDomain)
    )


def test_death_of_the_primary_is_survived() -> None:
    """The backup waits, saves, promotes, starts, in this order, and has every acknowledged write."""
    world = in_service()
    dead_at = world.now
    world.kill(A)
    world.run_until(lambda: world.runner() == B, 25.0)
    steps = (c.SaveRecord, c.PromoteDisk, c.StartDomain)
    saved, promoted, started = (first(world, B, kind, dead_at) for kind in steps)
    assert 16.0 <= saved - dead_at <= 17.6
    assert saved < promoted < started
    assert saved < first(world, B, c.HoldAddress, dead_at)
    assert world.machines[B].record.solo(B)
    assert set(world.acknowledged) <= set(world.log(B))


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
    world.run_until(world.protected, 60.0)
    assert set(world.acknowledged) <= set(world.log(B))


def test_roles_follow_the_epoch() -> None:
    """After each recovery the new backup takes over in its turn, with every acknowledged write."""
    world = in_service()
    for victim, heir in ((A, B), (B, A), (A, B)):
        world.kill(victim)
        world.run_until(lambda heir=heir: world.runner() == heir, 30.0)  # type: ignore[misc]  # binds the variable
        world.run(5.0)
        world.boot(victim)
        world.run_until(world.protected, 60.0)
    assert world.machines[A].record.epoch == 4
    assert set(world.acknowledged) <= set(world.log(B))


@pytest.mark.parametrize("target", ["a.biz0", "b.biz0"])
def test_lost_public_link_changes_nothing(target: str) -> None:
    """Without the business link the pair stays paired and the VM runs on."""
    world = in_service()
    breaks(world, "link.cut", target)
    world.run(40.0)
    assert world.protected()
    assert all(world.engine(node).pair is PairState.PAIRED for node in (A, B))
