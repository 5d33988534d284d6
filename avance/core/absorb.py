"""Taking events in: what each one changes in what this node knows. Judging and acting follow in the same turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core import alerts, copies, driving, mirror, operator
from avance.core import commands as c
from avance.core import events as e
from avance.core.model import DiskState, DiskView, Outcome, PairState, Record, VmId, VmState
from avance.core.unit import READS, VmUnit

if TYPE_CHECKING:
    from avance.core.decision import Draft
    from avance.core.engine import Engine

_REFUSAL_QUIET_S = 60.0  # between two alerts of refused datagrams for the same reason


_Rarer = (
    e.FencePeerAsked
    | e.VmAdded
    | e.LinkChanged
    | e.NeighboursSeen
    | e.DatagramsRefused
    | e.OperatorAsked
    | e.MirrorChanged
)


def absorb(engine: Engine, draft: Draft, event: e.Event, now: float) -> None:
    """Take one event in."""
    match event:
        case e.HeartbeatSeen(link, view, echoed_sent_s):
            assert view.node == engine.setup.peer_id
            engine.partner.heard(view)
            engine.liveness.heartbeat_seen(link, _renewing(engine, view.record, echoed_sent_s), now)
        case e.HeartbeatUnproven(link):
            engine.liveness.receipt(link, now)
        case e.DiskChanged(vm, view):
            _disk_changed(engine, draft, vm, view, now)
        case e.DiskStreamReset():
            for unit in engine.units.values():
                unit.disk_known, unit.disk = False, None
        case e.DomainChanged(vm, running, paused, never_ran):
            if engine.units[vm].domain_changed(running=running, paused=paused, never_ran=never_ran):
                draft.say(f"the domain of {vm} is gone", alert=alerts.vm_crashed(vm))
        case e.CommandDone():
            _command_done(engine, draft, event, now)
        case e.Tick(rtc_s):
            if rtc_s is not None:
                engine.liveness.clock_read(rtc_s, draft, now)
        case _:
            _absorb_more(engine, draft, event, now)


def _absorb_more(engine: Engine, draft: Draft, event: _Rarer, now: float) -> None:
    match event:
        case e.FencePeerAsked(vm, ask):
            engine.asks[ask] = vm
            draft.say(f"DRBD asks whether the peer of {vm} is out of the way")
        case e.VmAdded(spec, config_hash):
            assert spec.name not in engine.units, f"{spec.name} is protected already"
            engine.units[spec.name] = VmUnit(spec)
            engine.config_hash = config_hash
            draft.say(f"VM {spec.name} is to be protected")
        case e.LinkChanged(link, carrier):
            draft.say(f"carrier of {link} is {'up' if carrier else 'down'}")  # decides nothing: the echo does
        case e.NeighboursSeen(gateway, claimed):
            engine.arbitration.neighbours_seen(event, now)
            words = {None: "no gateway is configured", True: "a gateway answers", False: "no gateway answers"}
            draft.say(f"{words[gateway]}; others answer for {', '.join(claimed) or 'none of our addresses'}")
        case e.DatagramsRefused():
            _datagrams_refused(engine, draft, event, now)
        case e.OperatorAsked():
            operator.asked(engine, draft, event)
        case e.MirrorChanged(view):
            mirror.changed(engine, draft, view, now)


def _renewing(engine: Engine, theirs: Record, echoed_sent_s: float | None) -> float | None:
    """An echo of a peer that owns a newer epoch renews no lease here, even while this node cannot act on the news."""
    beaten = theirs.epoch > engine.record.epoch and theirs.owner != engine.setup.me
    return None if beaten and engine.may_write else echoed_sent_s


def _datagrams_refused(engine: Engine, draft: Draft, event: e.DatagramsRefused, now: float) -> None:
    if now >= engine.refusal_told_until.get(event.reason, now):
        engine.refusal_told_until[event.reason] = now + _REFUSAL_QUIET_S * engine.setup.timers.second_s
        alert = alerts.datagrams_refused(event.link, event.reason, event.count)
        draft.say(alert.text, alert=alert)


def _disk_changed(engine: Engine, draft: Draft, vm: VmId, view: DiskView | None, now: float) -> None:
    unit = engine.units[vm]
    before, unit.disk, unit.disk_known = unit.disk, view, True
    if before != view:
        unit.changed_at, unit.read_for = now, None  # the same again later need not be the same generation
        unit.shaken(before, now)
        unit.apart()
    if view is not None and view.replication == "SyncTarget":
        unit.resynced, unit.generations = True, ()  # what it had is being replaced; it is read again
    if copies.is_lost(view):
        draft.once(f"copy_lost {vm}", alerts.copy_lost(vm))
    elif view is not None and view.in_sync:
        draft.in_order(f"copy_lost {vm}")
    if view is not None and view.connection == "Connected":
        for ask in sorted(ask for ask, asked in engine.asks.items() if asked == vm):
            del engine.asks[ask]  # DRBD ignores the answer by now, but it waits for one before it can go on
            draft.command(c.AnswerFencePeer(ask, driving.DENIED_CODE))
    if view is None or before == view:
        return
    syncing = ("SyncSource", "SyncTarget")
    if view.replication in syncing and (before is None or before.replication not in syncing):
        draft.say(f"{vm}: resynchronisation runs ({view.replication})", milestone="resync_started")
    both = view.disk is view.peer_disk is DiskState.INCONSISTENT
    if both and view.connection == "Connected" and not engine.both_fresh(vm):
        draft.once(f"no_good_copy {vm}", alerts.no_good_copy(vm))


def _command_done(engine: Engine, draft: Draft, event: e.CommandDone, now: float) -> None:
    done, ok = event.command, event.outcome is Outcome.OK
    if done == "SaveRecord":
        _saved(engine, draft, event, now)
    elif done in ("HoldAddress", "ReleaseAddress"):
        engine.address_busy = False
        engine.address_held = ok if done == "HoldAddress" else engine.address_held and not ok
        engine.address_down = ok and done == "ReleaseAddress"
        if not ok:
            engine.address_retry_at = now + engine.setup.timers.retry_s
            draft.say(f"{done} ended {event.outcome}: {event.detail}")
        if ok and done == "HoldAddress":
            draft.say("the service address is up here", milestone="service_address_up")
    elif done in ("PauseVms", "UnpauseVms"):
        engine.guard.done(done, ok=ok)
        if not ok:
            draft.say(f"{done} ended {event.outcome}: {event.detail}")
    elif done in mirror.COMMANDS:
        mirror.done(engine, draft, done, event.outcome, event.detail, now)
    elif done == "TeachWitness":
        engine.care.done(event.subject, event.outcome, event.detail, now)
    elif done in ("AskWitness", "ReadPeerPower", "CutPeerPower", "RestorePeerPower", "ProbeNeighbours"):
        said = engine.arbitration.done(event, now)
        if said is not None:
            draft.say(said)
    else:
        assert event.vm is not None, f"{done} belongs to a VM"
        _unit_done(engine, draft, engine.units[event.vm], event, now)


def _unit_done(engine: Engine, draft: Draft, unit: VmUnit, event: e.CommandDone, now: float) -> None:
    name = unit.spec.name
    if event.outcome is not Outcome.OK:
        draft.say(f"{event.command} for {name} ended {event.outcome}: {event.detail}")
        if unit.failures == 0 and event.command not in READS:
            draft.alert(alerts.command_failed(event.command, name, event.detail))
    before = unit.state
    follow = unit.command_done(event.command, event.outcome, driving.around(engine, name, now), now)
    if before is VmState.PROMOTING and unit.state is VmState.STARTING:
        draft.say(f"{name}: this node is the writer now", milestone="disk_promoted")
    if unit.state is VmState.RUNNING and before is VmState.STARTING:
        draft.say(f"{name} runs here", milestone="vm_running", alert=alerts.vm_started(name))
    if follow is not None:
        draft.command(follow)
    if event.command == "PrepareVolume" and event.detail == "fresh":
        engine.zeroed.add(name)
        unit.generations = (copies.JUST_CREATED,)
    elif event.outcome is Outcome.OK and event.command in ("PrepareVolume", "ReadGeneration") and event.detail:
        unit.generations = copies.words(event.detail)
    elif event.outcome is Outcome.OK and event.command == "ReadInFlight" and event.detail:
        unit.counted(event.detail)


def _saved(engine: Engine, draft: Draft, event: e.CommandDone, now: float) -> None:
    done = engine.durable.done(event.outcome, event.detail, draft, now)
    if done is None:
        return
    engine.next_heartbeat_at = now
    before, saved = done.before, done.after
    if not saved.peer_outdated:
        engine.granted = None
    if saved.split and not before.split:
        draft.alert(alerts.split(f"this node knows epoch {saved.epoch} of owner {saved.owner}"))
    if before.split and not saved.split:
        engine.yields = False
        engine.become(draft, PairState.STARTING, "an operator has chosen whose data is kept")
    if saved.solo(engine.setup.me) and saved.epoch > before.epoch:
        _gone_alone(engine, draft, before, saved)


def _gone_alone(engine: Engine, draft: Draft, before: Record, saved: Record) -> None:
    """The right to write alone is durable: by this node's own means, or by the consent of the peer."""
    means = "consent of the peer" if engine.granted is None else engine.granted.means
    # A person who overrides vouches that the peer is off, so what it said last decides nothing any more.
    engine.partner.left(forget=engine.override)
    if engine.pair is not PairState.PAIRED:
        engine.become(draft, PairState.ALONE, f"epoch {saved.epoch} is durable")
    taken = before.owner != engine.setup.me
    draft.alert(alerts.takeover(saved.epoch, means) if taken else alerts.alone(saved.epoch, means))
    draft.milestone("epoch_saved")
    engine.wants = 0
