"""One VM: what it needs next, never more than one command at a time, and when it counts as a writer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core.model import DiskRole, DiskState, DiskView, Outcome, PairState, VmState
from avance.core.unit import Circumstances, Goal, VmUnit
from tests.playbook import WEB, in_sync, peer_gone, spec

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
RUN = Circumstances(Goal.RUN, PairState.PAIRED, both_fresh=False, i_am_owner=True, retry_s=2.0)
STOP = replace(RUN, goal=Goal.STOP, i_am_owner=False)
HOLD = replace(RUN, goal=Goal.HOLD, pair=PairState.WAITING)


def unit(state: VmState, disk: DiskView | None) -> VmUnit:
    """Return a VM whose volume is prepared and whose disk is known."""
    return VmUnit(spec(), state=state, disk=disk, disk_known=True, prepared=True)


def test_look_comes_before_everything_on_the_domain() -> None:
    """A VM of which nothing is known is looked at first."""
    assert unit(VmState.CHECKING, in_sync(S)).next_command(RUN, 0.0) == c.ReadDomain(WEB)


@pytest.mark.parametrize("disk", [state for state in DiskState if state is not DiskState.UP_TO_DATE])
def test_only_an_up_to_date_disk_is_promoted(disk: DiskState) -> None:
    """A VM that is wanted waits until its copy is UpToDate (rule R3)."""
    for view in (replace(in_sync(S), disk=disk), peer_gone(S, disk=disk)):
        command = unit(VmState.STANDBY, view).next_command(RUN, 0.0)
        assert not isinstance(command, c.PromoteDisk)


def test_nothing_is_promoted_while_the_peer_writes() -> None:
    """A VM that is wanted waits until the peer is not the writer any more."""
    assert unit(VmState.STANDBY, in_sync(S, peer_role=P)).next_command(RUN, 0.0) is None


def test_hold_starts_and_stops_nothing() -> None:
    """While the pair is undecided, a running VM runs on and a standing one stays."""
    assert unit(VmState.RUNNING, peer_gone(P)).next_command(HOLD, 0.0) is None
    assert unit(VmState.STANDBY, peer_gone(S)).next_command(HOLD, 0.0) is None


def test_lost_right_during_promotion_is_undone() -> None:
    """A promotion that ends when the right is gone is taken back, and no domain is started."""
    promoting = unit(VmState.PROMOTING, peer_gone(S))
    promoting.busy = "PromoteDisk"
    assert promoting.command_done("PromoteDisk", Outcome.OK, HOLD, 0.0) == c.DemoteDisk(WEB)


def test_frozen_disk_is_resumed_only_by_the_lone_owner() -> None:
    """I/O goes on only on the node that owns the epoch alone."""
    alone = replace(RUN, pair=PairState.ALONE)
    frozen = peer_gone(P, suspended=True)
    assert unit(VmState.RUNNING, frozen).next_command(alone, 0.0) == c.ResumeDisk(WEB)
    assert unit(VmState.RUNNING, frozen).next_command(replace(alone, i_am_owner=False, goal=Goal.HOLD), 0.0) is None
    assert unit(VmState.RUNNING, frozen).next_command(HOLD, 0.0) is None
    assert unit(VmState.RUNNING, frozen).next_command(RUN, 0.0) is None


def test_busy_vm_gets_no_command() -> None:
    """At most one command is in flight."""
    busy = unit(VmState.RUNNING, in_sync(P))
    busy.busy = "StartDomain"
    assert busy.next_command(STOP, 0.0) is None


def test_foreign_outcome_is_a_programmer_error() -> None:
    """An outcome that belongs to no command in flight stops the daemon."""
    with pytest.raises(AssertionError, match="in flight"):
        unit(VmState.RUNNING, None).command_done("StartDomain", Outcome.OK, RUN, 0.0)


def test_stop_is_retried_without_growing_pauses() -> None:
    """A VM that must stop is tried again after the plain pause, however often that failed before."""
    failing = unit(VmState.FAILED, peer_gone(P))
    failing.failures, failing.failed_at = 8, 100.0
    assert failing.next_command(RUN, 103.0) is None
    assert failing.next_command(STOP, 103.0) == c.ReadDomain(WEB)


@pytest.mark.parametrize(
    ("state", "disk", "running", "writer"),
    [
        (VmState.STANDBY, in_sync(S), False, False),
        (VmState.STANDBY, in_sync(P), False, True),
        (VmState.STANDBY, in_sync(S), True, True),
        (VmState.STANDBY, None, False, False),
        (VmState.PROMOTING, in_sync(S), False, True),
        (VmState.FAILED, in_sync(S), False, True),
        (VmState.RUNNING, None, True, True),
    ],
)
def test_what_counts_as_writer(
    state: VmState, disk: DiskView | None, running: bool, writer: bool
) -> None:
    """Whatever may be writing is counted as writing."""
    one = unit(state, disk)
    one.domain_running = running
    assert one.may_write is writer


def test_loss_of_a_domain_is_noticed_only_when_it_ran() -> None:
    """A domain that is stopped on purpose is no crash."""
    running = unit(VmState.RUNNING, in_sync(P))
    assert running.domain_changed(running=False)
    stopping = unit(VmState.STOPPING, in_sync(P))
    stopping.busy = "DestroyDomain"
    assert not stopping.domain_changed(running=False)
