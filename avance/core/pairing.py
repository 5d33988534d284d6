"""The pair as this node sees it: links, the state of the pair, and the durable record that follows from both.

The rules are `core/pair.py`; here they are asked, and what they answer is done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from avance.core import alerts, copies, rights
from avance.core.durable import Held
from avance.core.model import DiskRole, DiskState, LinkState, PairState, VmId
from avance.core.pair import Become, PairFacts, Save, judge, mismatch

if TYPE_CHECKING:
    from avance.core.decision import Draft
    from avance.core.engine import Engine

_JUDGE_ROUNDS_MAX = 4  # Become can be followed by Save or another Become, never by more than these


def judge_pair(engine: Engine, draft: Draft, now: float) -> None:
    """Ask the rules of the pair until they say that nothing changes."""
    for _ in range(_JUDGE_ROUNDS_MAX):
        if not engine.durable.free(now):
            return  # one record at a time; the next judgement builds on what is durable
        if engine.durable.dirty and (engine.pair is not PairState.WAITING or engine.liveness.peer_alive(now)):
            again = "the last record may or may not be on disk: the valid one is written again"
            engine.durable.wish(engine.record, again, draft)
            return
        facts = _pair_facts(engine, now)
        judgement = judge(engine.pair, facts)
        if isinstance(judgement, Save):
            engine.durable.wish(judgement.record, judgement.reason, draft)
        elif isinstance(judgement, Become):
            engine.become(draft, judgement.state, judgement.reason)
            _after_pair_change(engine, draft, judgement.state, judgement.reason, now)
        else:
            _judge_mismatch(engine, draft, facts, now)
            _tidy_record(engine, draft, now)
            return


def _pair_facts(engine: Engine, now: float) -> PairFacts:
    waited_s = now - (engine.liveness.started_at or now)
    lost = engine.peer_lost(now)
    return PairFacts(
        me=engine.setup.me,
        peer_id=engine.setup.peer_id,
        machine=engine.setup.machine,
        record=engine.record,
        peer=engine.peer,
        peer_alive=engine.liveness.peer_alive(now),
        peer_lost=lost,
        boot_wait_over=lost and waited_s >= engine.setup.timers.boot_wait_s,
        may_write=engine.may_write,
        known=engine.known,
        config_hash=engine.config_hash,
        dilation=engine.setup.dilation,
        yielded=engine.yields and all(unit.kept for unit in engine.units.values()),
        vms=tuple(engine.units),
    )


def _after_pair_change(engine: Engine, draft: Draft, state: PairState, reason: str, now: float) -> None:
    if state is PairState.WAITING:
        rights.begin_arbitration(engine, now)
        if engine.served:
            silence_s = now - engine.liveness.silent_from_s(now)
            draft.milestone("peer_lost")
            draft.alert(alerts.peer_lost(engine.setup.peer_id, silence_s))
    elif state is PairState.ALONE and engine.partner.was_paired:
        draft.milestone("peer_lost")
        draft.alert(alerts.peer_lost(engine.setup.peer_id, now - engine.liveness.silent_from_s(now)))
    elif state is PairState.FENCED:
        draft.alert(alerts.fenced(reason))
    elif state is PairState.PAIRED:
        returned = engine.partner.was_paired
        draft.in_order("refused", "mismatch", "waits")
        engine.granted, engine.override = None, False
        engine.arbitration.begin(0)
        restarted = engine.partner.met(engine.record.epoch, now)
        draft.milestone("peer_returned" if returned else "paired")
        if returned:
            draft.alert(alerts.peer_returned(engine.setup.peer_id))
        if restarted is not None and restarted.links_fell:
            engine.liveness.forgive()
        if restarted is not None and restarted.too_often and engine.is_owner:
            draft.alert(alerts.quarantined(engine.setup.peer_id))


def _judge_mismatch(engine: Engine, draft: Draft, facts: PairFacts, now: float) -> None:
    """Tell of different configurations only when they last: an operator changes one node after the other."""
    reason = mismatch(facts) if facts.peer_alive else None
    if engine.partner.differs(reason, now) and reason is not None:
        draft.once("mismatch", alerts.mismatch(reason))


def _newest_generations(engine: Engine) -> tuple[tuple[VmId, str], ...]:
    """Note the newest generation of each volume's data: our own while it is served or equal, or the peer's newer."""
    record, me = engine.record, engine.setup.me
    for name, unit in engine.units.items():
        view, mine, known = unit.disk, unit.generations, copies.newest(record, name)
        theirs = copies.peer_copy(engine.peer, name).generations
        if view is None or not mine or mine[0] == copies.JUST_CREATED:
            continue
        serves = unit.serves and name not in engine.behind and record.solo(me)
        only = view.connection == "Connected" and view.disk is DiskState.UP_TO_DATE and name not in engine.behind
        only = only and view.peer_disk in (DiskState.DISKLESS, DiskState.FAILED)  # the peer writes here, over the link
        if view.in_sync or serves or only:
            if unit.read_for == view and unit.busy is None and known != mine[0]:
                record = replace(record, generations=copies.with_newest(record, name, mine[0]))
        elif copies.descends(mine, theirs) and known != theirs[0] and copies.peer_is_vouched(record, engine.peer, name):
            record = replace(record, generations=copies.with_newest(record, name, theirs[0]))
    return record.generations


def _behind(engine: Engine) -> tuple[VmId, ...]:
    """Name the copies whose disk was lost while the other one went on, each until a resynchronisation from the peer."""
    found, paired = [], engine.pair is PairState.PAIRED
    for name, unit in engine.units.items():
        whole = unit.disk is not None and unit.disk.in_sync and unit.resynced
        newer = paired and copies.went_on_alone(engine.record, engine.peer, name, engine.copy(name))
        if (name in engine.record.behind and not whole and not newer) or _was_left(engine, name):
            found.append(name)
    return tuple(found)


def _was_left(engine: Engine, vm: VmId) -> bool:
    """The local disk is lost, and the peer's copy may take writes that this one does not."""
    view, peer = engine.units[vm].disk, engine.peer
    if view is None or not copies.is_lost(view):
        return False
    if engine.is_owner and view.role is not DiskRole.PRIMARY:
        return False  # nobody writes
    if view.connection == "Connected":  # however silent the peer's daemon is, its DRBD may mirror on
        return view.peer_disk in (DiskState.UP_TO_DATE, DiskState.CONSISTENT)
    if engine.record.solo(engine.setup.me) and engine.units[vm].held_apart:
        return False  # the peer was lost before, and nobody writes to its copy since: this one stays the good one
    if view.role is DiskRole.PRIMARY or peer is None:
        return True
    theirs = copies.peer_copy(peer, vm)
    return copies.is_there(theirs) and not copies.is_behind(peer.record, vm, theirs.generations)


def _tidy_record(engine: Engine, draft: Draft, now: float) -> None:
    """Note durably what follows from the disks and from the agreement of a pair."""
    record, peer = engine.record, engine.peer
    synced = {name for name, unit in engine.units.items() if unit.disk is not None and unit.disk.in_sync}
    zeroed, engine.zeroed = engine.zeroed, set()
    together = engine.pair is PairState.PAIRED and peer is not None and engine.liveness.peer_alive(now)
    elected = None
    if together:
        assert peer is not None, "looked at above"
        elected = engine.care.elect(record, peer.record, engine.setup.me, peer_up=peer.witnesses, now=now)
    held = Held(
        in_service=engine.pair in (PairState.PAIRED, PairState.ALONE),
        together=together,
        synced=synced,
        whole=len(synced) == len(engine.units) and engine.private_link() is not LinkState.DOWN,
        zeroed=zeroed,
        works=any(unit.busy for unit in engine.units.values()),
        tripped=engine.partner.crashes.tripped,
        elected=elected,
        behind=_behind(engine),
        generations=_newest_generations(engine),
    )
    wanted = engine.durable.tidied(held)
    if wanted is None:
        return
    for name in wanted.behind:
        if name not in record.behind:
            alert = alerts.copy_behind(name, engine.setup.peer_id) if engine.is_owner else None
            # For a backup that returns this is the usual thing.
            draft.say(f"the copy of {name} here is behind", alert=alert)
        engine.units[name].resynced = engine.units[name].resynced and name in record.behind
    told = ", arbiters " + (" ".join(wanted.arbiters) or "none") if wanted.arbiters != record.arbiters else ""
    engine.durable.wish(wanted, f"the record follows what both nodes hold{told}", draft)
