"""The decision core: handle(event, now) -> Decision. It composes, in reading order, `liveness` (who is silent),
`pair` (what that means for the pair), `takeover` (may this node go on alone) and `unit` (what each VM needs).

The engine is deterministic: the same events with the same times give the same decisions. It must never read a clock,
do I/O or import anything but the core.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from avance.core import alerts, takeover
from avance.core import commands as c
from avance.core import events as e
from avance.core.liveness import Liveness
from avance.core.model import (
    Alert,
    DiskState,
    DiskView,
    LinkName,
    LinkState,
    NodeId,
    Outcome,
    PairState,
    PeerView,
    Record,
    Timers,
    VmId,
    VmSpec,
    VmState,
)
from avance.core.pair import Become, PairFacts, Save, judge, mismatch
from avance.core.unit import Circumstances, Goal, VmUnit


@dataclass(frozen=True, slots=True)
class Setup:
    """What a node is told once, at its start."""

    me: NodeId
    peer_id: NodeId
    boot: str
    config_hash: str
    dilation: float
    policy: str
    timers: Timers
    links: tuple[LinkName, ...]
    vms: tuple[VmSpec, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, why, and which published milestones were passed."""

    commands: tuple[c.Command, ...]
    reasons: tuple[str, ...]
    milestones: tuple[str, ...]


@dataclass(slots=True)
class _Draft:
    commands: list[c.Command] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    milestones: list[str] = field(default_factory=list)


_JUDGE_ROUNDS_MAX = 4  # Become can be followed by Save or another Become, never by more than these
_NOT_FENCED_CODE = 1  # any code that fence-peer does not know: "denied", I/O stays frozen


class Engine:
    """One node's decisions. All mutable state of the core hangs on this object."""

    def __init__(self, setup: Setup, record: Record) -> None:
        """Start without any right: the record says what was durable, nothing else is believed."""
        reason = setup.timers.unsafe_reason()
        assert reason is None, reason
        assert setup.me != setup.peer_id
        self.setup = setup
        self.record = record
        self.pair = PairState.STARTING
        self.peer: PeerView | None = None
        self.liveness = Liveness(setup.timers, setup.links)
        self.units: dict[VmId, VmUnit] = {spec.name: VmUnit(spec) for spec in setup.vms}
        self.config_hash = setup.config_hash
        self.saving: Record | None = None
        self.save_retry_at = 0.0
        self.store_dirty = False
        self.zeroed: set[VmId] = set()
        self.address_held = False
        self.address_busy = False
        self.address_down = False  # an earlier run of the daemon may have left it up
        self.address_retry_at = 0.0
        self.granted: takeover.Allowed | None = None
        self.asks: dict[int, VmId] = {}
        self.protected = False
        self._next_heartbeat_at = 0.0
        self._mismatch_from_s: float | None = None
        self._told: set[str] = set()
        self._draft = _Draft()

    # ---------------------------------------------------------------- the one entrance

    def handle(self, event: e.Event, now: float) -> Decision:
        """Take one event and return what to do; `now` is monotonic and never goes back."""
        self._draft = _Draft()
        self._absorb(event, now)
        self._judge_links(now)
        self._judge_pair(now)
        self._judge_takeover(now)
        self._drive_units(now)
        self._drive_address(now)
        self._judge_protection()
        self._answer_asks()
        if now >= self._next_heartbeat_at or self._draft.milestones:
            self._next_heartbeat_at = now + self.setup.timers.heartbeat_s
            self._draft.commands.append(c.SendHeartbeat(self.view()))
        draft = self._draft
        return Decision(tuple(draft.commands), tuple(draft.reasons), tuple(draft.milestones))

    def view(self) -> PeerView:
        """What this node says of itself to its peer."""
        states = {name: unit.state for name, unit in self.units.items()}
        setup = self.setup
        return PeerView(setup.me, setup.boot, self.config_hash, setup.dilation, self.pair, self.record, states)

    # ---------------------------------------------------------------- taking events in

    def _absorb(self, event: e.Event, now: float) -> None:
        match event:
            case e.HeartbeatSeen(link, view, echoed_sent_s):
                assert view.node == self.setup.peer_id
                self.peer = view
                self.liveness.heartbeat_seen(link, echoed_sent_s, now)
            case e.DiskChanged(vm, view):
                self._disk_changed(vm, view)
            case e.DiskStreamReset():
                for unit in self.units.values():
                    unit.disk_known, unit.disk = False, None
            case e.DomainChanged(vm, running):
                if self.units[vm].domain_changed(running=running):
                    self._say(f"the domain of {vm} is gone", alert=alerts.vm_crashed(vm))
            case e.CommandDone():
                self._command_done(event, now)
            case e.FencePeerAsked(vm, ask):
                self.asks[ask] = vm
                self._say(f"DRBD asks whether the peer of {vm} is out of the way")
            case e.VmAdded(spec, config_hash):
                assert spec.name not in self.units, f"{spec.name} is protected already"
                self.units[spec.name] = VmUnit(spec)
                self.config_hash = config_hash
                self._say(f"VM {spec.name} is to be protected")
            case e.LinkChanged(link, carrier):
                self._say(f"carrier of {link} is {'up' if carrier else 'down'}")  # decides nothing: the echo does
            case e.Tick():
                pass  # time is looked at below

    def _disk_changed(self, vm: VmId, view: DiskView | None) -> None:
        unit = self.units[vm]
        before, unit.disk, unit.disk_known = unit.disk, view, True
        if view is None or before == view:
            return
        syncing = ("SyncSource", "SyncTarget")
        if view.replication in syncing and (before is None or before.replication not in syncing):
            self._say(f"{vm}: resynchronisation runs ({view.replication})", milestone="resync_started")
        both = view.disk is view.peer_disk is DiskState.INCONSISTENT
        if both and view.connection == "Connected" and not self._both_fresh(vm):
            self._tell_once(f"no_good_copy {vm}", alerts.no_good_copy(vm))

    def _command_done(self, event: e.CommandDone, now: float) -> None:
        done, ok = event.command, event.outcome is Outcome.OK
        if done == "SaveRecord":
            self._saved(event, now)
        elif done in ("HoldAddress", "ReleaseAddress"):
            self.address_busy = False
            self.address_held = ok if done == "HoldAddress" else self.address_held and not ok
            self.address_down = ok and done == "ReleaseAddress"
            if not ok:
                self.address_retry_at = now + self.setup.timers.retry_s
                self._say(f"{done} ended {event.outcome}: {event.detail}")
            if ok and done == "HoldAddress":
                self._say("the service address is up here", milestone="service_address_up")
        else:
            assert event.vm is not None, f"{done} belongs to a VM"
            self._unit_done(self.units[event.vm], event, now)

    def _unit_done(self, unit: VmUnit, event: e.CommandDone, now: float) -> None:
        name = unit.spec.name
        if event.outcome is not Outcome.OK:
            self._say(f"{event.command} for {name} ended {event.outcome}: {event.detail}")
            if unit.failures == 0:
                self._alert(alerts.command_failed(event.command, name, event.detail))
        before = unit.state
        follow = unit.command_done(event.command, event.outcome, self._around(name), now)
        if before is VmState.PROMOTING and unit.state is VmState.STARTING:
            self._say(f"{name}: this node is the writer now", milestone="disk_promoted")
        if unit.state is VmState.RUNNING and before is VmState.STARTING:
            self._say(f"{name} runs here", milestone="vm_running", alert=alerts.vm_started(name))
        if follow is not None:
            self._command(follow)
        if event.command == "PrepareVolume" and event.detail == "fresh":
            self.zeroed.add(name)

    def _saved(self, event: e.CommandDone, now: float) -> None:
        assert self.saving is not None, "an outcome without a save in flight"
        saved, self.saving = self.saving, None
        if event.outcome is not Outcome.OK:
            self.save_retry_at = now + self.setup.timers.retry_s
            self.store_dirty = True  # the disk may hold either record; it is written again before anything is judged
            self._say(f"the record was not saved: {event.detail}")
            self._tell_once("store_failed", alerts.store_failed(event.detail))
            return
        self._told.discard("store_failed")
        self.store_dirty = False
        self._next_heartbeat_at = now
        grew = saved.epoch > self.record.epoch
        before, self.record = self.record, saved
        if self.granted is not None and grew and saved.owner == self.setup.me:
            self._become(PairState.ALONE, f"epoch {saved.epoch} is durable")
            means = self.granted.means
            taken = before.owner != self.setup.me
            self._alert(alerts.takeover(saved.epoch, means) if taken else alerts.alone(saved.epoch, means))
            self._draft.milestones.append("epoch_saved")

    # ---------------------------------------------------------------- judging

    def _judge_links(self, now: float) -> None:
        for name, before, after in self.liveness.update(now):
            self._say(f"link {name}: {before} -> {after}")
            if after is LinkState.DOWN:
                self._alert(alerts.link_down(name))
            elif before is LinkState.DOWN and f"up {name}" in self._told:
                self._alert(alerts.link_up(name))
            if after is LinkState.UP:
                self._told.add(f"up {name}")

    def _judge_pair(self, now: float) -> None:
        for _ in range(_JUDGE_ROUNDS_MAX):
            if self.saving is not None or now < self.save_retry_at:
                return  # one record at a time; the next judgement builds on what is durable
            if self.store_dirty and (self.pair is not PairState.WAITING or self.liveness.peer_alive()):
                self._save(self.record, "the last record may or may not be on disk: the valid one is written again")
                return
            judgement = judge(self.pair, self._pair_facts(now))
            if isinstance(judgement, Save):
                self._save(judgement.record, judgement.reason)
            elif isinstance(judgement, Become):
                self._become(judgement.state, judgement.reason)
                self._after_pair_change(judgement.state, judgement.reason, now)
            else:
                self._judge_mismatch(now)
                self._tidy_record()
                return

    def _pair_facts(self, now: float) -> PairFacts:
        return PairFacts(
            me=self.setup.me,
            peer_id=self.setup.peer_id,
            record=self.record,
            peer=self.peer,
            peer_alive=self.liveness.peer_alive(),
            peer_lost=self.liveness.peer_lost(now),
            may_write=any(unit.may_write for unit in self.units.values()),
            config_hash=self.config_hash,
            dilation=self.setup.dilation,
        )

    def _after_pair_change(self, state: PairState, reason: str, now: float) -> None:
        if state is PairState.WAITING:
            silence_s = now - (self.liveness.last_receipt_at or now)
            self._draft.milestones.append("peer_lost")
            self._alert(alerts.peer_lost(self.setup.peer_id, silence_s))
        elif state is PairState.FENCED:
            self._alert(alerts.fenced(reason))
        elif state is PairState.PAIRED:
            returned = "paired" in self._told
            self._told -= {"refused", "mismatch"}
            self._told.add("paired")
            self.granted = None
            self._draft.milestones.append("peer_returned" if returned else "paired")
            if returned:
                self._alert(alerts.peer_returned(self.setup.peer_id))

    def _judge_mismatch(self, now: float) -> None:
        """Tell of different configurations only when they last: an operator changes one node after the other."""
        reason = mismatch(self._pair_facts(now)) if self.liveness.peer_alive() else None
        if reason is None:
            self._mismatch_from_s = None
            return
        self._mismatch_from_s = now if self._mismatch_from_s is None else self._mismatch_from_s
        if now - self._mismatch_from_s >= self.setup.timers.peer_lost_s:
            self._tell_once("mismatch", alerts.mismatch(reason))

    def _tidy_record(self) -> None:
        """Note durably that the peer's copy is good again, and which volumes are zeroed and unwritten."""
        synced = {name for name, unit in self.units.items() if unit.disk is not None and unit.disk.in_sync}
        zeroed, self.zeroed = self.zeroed - {*self.record.fresh}, set()
        worn = tuple(name for name in (*self.record.fresh, *sorted(zeroed)) if name not in synced)
        owner = self.record.owner == self.setup.me
        clean = owner and self.record.peer_outdated and self.pair is PairState.PAIRED and len(synced) == len(self.units)
        wanted = replace(self.record, fresh=worn, peer_outdated=self.record.peer_outdated and not clean)
        if wanted != self.record:
            self._save(wanted, "the record follows the disks: equal copies, zeroed volumes")

    def _judge_takeover(self, now: float) -> None:
        if self.pair is not PairState.WAITING or self.saving is not None or now < self.save_retry_at:
            return
        last = self.liveness.last_receipt_at
        assert last is not None, "a peer that was never heard cannot be lost"
        disks = {name: unit.disk for name, unit in self.units.items()}
        facts = takeover.Facts(self.setup.me, self.record, last, disks, self.setup.policy)
        verdict = takeover.decide(facts, self.setup.timers, now)
        if isinstance(verdict, takeover.Allowed):
            self.granted = verdict
            self._draft.milestones.append("takeover_decided")
            epoch = self.record.epoch + 1
            record = Record(epoch, self.setup.me, peer_outdated=True)
            self._save(record, f"{verdict.means}: {verdict.reason}")
        elif isinstance(verdict, takeover.Refused):
            self._tell_once("refused", alerts.takeover_refused(verdict.reasons))

    def _judge_protection(self) -> None:
        before, self.protected = self.protected, self._is_protected()
        if self.protected and not before:
            self._say("every VM is protected", milestone="protected", alert=alerts.protected())
        elif before and not self.protected:
            self._say("no longer protected")

    def _is_protected(self) -> bool:
        if self.pair is not PairState.PAIRED or not self.units or self.peer is None:
            return False
        if self.record.peer_outdated or self.peer.record.peer_outdated:
            return False
        mine = {name: unit.state for name, unit in self.units.items()}
        running = mine if self.record.owner == self.setup.me else self.peer.vms
        return all(
            unit.disk is not None and unit.disk.in_sync and running.get(name) is VmState.RUNNING
            for name, unit in self.units.items()
        )

    # ---------------------------------------------------------------- acting

    @property
    def entitled(self) -> bool:
        """This node may start VMs: it owns the epoch, and the peer agrees or the lone right is durable."""
        return self.record.owner == self.setup.me and self.pair in (PairState.PAIRED, PairState.ALONE)

    def _around(self, vm: VmId) -> Circumstances:
        owner = self.record.owner == self.setup.me
        if self.entitled:
            goal = Goal.RUN
        elif self.pair is PairState.FENCED or (self.pair is PairState.PAIRED and not owner):
            goal = Goal.STOP
        else:
            goal = Goal.HOLD
        return Circumstances(goal, self.pair, self._both_fresh(vm), owner, self.setup.timers.retry_s)

    def _both_fresh(self, vm: VmId) -> bool:
        return self.peer is not None and vm in self.record.fresh and vm in self.peer.record.fresh

    def _drive_units(self, now: float) -> None:
        for name, unit in self.units.items():
            command = unit.next_command(self._around(name), now)
            if command is not None:
                self._command(command)

    def _drive_address(self, now: float) -> None:
        if self.address_busy or now < self.address_retry_at:
            return
        owner = self.record.owner == self.setup.me
        gone = self.pair is PairState.FENCED or (self.pair is PairState.PAIRED and not owner)
        if self.entitled and not self.address_held:
            self.address_busy = True
            self._command(c.HoldAddress())
        elif gone and not self.address_down:
            self.address_busy = True
            self._command(c.ReleaseAddress())

    def _answer_asks(self) -> None:
        """Answer fence-peer only with the durable lone right; a fenced or re-paired node denies."""
        if self.pair is PairState.ALONE and self.entitled and self.granted is not None:
            code = self.granted.fence_code
        elif self.pair is PairState.FENCED:
            code = _NOT_FENCED_CODE
        else:
            return  # undecided: the handler's own deadline denies, and I/O stays frozen
        for ask in sorted(self.asks):
            del self.asks[ask]
            self._draft.commands.append(c.AnswerFencePeer(ask, code))

    # ---------------------------------------------------------------- small words

    def _become(self, state: PairState, reason: str) -> None:
        self._say(f"{self.pair} -> {state}: {reason}")
        self.pair = state

    def _save(self, record: Record, reason: str) -> None:
        if self.saving is not None:
            return  # level-triggered: the wish comes again after the outcome
        self.saving = record
        self._say(reason)
        self._draft.commands.append(c.SaveRecord(record))

    def _command(self, command: c.Command) -> None:
        if isinstance(command, c.StartDomain):
            self._draft.milestones.append("vm_start_commanded")
        self._draft.commands.append(command)

    def _say(self, reason: str, *, milestone: str | None = None, alert: Alert | None = None) -> None:
        self._draft.reasons.append(reason)
        if milestone is not None:
            self._draft.milestones.append(milestone)
        if alert is not None:
            self._alert(alert)

    def _alert(self, alert: Alert) -> None:
        self._draft.commands.append(c.SendAlert(alert, self.record.epoch, self.pair))

    def _tell_once(self, key: str, alert: Alert) -> None:
        if key not in self._told:
            self._told.add(key)
            self._say(alert.text, alert=alert)


__all__ = ["Decision", "Engine", "Setup"]
