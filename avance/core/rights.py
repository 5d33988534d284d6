"""The right to go on without the peer: what this node asks for, the evidence it has, and what it was given.

The rules are `core/consent.py` and `core/takeover.py`; here their facts are collected. A right counts only when it is
durable, so this owner returns the record that it wants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from avance.core import alerts, arbiters, consent, copies, takeover
from avance.core.arbitration import Arbitration
from avance.core.decision import Draft
from avance.core.durable import Wish
from avance.core.fence import CONSENTED_CODE, DENIED_CODE
from avance.core.model import DiskState, LinkState, PairState, PeerView, Record, VmId
from avance.core.sight import Sight
from avance.core.takeover import Power

_WORD = "word of the peer"


@dataclass(slots=True)
class Right:
    """The right of one node and the way to it.

    `granted`: by what means the right was, or is being, taken. `wants`: the epoch for which the peer's consent is
    asked, 0 for none. `unreplicated`: why the VMs have no second copy, and since when. `override`: a person vouches
    that the peer is off. `lost_at`: when the peer counted as lost. `begun_at`: since when this right is looked for.
    `refused`: why there is no right yet, as it was judged last.

    Words in place of records that cannot be written (docs/safety.md, S40): `left` is the epoch that this backup has
    left to the owner, said first at `left_at`. `offered` is the epoch that the peer leaves to this node.
    """

    arbitration: Arbitration
    granted: takeover.Allowed | None = None
    wants: int = 0
    wants_from_s: float = 0.0
    unreplicated: tuple[str, float] | None = None
    override: bool = False
    lost_at: float | None = None
    begun_at: float = 0.0
    refused: tuple[str, ...] = ()
    left: int = 0
    left_at: float = 0.0
    consents_from_s: float | None = None
    offered: int = 0

    # ------------------------------------------------------------ consent

    def is_asked(self, sight: Sight, now: float) -> bool:
        """This backup hears the owner, who asks for its consent, and it is not about to take over itself."""
        peer = sight.partner.view
        if peer is None or peer.wants == 0 or self.granted is not None:
            return False
        asked = consent.asked(sight.durable.record, peer, sight.pairing.pair, may_write=sight.may_write)
        return asked and sight.liveness.peer_alive(now)

    def is_consenting(self, sight: Sight, now: float) -> bool:
        """This backup is asked for its consent, and the owner's copy is good."""
        return self.is_asked(sight, now) and all(_owner_is_good(sight, name) for name in sight.filled)

    def consents(self, sight: Sight, now: float) -> Wish | None:
        """As the backup: give the consent that the owner asks for, when nothing here can be promoted any more."""
        if not self._could_consent(sight, now):
            return None
        assert sight.durable.record.owner is not None, "consent is given to an owner"
        given = consent.given(sight.durable.record, sight.durable.record.owner)
        return Wish(given, f"this backup consents: {given.owner} owns epoch {given.epoch}, our copies are outdated")

    def _could_consent(self, sight: Sight, now: float) -> bool:
        """Nothing is missing for the consent but that it is durable: the copies have left the replication."""
        retry_s, units = sight.setup.timers.retry_s, sight.units.by_name.values()
        apart = all(consent.apart(unit.disk) and not unit.comes_up(now, retry_s) for unit in units)
        known = sight.known or all(unit.known or unit.is_down for unit in units)
        return apart and known and self.is_consenting(sight, now)

    def leave(self, sight: Sight, draft: Draft, now: float) -> None:
        """As the backup: where the consent cannot be made durable in time, leave the epoch to the owner by a word.

        Only where this node has no other way to a right than the policy: a later run of this daemon, which knows
        nothing of the word, must not find one (docs/safety.md, S40).
        """
        peer, durable = sight.partner.view, sight.durable
        if peer is None or not self._could_consent(sight, now):
            self.consents_from_s = None
            return
        self.consents_from_s = now if self.consents_from_s is None else self.consents_from_s
        if durable.taking or durable.record.arbiters or sight.setup.power or self.left > durable.record.epoch:
            return
        late = now >= self.consents_from_s + sight.setup.timers.consent_s
        if not late and durable.failing_from_s is None:
            return
        self.left, self.left_at = peer.wants, now
        draft.tell_peer()
        draft.say(f"the consent cannot be made durable here: epoch {self.left} is left to {peer.node} by this word")

    def heard(self, sight: Sight, view: PeerView, echoed_sent_s: float | None) -> None:
        """Take the word of the peer; what it says answers our heartbeat of `echoed_sent_s`."""
        mine = sight.durable.record
        if echoed_sent_s is None:
            return
        if self.left and view.wants == 0 and view.record.epoch < self.left and echoed_sent_s >= self.left_at:
            self.left = 0  # the owner has heard it, and does not need it any more
        as_owner = self.wants != 0 and view.leaves == self.wants and echoed_sent_s >= self.wants_from_s
        gives = view.leaves == mine.epoch + 1 and view.record.epoch == mine.epoch and view.record.owner == view.node
        self.offered = view.leaves if as_owner or (gives and not sight.durable.owner) else 0

    def _by_word(self, sight: Sight, now: float) -> takeover.Allowed | None:
        """The peer has left the next epoch to this node, whose copies are good."""
        next_epoch = self.offered == sight.durable.record.epoch + 1
        if not next_epoch or sight.pairing.pair is not PairState.PAIRED or not sight.liveness.peer_alive(now):
            return None
        units = {name: sight.units.by_name[name] for name in sight.filled}
        good = all(sight.is_good(name) and unit.disk is not None for name, unit in units.items())
        if not sight.durable.owner:  # the peer has had the VMs: whatever is on its disk has to be here
            theirs = {name: copies.peer_copy(sight.partner.view, name).generations for name in units}
            good = good and all(copies.holds(unit.generations, theirs[name]) for name, unit in units.items())
        if not good or sight.unread or (sight.durable.owner and not self.wants):
            return None
        return takeover.Allowed(_WORD, CONSENTED_CODE, "its record cannot be written, and it has let go of its copies")

    def ask(self, sight: Sight, draft: Draft, now: float, *, waiting: bool) -> Wish | None:
        """As the owner of unreplicated VMs: ask for consent; `waiting`: DRBD waits for an answer.

        Before, the record is written once more: a consent that could not be made durable here would help nobody.
        """
        if sight.durable.taking:
            return None  # what was asked for is on its way to the disk, or may be there
        owner = sight.pairing.pair is PairState.PAIRED and sight.durable.owner
        if not owner or sight.durable.record.peer_outdated or not sight.liveness.peer_alive(now):
            self.wants, self.offered = 0, 0 if sight.durable.owner else self.offered
            return None
        reason = _replication_lost(sight, now, waiting=waiting)
        if reason is None:
            self.unreplicated = None
            if self.wants:
                draft.say("the volumes are replicated again; no consent is needed")
                self.arbitration.begin(0)
            self.wants = self.offered = 0
        elif self.wants == 0 and self._lasts(sight, reason, now, waiting=waiting):
            assert self.unreplicated is not None, "a reason that lasts"
            proven_at = sight.durable.saved_at
            if proven_at is None or proven_at < self.unreplicated[1]:
                return Wish(sight.durable.record, f"{reason}: is the record of this node still written?")
            self.wants, self.wants_from_s = sight.durable.record.epoch + 1, now
            draft.tell_peer()
            draft.say(f"{reason}: the peer is asked for its consent to epoch {self.wants}")
        return None

    def _lasts(self, sight: Sight, reason: str, now: float, *, waiting: bool) -> bool:
        """Say whether this reason has held for two heartbeats; DRBD passes through such states when it connects."""
        if self.unreplicated is None or self.unreplicated[0] != reason:
            self.unreplicated = (reason, now)
        frozen = any(unit.disk is not None and unit.disk.suspended for unit in sight.units.by_name.values())
        sure = frozen or waiting or sight.private_link() is LinkState.DOWN
        settled_s = 0.0 if sure else 2 * sight.setup.timers.heartbeat_s
        return now - self.unreplicated[1] >= settled_s

    # ------------------------------------------------------------ arbitration

    def begin(self, sight: Sight, now: float) -> None:
        """Start to collect evidence for the next epoch: the peer is lost, or was never there."""
        timers, served, power = sight.setup.timers, sight.durable.served, self.arbitration.power
        self.arbitration.begin(sight.durable.record.epoch + 1)
        self.begun_at = now
        if served and power is Power.OFF_EARLY:
            self.arbitration.still_off_early()
        if not served:
            self.lost_at = now
        elif sight.durable.owner:
            self.lost_at = now - sight.liveness.lease_age_s(now) + timers.peer_lost_s
        else:
            self.lost_at = sight.liveness.silent_from_s(now) + timers.peer_lost_s

    def judge(self, sight: Sight, draft: Draft, now: float) -> Wish | None:
        """Look for the right to the next epoch when there is a reason to; return the record that takes it."""
        self._heard_again(sight)
        self._watch_power(sight, draft, now)
        self._look_early(sight, draft, now)
        if not sight.durable.free(now) or sight.durable.record.split:
            return None
        if (word := self._by_word(sight, now)) is not None:
            return self._take(sight, word, draft)
        if self.left > sight.durable.record.epoch and not self.override:
            self.refused = (f"epoch {self.left} was left to node {sight.setup.peer_id}, which may serve alone",)
            return None
        situation = self._situation(sight, now)
        if situation is None or (not sight.durable.owner and sight.liveness.catches_up(now)):
            return None
        if situation is takeover.Situation.NO_CONSENT and self.arbitration.epoch != self.wants:
            self.arbitration.begin(self.wants)
            self.lost_at = now
        assert self.lost_at is not None or self.override, "a question that was never begun"
        self.arbitration.expire(now)
        verdict = takeover.decide(self._facts(sight, situation, now), sight.setup.timers, now)
        self.refused = ()
        if isinstance(verdict, takeover.Allowed):
            return self._take(sight, verdict, draft)
        if isinstance(verdict, takeover.Fetch):
            if self.wants == 0 and (proof := self._to_be_proven(sight, verdict)) is not None:
                return proof  # who has asked for consent has done so
            self.refused = (verdict.reason,)
            asked = self.arbitration.fetch(verdict.needs, arbiters.witnesses(sight.durable.record.arbiters))
            if asked:
                draft.say(verdict.reason)
            draft.give(asked)
        elif isinstance(verdict, takeover.Refused):
            self.refused = verdict.reasons
            waits = situation is takeover.Situation.BOOT
            told = alerts.waits(verdict.reasons) if waits else alerts.takeover_refused(verdict.reasons)
            draft.once("waits" if waits else "refused", told)
        return None

    def _to_be_proven(self, sight: Sight, verdict: takeover.Fetch) -> Wish | None:
        """Return the record as it is, to be written once more before anybody gives something up for this node.

        A witness that has granted the epoch refuses it to the peer, and a peer that was switched off serves nobody.
        """
        saved_at = sight.durable.saved_at
        takes = takeover.Need.WITNESSES in verdict.needs or takeover.Need.CUT_POWER in verdict.needs
        if not takes or (saved_at is not None and saved_at >= self.begun_at):
            return None
        self.refused = ("it is not known whether the record of this node can still be written",)
        return Wish(sight.durable.record, f"{verdict.reason}: is the record of this node still written?")

    def _take(self, sight: Sight, allowed: takeover.Allowed, draft: Draft) -> Wish:
        self.granted = allowed
        draft.milestone("takeover_decided")
        record = sight.durable.record
        wanted = replace(record, epoch=record.epoch + 1, owner=sight.setup.me, peer_outdated=True)
        if self.override:  # a person vouches for the disks that are here, and chooses them before any other version
            wanted = replace(wanted, behind=(), generations=sight.units.written(), chosen=wanted.epoch)
        return Wish(replace(wanted, boot=sight.setup.machine), f"{allowed.means}: {allowed.reason}")

    def _situation(self, sight: Sight, now: float) -> takeover.Situation | None:
        """Say whether, and why, this node has to look for a right; None while there is nothing to look for."""
        pair, lost = sight.pairing.pair, takeover.Situation.LOST if sight.durable.served else takeover.Situation.BOOT
        if pair is PairState.WAITING:
            return lost
        if pair is PairState.PAIRED and self.wants and now >= self.wants_from_s + sight.setup.timers.consent_s:
            return takeover.Situation.NO_CONSENT
        if not self.override:
            return None
        record = sight.durable.record
        doubtful = bool(sight.behind) and record.chosen != record.epoch  # not vouched for yet
        return lost if not sight.solo or doubtful else None

    def _heard_again(self, sight: Sight) -> None:
        """After anything was heard of the peer, a backup waits anew: it may have echoed it, and so renewed the lease.

        A grant of the witness stays. Power that was read as off before proves nothing now: the peer has spoken since.
        """
        heard_at_s = sight.liveness.heard_at_s
        if heard_at_s is None:
            return
        self.arbitration.heard(heard_at_s)
        backup = sight.durable.served and not sight.durable.owner
        if sight.pairing.pair is PairState.WAITING and backup and self.lost_at is not None:
            self.lost_at = max(self.lost_at, heard_at_s + sight.setup.timers.peer_lost_s)

    def _look_early(self, sight: Sight, draft: Draft, now: float) -> None:
        """Look for a gateway before the owner can go on alone: it shows which node is cut off (docs/safety.md, S16)."""
        setup = sight.setup
        if not setup.gateway or sight.durable.owner or sight.durable.record.arbiters or setup.policy != "availability":
            return
        if sight.pairing.pair not in (PairState.PAIRED, PairState.WAITING):
            return
        from_s, looked_at = sight.liveness.contact_from_s(now), self.arbitration.looked_at
        if now - from_s >= setup.timers.link_down_s and (looked_at is None or looked_at < from_s):
            draft.give(self.arbitration.fetch((takeover.Need.NEIGHBOURS,), ()))

    def _watch_power(self, sight: Sight, draft: Draft, now: float) -> None:
        """Look at the peer's power as soon as it is suspect; the earlier it reads off, the more that proves."""
        timers, age_s, arbitration = sight.setup.timers, sight.liveness.echo_age_s(now), self.arbitration
        paired = sight.pairing.pair is PairState.PAIRED
        if age_s is None or age_s < timers.suspect_s:
            off = arbitration.power in (Power.OFF, Power.OFF_EARLY)
            if off and paired and age_s is not None and arbitration.epoch == 0:
                arbitration.begin(0)  # it was heard again: what its power read proves nothing about the next silence
            return
        watched = sight.pairing.pair is PairState.WAITING or (paired and not sight.solo)
        proof_s = sight.liveness.proof_s
        if not watched or proof_s is None:
            return
        proof_until = proof_s + timers.peer_lost_s - timers.heartbeat_s
        draft.give(arbitration.watch_power(proof_until, now))

    def give_power_back(self, sight: Sight, draft: Draft, now: float) -> None:
        """Switch the peer on: when this node cut its power and runs the VMs now, or waits and has found it off."""
        waits = sight.pairing.pair is PairState.WAITING and not sight.durable.served
        if waits:
            draft.give(self.arbitration.look(now))
        off = waits and self.arbitration.power is Power.OFF
        solo = sight.solo
        if (solo or off) and not (solo and sight.units.acts):  # the VMs come first
            draft.give(self.arbitration.give_back(now, found_off=off))

    def _facts(self, sight: Sight, situation: takeover.Situation, now: float) -> takeover.TakeoverFacts:
        setup, record, peer, seen = sight.setup, sight.durable.record, sight.partner.view, self.arbitration
        by_policy = setup.policy == "availability"  # only then can a peer go on alone that lost everybody
        lost_at = now if self.lost_at is None else self.lost_at
        owner_from_s = lost_at - sight.setup.timers.peer_lost_s
        from_s = owner_from_s if sight.durable.owner else sight.liveness.contact_from_s(now)
        fresh = seen.looked_at is not None and seen.looked_at >= from_s
        return takeover.TakeoverFacts(
            me=setup.me,
            record=record,
            situation=situation,
            lost_at=lost_at,
            disks=sight.units.disks(),
            policy=setup.policy,
            answers=seen.answers,
            power=seen.power,
            looked_at=seen.looked_at if fresh else None,
            gateway=seen.gateway if fresh else None,
            claimed=seen.claimed if fresh else (),
            unheard=by_policy and peer is None,
            searched=by_policy and peer is not None and peer.pair is PairState.WAITING,
            override=self.override,
            behind=sight.behind | sight.unread,
            unelected=bool(setup.witnesses) and not record.arbiters,
        )

    # ------------------------------------------------------------ what became of it

    def paired(self) -> None:
        """The two nodes agree: nothing is asked for any more."""
        self.granted, self.override, self.offered = None, False, 0
        self.arbitration.begin(0)

    def saved(self, record: Record) -> None:
        """A record is durable; one without the lone right ends what was granted."""
        self.left = self.left if self.left > record.epoch else 0
        if not record.peer_outdated:
            self.granted = None

    def fence_tried(self, sight: Sight, detail: str, draft: Draft) -> None:
        """Tell of a power fence that failed, once; it is tried again while it is needed."""
        if self.arbitration.power is Power.FAILED:
            draft.once("fence_failed", alerts.fence_failed(sight.setup.peer_id, detail))
        else:
            draft.in_order("fence_failed")

    def vouched(self) -> None:
        """A person vouches that the peer is off."""
        self.override = True

    def gone_alone(self) -> str:
        """The right is durable; return by what means: this node's own, or the consent of the peer."""
        self.wants = self.offered = 0
        return "consent of the peer" if self.granted is None else self.granted.means

    def fence_code(self, sight: Sight) -> int | None:
        """Return the answer to fence-peer: yes only with the durable lone right; a node that lost it denies."""
        if sight.solo and sight.durable.record.epoch > 0:
            return CONSENTED_CODE if self.granted is None else self.granted.fence_code
        return DENIED_CODE if sight.pairing.stopped else None

    @property
    def rests(self) -> bool:
        """Nothing is asked for, granted or in doubt."""
        asks = bool(self.wants) or self.override or self.granted is not None or self.unreplicated is not None
        asks = asks or bool(self.left) or bool(self.offered)
        return not asks and self.arbitration.at_rest


def _owner_is_good(sight: Sight, name: VmId) -> bool:
    """The right is given to a peer that says that its copy is good, and of the newest data that is known here.

    The newest data can be this node's own: an owner whose disk was lost writes to the copy here, and begins a
    generation that no daemon may have noted yet. So this copy's generation is read after the connection has ended.
    """
    unit, record, peer = sight.units.by_name[name], sight.durable.record, sight.partner.view
    mine, theirs = sight.copy(name), copies.peer_copy(peer, name)
    good, seen = copies.is_good(record, name, mine), unit.disk
    if not good and not copies.peer_is_vouched(record, peer, name):
        return False
    if good and not copies.peer_is_good(record, peer, name):
        return False
    if good and seen is not None and seen.peer_disk in (DiskState.DISKLESS, DiskState.FAILED):
        return False
    if unit.is_down:  # its disk was looked at before DRBD's tools hung, or nobody knows what is on it
        return copies.holds(theirs.generations, unit.generations)
    if seen is None or not (good or seen.disk is DiskState.OUTDATED):
        return True
    if seen.connection != "Connected" and not unit.read_apart:
        return False
    if good:
        return copies.holds(theirs.generations, mine.generations)
    return not copies.descends(theirs.generations, mine.generations)


def _replication_lost(sight: Sight, now: float, *, waiting: bool) -> str | None:
    if any(not sight.is_good(name) for name in sight.filled):
        return None  # an owner without a good copy has no use for the right to write alone
    link = sight.private_link()
    if link is LinkState.DOWN and not sight.liveness.silent(sight.setup.replication_link, now):
        link = LinkState.SUSPECT  # only our own heartbeats are lost: DRBD finds out itself whether it can go on
    if link is LinkState.DOWN and not sight.partner.links_are_up(now) and not sight.may_write:
        return None  # the link may still be starting, as its nodes are
    if waiting:
        return "DRBD waits for the right to go on without the peer"
    if any(unit.steadiness.is_held(now, sight.setup.timers) for unit in sight.units.by_name.values()):
        return "the replication breaks again and again"
    reasons = (consent.replication_lost(unit.disk, link) for unit in sight.units.by_name.values())
    return next((reason for reason in reasons if reason is not None), _never_met(sight, now))


def _never_met(sight: Sight, now: float) -> str | None:
    """Say which copies stay apart although both nodes are up: the peer's disk is dead, foreign or out of reach."""
    partner, units = sight.partner, {name: sight.units.by_name[name] for name in sight.filled}
    if sight.may_write or not partner.links_are_up(now, waits=2) or not partner.is_stable(now):
        return None
    apart = [name for name, unit in units.items() if unit.disk is None or unit.disk.connection != "Connected"]
    return f"the copies of {apart[0]} do not meet" if apart and not sight.durable.record.quarantined else None


__all__ = ["Right"]
