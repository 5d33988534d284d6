"""The decision core: handle(event, now) -> Decision.

Each event goes to one owner. Then the owners are asked, in reading order: `liveness` (who is silent), `pair` (what that
means for the pair), `handover`, `rights` (may this node go on alone), `guard` (must it stop), `units` (what each VM
needs), `address`, `fence`, `mirror`. An owner holds its state and returns what it decides; what that changes elsewhere
is applied here, and nowhere else.

The engine is deterministic: the same events with the same times give the same decisions. It must never read a clock,
do I/O or import anything but the core.
"""

from __future__ import annotations

from typing import assert_never

from avance.core import alerts, calm, conditions, cure, goal, operator, roster
from avance.core import commands as c
from avance.core import events as e
from avance.core.address import Address
from avance.core.agreement import Agreement
from avance.core.arbitration import Arbitration
from avance.core.care import Care
from avance.core.circumstances import Circumstances
from avance.core.crashloop import CrashLoop
from avance.core.cure import Cure
from avance.core.decision import Decision, Draft
from avance.core.durable import Durable, Saved, Wish
from avance.core.fence import Fence
from avance.core.guard import Guard, Standing
from avance.core.handover import HandOver
from avance.core.health import Health
from avance.core.holdings import held
from avance.core.leftover import Leftover
from avance.core.liveness import Liveness
from avance.core.migration import Migration
from avance.core.mirror import MirrorCare
from avance.core.model import LinkState, PairState, PeerView, Record, VmId
from avance.core.own_parts import OwnParts, guards_of
from avance.core.pair import Happens, PairTrigger, Save, judge, mismatch
from avance.core.pairing import Pairing
from avance.core.partner import Partner
from avance.core.readiness import Readiness
from avance.core.restarts import Restarts
from avance.core.results import Result, WitnessTaught
from avance.core.rights import Right
from avance.core.setup import Setup
from avance.core.sight import Sight
from avance.core.strangers import Strangers
from avance.core.unit import VmUnit
from avance.core.units import Units

_JUDGE_ROUNDS_MAX = 4  # what happens can be followed by Save or by more, never by more than these
_GATEWAY = {None: "no gateway is configured", True: "a gateway answers", False: "no gateway answers"}


class Engine:
    """One node's decisions. All mutable state of the core hangs on this object."""

    def __init__(self, setup: Setup, record: Record) -> None:
        """Start without any right: the record says what was durable, nothing else is believed."""
        reason = setup.timers.unsafe_reason()
        assert reason is None, reason
        assert setup.me != setup.peer_id
        assert conditions.unsound_reason() is None, conditions.unsound_reason()
        timers = setup.timers
        new = record.boot != setup.machine  # a machine that has just started runs no VM
        crashes = CrashLoop(timers.crash_mean_s, setup.crash_samples, setup.crash_policy)
        if record.quarantined and record.owner == setup.me:
            crashes.trip()
        self.sight = Sight(
            setup=setup,
            config_hash=setup.config_hash,
            durable=Durable(setup.me, setup.machine, timers, record),
            pairing=Pairing(),
            partner=Partner(timers, crashes),
            liveness=Liveness(timers, setup.links),
            units=Units(
                timers,
                {spec.name: VmUnit(spec, untouched=new) for spec in setup.vms},
                {} if new else {vm: Leftover() for vm in setup.removed},
            ),
            mirror=MirrorCare(timers.retry_s),
            parts=OwnParts(guards_of(watchdog=setup.watchdog)),
            agreement=Agreement(setup.me, setup.peer_id, timers, setup.stand),
        )
        self.right = Right(Arbitration(timers, setup.boot, setup.power))
        self.handover = HandOver()
        self.migration = Migration(setup.boot, timers.second_s)
        self.cure = Cure()
        self.fence = Fence()
        self.strangers = Strangers(timers.second_s)
        self.restarts = Restarts(timers.second_s)
        self.health = Health(timers.second_s)
        self.readiness = Readiness(timers.second_s)
        self.address = Address(timers.retry_s)
        self.guard = Guard(timers)
        self.care = Care(timers, setup.witnesses)
        self.told: set[str] = set()  # what the service centre was told, and is not in order since
        self.standing: Standing | None = None  # what the guard judged last
        self.said: PeerView | None = None  # what this node said of itself last
        self.next_heartbeat_at = 0.0
        self.rest_until_s = calm.NOT_CALM  # time alone changes nothing before, but for a heartbeat
        self.calm_until_s = calm.NOT_CALM  # ... and no heartbeat is due before, either

    # ------------------------------------------------------------ a turn

    def wake_at(self, now: float) -> float:
        """Return when to tell this engine that time has passed, should nothing else be told before (core/calm.py)."""
        return self.calm_until_s if now < self.calm_until_s else now + calm.short_s(self.setup.timers.heartbeat_s)

    def handle(self, event: e.Event, now: float) -> Decision:
        """Take one event and return what to do; `now` is monotonic and never goes back."""
        if now < self.calm_until_s and isinstance(event, e.HeartbeatSeen) and event.view == self.sight.partner.view:
            self.sight.liveness.heartbeat_seen(event.link, event.echoed_sent_s, now)
            return self._calm_turn(now, tick=False)
        if now < self.rest_until_s and isinstance(event, e.Tick) and event.rtc_s is None:
            return self._calm_turn(now, tick=True)
        return self._turn(event, now)

    def _calm_turn(self, now: float, *, tick: bool) -> Decision:
        """Do what is left while all is calm: the lease and the gate move; a tick gives what is due by the clock."""
        liveness, standing = self.sight.liveness, self.standing
        changes = liveness.update(now)
        assert not changes, "neither a receipt nor a short time makes a calm pair worse"
        assert standing is not None, "a calm pair has been judged"
        standing.tick = tick
        standing.lease_age_s, standing.lease_until_s = liveness.lease_age_s(now), liveness.lease_until_s
        if not tick:
            return Decision(tuple(command for command, _ in self.guard.renewed(standing)), (), ())
        draft = self._draft()
        draft.give(command for command, _ in self.guard.judge(standing, now))
        self._care_for_witnesses(draft, now)
        self._say_heartbeat(draft, now)
        self.rest_until_s = min(self.rest_until_s, liveness.unbroken_until())
        self.calm_until_s = min(self.next_heartbeat_at, self.rest_until_s)
        return draft.decision()

    def _turn(self, event: e.Event, now: float) -> Decision:
        sight, draft = self.sight, self._draft()
        sight.liveness.begin(now)
        self._take(event, draft, now)
        sight.liveness.judge(draft, now)
        self._judge_pair(draft, now)
        sight.durable.try_again(draft, now)
        self.health.look(sight, draft, now)
        leaving, live = bool(self.handover.leaving), not self.migration.given_up
        moves = self.health.moves(sight, draft, now, live=live, leaving=leaving, moving=bool(self.migration.moves))
        stopped = self.migration.stops(sight, now) or (moves if self.migration.tries and self.health.felt else None)
        sight.durable.wish(self.migration.judge(sight, draft, now, why=moves, leaving=bool(stopped) or leaving), draft)
        failing = stopped or self.restarts.elsewhere(sight, now)
        sight.durable.wish(self.handover.judge(sight, draft, now, failing=failing, sure=bool(stopped)), draft)
        self.restarts.tell(sight, draft, now, moves=not self.handover.rests)
        self._judge_consent(draft, now)
        sight.durable.wish(self.right.judge(sight, draft, now), draft)
        self._judge_guard(draft, now, tick=isinstance(event, e.Tick))
        sight.units.drive(lambda vm: self.around(vm, now), draft, now)
        self.right.give_power_back(sight, draft, now)
        self._drive_address(draft, now)
        sight.units.judge_protection(sight.copy_facts(now), draft, now, protected=sight.is_protected())
        if self.fence.asks:
            self.fence.answer(self.right.fence_code(sight), draft)
        sight.agreement.judge(sight.agreement_facts(now), draft, now)
        self._care_for_witnesses(draft, now)
        self.care.tell(draft, now)
        self.readiness.look(sight, self.right, self.care, self.restarts, draft, now)
        if sight.mirror.free(now):
            sight.mirror.drive(sight.mirror_facts(now, override=self.right.override), draft)
        self._say_heartbeat(draft, now)
        silence_s = sight.liveness.unbroken_until()
        self.rest_until_s = calm.NOT_CALM
        if silence_s > now and draft.quiet and self.rests(now):
            within_s = min(silence_s, self.readiness.next_s)
            self.rest_until_s = calm.until(within_s, self.care, now, self.setup.timers.second_s)
        self.calm_until_s = min(self.next_heartbeat_at, self.rest_until_s)
        return draft.decision()

    def _draft(self) -> Draft:
        return Draft(self.sight.durable.record.epoch, self.sight.pairing.pair, self.told)

    # ------------------------------------------------------------ events, each to one owner

    def _take(self, event: e.Event, draft: Draft, now: float) -> None:
        sight = self.sight
        match event:
            case e.HeartbeatSeen(link, view, echoed_sent_s):
                assert view.node == sight.setup.peer_id
                sight.partner.heard(view, draft)
                self.right.heard(sight, view, echoed_sent_s)
                sight.liveness.heartbeat_seen(link, sight.renewing(view.record, echoed_sent_s), now)
            case e.HeartbeatUnproven(link):
                sight.liveness.receipt(link, now)
            case e.DiskChanged():
                roster.disk_changed(event, sight, self.fence, draft, now)
            case e.DiskStreamReset(why):
                sight.units.disks_unknown()
                if why:
                    draft.say(f"nobody knows the state of DRBD until it tells again: {why}")
            case e.DomainChanged():
                self.restarts.domain_changed(sight, event, draft, now)
            case e.CommandDone(command, result):
                self._command_done(command, result, draft, now)
            case e.MemorySeen(free_mib):
                self.readiness.free_mib = free_mib
            case e.Tick(rtc_s):
                if rtc_s is not None:
                    sight.liveness.clock_read(rtc_s, draft, now)
            case _:
                self._take_rarer(event, draft, now)

    def _take_rarer(self, event: e.Rarer, draft: Draft, now: float) -> None:
        sight = self.sight
        match event:
            case e.FencePeerAsked(vm, ask):
                self.fence.asked(vm, ask, draft, known=vm in sight.units.by_name)
            case e.VmAdded() | e.VmChanged() | e.VmRemoved():
                sight.config_hash = roster.changed(event, sight, self.fence, self.restarts, draft)
            case e.LinkChanged() | e.SensorsRead():
                self.health.take(event, sight.setup, draft, now)
            case e.NeighboursSeen(gateway, claimed):
                self.right.arbitration.neighbours_seen(event, now)
                draft.say(f"{_GATEWAY[gateway]}; others answer for {', '.join(claimed) or 'none of our addresses'}")
            case e.DatagramsRefused():
                self.strangers.refused(event, draft, now)
            case e.OperatorAsked():
                owners = operator.Owners(self.right, self.cure, self.restarts, self.health, self.migration)
                operator.asked(event, sight, owners, draft, now)
            case e.MirrorChanged(view):
                if sight.mirror.changed(view, draft):
                    sight.units.mirror_runs()
            case e.PartSeen(part, problem, name):
                sight.parts.seen(part, problem, name, draft)
            case e.ChangeAsked() | e.TakeAsked() | e.DocumentHeard():
                sight.agreement.take_in(event, sight.agreement_facts(now), draft, now)
            case e.AddressSeen(present):
                self.address.seen(draft, present=present)
            case _:
                assert_never(event)

    def _command_done(self, command: c.Work, result: Result, draft: Draft, now: float) -> None:
        sight = self.sight
        match command:
            case c.SaveRecord() | c.SaveDefinitions():
                self._save_done(command, result, draft, now)
            case c.HoldAddress() | c.ReleaseAddress():
                self.address.done(command, result, draft, now)
            case c.PauseVms() | c.UnpauseVms():
                self.guard.done(command, ok=result.ok)
                if not result.ok:
                    draft.say(f"{type(command).__name__} ended {result.outcome}: {result.detail}")
            case c.KeepMirrorNote() | c.UseMirrorNote() | c.ReuseHalves() | c.TrustMirror():
                sight.mirror.done(command, result, draft, now)
            case c.TeachWitness(witness):
                assert isinstance(result, WitnessTaught)
                self.care.done(witness, result, now)
            case c.AskWitness() | c.ReadPeerPower() | c.CutPeerPower() | c.RestorePeerPower() | c.ProbeNeighbours():
                said = self.right.arbitration.done(command, result, now)
                if said is not None:
                    draft.say(said)
                if isinstance(command, c.CutPeerPower):
                    self.right.fence_tried(sight, result.detail, draft)
            case _ if command.vm not in sight.units.by_name:
                sight.units.done_in_vain(command.vm)
            case _:
                sight.units.done(command, result, self.around(command.vm, now), draft, now)
                self.restarts.done(command, result, now)
                self.readiness.done(command, result, now)

    # ------------------------------------------------------------ the record and the pair

    def _save_done(self, command: c.SaveRecord | c.SaveDefinitions, result: Result, draft: Draft, now: float) -> None:
        if isinstance(command, c.SaveDefinitions):
            self.sight.agreement.done(command, result, draft, now)
            return
        saved = self.sight.durable.done(result, draft, now)
        if saved is not None:
            self._saved(saved, draft)

    def _saved(self, saved: Saved, draft: Draft) -> None:
        """Act on a record that is durable now; the peer has to know of it."""
        sight, before, after = self.sight, saved.before, saved.after
        draft.tell_peer()
        self.right.saved(after)
        if after.split and not before.split:
            draft.alert(alerts.split(f"this node knows epoch {after.epoch} of owner {after.owner}"))
        if before.split and not after.split:
            sight.pairing.chosen(draft)
        if after.solo(sight.setup.me) and after.epoch > before.epoch:
            self._gone_alone(before, after, draft)

    def _gone_alone(self, before: Record, after: Record, draft: Draft) -> None:
        """The right to write alone is durable: by this node's own means, or by the consent of the peer."""
        sight, means = self.sight, self.right.gone_alone()
        # A person who overrides vouches that the peer is off, so what it said last decides nothing any more.
        sight.partner.left(forget=self.right.override)
        sight.pairing.happens(PairTrigger.RIGHT_SAVED, f"epoch {after.epoch} is durable", draft)
        taken = before.owner != sight.setup.me
        draft.alert(alerts.takeover(after.epoch, means) if taken else alerts.alone(after.epoch, means))
        draft.milestone("epoch_saved")

    def _judge_pair(self, draft: Draft, now: float) -> None:
        """Ask the rules of the pair until they say that nothing changes."""
        sight, durable = self.sight, self.sight.durable
        for _ in range(_JUDGE_ROUNDS_MAX):
            if not durable.free(now):
                return  # one record at a time; the next judgement builds on what is durable
            if durable.dirty and (sight.pairing.pair is not PairState.WAITING or sight.liveness.peer_alive(now)):
                why = "the last record may or may not be on disk: the valid one is written again"
                durable.wish(Wish(durable.record, why), draft)
                return
            facts = sight.pair_facts(now, brought=self.migration.brings(sight))
            judgement = judge(sight.pairing.pair, facts)
            if isinstance(judgement, Save):
                durable.wish(Wish(judgement.record, judgement.reason), draft)
            elif isinstance(judgement, Happens):
                self._pair_happens(judgement, draft, now)
            else:
                sight.partner.differs(mismatch(facts) if facts.peer_alive else None, draft, now)
                self._tidy_record(draft, now)
                return

    def _pair_happens(self, what: Happens, draft: Draft, now: float) -> None:
        sight, peer_id = self.sight, self.setup.peer_id
        silence_s = now - sight.liveness.silent_from_s(now)
        state = sight.pairing.happens(what.trigger, what.reason, draft)
        if state is PairState.WAITING:
            self.right.begin(sight, now)
            if sight.durable.served:
                draft.milestone("peer_lost")
                draft.alert(alerts.peer_lost(peer_id, silence_s))
        elif state is PairState.ALONE and sight.partner.was_paired:
            draft.milestone("peer_lost")
            draft.alert(alerts.peer_lost(peer_id, silence_s))
        elif state is PairState.FENCED:
            draft.alert(alerts.fenced(what.reason))
        elif state is PairState.PAIRED:
            self._paired(draft, now)

    def _paired(self, draft: Draft, now: float) -> None:
        sight, peer_id, returned = self.sight, self.setup.peer_id, self.sight.partner.was_paired
        draft.in_order("refused", "mismatch", "waits", "peer_resets", "fence_failed")
        self.right.paired()
        restarted = sight.partner.met(sight.durable.record.epoch, now)
        draft.milestone("peer_returned" if returned else "paired")
        if returned:
            draft.alert(alerts.peer_returned(peer_id))
        if restarted is not None and restarted.links_fell:
            sight.liveness.forgive()
        if restarted is not None and restarted.too_often and sight.durable.owner:
            draft.alert(alerts.quarantined(peer_id))

    def _tidy_record(self, draft: Draft, now: float) -> None:
        """Note durably what follows from the disks and from the agreement of a pair."""
        sight, record = self.sight, self.sight.durable.record
        wanted = sight.durable.tidied(held(sight, self.care, now))
        if wanted is None:
            return
        by = self.setup.peer_id if sight.durable.owner else None
        sight.units.left_behind(record.behind, wanted.behind, by, draft)
        told = ", arbiters " + (" ".join(wanted.arbiters) or "none") if wanted.arbiters != record.arbiters else ""
        sight.durable.wish(Wish(wanted, f"the record follows what both nodes hold{told}"), draft)

    # ------------------------------------------------------------ the right, and what ends it

    def _judge_consent(self, draft: Draft, now: float) -> None:
        """As the owner of unreplicated VMs: ask for consent, then look further. As the backup: give it."""
        sight, right = self.sight, self.right
        right.leave(sight, draft, now)
        if not sight.durable.free(now):
            return
        sight.durable.wish(right.consents(sight, now), draft)
        self.cure.restart(sight, draft)
        sight.durable.wish(self.cure.look(sight, draft, now), draft)
        if not self.handover.moving:  # then it is this node that lets go of its copies, and needs no consent
            sight.durable.wish(right.ask(sight, draft, now, waiting=bool(self.fence.asks)), draft)
        if sight.pairing.pair is PairState.PAIRED and cure.failed(sight, now):
            draft.once("backup_down", alerts.backup_down(self.setup.replication_link))

    def _judge_guard(self, draft: Draft, now: float, *, tick: bool) -> None:
        """Stop what has no right to run any more."""
        self.standing = self.sight.standing(now, tick=tick, leaving=bool(self.handover.leaving))
        for command, reason in self.guard.judge(self.standing, now):
            draft.command(command)
            if reason:
                draft.say(reason)
            if isinstance(command, c.ResetNode):
                draft.alert(alerts.resets_itself(command.reason))

    def _care_for_witnesses(self, draft: Draft, now: float) -> None:
        """Teach the witnesses while this node is in service."""
        sight = self.sight
        if sight.pairing.in_service:
            asks = self.right.arbitration.epoch != 0 or sight.durable.saving is not None
            paired = sight.pairing.pair is PairState.PAIRED and not asks
            draft.give(self.care.teach(sight.durable.record, paired=paired, alone=sight.solo, now=now))
        else:
            self.care.rest()

    # ------------------------------------------------------------ what is done

    def around(self, vm: VmId, now: float) -> Circumstances:
        """What a VM must know of the pair."""
        sight, asked = self.sight, self.right.is_asked(self.sight, now)
        consenting, paused = asked and self.right.is_consenting(sight, now), bool(self.guard.paused)
        left = self.restarts.held(sight, vm, now)
        return goal.around(
            sight, self.handover, self.migration, vm, now, left=left, paused=paused, asked=asked, consenting=consenting
        )

    def _drive_address(self, draft: Draft, now: float) -> None:
        """Hold the service address where the VMs belong."""
        sight, leaving = self.sight, bool(self.handover.leaving)
        if not self.address.free(now):
            return
        backup = sight.pairing.pair is PairState.PAIRED and not sight.durable.owner
        gone = sight.pairing.stopped or leaving or backup
        self.address.drive(draft, entitled=not gone and sight.entitled, gone=gone)

    def _say_heartbeat(self, draft: Draft, now: float) -> None:
        if now >= self.next_heartbeat_at or draft.urgent or draft.milestones:
            echoing = self.sight.echoing
            self.next_heartbeat_at = now + self.setup.timers.heartbeat_s
            self.sight.liveness.sent(now, echoing=echoing)
            draft.command(c.SendHeartbeat(self.view(now, ends=draft.ends), echoing))

    def view(self, now: float, *, ends: str = "") -> PeerView:
        """What this node says of itself, the very same value until it changes; `ends`: why it resets itself."""
        leaves = max(self.right.left, self.handover.leaves)
        leaves = leaves if leaves > self.record.epoch else 0
        said, offers = self.readiness.said, self.handover.offers
        view = self.sight.view(self.right.wants, leaves, self.care.up(now), self.health.ailments, offers, said)
        view = self.migration.said(self.restarts.said(view, now, ends))
        self.said = self.said if view == self.said else view
        assert self.said is not None
        return self.said

    def rests(self, now: float) -> bool:
        """Nothing is under way, wanted, awaited or in doubt, on this node or on its peer."""
        sight = self.sight
        return (
            sight.durable.rests(now)
            and sight.partner.rests(now)
            and sight.agreement.rests
            and self.right.rests
            and sight.is_whole
            and self.cure.rests
            and self.handover.rests
            and self.migration.rests
            and self.address.rests(now, owner=sight.durable.owner)
            and not self.fence.asks
            and sight.mirror.rests(now)
            and self.guard.at_rest
            and not sight.liveness.was_late(now)
            and all(state is LinkState.UP for state in sight.liveness.states.values())
            and sight.units.rest(now)
        )

    # ------------------------------------------------------------ for those who look from outside

    @property
    def setup(self) -> Setup:
        """What this node was told at its start."""
        return self.sight.setup

    @property
    def record(self) -> Record:
        """What is durable here."""
        return self.sight.durable.record

    @property
    def pair(self) -> PairState:
        """The state of the pair."""
        return self.sight.pairing.pair

    @property
    def units(self) -> dict[VmId, VmUnit]:
        """The VMs by name."""
        return self.sight.units.by_name

    @property
    def liveness(self) -> Liveness:
        """What is known of the links."""
        return self.sight.liveness

    @property
    def protected(self) -> bool:
        """Every VM is protected."""
        return self.sight.units.protected

    @property
    def is_owner(self) -> bool:
        """This node owns the current epoch."""
        return self.sight.durable.owner


__all__ = ["Decision", "Engine", "Setup"]
