"""Live moves while a VM is to be off, is being stopped, or is ended by its guest: what is off is no reason to stay."""

from __future__ import annotations

import pytest

from avance.core.model import DomainEnd, Wanted
from tests.playbook import DB, WEB, A, B
from tests.sim import agreed, guests
from tests.sim.test_life import TWO_VMS, goes_on, is_off, seeds, starts, wants
from tests.sim.test_moves import Moving

MOMENTS_S = (0.2, 0.8, 1.5, 3.0, 5.0, 8.0)
moments = pytest.mark.parametrize("after_s", MOMENTS_S)


def ordered(seed: int, after_s: float) -> Moving:
    """Return a pair of two VMs, some time after a move was ordered."""
    row = Moving(TWO_VMS, seed)
    row.orders()
    row.passes(after_s)
    return row


@seeds
@pytest.mark.parametrize("off", [(WEB,), (DB,), (WEB, DB)], ids=["web", "db", "both"])
def test_what_is_off_goes_with_the_right(off: tuple[str, ...], seed: int) -> None:
    """The others move while they run; nothing is started, and the VM starts on the new owner later."""
    row = Moving(TWO_VMS, seed)
    for vm in (WEB, DB):
        assert vm not in off or wants(row, Wanted.OFF, vm=vm)
    row.world.operator(A, "move", B)
    row.world.run_until(lambda: row.world.engine(B).is_owner and row.world.protected(), 60.0)
    for vm in (WEB, DB):
        assert row.world.runner(vm) == (None if vm in off else B)
        assert not starts(row, vm)
    for vm in (WEB, DB):
        assert vm not in off or wants(row, Wanted.RUNNING, vm=vm)
        assert row.world.runner(vm) == B
    row.recovers()


@seeds
@moments
@pytest.mark.parametrize("what", [Wanted.SHUT_DOWN, Wanted.OFF])
def test_stopped_on_its_way(what: Wanted, after_s: float, seed: int) -> None:
    """A person stops one of two VMs in the middle of a move: it is off in the end, wherever the right is."""
    row = ordered(seed, after_s)
    number = agreed.ask(row.world, A, wanted=(WEB, what))
    row.passes(120.0)
    answer = agreed.answered(row.world, number)
    assert answer is not None
    assert row.world.runner(DB) is not None, row.world.summary()
    assert is_off(row) is answer.done, (answer, row.world.summary())
    if answer.done:
        goes_on(row)


@seeds
@moments
@pytest.mark.parametrize("end", [DomainEnd.POWEROFF, DomainEnd.REBOOT])
def test_a_guest_ends_itself_on_its_way(end: DomainEnd, after_s: float, seed: int) -> None:
    """On whichever node it runs just then: one that restarts runs in the end, and the other VM does in any case."""
    row = ordered(seed, after_s)
    for machine in row.world.machines.values():
        if machine.runs(WEB):
            guests.ends(machine, WEB, end)
    row.passes(150.0)
    assert row.world.runner(DB) is not None, row.world.summary()
    if end is DomainEnd.REBOOT:
        assert row.world.runner() is not None, row.world.summary()
        row.recovers()
    elif is_off(row):
        goes_on(row)
    else:  # the move had begun, and nobody could agree in time
        assert row.world.runner() is not None, row.world.summary()
