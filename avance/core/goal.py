"""What the pair wants of one VM on this node: its goal, and all that the VM must know of the pair."""

from __future__ import annotations

from avance.core import copies
from avance.core.circumstances import Circumstances, Goal
from avance.core.handover import HandOver
from avance.core.migration import Migration
from avance.core.model import LinkState, PairState, VmId
from avance.core.sight import Sight


def goal(sight: Sight, now: float, *, solo: bool, leaving: bool, paused: bool) -> Goal:
    """Say whether the VMs of this node should run, stop, or stay as they are.

    `solo`: this node alone may write. `leaving`: they are being handed over. `paused`: their processors stand still,
    or may.
    """
    if leaving or sight.superseded:
        return Goal.STOP
    sure = solo or sight.liveness.lease_valid(now)  # a late echo can pair a node whose lease has ended already
    if sight.entitled and sure and not paused:
        return Goal.RUN
    if sight.pairing.stopped or (sight.pairing.pair is PairState.PAIRED and not sight.durable.owner):
        return Goal.STOP
    return Goal.HOLD


def around(
    sight: Sight,
    handover: HandOver,
    migration: Migration,
    vm: VmId,
    now: float,
    *,
    left: bool,
    paused: bool,
    asked: bool,
    consenting: bool,
) -> Circumstances:
    """Return what a VM must know of the pair."""
    leaving = bool(handover.leaving)
    record, peer, owner, saving = sight.durable.record, sight.partner.view, sight.durable.owner, sight.durable.saving
    unit, theirs = sight.units.by_name[vm], copies.peer_copy(peer, vm)
    solo, cut, ends = sight.solo, sight.private_link() is LinkState.DOWN, sight.units.ends
    pairs = goal(sight, now, solo=solo, leaving=leaving or vm in migration.stopped, paused=paused)
    held = unit.steadiness.is_held(now, sight.setup.timers)
    return Circumstances(
        goal=ends.goal(pairs, unit),
        pair=sight.pairing.pair,
        both_fresh=sight.both_fresh(vm),
        i_am_owner=owner,
        retry_s=sight.setup.timers.retry_s,
        solo=solo,
        consenting=consenting,
        replicate=sight.partner.is_stable(now) and not record.quarantined and not cut and not held,
        agreed=sight.is_agreed,
        cut=cut,
        keep=record.epoch if sight.pairing.yields and record.split else 0,
        discard=vm in record.discard,
        leaving=leaving,
        behind=sight.is_behind(vm),
        peer_good=copies.peer_is_vouched(record, peer, vm),
        accepted=is_accepted(sight, vm),
        peer_read=bool(theirs.generations),
        target=copies.meets_by_bitmap(unit.generations, theirs.generations),
        asked=asked,
        marking=handover.marking,
        moving=handover.moving,
        shuts=pairs is Goal.RUN and not migration.moves and ends.shuts(unit, now),
        sends=migration.sends,
        takes=migration.takes if vm in migration.taken else "",
        adopts=migration.adopts(sight),
        left=left,
        held=held,
        unread=vm in sight.unread,
        unproven=sight.unproven and not owner,
        outdated=record.peer_outdated and not owner,
        peer_attached=copies.is_there(theirs),
        giving=leaving and saving is not None and saving.owner != sight.setup.me,
        related=any(one in theirs.generations for one in unit.generations),
    )


def is_accepted(sight: Sight, vm: VmId) -> bool:
    """The disk is ours, or blank, or the peer knows its data, or it was given up; any other one is refused."""
    found, record = sight.units.by_name[vm].generations, sight.durable.record
    if vm in record.discard:
        return True  # the peer's data replace all of it
    if copies.is_ours(copies.newest(record, vm), found) or found == (copies.JUST_CREATED,):
        return True
    theirs = copies.peer_copy(sight.partner.view, vm).generations
    return bool(found) and found[0] in theirs


__all__ = ["around", "goal", "is_accepted"]
