"""The right to go on without the peer, and what ends it: consent, arbitration, guard, witnesses.

The rules are `core/consent.py`, `core/takeover.py` and `core/guard.py`; here their facts are collected and their
answers are done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from avance.core import alerts, arbiters, consent, copies, handover, takeover
from avance.core import commands as c
from avance.core.guard import Standing
from avance.core.model import DiskState, LinkState, PairState
from avance.core.takeover import Power
from avance.core.unit import READS

if TYPE_CHECKING:
    from avance.core.decision import Draft
    from avance.core.engine import Engine

_DROPPED_S = 20.0  # a disk that was dropped may answer again by then; a hanging one would hang the start, too


def judge_handover(engine: Engine, draft: Draft, now: float) -> None:
    """As an owner without a good copy: stop the VMs, then give the right to the peer, which has one."""
    reason = _better_there(engine, now)
    if reason is None:
        engine.unfit_from_s = None
        if engine.leaving:
            draft.say("the VMs are not handed over: the peer's copy is no longer known to be the better one")
        engine.leaving = ""
        return
    engine.unfit_from_s = now if engine.unfit_from_s is None else engine.unfit_from_s
    sure = engine.behind or now >= engine.unfit_from_s + engine.setup.timers.boot_wait_s
    if not engine.leaving:
        if not sure:
            return
        engine.leaving = reason
        draft.say(f"{reason}: the VMs move to the peer", alert=alerts.hands_over(engine.setup.peer_id, reason))
    retry_s = engine.setup.timers.retry_s
    tied = any(unit.comes_up(now, retry_s) or copies.is_lost(unit.disk) for unit in engine.units.values())
    stopped = engine.known and not engine.may_write and not tied
    if stopped and engine.durable.free(now):
        given = handover.given(engine.record, engine.setup.peer_id)
        why = f"nothing runs here any more: {given.owner} owns epoch {given.epoch}, it has the good copy"
        engine.durable.wish(given, why, draft)


def _better_there(engine: Engine, now: float) -> str | None:
    peer, record = engine.peer, engine.record
    if engine.pair is not PairState.PAIRED or not engine.is_owner or peer is None or record.split or record.discard:
        return None
    agreed = peer.record.epoch == record.epoch and peer.record.owner == record.owner
    if not agreed or not engine.liveness.peer_alive(now):
        return None
    syncing = ("SyncSource", "SyncTarget")
    unsettled = frozenset(
        name for name, unit in engine.units.items() if unit.disk is not None and unit.disk.replication in syncing
    )
    disks = {name: unit.disk for name, unit in engine.units.items()}
    mine = {name: engine.copy(name) for name in engine.units}
    return handover.wanted(handover.Facts(record, peer, disks, mine, unsettled, engine.setup.stays_without_disk))


def judge_consent(engine: Engine, draft: Draft, now: float) -> None:
    """As the owner of unreplicated VMs: ask for consent, then look further. As the backup: give it."""
    if not engine.durable.free(now):
        return
    retry_s = engine.setup.timers.retry_s
    released = all(consent.released(unit.disk) and not unit.comes_up(now, retry_s) for unit in engine.units.values())
    if released and engine.known and is_consenting(engine, now):
        _give_consent(engine, draft)
    given = engine.record.cure == engine.record.epoch
    if engine.cure_due and given and engine.peer is not None and engine.peer.record.epoch == engine.record.epoch:
        why, engine.cure_due = engine.cure_due, ""  # the owner has taken the right, so it does not miss this node
        draft.reset(f"{why}: this backup restarts in the hope of a cure")
    _look_for_a_cure(engine, draft, now)
    reason = _replication_lost(engine, now)
    alive = engine.liveness.peer_alive(now)
    if engine.pair is not PairState.PAIRED or not engine.is_owner or engine.record.peer_outdated or not alive:
        engine.wants = 0
    elif reason is None:
        engine.unreplicated = None
        if engine.wants:
            draft.say("the volumes are replicated again; no consent is needed")
            engine.arbitration.begin(0)
        engine.wants = 0
    elif engine.wants == 0 and _lasts(engine, reason, now):
        engine.wants, engine.wants_from_s = engine.record.epoch + 1, now
        engine.next_heartbeat_at = now
        draft.say(f"{reason}: the peer is asked for its consent to epoch {engine.wants}")
    if engine.pair is PairState.PAIRED and _cure_failed(engine, now):
        draft.once("backup_down", alerts.backup_down(engine.setup.replication_link))


def _lasts(engine: Engine, reason: str, now: float) -> bool:
    """Say whether this reason has held for two heartbeats; DRBD passes through such states when it connects."""
    if engine.unreplicated is None or engine.unreplicated[0] != reason:
        engine.unreplicated = (reason, now)
    frozen = any(unit.disk is not None and unit.disk.suspended for unit in engine.units.values())
    sure = frozen or bool(engine.asks) or engine.private_link() is LinkState.DOWN
    settled_s = 0.0 if sure else 2 * engine.setup.timers.heartbeat_s
    return now - engine.unreplicated[1] >= settled_s


def is_consenting(engine: Engine, now: float) -> bool:
    """This backup hears the owner, who asks for its consent, and it is not about to take over itself."""
    if engine.peer is None or engine.peer.wants == 0 or engine.granted is not None:
        return False
    asked = consent.asked(engine.record, engine.peer, engine.pair, may_write=engine.may_write)
    return asked and engine.liveness.peer_alive(now) and _owner_is_good(engine)


def _owner_is_good(engine: Engine) -> bool:
    """The right is given to a peer that says that its copy is good, and of the newest data that is known here."""
    for name, unit in engine.units.items():
        if not copies.is_good(engine.record, name, engine.copy(name)):
            if not copies.peer_is_vouched(engine.record, engine.peer, name):
                return False
            continue
        seen = DiskState.UNKNOWN if unit.disk is None else unit.disk.peer_disk
        if not copies.peer_is_good(engine.record, engine.peer, name) or seen in (DiskState.DISKLESS, DiskState.FAILED):
            return False
    return True


def _give_consent(engine: Engine, draft: Draft) -> None:
    assert engine.record.owner is not None, "consent is given to an owner"
    given = consent.given(engine.record, engine.record.owner)
    why = f"this backup consents: {given.owner} owns epoch {given.epoch}, our copies are outdated"
    engine.durable.wish(given, why, draft)


def _look_for_a_cure(engine: Engine, draft: Draft, now: float) -> None:
    """As a backup that a dead private link or disk left behind: plan one restart, and remember it durably."""
    record, link = engine.record, engine.setup.replication_link
    dropped = any(unit.dropped for unit in engine.units.values())
    engine.dropped_at = None if not dropped else now if engine.dropped_at is None else engine.dropped_at
    if engine.pair is not PairState.PAIRED or engine.is_owner or not record.peer_outdated or record.cure != 0:
        return
    reason = None
    if engine.private_link() is LinkState.DOWN and engine.liveness.was_up(link):
        reason = "the private link is down"
    elif engine.dropped_at is not None and now >= engine.dropped_at + _DROPPED_S * engine.setup.timers.second_s:
        reason = "DRBD dropped a disk, which is used again only after a start"
    followed = engine.peer is not None and engine.peer.record.epoch == record.epoch and engine.liveness.peer_alive(now)
    if followed and reason is not None and engine.durable.saving is None:
        engine.cure_due = reason
        engine.durable.wish(replace(record, cure=record.epoch), f"{reason}: a restart may cure it", draft)


def _replication_lost(engine: Engine, now: float) -> str | None:
    if any(not copies.is_good(engine.record, name, engine.copy(name)) for name in engine.units):
        return None  # an owner without a good copy has no use for the right to write alone
    link = engine.private_link()
    if link is LinkState.DOWN and not engine.liveness.silent(engine.setup.replication_link, now):
        link = LinkState.SUSPECT  # only our own heartbeats are lost: DRBD finds out itself whether it can go on
    if link is LinkState.DOWN and not engine.partner.links_are_up(now) and not engine.may_write:
        return None  # the link may still be starting, as its nodes are
    if engine.asks:
        return "DRBD waits for the right to go on without the peer"
    reasons = (consent.replication_lost(unit.disk, link) for unit in engine.units.values())
    return next((reason for reason in reasons if reason is not None), _never_met(engine, now))


def _never_met(engine: Engine, now: float) -> str | None:
    """Say which copies stay apart although both nodes are up: the peer's disk is dead, foreign or out of reach."""
    partner = engine.partner
    if engine.may_write or not partner.links_are_up(now, waits=2) or not partner.is_stable(now):
        return None
    apart = [name for name, unit in engine.units.items() if unit.disk is None or unit.disk.connection != "Connected"]
    return f"the copies of {apart[0]} do not meet" if apart and not engine.record.quarantined else None


def _cure_failed(engine: Engine, now: float) -> bool:
    peer = engine.peer
    if not engine.partner.links_are_up(now):
        return False
    if peer is None or peer.record.cure != engine.record.epoch or peer.machine == engine.partner.consenter:
        return False
    return engine.solo and engine.private_link() is LinkState.DOWN


def begin_arbitration(engine: Engine, now: float) -> None:
    """Start to collect evidence for the next epoch."""
    timers, served = engine.setup.timers, engine.served
    power = engine.arbitration.power
    engine.arbitration.begin(engine.record.epoch + 1)
    if served and power is takeover.Power.OFF_EARLY:
        engine.arbitration.power = power  # it was read while the peer was only suspect
    if not served:
        engine.lost_at = now
    elif engine.is_owner:
        engine.lost_at = now - engine.liveness.lease_age_s(now) + timers.peer_lost_s
    else:
        engine.lost_at = engine.liveness.silent_from_s(now) + timers.peer_lost_s


def _situation(engine: Engine, now: float) -> takeover.Situation | None:
    """Say whether, and why, this node has to look for a right; None while there is nothing to look for."""
    if engine.pair is PairState.WAITING:
        return takeover.Situation.LOST if engine.served else takeover.Situation.BOOT
    if engine.pair is PairState.PAIRED and engine.wants and now >= engine.wants_from_s + engine.setup.timers.consent_s:
        return takeover.Situation.NO_CONSENT
    if not engine.override or engine.solo:
        return None
    return takeover.Situation.LOST if engine.served else takeover.Situation.BOOT


def judge_takeover(engine: Engine, draft: Draft, now: float) -> None:
    """Look for the right to the next epoch when there is a reason to, and take it when it is given."""
    _heard_again(engine)
    _watch_power(engine, draft, now)
    _look_early(engine, draft, now)
    if not engine.durable.free(now) or engine.record.split:
        return
    situation = _situation(engine, now)
    if situation is None or (not engine.is_owner and engine.liveness.catches_up(now)):
        return
    if situation is takeover.Situation.NO_CONSENT and engine.arbitration.epoch != engine.wants:
        engine.arbitration.begin(engine.wants)
        engine.lost_at = now
    assert engine.lost_at is not None or engine.override, "a question that was never begun"
    engine.arbitration.expire(now)
    verdict = takeover.decide(_takeover_facts(engine, situation, now), engine.setup.timers, now)
    engine.refused = ()
    if isinstance(verdict, takeover.Ask):
        engine.refused = (verdict.reason,)
        asked = engine.arbitration.fetch(verdict.needs, arbiters.witnesses(engine.record.arbiters))
        if asked:
            draft.say(verdict.reason)
        draft.commands += asked
    elif isinstance(verdict, takeover.Allowed):
        engine.granted = verdict
        draft.milestone("takeover_decided")
        wanted = replace(engine.record, epoch=engine.record.epoch + 1, owner=engine.setup.me, peer_outdated=True)
        if engine.override:  # a person vouches for the disks that are here, and chooses them before any other version
            known = tuple((name, unit.generations[0]) for name, unit in engine.units.items() if unit.generations)
            wanted = replace(wanted, behind=(), generations=known, chosen=wanted.epoch)
        engine.durable.wish(replace(wanted, boot=engine.setup.machine), f"{verdict.means}: {verdict.reason}", draft)
    elif isinstance(verdict, takeover.Refused):
        engine.refused = verdict.reasons
        waits = situation is takeover.Situation.BOOT
        told = alerts.waits(verdict.reasons) if waits else alerts.takeover_refused(verdict.reasons)
        draft.once("waits" if waits else "refused", told)


def _heard_again(engine: Engine) -> None:
    """After anything was heard of the peer, a backup waits anew: it may have echoed it, and so renewed the lease.

    A grant of the witness stays. Power that was read as off before proves nothing now: the peer has spoken since.
    """
    heard_at_s = engine.liveness.heard_at_s
    if heard_at_s is None:
        return
    engine.arbitration.heard(heard_at_s)
    if engine.pair is PairState.WAITING and engine.served and not engine.is_owner and engine.lost_at is not None:
        engine.lost_at = max(engine.lost_at, heard_at_s + engine.setup.timers.peer_lost_s)


def _look_early(engine: Engine, draft: Draft, now: float) -> None:
    """Look for a gateway before the owner can go on alone: it shows which node is cut off (docs/safety.md, S16)."""
    setup, paired = engine.setup, engine.pair in (PairState.PAIRED, PairState.WAITING)
    if not (setup.gateway and paired) or engine.is_owner or engine.record.arbiters or setup.policy != "availability":
        return
    from_s, looked_at = engine.liveness.contact_from_s(now), engine.arbitration.looked_at
    if now - from_s >= setup.timers.link_down_s and (looked_at is None or looked_at < from_s):
        draft.commands += engine.arbitration.fetch((takeover.Need.NEIGHBOURS,), ())


def _watch_power(engine: Engine, draft: Draft, now: float) -> None:
    """Look at the peer's power as soon as it is suspect; the earlier it reads off, the more that proves."""
    timers, age_s = engine.setup.timers, engine.liveness.echo_age_s(now)
    heard = engine.pair is PairState.PAIRED and age_s is not None and age_s < timers.suspect_s
    if heard and engine.arbitration.epoch == 0 and engine.arbitration.power in (Power.OFF, Power.OFF_EARLY):
        engine.arbitration.begin(0)  # it was heard again: what its power read proves nothing about the next silence
    watched = engine.pair is PairState.WAITING or (engine.pair is PairState.PAIRED and not engine.solo)
    proof_s = engine.liveness.proof_s
    if not watched or age_s is None or age_s < timers.suspect_s or proof_s is None:
        return
    proof_until = proof_s + timers.peer_lost_s - timers.heartbeat_s
    draft.commands += engine.arbitration.watch_power(proof_until, now)


def give_power_back(engine: Engine, draft: Draft, now: float) -> None:
    """Switch the peer on: when this node cut its power and runs the VMs now, or waits and has found it off."""
    waits = engine.pair is PairState.WAITING and not engine.served
    if waits:
        draft.commands += engine.arbitration.look(now)
    off = waits and engine.arbitration.power is takeover.Power.OFF
    works = any(unit.busy not in (None, *READS) for unit in engine.units.values())
    starting = engine.solo and works  # the VMs come first
    if (engine.solo or off) and not starting:
        draft.commands += engine.arbitration.give_back(now, found_off=off)


def _takeover_facts(engine: Engine, situation: takeover.Situation, now: float) -> takeover.Facts:
    by_policy = engine.setup.policy == "availability"  # only then can a peer go on alone that lost everybody
    seen, lost_at = engine.arbitration, now if engine.lost_at is None else engine.lost_at
    from_s = lost_at - engine.setup.timers.peer_lost_s if engine.is_owner else engine.liveness.contact_from_s(now)
    fresh = seen.looked_at is not None and seen.looked_at >= from_s
    return takeover.Facts(
        me=engine.setup.me,
        record=engine.record,
        situation=situation,
        lost_at=lost_at,
        disks={name: unit.disk for name, unit in engine.units.items()},
        policy=engine.setup.policy,
        answers=engine.arbitration.answers,
        power=engine.arbitration.power,
        looked_at=seen.looked_at if fresh else None,
        gateway=seen.gateway if fresh else None,
        claimed=seen.claimed if fresh else (),
        unheard=by_policy and engine.peer is None,
        searched=by_policy and engine.peer is not None and engine.peer.pair is PairState.WAITING,
        override=engine.override,
        behind=engine.behind,
        unelected=bool(engine.setup.witnesses) and not engine.record.arbiters,
    )


def _is_superseded(engine: Engine) -> bool:
    peer = engine.peer
    return peer is not None and peer.record.epoch > engine.record.epoch and peer.record.owner == engine.setup.peer_id


def judge_guard(engine: Engine, draft: Draft, now: float, *, tick: bool) -> None:
    """Stop what has no right to run any more."""
    standing = Standing(
        tick=tick,
        pair=engine.pair,
        may_write=engine.may_write,
        known=engine.known,
        solo=engine.solo,
        lease_valid=engine.liveness.lease_valid(now),
        lease_over=engine.liveness.lease_over(now),
        lease_age_s=engine.liveness.lease_age_s(now),
        lease_until_s=engine.liveness.lease_until_s(now),
        owner=engine.is_owner,
        deciding=engine.durable.saving is not None and engine.durable.saving.solo(engine.setup.me),
        watchdog=engine.setup.watchdog,
        superseded=_is_superseded(engine),
        leaving=bool(engine.leaving),
        stuck_looks=max((unit.stuck_looks for unit in engine.units.values()), default=0),
    )
    engine.standing = standing
    for command, reason in engine.guard.judge(standing, now):
        draft.command(command)
        if reason:
            draft.say(reason)
        if isinstance(command, c.ResetNode):
            draft.alert(alerts.resets_itself(command.reason))


def care_for_witnesses(engine: Engine, draft: Draft, now: float) -> None:
    """Teach the witnesses while this node is in service."""
    if engine.pair in (PairState.PAIRED, PairState.ALONE):
        paired = engine.pair is PairState.PAIRED and engine.arbitration.epoch == 0 and engine.durable.saving is None
        draft.commands += engine.care.teach(engine.record, paired=paired, now=now)
