"""A live move: all VMs of the owner go to the peer while they run, and the right follows them (docs/safety.md, S46).

The owner says `moves`, a text of its own for each try; the backup says `takes`, and becomes the second writer of each
volume. Xen copies the memory of a domain while it runs, stops it for the rest, and leaves it standing still on the
backup. When every VM has left, the owner makes durable that the peer owns the next epoch. Only then, and only for the
move that both have named, the new owner lets them go on. In every other case what stands still there is destroyed, and
the VM is started from its disk by whoever has the right.

What is known of a move lives here. `core/unit.py` gives the commands of each VM.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from avance.core import alerts, copies
from avance.core import commands as c
from avance.core.decision import Draft
from avance.core.durable import Wish
from avance.core.model import DiskRole, LinkState, NodeId, PairState, PeerView, Record, VmId, VmState
from avance.core.sight import Sight
from avance.core.unit import VmUnit

ANSWER_S = 20.0  # for the peer to say that it takes part
LIMIT_S = 120.0  # for a move ...
MIB_PER_S = 2.0  # ... and for the memory of the VMs, over the slowest link that is worth waiting for
AGAIN_S = 60.0  # between two tries; twice as long after each
TRIES_MAX = 3
DEPARTS_S = 240.0  # for the VMs to be gone from a node that is to be switched off
FORGET_S = 3600.0  # so long after the last try live moves are tried again

_OFF = "this node is to be switched off"
_APART = "the replication is lost"
_IN_IT = (VmState.RECEIVING, VmState.RECEIVED)


@dataclass(slots=True)
class Migration:
    """One live move at a time: as the owner who makes it, `moves`, or as the backup who takes part, `takes`.

    `wanted`: why a person wants it, until it has begun. `departs`: the questions of those who want to switch this node
    off; the VMs go, also by a stop and a start, and then they are answered. `stopped`: VMs that could not be sent after
    others had left: they are stopped, and started by the peer. `taken`: the VMs that this backup takes in. A volume to
    which nothing was ever written has no VM that could move. One whose VM is off goes with the right, and nothing is
    sent.
    """

    boot: str
    second_s: float
    moves: str = ""
    takes: str = ""
    wanted: str = ""
    departs: list[int] = field(default_factory=list)
    stopped: set[VmId] = field(default_factory=set)
    taken: tuple[VmId, ...] = ()
    tries: int = 0
    _number: int = 0
    _why: str = ""
    _from_s: float = 0.0
    _answered: bool = False  # the peer has said that it takes part
    _tried_at: float | None = None
    _in_vain: bool = False  # they must go, and cannot while they run
    _stopping: bool = False
    _departs_from_s: float = 0.0
    _refused: str = ""  # a move of the peer that has failed here
    _away_from_s: float | None = None  # since when nothing of the VMs is left here, or, as the backup, is with the peer
    _proving: tuple[str, float] | None = None  # what this node's record is written for once more, and since when

    # ------------------------------------------------------------ for others

    @property
    def rests(self) -> bool:
        """No move is wanted or under way."""
        return not (self.moves or self.takes or self.wanted or self.departs)

    @property
    def sends(self) -> str:
        """The move for which the VMs of this owner leave now; empty: they stay."""
        return self.moves if self._answered else ""

    @property
    def given_up(self) -> bool:
        """Live moves have failed too often to be tried soon."""
        return self.tries >= TRIES_MAX

    def brings(self, sight: Sight) -> bool:
        """The peer has given the right to this node by the very move that brought the VMs here."""
        peer, record = sight.partner.view, sight.durable.record
        if peer is None or not self.takes or peer.moves != self.takes or sight.pairing.pair is not PairState.PAIRED:
            return False
        return peer.record.owner == sight.setup.me and peer.record.epoch == record.epoch + 1

    def adopts(self, sight: Sight) -> bool:
        """What was taken in may go on here: the right has followed it, by the very move that brought it."""
        peer, record = sight.partner.view, sight.durable.record
        if peer is None or not self.takes or not sight.durable.owner or record.solo(sight.setup.me):
            return False
        same = peer.record.epoch == record.epoch and peer.record.owner == record.owner
        return same and peer.moves == self.takes

    def want(self, why: str) -> None:
        """Begin a move as soon as one is possible; this node owns the VMs."""
        self.wanted = why

    def depart(self, ask: int, now: float) -> None:
        """Let the VMs go to the peer: while they run, or else by a stop and a start; answer when it is over."""
        if not self.departs:
            self._in_vain, self._departs_from_s = False, now
        self.departs.append(ask)

    def anew(self) -> None:
        """A person says that what stood against moves is mended."""
        self.tries, self._tried_at = 0, None

    def said(self, view: PeerView) -> PeerView:
        """Return what this node says of itself, with the move in which it takes part."""
        return replace(view, moves=self.moves, takes=self.takes) if self.moves or self.takes else view

    # ------------------------------------------------------------ a turn

    def judge(self, sight: Sight, draft: Draft, now: float, *, why: str | None, leaving: bool) -> Wish | None:
        """Go on with a move, begin or end one; `why`: the VMs belong to the peer, `leaving`: by a stop and a start."""
        proof = self._take_part(sight, draft, now)
        if self._tried_at is not None and now >= self._tried_at + FORGET_S * self.second_s:
            self._tried_at, self.tries = None, 0
        if not sight.durable.owner:
            self._is_followed(sight, draft, now)
            self.wanted, self._in_vain = "", False
            self._answer(draft, f"no VM runs on node {sight.setup.me} any more", done=True)
            return proof
        if sight.durable.saving is not None:
            return None  # it may be the record that gives the right away
        reason = self.wanted or (_OFF if self.departs else why)
        if not self.moves:
            against = hindrance(sight, now) if reason else None
            due = bool(reason) and not leaving and self._is_due(now) and against is None
            self._in_vain = self._in_vain or bool(self.departs and against)
            if due and not self._is_proven(sight, "the VMs are to move", now):
                return self._proof(sight, now)
            if due:
                self._begin(sight, reason or "", draft, now)
            self._proving = None
            self._give_up(sight, draft, now, leaving=leaving)
            return None
        broken = "the VMs are stopped for the move" if leaving else self._broken(sight, now)
        if broken:
            self._end(broken, draft, now)
            return None
        return self._goes_on(sight, draft, now)

    def stops(self, sight: Sight, now: float) -> str:
        """Say why the VMs are stopped here and started by the peer: they must go, and cannot while they run."""
        peer = sight.agreeing(now)
        if not self.departs or not self._in_vain or self.moves or peer is None:
            self._stopping = False
        elif not self._stopping:  # what has begun is finished: the copies are not equal any more in the middle of it
            self._stopping = bool(sight.filled) and _elsewhere(sight, peer) is None
        return _OFF if self._stopping else ""

    def _give_up(self, sight: Sight, draft: Draft, now: float, *, leaving: bool) -> None:
        """Tell those who want to switch this node off that the VMs stay: they cannot go, or it takes too long."""
        late = now >= self._departs_from_s + DEPARTS_S * self.second_s
        why = f"they are still here after {DEPARTS_S:g} s" if late else None if leaving else departure(sight, now)
        if self.departs and why:
            self._answer(draft, f"the VMs stay on node {sight.setup.me}: {why}", done=False)

    def _answer(self, draft: Draft, text: str, *, done: bool) -> None:
        for ask in self.departs:
            draft.command(c.AnswerOperator(ask, done=done, text=text))
            draft.say(text)
        self.departs.clear()

    def _is_due(self, now: float) -> bool:
        if self.wanted or (self.departs and not self._in_vain):
            return True
        if self.given_up:
            return False
        pause_s = AGAIN_S * self.second_s * 2 ** max(0, self.tries - 1)
        return self._tried_at is None or now >= self._tried_at + pause_s

    def _is_proven(self, sight: Sight, why: str, now: float) -> bool:
        """The record of this node was written since there is a reason to.

        Whoever could not write it in the end, to give the right or to take it, would leave the VMs standing still.
        """
        if self._proving is None or self._proving[0] != why:
            self._proving = (why, now)
        saved_at = sight.durable.saved_at
        return saved_at is not None and saved_at >= self._proving[1] and sight.durable.failing_from_s is None

    def _proof(self, sight: Sight, now: float) -> Wish | None:
        assert self._proving is not None, "something that is to be proven"
        if not sight.durable.free(now):
            return None
        return Wish(sight.durable.record, f"{self._proving[0]}: is the record of this node still written?")

    def _begin(self, sight: Sight, why: str, draft: Draft, now: float) -> None:
        self._number += 1
        self.moves, self._why, self._proving = f"{self.boot}.{self._number}", why, None
        self._from_s, self._answered, self.wanted, self.stopped = now, False, "", set()
        self._away_from_s = None
        draft.say(f"the VMs move to the peer while they run: {why}", milestone="move_begun")
        draft.alert(alerts.moves(sight.setup.peer_id, why))
        draft.tell_peer()

    def _broken(self, sight: Sight, now: float) -> str | None:
        """Say why the move cannot go on, or None."""
        peer = sight.agreeing(now)
        if peer is None:
            return "the peer is not heard, or does not agree"
        if sight.private_link() is LinkState.DOWN:
            return "the private link is down"
        if sight.durable.failing_from_s is not None:
            return "the record of this node cannot be written"
        self._answered = self._answered or peer.takes == self.moves
        if self._answered and peer.takes != self.moves:
            return "the peer has broken it off"
        if not self._answered and now >= self._from_s + ANSWER_S * self.second_s:
            return "the peer does not take part"
        units = {vm: sight.units.by_name[vm] for vm in sight.filled}
        if any(map(_is_apart, units.values())):
            return _APART
        if any(self._failed(unit) for unit in units.values()) and not any(self._left(unit) for unit in units.values()):
            return "a VM could not be sent"
        memory_mib = sum(unit.spec.memory_mib for unit in units.values())
        if now >= self._from_s + (LIMIT_S + memory_mib / MIB_PER_S) * self.second_s:
            return "it took too long"
        return None

    def _failed(self, unit: VmUnit) -> bool:
        """It was to leave, and did not; or it was gone by itself before it was sent."""
        tried = unit.move == self.moves
        if self._is_off(unit):
            return False
        return (tried and not unit.moved and unit.state is not VmState.SENDING) or (
            bool(self.sends) and not tried and unit.state is not VmState.RUNNING
        )

    def _is_off(self, unit: VmUnit) -> bool:
        """It is to be off, and is: there is nothing to send."""
        return not unit.spec.runs and unit.state is VmState.STANDBY and unit.move != self.moves

    def _left(self, unit: VmUnit) -> bool:
        """It was sent, and is complete on the peer."""
        return unit.move == self.moves and unit.moved

    def _goes_on(self, sight: Sight, draft: Draft, now: float) -> Wish | None:
        units = {vm: sight.units.by_name[vm] for vm in sight.filled}
        if any(self._left(unit) for unit in units.values()):
            for vm, unit in units.items():
                if self._failed(unit) and vm not in self.stopped:
                    self.stopped.add(vm)
                    draft.say(f"{vm} could not be sent while others had left already: it is stopped, and started there")
        away = all(self._is_away(unit) or (vm in self.stopped and _is_stopped(unit)) for vm, unit in units.items())
        away = away and self._answered  # where all are to be off nothing is sent
        if not away or not sight.sure or not sight.durable.free(now):
            self._away_from_s = self._away_from_s if away else None
            return None
        if self._away_from_s is None:
            self._away_from_s = now
            draft.tell_peer()
        if (sight.liveness.lease_from_s or 0.0) < self._away_from_s:
            return None  # a peer that has died meanwhile would take the right with it: it answers first
        why = f"the VMs have left: {sight.setup.peer_id} owns epoch {sight.durable.record.epoch + 1}"
        return Wish(given(sight.durable.record, sight.setup.peer_id), why)

    def _is_away(self, unit: VmUnit) -> bool:
        return (self._left(unit) or self._is_off(unit)) and _is_stopped(unit)

    def _end(self, why: str, draft: Draft, now: float) -> None:
        """Let the VMs stay here: whatever stands still on the peer is destroyed there."""
        self.tries, self._tried_at = self.tries + 1, now
        draft.command(c.EndMove())
        draft.say(f"the move is broken off: {why}", alert=alerts.move_failed(self._why, why, last=self.given_up))
        self.moves, self._answered, self.stopped, self._in_vain = "", False, set(), bool(self.departs)
        draft.tell_peer()

    def _is_followed(self, sight: Sight, draft: Draft, now: float) -> None:
        """As the one who gave the right away: say `moves` until the new owner has let the VMs go on, or is lost."""
        if not self.moves:
            return
        peer = sight.partner.view
        done = peer is not None and peer.record.epoch >= sight.durable.record.epoch and not peer.takes
        if done or sight.pairing.pair is not PairState.PAIRED or now >= self._from_s + 2 * LIMIT_S * self.second_s:
            self.moves, self._answered, self.tries, self._tried_at = "", False, 0, None
            draft.tell_peer()

    # ------------------------------------------------------------ as the backup

    def _take_part(self, sight: Sight, draft: Draft, now: float) -> Wish | None:
        """As the backup: take part in the move of the peer, or end it; returns the record that has to be written first.

        A node whose record cannot be written could not take the right in, and then nobody would have it.
        """
        if self.takes:
            why = self._over(sight)
            if why is not None:
                if why:
                    self._refused = self.takes
                    draft.command(c.EndMove())
                    draft.say(f"the move of the peer is over here: {why}")
                self.takes, self.taken, self._away_from_s = "", (), None
                draft.tell_peer()
            return None if self.takes == "" else self._waits(sight, draft, now)
        peer = sight.agreeing(now)
        if peer is None or sight.durable.owner or not peer.moves or peer.moves == self._refused:
            return None
        filled = sight.filled
        coming = [vm for vm in filled if not _is_off_there(sight.units.by_name[vm])]
        if filled and all(_can_take(sight.units.by_name[vm]) for vm in coming) and not sight.behind:
            if not self._is_proven(sight, f"the VMs of node {peer.node} are to move here, {peer.moves}", now):
                return self._proof(sight, now)
            self.takes, self.taken = peer.moves, tuple(coming)
            draft.say(f"the VMs of node {peer.node} move here while they run")
            draft.tell_peer()
        return None

    def _waits(self, sight: Sight, draft: Draft, now: float) -> Wish | None:
        """All is here: write the record once more before it is needed; answer an owner that has nothing left."""
        peer = sight.partner.view
        units = sight.units.by_name
        if sight.durable.owner or any(vm in units and units[vm].state is not VmState.RECEIVED for vm in self.taken):
            return None
        left = peer is not None and all(peer.vms.get(vm) is VmState.STANDBY for vm in self.taken)
        if left and self._away_from_s is None:
            self._away_from_s = now
            draft.tell_peer()
        return None if self._is_proven(sight, f"the VMs are here, {self.takes}", now) else self._proof(sight, now)

    def _over(self, sight: Sight) -> str | None:
        """Say why this node takes part no longer, "" when all went well; None: it still does."""
        peer, units = sight.partner.view, sight.units.by_name.values()
        if sight.pairing.pair is not PairState.PAIRED or peer is None or peer.moves != self.takes:
            return "the peer is lost, or has broken it off"
        if sight.durable.owner:
            waits = self.adopts(sight) and any(unit.state in (*_IN_IT, VmState.STARTING) for unit in units)
            return None if waits else ""
        if sight.private_link() is LinkState.DOWN:
            return "the private link is down"
        if sight.durable.failing_from_s is not None:
            return "the record of this node cannot be written"
        if any(_is_apart(unit) for unit in units if unit.spec.name in self.taken):
            return _APART
        if any(unit.move == self.takes and unit.state not in _IN_IT for unit in units):
            return "a VM could not be taken in"
        return None


def _is_apart(unit: VmUnit) -> bool:
    """DRBD has lost the other node: both writers stand still, and the second one gives way."""
    return unit.disk is not None and unit.disk.connection != "Connected"


def _is_stopped(unit: VmUnit) -> bool:
    """Nothing of the VM is here, and this node is no writer of its volume, whose copies are equal."""
    disk = unit.disk
    if unit.state is not VmState.STANDBY or unit.busy is not None or disk is None:
        return False
    return disk.role is DiskRole.SECONDARY and disk.in_sync


def _can_take(unit: VmUnit) -> bool:
    disk = unit.disk
    if unit.state is not VmState.STANDBY or not unit.known or disk is None:
        return False
    return disk.role is DiskRole.SECONDARY and disk.peer_role is DiskRole.PRIMARY and disk.in_sync


def _is_off_there(unit: VmUnit) -> bool:
    """It is to be off, and the owner is no writer of its volume."""
    disk = unit.disk
    return not unit.spec.runs and disk is not None and disk.peer_role is DiskRole.SECONDARY and disk.in_sync


def hindrance(sight: Sight, now: float) -> str | None:
    """Say why no live move of the VMs of this node can begin just now, or None."""
    peer, record = sight.agreeing(now), sight.durable.record
    if not sight.durable.owner:
        return f"node {record.owner or sight.setup.peer_id} owns the VMs; say it there"
    if peer is None:
        return f"node {sight.setup.peer_id} is not there, or does not agree"
    if sight.private_link() is not LinkState.UP:
        return "the private link is down"
    if sight.durable.failing_from_s is not None:
        return "the record of this node cannot be written"
    return unready(sight, peer) or (None if sight.filled else "there is no VM to move")


def departure(sight: Sight, now: float) -> str | None:
    """Say why the VMs of this node cannot go to the peer, not even by a stop and a start, or None."""
    peer = sight.agreeing(now)
    return f"node {sight.setup.peer_id} is not there, or does not agree" if peer is None else _elsewhere(sight, peer)


def unready(sight: Sight, peer: PeerView) -> str | None:
    """Say why the VMs of this owner cannot run on its agreeing peer just now, or None."""
    if against := _elsewhere(sight, peer):
        return against
    if all(_is_settled(sight.units.by_name[vm]) for vm in sight.filled):
        return None
    return "a VM does not run, or is being stopped"


def _elsewhere(sight: Sight, peer: PeerView) -> str | None:
    """Say why the peer cannot have the VMs just now, or None."""
    record, units = sight.durable.record, sight.units.by_name
    if record.quarantined:
        return f"node {peer.node} is in quarantine"
    if record.peer_outdated or peer.record.peer_outdated or sight.behind or sight.peer_behind:
        return "the copies are not equal"
    if not sight.units.synced().issuperset(sight.filled):
        return "the copies are not equal"
    if not all(copies.peer_is_good(record, peer, vm) for vm in sight.filled):
        return f"the copies of node {peer.node} are not good"
    if any(vm in peer.left or vm in peer.unmade for vm, unit in units.items() if unit.spec.runs):
        return f"a VM cannot be started on node {peer.node}"
    return None


def _is_settled(unit: VmUnit) -> bool:
    return unit.state is VmState.RUNNING or (not unit.spec.runs and unit.state is VmState.STANDBY)


def given(record: Record, peer: NodeId) -> Record:
    """Return the record that gives the right to the peer.

    A peer that does not hear of it can take the same epoch alone, and write without this node. So the copy here counts
    as outdated, until the new owner says in that epoch that it is not.
    """
    return replace(record, epoch=record.epoch + 1, owner=peer, peer_outdated=True, cure=0)


__all__ = ["Migration", "departure", "given", "hindrance", "unready"]
