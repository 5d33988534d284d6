"""Acting on what was judged: VMs, the service address, the answers to fence-peer, the word that all is protected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core import alerts, copies, rights
from avance.core import commands as c
from avance.core.model import LinkState, PairState, VmId, VmState
from avance.core.unit import Circumstances, Goal

if TYPE_CHECKING:
    from avance.core.decision import Draft
    from avance.core.engine import Engine

DENIED_CODE = 1  # any code that fence-peer does not know: "denied", I/O stays frozen
_CONSENTED_CODE = 4  # "peer was outdated" (kernel source, conn_try_outdate_peer): the right to write alone is durable


def around(engine: Engine, vm: VmId, now: float) -> Circumstances:
    """What a VM must know of the pair."""
    owner = engine.is_owner
    unit, theirs = engine.units[vm], copies.peer_copy(engine.peer, vm).generations
    saving = engine.durable.saving
    giving = bool(engine.leaving) and saving is not None and saving.owner != engine.setup.me
    sure = engine.solo or engine.liveness.lease_valid(now)  # a late echo can pair a node whose lease has ended already
    if engine.leaving:
        goal = Goal.STOP
    elif engine.entitled and sure and not engine.guard.paused:
        goal = Goal.RUN
    elif engine.pair in (PairState.FENCED, PairState.SPLIT) or (engine.pair is PairState.PAIRED and not owner):
        goal = Goal.STOP
    else:
        goal = Goal.HOLD
    stable = engine.partner.is_stable(now) and not engine.record.quarantined
    return Circumstances(
        goal=goal,
        pair=engine.pair,
        both_fresh=engine.both_fresh(vm),
        i_am_owner=owner,
        retry_s=engine.setup.timers.retry_s,
        solo=engine.solo,
        consenting=rights.is_consenting(engine, now),
        replicate=stable and engine.private_link() is not LinkState.DOWN,
        cut=engine.private_link() is LinkState.DOWN,
        keep=engine.record.epoch if engine.yields and engine.record.split else 0,
        discard=vm in engine.record.discard,
        leaving=bool(engine.leaving),
        behind=vm in engine.behind,
        peer_good=copies.peer_is_vouched(engine.record, engine.peer, vm),
        accepted=_is_accepted(engine, vm),
        peer_read=bool(theirs),
        target=copies.meets_by_bitmap(unit.generations, theirs),
        unproven=engine.unproven and not owner,
        outdated=engine.record.peer_outdated and not owner,
        peer_attached=copies.is_there(copies.peer_copy(engine.peer, vm)),
        giving=giving,
        related=not {*unit.generations}.isdisjoint(theirs),
    )


def _is_accepted(engine: Engine, vm: VmId) -> bool:
    """The disk is ours, or blank, or the peer knows its data; any other one is refused."""
    found = engine.units[vm].generations
    if copies.is_ours(copies.newest(engine.record, vm), found) or found == (copies.JUST_CREATED,):
        return True
    theirs = copies.peer_copy(engine.peer, vm).generations
    return bool(found) and found[0] in theirs


def drive_units(engine: Engine, draft: Draft, now: float) -> None:
    """Give each VM its next command."""
    for name, unit in engine.units.items():
        if unit.prepared and unit.disk_known and unit.disk is None and not _is_accepted(engine, name):
            draft.once(f"foreign_disk {name}", alerts.foreign_disk(name))
        if unit.busy is not None:
            continue
        command = unit.next_command(around(engine, name, now), now)
        if command is not None:
            draft.command(command)


def drive_address(engine: Engine, draft: Draft, now: float) -> None:
    """Hold the service address where the VMs belong."""
    if engine.address_busy or now < engine.address_retry_at:
        return
    stopped = engine.pair in (PairState.FENCED, PairState.SPLIT)
    gone = stopped or engine.leaving or (engine.pair is PairState.PAIRED and not engine.is_owner)
    if engine.entitled and not engine.leaving and not engine.address_held:
        engine.address_busy = True
        draft.command(c.HoldAddress())
    elif gone and not engine.address_down:
        engine.address_busy = True
        draft.command(c.ReleaseAddress())


def judge_protection(engine: Engine, draft: Draft) -> None:
    """Say when every VM is protected, and when no longer."""
    before, engine.protected = engine.protected, _is_protected(engine)
    if engine.protected and not before:
        draft.say("every VM is protected", milestone="protected", alert=alerts.protected())
    elif before and not engine.protected:
        draft.say("no longer protected")


def _is_protected(engine: Engine) -> bool:
    if engine.pair is not PairState.PAIRED or not engine.units or engine.peer is None:
        return False
    if engine.record.peer_outdated or engine.peer.record.peer_outdated:
        return False
    if engine.behind or engine.peer.record.behind or not _same_generations(engine):
        return False
    mine = {name: unit.state for name, unit in engine.units.items()}
    running = mine if engine.record.owner == engine.setup.me else engine.peer.vms
    return all(
        unit.disk is not None and unit.disk.in_sync and running.get(name) is VmState.RUNNING
        for name, unit in engine.units.items()
    )


def _same_generations(engine: Engine) -> bool:
    """No volume is known to be of another generation here than on the peer."""
    for name, unit in engine.units.items():
        theirs = copies.peer_copy(engine.peer, name).generations
        if unit.generations and theirs and unit.generations[0] != theirs[0]:
            return False
    return True


def answer_asks(engine: Engine, draft: Draft) -> None:
    """Answer fence-peer only with the durable lone right; a node that lost it denies."""
    if engine.solo and engine.record.epoch > 0:
        code = _CONSENTED_CODE if engine.granted is None else engine.granted.fence_code
    elif engine.pair in (PairState.FENCED, PairState.SPLIT):
        code = DENIED_CODE
    else:
        return  # undecided: the handler's own deadline denies, and I/O stays frozen
    for ask in sorted(engine.asks):
        del engine.asks[ask]
        draft.command(c.AnswerFencePeer(ask, code))
