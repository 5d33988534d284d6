"""Unknown is not harmless: tools that hang, domains that cannot be destroyed, and domains that are only half made."""

from __future__ import annotations

import pytest

from avance.core.model import VmState
from tests.playbook import WEB, A, B
from tests.sim.rows import PLAIN, SEEDS, WITNESS, Row

BOUNDED_S = 30.0  # from the moment in which a node cannot tell to its reset


@pytest.mark.parametrize("tool", ["xl", "all"])
@pytest.mark.parametrize("seed", SEEDS)
def test_tool_stack_hangs_when_the_old_primary_wakes(seed: int, tool: str) -> None:
    """A was paused, its daemon died, B took over; then A's tools hang: it is off the wire, and resets (H21)."""
    row = Row(WITNESS, seed)
    paused = row.breaks("node.pause", "a")
    row.breaks("process.kill", "a/daemon")
    row.breaks("tool.hang", f"a/{tool}")
    row.passes(40.0)
    assert row.served_by() == B
    row.heals(paused)
    row.at = row.world.now
    row.passes(8.0)  # the daemon is there again after 7 s at the latest, and closes the gate
    assert not row.world.machines[A].reaches_clients
    row.passes(52.0)
    assert not row.world.machines[A].runs(WEB), row.world.summary()
    assert row.resets(A)
    assert row.resets(A)[0] <= BOUNDED_S
    assert row.served_by() == B
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_tool_stack_hangs_on_a_primary_that_is_cut_off(seed: int) -> None:
    """A hears nobody and `xl` does not answer: nothing of it reaches a client when B starts the VM."""
    row = Row(WITNESS, seed)
    row.breaks("tool.hang", "a/xl")
    row.isolated(A)
    row.passes(40.0)
    row.taken_over(by_s=20.0)
    row.recovers()


@pytest.mark.parametrize("seed", SEEDS)
def test_domain_that_cannot_be_destroyed_in_a_split_writes_no_more(seed: int) -> None:
    """Both wrote (the documented hole), and A's domain stays: A is off the wire, and resets itself in bounded time."""
    row = Row(PLAIN, seed)
    apart = row.apart()
    row.passes(60.0)
    undead = [row.breaks("domain.undead", node) for node in (A, B)]
    row.heals(*apart)
    row.passes(BOUNDED_S)
    before = {node: row.acknowledged_by(node) for node in (A, B)}
    row.passes(60.0)
    assert before == {node: row.acknowledged_by(node) for node in (A, B)}
    assert not [n for n in (A, B) if row.world.machines[n].runs(WEB) and row.world.machines[n].reaches_clients]
    row.heals(*undead)


@pytest.mark.parametrize("seed", SEEDS)
def test_domain_that_cannot_be_destroyed_when_fenced(seed: int) -> None:
    """A thaws beside a newer owner and cannot destroy its domain: it resets itself all the same (row H22)."""
    row = Row(WITNESS, seed)
    row.breaks("domain.undead", "a")
    frozen = row.breaks("node.freeze", "a")
    row.passes(40.0)
    assert row.served_by() == B
    row.heals(frozen)
    row.at = row.world.now
    row.passes(BOUNDED_S)
    assert row.resets(A)
    assert not row.world.machines[A].runs(WEB)
    row.recovers()


def _half_made(seed: int) -> Row:
    """Return a pair without A, on whose B `xl create` was killed at its deadline and left a paused domain."""
    row = Row(WITNESS, seed)
    row.off(A)
    row.breaks("tool.hang", "b/xl")
    row.passes(25.0)
    row.world.machines[B].half_make(WEB)
    return row


@pytest.mark.parametrize("seed", SEEDS)
def test_half_made_domain_does_not_run(seed: int) -> None:
    """It is not a VM that runs; B's is started as soon as the tool works."""
    row = _half_made(seed)
    row.passes(50.0)
    assert row.world.engine(B).units[WEB].state is not VmState.RUNNING
    row.world.machines[B].hung["xl"] = 0
    row.passes(60.0)
    assert row.served_by() == B, row.world.summary()


@pytest.mark.parametrize("seed", SEEDS)
def test_half_made_domain_does_not_run_for_the_next_run_of_the_daemon_either(seed: int) -> None:
    """B's daemon dies then: the next one finds a domain that never ran, and starts B's."""
    row = _half_made(seed)
    row.world.machines[B].hung["xl"] = 0
    row.breaks("process.kill", "b/daemon")
    row.passes(60.0)
    assert row.served_by() == B, row.world.summary()


@pytest.mark.parametrize("seed", SEEDS)
def test_attach_that_may_still_come_keeps_the_vm(seed: int) -> None:
    """Both nodes boot, and A's attach hangs until nobody waits for it. Its good copy comes then: the VM stays there."""
    row = Row(PLAIN, seed)
    cut = row.breaks("power.cut_both", "a+b")
    row.passes(3.0)
    row.heals(cut)
    machine = row.world.machines[A]
    row.world.run_until(lambda: machine.engine is not None, 60.0)
    unit = row.world.engine(A).units[WEB]
    for _ in range(200):
        if unit.busy == "PrepareVolume":
            break
        row.passes(0.05)
    hang = row.breaks("tool.hang", "a/drbd")
    row.world.run_until(lambda: unit.hung_by == "AttachDisk", 60.0)
    row.heals(hang)
    side = row.world.resources[WEB].sides[A]
    if not side.has_disk:  # the command was lost: somebody attaches the disk by hand
        row.world.resources[WEB].attach(A)
    row.passes(30.0)
    row.never_on(B)
    assert row.served_by() == A, row.world.summary()
    row.recovers()
