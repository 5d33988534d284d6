"""The decision core: handle(event, now) -> Decision. It composes, in reading order, `liveness` (who is silent),
`pair` (what that means for the pair), `consent` and `takeover` (may this node go on alone), `guard` (must it stop) and
`unit` (what each VM needs).

The engine is deterministic: the same events with the same times give the same decisions. It must never read a clock,
do I/O or import anything but the core.
"""

from __future__ import annotations

from dataclasses import replace

from avance.core import absorb, calm, copies, driving, mirror, pairing, rights, takeover
from avance.core import commands as c
from avance.core import events as e
from avance.core.arbitration import Arbitration
from avance.core.care import Care
from avance.core.crashloop import CrashLoop
from avance.core.decision import Decision, Draft
from avance.core.durable import Durable
from avance.core.guard import Guard, Standing
from avance.core.liveness import Liveness
from avance.core.model import (
    Copy,
    DiskState,
    LinkState,
    MirrorState,
    PairState,
    PeerView,
    Record,
    VmId,
)
from avance.core.partner import Partner
from avance.core.setup import Setup
from avance.core.unit import VmUnit


class Engine:
    """One node's decisions. All mutable state of the core hangs on this object."""

    def __init__(self, setup: Setup, record: Record) -> None:
        """Start without any right: the record says what was durable, nothing else is believed."""
        reason = setup.timers.unsafe_reason()
        assert reason is None, reason
        assert setup.me != setup.peer_id
        self.setup = setup
        self.durable = Durable(setup.me, setup.machine, setup.timers, record)
        self.pair = PairState.STARTING
        self.liveness = Liveness(setup.timers, setup.links)
        new = record.boot != setup.machine  # a machine that has just started runs no VM
        self.units: dict[VmId, VmUnit] = {spec.name: VmUnit(spec, untouched=new) for spec in setup.vms}
        self.config_hash = setup.config_hash
        self.zeroed: set[VmId] = set()
        self.address_held = False
        self.address_busy = False
        self.address_down = False  # an earlier run of the daemon may have left it up
        self.address_retry_at = 0.0
        self.granted: takeover.Allowed | None = None
        self.asks: dict[int, VmId] = {}
        self.protected = False
        self.arbitration = Arbitration(setup.timers, setup.boot, setup.power)
        self.guard = Guard(setup.timers)
        self.care = Care(setup.timers, setup.witnesses)
        self.mirror = mirror.MirrorCare()
        crashes = CrashLoop(setup.timers.crash_mean_s, setup.crash_samples, setup.crash_policy)
        if record.quarantined and record.owner == setup.me:
            crashes.trip()
        self.partner = Partner(setup.timers, crashes)
        self.override = False
        self.wants = 0
        self.wants_from_s = 0.0
        self.unreplicated: tuple[str, float] | None = None
        self.cure_due = ""  # why this backup restarts as soon as the owner has followed
        self.dropped_at: float | None = None
        self.yields = False  # an operator gave up this node's version of diverged data
        self.lost_at: float | None = None
        self.next_heartbeat_at = 0.0
        self.told: set[str] = set()
        self.leaving = ""  # why the VMs are being handed over to the peer
        self.unfit_from_s: float | None = None  # since when the peer has the better copy
        self.refusal_told_until: dict[str, float] = {}
        self.refused: tuple[str, ...] = ()  # why this node has no right yet, as it was judged last
        self.standing: Standing | None = None  # what the guard judged last
        self.said: PeerView | None = None  # what this node said of itself last
        self.rest_until_s = calm.NOT_CALM  # time alone changes nothing before, but for a heartbeat
        self.calm_until_s = calm.NOT_CALM  # ... and no heartbeat is due before, either

    def wake_at(self, now: float) -> float:
        """Return when to tell this engine that time has passed, should nothing else be told before (core/calm.py)."""
        return self.calm_until_s if now < self.calm_until_s else now + calm.short_s(self.setup.timers.heartbeat_s)

    def handle(self, event: e.Event, now: float) -> Decision:
        """Take one event and return what to do; `now` is monotonic and never goes back."""
        if isinstance(event, e.HeartbeatSeen) and now < self.calm_until_s and event.view == self.peer:
            self.liveness.heartbeat_seen(event.link, event.echoed_sent_s, now)
            return self._calm_turn(now, tick=False)
        if isinstance(event, e.Tick) and event.rtc_s is None and now < self.rest_until_s:
            return self._calm_turn(now, tick=True)
        return self._turn(event, now)

    def _calm_turn(self, now: float, *, tick: bool) -> Decision:
        """Do what is left while all is calm: the lease and the gate move; a tick gives what is due by the clock."""
        draft = self._new_draft()
        changes, standing = self.liveness.update(now), self.standing
        assert not changes, "neither a receipt nor a short time makes a calm pair worse"
        assert standing is not None, "a calm pair has been judged"
        standing.tick = tick
        standing.lease_age_s, standing.lease_until_s = self.liveness.lease_age_s(now), self.liveness.lease_until_s(now)
        if not tick:
            return Decision(tuple(command for command, _ in self.guard.renewed(standing)), (), ())
        draft.commands += [command for command, _ in self.guard.judge(standing, now)]
        rights.care_for_witnesses(self, draft, now)
        self._say_heartbeat(draft, now)
        self.rest_until_s = min(self.rest_until_s, self.liveness.unbroken_until())
        self.calm_until_s = min(self.next_heartbeat_at, self.rest_until_s)
        return draft.decision()

    def _new_draft(self) -> Draft:
        return Draft(self.record.epoch, self.pair, self.told)

    def _say_heartbeat(self, draft: Draft, now: float) -> None:
        if now >= self.next_heartbeat_at or draft.milestones:
            self.next_heartbeat_at = now + self.setup.timers.heartbeat_s
            self.liveness.sent(now, echoing=self.echoing)
            draft.command(c.SendHeartbeat(self.view(now), self.echoing))

    def _turn(self, event: e.Event, now: float) -> Decision:
        draft = self._new_draft()
        self.liveness.begin(now)
        absorb.absorb(self, draft, event, now)
        self.liveness.judge(draft, now)
        pairing.judge_pair(self, draft, now)
        rights.judge_handover(self, draft, now)
        rights.judge_consent(self, draft, now)
        rights.judge_takeover(self, draft, now)
        rights.judge_guard(self, draft, now, tick=isinstance(event, e.Tick))
        driving.drive_units(self, draft, now)
        rights.give_power_back(self, draft, now)
        driving.drive_address(self, draft, now)
        driving.judge_protection(self, draft)
        driving.answer_asks(self, draft)
        rights.care_for_witnesses(self, draft, now)
        mirror.judge_mirror(self, draft, now)
        self._say_heartbeat(draft, now)
        self.rest_until_s = calm.until(self, now, quiet=draft.quiet)
        self.calm_until_s = min(self.next_heartbeat_at, self.rest_until_s)
        return draft.decision()

    def view(self, now: float) -> PeerView:
        """What this node says of itself to its peer; the very same value until something of it changes."""
        setup = self.setup
        view = PeerView(
            node=setup.me,
            boot=setup.boot,
            config_hash=self.config_hash,
            dilation=setup.dilation,
            pair=self.pair,
            record=self.record,
            vms={name: unit.state for name, unit in self.units.items()},
            machine=setup.machine,
            wants=self.wants,
            witnesses=self.care.up(now),
            copies={name: self.copy(name) for name in self.units},
            mirror=(self.mirror.view.note, self.mirror.view.kept),
        )
        self.said = self.said if view == self.said else view
        assert self.said is not None
        return self.said

    @property
    def unproven(self) -> bool:
        """This node's mirror runs on a half that may lack its last writes. So may every copy on it."""
        return self.mirror.view.state is MirrorState.UNPROVEN

    def copy(self, vm: VmId) -> Copy:
        """What this node says of its copy. On an unproven half no copy is called good, whatever DRBD says."""
        copy = self.units[vm].copy
        return replace(copy, disk=DiskState.UNKNOWN) if self.unproven else copy

    @property
    def record(self) -> Record:
        """What is durable here."""
        return self.durable.record

    @property
    def peer(self) -> PeerView | None:
        """What the peer said of itself last."""
        return self.partner.view

    @property
    def is_owner(self) -> bool:
        """This node owns the current epoch."""
        return self.durable.owner

    @property
    def solo(self) -> bool:
        """This node holds the durable, exclusive right to write alone, and its peer has said nothing against it."""
        return self.pair in (PairState.PAIRED, PairState.ALONE) and self.durable.solo

    @property
    def behind(self) -> frozenset[VmId]:
        """The volumes whose copy on this node must not be served (core/copies.py).

        A copy that is being served was judged before it was promoted. Its generation is not compared here, because it
        may be so new that the record does not know it yet. If the peer says that its copy is newer, this counts before
        it is durable.
        """
        return frozenset(name for name, unit in self.units.items() if self.unproven or self._is_behind(name, unit))

    def _is_behind(self, name: VmId, unit: VmUnit) -> bool:
        if unit.serves:
            return name in self.record.behind
        equal = unit.disk is not None and unit.disk.in_sync
        older = not equal and copies.is_older(self.record, self.peer, name, unit.generations)
        return older or copies.is_behind(self.record, name, unit.generations)

    @property
    def echoing(self) -> bool:
        """Heartbeats of this node echo the peer's, except while this node takes the right, or may have taken it.

        An echo would renew the peer's lease, and then both could run. Once the right is durable, the heartbeat itself
        tells the peer.
        """
        return self.durable.owner or not self.durable.taking

    @property
    def served(self) -> bool:
        """This node was in service since its machine started. Until then no VM can run here."""
        return self.durable.served

    @property
    def may_write(self) -> bool:
        """A VM runs here, or could."""
        return self.served and any(unit.may_write for unit in self.units.values())

    @property
    def known(self) -> bool:
        """This node knows of each VM whether it runs here."""
        return not self.served or all(unit.known for unit in self.units.values())

    def private_link(self) -> LinkState:
        """What this node knows of the link that carries the replication."""
        return self.liveness.state(self.setup.replication_link)

    def peer_lost(self, now: float) -> bool:
        """The peer was not heard for the peer-lost time. An owner counts from its last echo, as its lease does."""
        limit_s = self.setup.timers.peer_lost_s
        if self.is_owner and self.liveness.lease_age_s(now) >= limit_s and not self.liveness.was_late(now):
            return True
        return now - self.liveness.silent_from_s(now) >= limit_s

    @property
    def entitled(self) -> bool:
        """This node may start VMs: it owns the epoch, and the peer agrees or the lone right is durable."""
        return self.is_owner and self.served and self.pair in (PairState.PAIRED, PairState.ALONE)

    def both_fresh(self, vm: VmId) -> bool:
        """Both nodes zeroed this volume, and neither has written to it."""
        return self.peer is not None and vm in self.record.fresh and vm in self.peer.record.fresh

    def become(self, draft: Draft, state: PairState, reason: str) -> None:
        """Enter another state of the pair."""
        draft.enter(state, reason)
        self.pair = state


__all__ = ["Decision", "Engine", "Setup"]
