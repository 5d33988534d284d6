"""Rows G of the catalogue that move VMs while they run (G1 G2 G3 G4 G7 G27): one copy runs in the end.

Each way in which a node, a link or a program can fail meets each step of a move. Memory that is old, two that run, and
a right that is not durable are judged by the world all the time (rule I14).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avance.core import commands as c
from avance.core.model import PairState
from tests.playbook import DB, WEB, A, B
from tests.sim.demand import said
from tests.sim.rows import PLAIN, SAFE, SEEDS, STALL_MAX_S, TWO, WITNESS, Row
from tests.sim.site import SimSite

SILENT_S = 30.0
TAKEN_OVER_S = 120.0  # where a tool of a node hangs
TICK_S, FINE_S = 0.25, 0.001
ALONE = SimSite(witnesses=1, gateway=False)
TWO_VMS = SimSite(witnesses=1, vms=(WEB, DB))
STEPS = ("before", "offer", "prepares", "copies", "suspended", "ready", "going", "away", "saving", "saved", "heard",
         "after")  # fmt: skip
FAULTS = {
    "crash of a": ("power.cut", "a"),
    "crash of b": ("power.cut", "b"),
    "reset of a": ("power.reset", "a"),
    "reset of b": ("power.reset", "b"),
    "freeze of a": ("node.freeze", "a"),
    "pause of b": ("node.pause", "b"),
    "cut of priv0": ("link.cut", "a.priv0"),
    "cut from a": ("link.cut_one_way", "b.priv0"),
    "cut from b": ("link.cut_one_way", "a.priv0"),
    "large frames": ("link.no_large", "priv0"),
    "daemon of a": ("process.kill", "a/daemon"),
    "daemon of b": ("process.kill", "b/daemon"),
    "stop of a": ("process.stop", "a/daemon"),
    "stop of b": ("process.stop", "b/daemon"),
    "xl of a": ("tool.hang", "a/xl"),
    "xl of b": ("tool.hang", "b/xl"),
    "drbd of b": ("tool.hang", "b/drbd"),
    "record of a": ("store.refuses", "a"),
    "record of b": ("store.refuses", "b"),
    "guest": ("guest.crash", WEB),
}
# The right has gone to B, and nobody but B can tell what it has done with it: the service waits for B, and A says so.
WAITS = {
    *((f"{how} of b", step) for how in ("crash", "pause") for step in ("saving", "saved")),
    *(("xl of b", step) for step in ("away", "saving", "saved", "heard")),
    *(("record of b", step) for step in ("away", "saving", "saved")),
}


class Moving(Row):
    """A protected pair, and a person who moves its VMs; `silent_s`: the longest time in which nobody served."""

    silent_s = 0.0

    def orders(self) -> None:
        """Order the move at the node that runs the VMs."""
        owner = self.served_by()
        assert owner is not None
        self.world.operator(owner, "move", B if owner == A else A)

    def moves(self, limit_s: float = 60.0) -> float:
        """Move the VMs; returns how long that took."""
        before = self.served_by()
        self.orders()
        took_s = self.world.run_until(lambda: self.served_by() not in (None, before), limit_s)
        return took_s + self.world.run_until(self.world.protected, limit_s)

    def waits_for(self, what: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Let time pass in very small steps."""
        end = self.world.now + limit_s
        while not what():
            assert self.world.now < end, self.world.summary()
            self.passes(FINE_S)

    def reaches(self, step: str) -> None:
        """Let a move from A to B come to a step; `saving`: A's record is on its way, `saved`: it is durable."""
        world, a = self.world, self.world.machines[A]
        self.orders()
        if step == "before":
            return
        self.waits_for(lambda: bool(world.engine(A).migration.moves))
        if step == "offer":
            return
        self.waits_for(lambda: WEB in a.moves)
        others: dict[str, Callable[[], bool]] = {
            "away": lambda: WEB not in a.moves and not a.holds(WEB),
            "saving": lambda: _gives(self),
            "saved": lambda: a.record.owner == B,
            "heard": lambda: world.machines[B].record.owner == B,
            "after": lambda: world.runner() == B,
        }
        self.waits_for(others.get(step, lambda: WEB in a.moves and a.moves[WEB].phase == step))
        if step == "copies":
            self.passes(1.5)

    def watches(self, seconds: float) -> None:
        """Let time pass, and note for how long nobody serves."""
        end, since = self.world.now + seconds, self.world.now
        while self.world.now < end:
            self.passes(TICK_S)
            since = since if self.served_by() is None else self.world.now
            self.silent_s = max(self.silent_s, self.world.now - since)

    def is_over(self) -> None:
        """Nothing of a move is left: one writer, DRBD lets nobody else write, and one VM runs."""
        self.passes(5.0)
        for vm in self.world.site.vms:
            sides = self.world.resources[vm].sides.values()
            assert sum(side.primary for side in sides) == 1
            assert not all(side.two_writers for side in sides), "DRBD lets two nodes write"
            assert sum(machine.holds(vm) for machine in self.world.machines.values()) == 1
        assert not any(machine.moves for machine in self.world.machines.values())
        assert self.world.protected()


def _gives(row: Row) -> bool:
    saving = row.world.engine(A).sight.durable.saving
    return saving is not None and saving.owner == B


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("what", FAULTS)
def test_one_copy_runs_whatever_fails(what: str, step: str) -> None:
    """One fault that stays meets one step of a move; afterwards all is healed, and nothing of the move is left."""
    row = Moving(WITNESS, 1 + (3 * STEPS.index(step) + len(what)) % 5)
    row.reaches(step)
    row.breaks(*FAULTS[what])
    if (what, step) in WAITS:
        row.passes(60.0)
        assert row.served_by() is not None or said(row.world), row.world.summary()
    else:
        row.watches(110.0 if what.startswith(("xl", "drbd")) else 45.0)
        assert row.served_by() is not None, row.world.summary()
        assert row.silent_s <= (TAKEN_OVER_S if what.startswith(("xl", "drbd")) else SILENT_S)
    row.recovers()
    row.is_over()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("site", [WITNESS, PLAIN])
def test_g1_source_crashes_in_the_copying(site: SimSite, seed: int) -> None:
    """The VM boots on B from its disk; the part of its memory that is there is destroyed first."""
    row = Moving(site, seed)
    row.reaches("copies")
    row.off(A)
    row.watches(60.0)
    assert row.since(B, c.DestroyDomain) or not row.world.machines[B].half_made
    row.taken_over(by_s=20.0, not_before_s=15.5)
    assert row.silent_s <= SILENT_S
    row.recovers()
    row.is_over()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", ["prepares", "copies"])
def test_g2_target_crashes_in_the_copying(step: str, seed: int) -> None:
    """The VM goes on on A; its writes wait no longer than for any loss of the backup."""
    row = Moving(WITNESS, seed)
    row.reaches(step)
    row.off(B)
    row.passes(60.0)
    row.untouched(stall_s=STALL_MAX_S + 1.0)
    assert row.pair(A) is PairState.ALONE
    row.recovers()
    row.is_over()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", ["both", "in", "out"])
def test_g3_private_link_is_cut_in_the_copying(way: str, seed: int) -> None:
    """The move is over within 10 s, DRBD has one writer again, and the VM stays on A, which goes on by consent."""
    row = Moving(WITNESS, seed)
    row.reaches("copies")
    row.breaks("link.cut", "a.priv0", direction=way)
    row.passes(10.0)
    assert not any(machine.moves for machine in row.world.machines.values())
    sides = row.world.resources[WEB].sides
    assert not sides[B].primary
    row.passes(20.0)
    assert not any(side.two_writers for side in sides.values())
    row.untouched(stall_s=STALL_MAX_S + 1.0)
    assert row.world.machines[A].record.solo(A)
    row.recovers()
    row.is_over()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", ["suspended", "ready", "going", "away", "saving", "saved", "heard"])
@pytest.mark.parametrize("site", [WITNESS, TWO, PLAIN, ALONE])
def test_g4_all_links_are_cut_at_the_end(site: SimSite, step: str, seed: int) -> None:
    """Exactly one side goes on within 30 s: B with the durable right, or A with consent or a grant."""
    row = Moving(site, seed)
    row.reaches(step)
    row.apart()
    row.watches(60.0)
    hole = row.world.judges.hole and not site.witnesses
    assert row.served_by() is not None or hole, row.world.summary()
    assert row.silent_s <= SILENT_S
    owners = {node for node, machine in row.world.machines.items() if machine.record.solo(node)}
    assert len(owners) == 1 or hole, row.world.summary()
    if not row.world.judges.divided:
        row.recovers()
        row.is_over()


@pytest.mark.parametrize("seed", SEEDS)
def test_g4_policy_safety_waits_for_the_link(seed: int) -> None:
    """Without an arbiter nobody may go on, and nothing is lost."""
    row = Moving(SAFE, seed)
    row.reaches("saving")
    row.apart()
    row.passes(60.0)
    assert row.served_by() is None
    row.recovers()
    row.is_over()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", ["copies", "suspended", "going", "saving", "saved", "heard"])
def test_g7_crash_in_a_move_back(step: str, seed: int) -> None:
    """The VM runs on B and is moved back to A, which crashes: it ends up on B, started once at most."""
    row = Moving(WITNESS, seed)
    row.moves()
    row.world.judges.starts.clear()
    row.orders()
    a, b = row.world.machines[A], row.world.machines[B]
    others: dict[str, Callable[[], bool]] = {
        "saving": lambda: (row.world.engine(B).sight.durable.saving or b.record).owner == A,
        "saved": lambda: b.record.owner == A,
        "heard": lambda: a.record.owner == A,
    }
    row.waits_for(others.get(step, lambda: WEB in b.moves and b.moves[WEB].phase == step))
    row.off(A)
    row.passes(60.0)
    if row.served_by() is None:  # the right had gone to A already
        assert step in ("saving", "saved", "heard")
        assert said(row.world)
    else:
        assert row.served_by() == B
        assert len(row.world.judges.starts) <= 1
    row.recovers()
    row.is_over()


@pytest.mark.parametrize("site", [WITNESS, SAFE, TWO_VMS])
def test_g27_there_and_back_twenty_times(site: SimSite) -> None:
    """Under load each move works, no VM is ever started anew, and afterwards there is one writer."""
    row = Moving(site)
    for turn in range(20):
        assert row.moves() < 40.0
        assert row.served_by() == (A, B)[(turn + 1) % 2]
        row.is_over()
    judges = row.world.judges
    assert not judges.starts
    assert len(judges.resumes) == 20 * len(site.vms)
    assert len(row.world.acknowledged) > 500
    judges.end()


@pytest.mark.parametrize("site", [WITNESS, PLAIN, TWO])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_right_that_was_given_and_never_heard_of(site: SimSite, seed: int) -> None:
    """B takes the same epoch alone, and writes; A must not think that it could take the next one with its old copy."""
    row = Moving(site, seed)
    row.reaches("saving")
    row.apart()
    row.passes(60.0)
    assert row.served_by() == B
    record = row.world.machines[A].record
    assert (record.epoch, record.owner, record.peer_outdated) == (2, B, True)
    row.off(B)
    row.passes(60.0)
    row.never_on(A)
    row.recovers()
    row.is_over()
