"""Hand-over: an owner whose own copy is not good gives the right to the peer, whose copy is.

A node that serves over the link, without a disk of its own, is a guest of its peer's copy. It stops its VMs, and then
makes durable that the peer owns the next epoch. That record, seen in its next heartbeat, is the consent of
`core/consent.py` the other way round (docs/safety.md, S34).

An owner whose record cannot be written cannot do that, and cannot serve for long either. It marks its copies as
outdated on their own disks instead, and then leaves the next epoch to its peer by its word (docs/safety.md, S40).

A VM that runs is stopped only when both nodes have just written their records: the owner *offers* the epoch, and the
peer says that it could take it. A move that is only for the better is called off when it does not come to its end,
unless the record that gives the right away may be on the disk already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from avance.core import alerts, consent, copies
from avance.core.decision import Draft
from avance.core.durable import Wish
from avance.core.model import Copy, DiskState, DiskView, NodeId, PairState, PeerView, Record, VmId, VmState
from avance.core.sight import Sight

_SYNCING = ("SyncSource", "SyncTarget")
_GONE = (DiskState.DISKLESS, DiskState.FAILED)
_LEFT = "this epoch was left to the peer"
_TOLD_S = 30.0  # so long an offer may wait, before people hear of it
_ENDS_S = 60.0  # so long a move may take that is only for the better


@dataclass(slots=True)
class HandOver:
    """The hand-over that is under way: `leaving` says why, `unfit_from_s` since when there is a reason.

    `moving`: the copies here are as good as the peer's, so they are let go of and marked as outdated first. `marking`:
    it goes by the marks on the copies, because the record cannot be written. `leaves`: the epoch that is left to the
    peer, 0 for none; whoever has said so keeps to it until it has taken in that epoch, or ends. `given`: this run has
    handed over before, and hung tools are no reason to do so again. `offers`: said by an owner, the epoch that it would
    give; said by a backup, the one that it was offered, and could take. `offered_at`, since when; `left_at`, since
    when the VMs are being handed over.
    """

    leaving: str = ""
    unfit_from_s: float | None = None
    moving: bool = False
    marking: bool = False
    leaves: int = 0
    given: bool = False
    offers: int = 0
    offered_at: float | None = None
    left_at: float = 0.0

    def judge(
        self, sight: Sight, draft: Draft, now: float, *, failing: str | None = None, sure: bool = False
    ) -> Wish | None:
        """As an owner without a good copy: stop the VMs, then give the right to the peer, which has one.

        `failing`: both copies are equal, and this is why the VMs are to be tried there (core/restarts.py,
        core/health.py). `sure`: that was held long enough already.
        """
        mute, peer_id = _cannot_record(sight, now, moving=self.moving), sight.setup.peer_id
        self.leaves = self.leaves if self.leaves > sight.durable.record.epoch else 0
        self.marking = bool(self.leaves) or mute is not None
        better = mute or _better_there(sight, now, once=not self.given) or (_LEFT if self.leaves else None)
        reason = better or failing
        if reason is None and self.leaving and _may_be_given(sight):
            reason = self.leaving  # nothing runs here before it is known that it is not
        if reason is None:
            self.unfit_from_s = None
            self._stay("there is no reason any more", draft)
            return self._takes(sight, draft, now)
        if self.moving and (against := self._called_off(sight, now)) is not None:
            self.unfit_from_s = None
            self._stay(against, draft)
            self._offer(0, draft)
            return None
        self.unfit_from_s = now if self.unfit_from_s is None else self.unfit_from_s
        sure = sure or self.marking or bool(sight.behind) or now >= self.unfit_from_s + sight.setup.timers.boot_wait_s
        if not self.leaving:
            if not sure:
                return None
            if not self.marking and _serves(sight) and not self._is_agreed(sight, reason, draft, now):
                return self._to_be_proven(sight, reason, now)
            self.leaving, self.moving, self.left_at = reason, better is None, now
            draft.say(f"{reason}: the VMs move to the peer", alert=alerts.hands_over(peer_id, reason))
        retry_s, units = sight.setup.timers.retry_s, sight.units.by_name.values()
        tied = any(unit.comes_up(now, retry_s) or copies.is_lost(unit.disk) for unit in units)
        tied = tied or (self.moving and not all(consent.marked(unit.disk) or _is_gone(unit.disk) for unit in units))
        stopped = sight.sure and not sight.may_write and not tied
        if stopped and mute is not None and not self.leaves and _all_marked(sight):
            self.leaves = sight.durable.record.epoch + 1
            draft.tell_peer()
            draft.say(f"our copies are marked as outdated on their own disks: epoch {self.leaves} is left to {peer_id}")
        if not stopped or not sight.durable.free(now) or mute is not None:
            return None
        self.given = True
        record = given(sight.durable.record, peer_id)
        why = f"nothing runs here any more: {record.owner} owns epoch {record.epoch}, it has the good copy"
        return Wish(record, why)

    def _stay(self, why: str, draft: Draft) -> None:
        """Hand nothing over, or not any more."""
        if self.leaving:
            draft.say(f"the VMs are not handed over: {why}")
        self.leaving, self.moving = "", False

    def _called_off(self, sight: Sight, now: float) -> str | None:
        """Say why a move that is only for the better does not come to its end, or None."""
        late = now >= self.left_at + _ENDS_S * sight.timers.second_s
        return "it takes too long" if late and not _may_be_given(sight) else None

    # ------------------------------------------------------------ first: can both nodes write their records?

    def _is_agreed(self, sight: Sight, reason: str, draft: Draft, now: float) -> bool:
        """As the owner of VMs that run: offer the epoch, and say whether both records have been written since."""
        peer, wanted = sight.partner.view, sight.durable.record.epoch + 1
        if self.offers != wanted or self.offered_at is None:
            self._offer(wanted, draft)
            self.offered_at = now
            draft.say(f"{reason}: node {sight.setup.peer_id} is asked whether it could take epoch {wanted}")
            return False
        mine = self._is_proven(sight)
        if mine and peer is not None and peer.offers == wanted:
            return True
        if now >= self.offered_at + _TOLD_S * sight.timers.second_s:
            who = sight.setup.peer_id if mine else sight.setup.me
            against = f"node {who} does not show that it can write its record"
            draft.once("offer", alerts.stays(sight.setup.me, reason, against, stopped=False))
        return False

    def _takes(self, sight: Sight, draft: Draft, now: float) -> Wish | None:
        """As the backup that is offered the next epoch: write the record once more, and say that it could be taken."""
        peer = sight.agreeing(now)
        if peer is None or sight.durable.owner or peer.offers != sight.durable.record.epoch + 1:
            self._offer(0, draft)
            return None
        self.offered_at = now if self.offered_at is None else self.offered_at
        if not self._is_proven(sight):
            return self._to_be_proven(sight, f"epoch {peer.offers} is offered", now)
        self._offer(peer.offers, draft)
        return None

    def _offer(self, epoch: int, draft: Draft) -> None:
        """Say from now on that this epoch is offered, or could be taken; 0 for none."""
        if epoch != self.offers:
            self.offers = epoch
            draft.tell_peer()
        if epoch == 0:
            self.offered_at = None
            draft.in_order("offer")

    def _is_proven(self, sight: Sight) -> bool:
        saved_at = sight.durable.saved_at
        return self.offered_at is not None and saved_at is not None and saved_at >= self.offered_at

    def _to_be_proven(self, sight: Sight, why: str, now: float) -> Wish | None:
        """Return the record as it is, to be written once more before anything is stopped for it."""
        if self._is_proven(sight) or not sight.durable.free(now):
            return None
        return Wish(sight.durable.record, f"{why}: is the record of this node still written?")

    @property
    def rests(self) -> bool:
        """The VMs are where the better copy is."""
        return self.unfit_from_s is None and not self.leaving and not self.leaves and not self.offers


def _serves(sight: Sight) -> bool:
    """A VM runs here and is not frozen: its clients would miss it."""
    running = [unit for unit in sight.units.by_name.values() if unit.state is VmState.RUNNING and unit.has_data]
    return any(unit.disk is not None and not unit.disk.suspended for unit in running)


def _is_gone(view: DiskView | None) -> bool:
    """This copy was lost, so nothing can be marked; the record that gives the right away speaks for it."""
    return view is None or (view.disk in _GONE and view.connection == "StandAlone")


def _all_marked(sight: Sight) -> bool:
    """No copy here can be promoted; one that was never made cannot become good, for it is apart from the peer's."""
    units, filled = sight.units.by_name, sight.filled
    return all(
        consent.marked(unit.disk) or (vm not in filled and consent.apart(unit.disk)) for vm, unit in units.items()
    )


def _may_be_given(sight: Sight) -> bool:
    """The record that gives the right to the peer is on its way to the disk, or may be there."""
    written = (sight.durable.saving, sight.durable.unsure)
    return any(record is not None and record.owner == sight.setup.peer_id for record in written)


def _cannot_record(sight: Sight, now: float, *, moving: bool) -> str | None:
    """Say why this owner cannot serve: its record cannot be written, and it needs it, for a start or to go on alone.

    So does one that has stopped its VMs to move them (`moving`).
    Its peer has a good copy of everything. This node never had the right to write alone: not on its disk, not in doubt.
    """
    durable, peer = sight.durable, sight.partner.view
    if not durable.fails(now, sight.setup.timers.boot_wait_s) or durable.record.solo(sight.setup.me) or durable.taking:
        return None
    frozen = any(unit.disk is not None and unit.disk.suspended for unit in sight.units.by_name.values())
    if (durable.served and not frozen and not moving) or not _agreed(sight, now):
        return None
    for name in sight.filled:
        has_all = copies.holds(copies.peer_copy(peer, name).generations, sight.units.by_name[name].generations)
        if not has_all or not copies.peer_is_good(durable.record, peer, name):
            return None
    return "the record of this node cannot be written"


def _agreed(sight: Sight, now: float) -> bool:
    """Both nodes are paired, hear each other and hold the same epoch, which this node owns."""
    peer, record = sight.partner.view, sight.durable.record
    if sight.pairing.pair is not PairState.PAIRED or not sight.durable.owner or peer is None:
        return False
    if record.split or record.discard:
        return False
    agreed = peer.record.epoch == record.epoch and peer.record.owner == record.owner
    return agreed and sight.liveness.peer_alive(now)


def _better_there(sight: Sight, now: float, *, once: bool) -> str | None:
    peer, record = sight.partner.view, sight.durable.record
    if peer is None or not _agreed(sight, now):
        return None
    units, wait_s = {name: sight.units.by_name[name] for name in sight.filled}, sight.setup.timers.boot_wait_s
    disks = {name: unit.disk for name, unit in units.items()}
    unsettled = frozenset(name for name, disk in disks.items() if disk is not None and disk.replication in _SYNCING)
    mine = {name: sight.copy(name) for name in disks}
    guests = frozenset(name for name, unit in units.items() if unit.guest)
    runs = any(unit.state is VmState.RUNNING for unit in units.values())  # then what hangs need not be what it needs
    needed = {name: unit for name, unit in units.items() if unit.spec.runs}
    stuck = frozenset(name for name, unit in needed.items() if once and not runs and unit.is_stuck(now, wait_s))
    return wanted(HandoverFacts(record, peer, disks, mine, unsettled, guests, sight.setup.stays_without_disk, stuck))


@dataclass(slots=True)  # not frozen, as PairFacts
class HandoverFacts:
    """What the rule may look at; the two nodes are paired, hear each other and hold the same epoch.

    `disks`: what DRBD says on this node; `copies`: what it says of its copies. `unsettled`: volumes whose disk may
    still be on its way (a start, a synchronisation). `stuck`: volumes whose VM cannot be started here, because a tool
    hangs. `guests`: volumes whose disk here is lost, and whose writes since
    then all went to the peer's copy. `stays`: the site wants VMs to go on over the link while it works.
    """

    record: Record
    peer: PeerView
    disks: dict[VmId, DiskView | None]
    copies: dict[VmId, Copy]
    unsettled: frozenset[VmId]
    guests: frozenset[VmId]
    stays: bool
    stuck: frozenset[VmId] = frozenset()


def wanted(facts: HandoverFacts) -> str | None:
    """Say why the VMs belong to the peer, or None: it has a good copy that is missing here, and misses none itself."""
    fit = {vm: copies.is_good(facts.record, vm, copy) and vm not in facts.stuck for vm, copy in facts.copies.items()}
    if all(fit.values()):
        return None
    reason = None
    left = facts.record.peer_outdated or facts.peer.record.peer_outdated
    for vm, view in facts.disks.items():
        mine = fit[vm]
        marked = copies.peer_copy(facts.peer, vm).disk is DiskState.OUTDATED
        good = copies.peer_is_good(facts.record, facts.peer, vm)
        theirs = _has_everything(facts, vm) if left or marked else good
        if (mine or left) and not theirs:
            return None
        if mine or not theirs or vm in facts.unsettled:
            continue
        if facts.stays and view is not None and view.connection == "Connected" and copies.is_lost(view):
            continue
        hung = f"the tools of this node hang, and {vm} cannot be started"
        reason = reason or (hung if vm in facts.stuck else f"the copy of {vm} here is {_state(facts, vm)}")
    return reason


def _has_everything(facts: HandoverFacts, vm: VmId) -> bool:
    """The peer's copy is called outdated, by the record or by DRBD, but it has every write that was acknowledged here.

    This happens when this node took the right and lost its disk before it wrote alone. The peer then has the generation
    of this node's disk (core/copies.py), or DRBD was connected when the disk was lost: then the peer's copy has taken
    each write. Otherwise the right stays here, and the service waits for this node's disk.
    """
    mine, theirs = facts.copies[vm], copies.peer_copy(facts.peer, vm)
    held = copies.is_there(mine) and copies.holds(theirs.generations, mine.generations)
    if not held and vm not in facts.guests:
        return False
    if not copies.is_ours(copies.newest(facts.record, vm), theirs.generations):
        return False
    unmarked = DiskState.CONSISTENT if theirs.disk is DiskState.OUTDATED else theirs.disk
    return copies.is_good(facts.peer.record, vm, replace(theirs, disk=unmarked))


def _state(facts: HandoverFacts, vm: VmId) -> str:
    view, copy = facts.disks[vm], facts.copies[vm]
    if copies.is_lost(view):
        return "gone"
    if copies.is_behind(facts.record, vm, copy.generations):
        return "behind"
    return "not there" if view is None else str(view.disk) if view.disk is copy.disk else "in doubt"


def given(record: Record, peer: NodeId) -> Record:
    """Return the record that is the hand-over: the peer owns the next epoch, and this node's copy is outdated."""
    return replace(record, epoch=record.epoch + 1, owner=peer, peer_outdated=True, quarantined=False, cure=0)
