"""What this node sees: what its owners know, put together, for those who judge.

It only reads. Each value here belongs to one owner, who alone changes it; the engine tells the owners what happened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from avance.core import copies
from avance.core.agreement import Agreement, AgreementFacts
from avance.core.durable import Durable
from avance.core.guard import Standing
from avance.core.leftover import MayGo
from avance.core.liveness import Liveness
from avance.core.mirror import MirrorCare, MirrorFacts
from avance.core.model import (
    Ailment,
    Copy,
    DiskState,
    Forecast,
    LinkState,
    MirrorState,
    PairState,
    PeerView,
    Record,
    Timers,
    VmId,
    VmState,
)
from avance.core.own_parts import OwnParts
from avance.core.pair import PairFacts
from avance.core.pairing import Pairing
from avance.core.partner import Partner
from avance.core.redundancy import CopyFacts
from avance.core.setup import Setup
from avance.core.units import Units

_BLANK = ((), (copies.JUST_CREATED,))  # the generations of a volume to which nothing was ever written


@dataclass(slots=True)
class Sight:
    """The owners of what is known; `config_hash` changes when a VM is added."""

    setup: Setup
    config_hash: str
    durable: Durable
    pairing: Pairing
    partner: Partner
    liveness: Liveness
    units: Units
    mirror: MirrorCare
    parts: OwnParts
    agreement: Agreement

    @property
    def timers(self) -> Timers:
        """The protocol times of the site."""
        return self.setup.timers

    @property
    def record(self) -> Record:
        """What is durable here."""
        return self.durable.record

    @property
    def pair(self) -> PairState:
        """The state of the pair."""
        return self.pairing.pair

    @property
    def peer(self) -> PeerView | None:
        """What the peer said of itself last."""
        return self.partner.view

    # ------------------------------------------------------------ the right

    @property
    def solo(self) -> bool:
        """This node holds the durable, exclusive right to write alone, and its peer has said nothing against it."""
        return self.durable.solo and self.pairing.in_service

    @property
    def entitled(self) -> bool:
        """This node may start VMs: it owns the epoch, and the peer agrees or the lone right is durable."""
        return self.durable.owner and self.durable.served and self.pairing.in_service

    @property
    def echoing(self) -> bool:
        """Heartbeats of this node echo the peer's, except while this node takes the right, or may have taken it.

        An echo would renew the peer's lease, and then both could run. Once the right is durable, the heartbeat itself
        tells the peer.
        """
        return self.durable.owner or not self.durable.taking

    @property
    def superseded(self) -> bool:
        """The peer owns a newer epoch, which this node has not taken in yet."""
        peer, mine = self.partner.view, self.durable.record
        return peer is not None and peer.record.epoch > mine.epoch and peer.record.owner == self.setup.peer_id

    def renewing(self, theirs: Record, echoed_sent_s: float | None) -> float | None:
        """Return the echo that renews the lease here; None when the peer owns a newer epoch and a VM may run here."""
        beaten = theirs.epoch > self.durable.record.epoch and theirs.owner != self.setup.me
        return None if beaten and self.may_write else echoed_sent_s

    @property
    def is_whole(self) -> bool:
        """The pair is paired, every VM is protected, and nothing marks the record or a copy."""
        record = self.durable.record
        if self.pairing.pair is not PairState.PAIRED or not self.units.protected:
            return False
        marked = record.split or record.quarantined or bool(record.discard) or bool(self.behind) or self.solo
        return not marked and not self.pairing.yields

    # ------------------------------------------------------------ what runs here

    @property
    def may_write(self) -> bool:
        """A VM runs here, or could; one that was removed counts until it is gone."""
        units = self.units
        if any(unit.may_write for unit in units.by_name.values()):
            return self.durable.served
        return self.durable.served and any(left.runs for left in units.leftovers.values())

    @property
    def known(self) -> bool:
        """This node knows of each VM whether it runs here."""
        known = self._leftovers_known and all(unit.known for unit in self.units.by_name.values())
        return known or not self.durable.served

    @property
    def sure(self) -> bool:
        """This node knows of each VM whether it runs here; what DRBD says of its disk may be unknown."""
        sure = self._leftovers_known and all(unit.is_sure for unit in self.units.by_name.values())
        return sure or not self.durable.served

    @property
    def _leftovers_known(self) -> bool:
        return all(left.runs is not None for left in self.units.leftovers.values())

    def may_go(self, vm: VmId, now: float) -> MayGo:
        """Say what of a removed VM may be taken away (docs/safety.md, S44).

        The end of the replication could freeze a VM that the peer still runs. So the disk stays until the peer holds
        the same definitions, has no such VM, or is not heard.
        """
        peer = self.partner.view
        harmless = self.is_agreed or self.silent(now) or (peer is not None and vm not in peer.vms)
        record, busy = self.durable.record, vm in self.units.leftovers and self.units.leftovers[vm].busy
        if vm in self.units.by_name or busy:
            return MayGo(domain=False, disk=False, forgotten=False)
        named = {*record.fresh, *record.discard, *record.behind, *(name for name, _ in record.generations)}
        forgotten = vm not in named and vm not in self.units.leftovers
        return MayGo(domain=True, disk=harmless, forgotten=forgotten)

    # ------------------------------------------------------------ the copies

    @property
    def unproven(self) -> bool:
        """This node's mirror runs on a half that may lack its last writes. So may every copy on it."""
        return self.mirror.view.state is MirrorState.UNPROVEN

    def copy(self, vm: VmId) -> Copy:
        """What this node says of its copy. On an unproven half no copy is called good, whatever DRBD says."""
        copy = self.units.by_name[vm].copy
        return replace(copy, disk=DiskState.UNKNOWN) if self.unproven else copy

    def is_good(self, vm: VmId) -> bool:
        """The copy of this node may be served."""
        return copies.is_good(self.durable.record, vm, self.copy(vm))

    @property
    def behind(self) -> frozenset[VmId]:
        """The volumes whose copy on this node must not be served (core/copies.py).

        A copy that is being served was judged before it was promoted. Its generation is not compared here, because it
        may be so new that the record does not know it yet. If the peer says that its copy is newer, this counts before
        it is durable.
        """
        return frozenset([name for name in self.units.by_name if self.is_behind(name)])

    @property
    def unread(self) -> frozenset[VmId]:
        """The volumes whose copy may be another one than the record knows, until its generation has been read."""
        record, units = self.durable.record, self.units.by_name
        return frozenset(name for name, unit in units.items() if unit.unread and copies.newest(record, name))

    @property
    def peer_behind(self) -> bool:
        """The peer says that its copy of a VM is behind; what it still says of a VM that was removed does not count."""
        peer = self.partner.view
        return peer is not None and any(name in self.units.by_name for name in peer.record.behind)

    def is_behind(self, name: VmId) -> bool:
        """Say the same of one volume."""
        unit, record = self.units.by_name[name], self.durable.record
        if self.unproven:
            return True
        if unit.serves:
            return name in record.behind
        equal = unit.disk is not None and unit.disk.in_sync
        older = not equal and copies.is_older(record, self.partner.view, name, unit.generations)
        return older or copies.is_behind(record, name, unit.generations)

    def both_fresh(self, vm: VmId) -> bool:
        """Both nodes zeroed this volume, and neither has written to it."""
        peer = self.partner.view
        return peer is not None and vm in self.durable.record.fresh and vm in peer.record.fresh

    @property
    def filled(self) -> list[VmId]:
        """The volumes to which something may ever have been written; a right depends on no other one's copy."""
        return [name for name in self.units.by_name if not self._is_blank(name)]

    def _is_blank(self, vm: VmId) -> bool:
        """Neither node has ever known a generation of this volume: it is just being made, or both copies are zeroed."""
        unit, peer = self.units.by_name[vm], self.partner.view
        bare = unit.disk_known and (unit.disk is None or unit.disk.disk is DiskState.INCONSISTENT)
        if peer is None or not bare or unit.generations not in _BLANK:
            return False
        if any(copies.newest(record, vm) for record in (self.durable.record, peer.record)):
            return False
        theirs = copies.peer_copy(peer, vm)
        return theirs.disk in (DiskState.DISKLESS, DiskState.INCONSISTENT) and theirs.generations in _BLANK

    def is_protected(self) -> bool:
        """Every VM that is to run does, on two copies that are equal and known to be, and both nodes are guarded.

        One that is to be off has two such copies, too.
        """
        peer, units = self.partner.view, self.units.by_name
        if self.pairing.pair is not PairState.PAIRED or not units or peer is None:
            return False
        if self.durable.record.peer_outdated or peer.record.peer_outdated:
            return False
        if self.parts.unguarded or peer.unguarded:
            return False
        if not all(unit.disk is not None and unit.disk.in_sync for unit in units.values()):
            return False
        if self.behind or self.peer_behind or not self._same_generations():
            return False
        mine = {name: unit.state for name, unit in units.items()}
        running = mine if self.durable.owner else peer.vms
        return all(running.get(name) is VmState.RUNNING for name, unit in units.items() if unit.spec.runs)

    def _same_generations(self) -> bool:
        """No volume is known to be of another generation here than on the peer."""
        for name, unit in self.units.by_name.items():
            theirs = copies.peer_copy(self.partner.view, name).generations
            if unit.generations and theirs and unit.generations[0] != theirs[0]:
                return False
        return True

    def copy_facts(self, now: float) -> CopyFacts:
        """Return what must be known to tell of a VM with one copy only."""
        units = self.units.by_name
        # The volume of one that is to be off is worth two copies as well.
        serves = frozenset(name for name, unit in units.items() if unit.state is VmState.RUNNING or not unit.spec.runs)
        heard = self.liveness.peer_alive(now)
        return CopyFacts(serves if self.entitled else frozenset(), self.units.disks(), heard, self.mirror.view)

    def mirror_facts(self, now: float, *, override: bool) -> MirrorFacts:
        """Return what the mirror must know of the pair; `override`: a person vouches that the peer is off."""
        peer, record, state, units = self.partner.view, self.durable.record, self.mirror.view.state, self.units.by_name
        heard = peer is not None and self.liveness.peer_alive(now)
        backup = self.pairing.pair is PairState.PAIRED and not self.durable.owner and bool(units)
        empty = state in (MirrorState.OLD, MirrorState.DOUBT)
        return MirrorFacts(
            told=peer.mirror if heard and peer is not None else None,
            vouched=self.unproven and self.solo and (override or record.chosen == record.epoch),
            backup=backup,
            replaced=self.unproven and self._is_replaced,
            peer_has_all=backup and empty and all(copies.peer_is_good(record, peer, vm) for vm in self.filled),
        )

    @property
    def _is_replaced(self) -> bool:
        """Each copy that is here is taken from the peer anew; a volume that was never made has none."""
        units, filled = self.units.by_name, self.filled
        return all(unit.invalidated for vm, unit in units.items() if vm in filled or unit.disk is not None)

    # ------------------------------------------------------------ the peer and the links

    def private_link(self) -> LinkState:
        """What this node knows of the link that carries the replication."""
        return self.liveness.state(self.setup.replication_link)

    def peer_lost(self, now: float) -> bool:
        """The peer was not heard for the peer-lost time. An owner counts from its last echo, as its lease does."""
        limit_s = self.setup.timers.peer_lost_s
        if self.durable.owner and self.liveness.lease_age_s(now) >= limit_s and not self.liveness.was_late(now):
            return True
        return now - self.liveness.silent_from_s(now) >= limit_s

    @property
    def is_agreed(self) -> bool:
        """Both nodes hold the same site and the same VMs (docs/safety.md, S42); the peer's last word counts."""
        peer = self.partner.view
        return peer is not None and peer.config_hash == self.config_hash

    @property
    def _is_durably_agreed(self) -> bool:
        """Both nodes hold the same definitions, and each uses them or will in a moment (docs/safety.md, S43)."""
        peer, mine = self.partner.view, self.agreement.stand.version
        return peer is not None and peer.agreement.version == mine and mine.hash in (self.config_hash, peer.config_hash)

    def silent(self, now: float) -> bool:
        """Nothing at all was heard of the peer for the peer-lost time."""
        return now - self.liveness.silent_from_s(now) >= self.setup.timers.peer_lost_s

    def agreeing(self, now: float) -> PeerView | None:
        """What the peer says, while both nodes are paired, it is heard and it says the same epoch."""
        peer, record = self.partner.view, self.durable.record
        if self.pairing.pair is not PairState.PAIRED or peer is None or not self.liveness.peer_alive(now):
            return None
        same = peer.record.epoch == record.epoch and peer.record.owner == record.owner
        return peer if same and peer.pair is PairState.PAIRED else None

    def agreement_facts(self, now: float) -> AgreementFacts:
        """Return what must be known of the pair to agree on definitions."""
        peer, mine = self.partner.view, self.agreement.stand.version
        return AgreementFacts(
            said=None if peer is None else peer.agreement,
            heard=peer is not None and self.liveness.peer_alive(now),
            silent=self.silent(now),
            in_use=self.config_hash == mine.hash,
            both_use=self.is_agreed,
        )

    # ------------------------------------------------------------ what others are told

    def view(
        self,
        wants: int,
        leaves: int,
        witnesses: tuple[str, ...],
        ailments: tuple[Ailment, ...] = (),
        offers: int = 0,
        forecast: Forecast | None = None,
    ) -> PeerView:
        """Return what this node says of itself.

        `wants`: the epoch that it asks for. `leaves`: the one that it leaves to the peer. `witnesses`: those that it
        reaches. `ailments`: what is wrong with it. `offers`: the one that it offers, or could take. `forecast`: what it
        foresees as the backup.
        """
        setup, mirror, units = self.setup, self.mirror.view, self.units.by_name
        return PeerView(
            node=setup.me,
            boot=setup.boot,
            config_hash=self.config_hash,
            dilation=setup.dilation,
            pair=self.pairing.pair,
            record=self.durable.record,
            vms={name: unit.state for name, unit in units.items()},
            machine=setup.machine,
            wants=wants,
            witnesses=witnesses,
            copies={name: self.copy(name) for name in units},
            mirror=(mirror.note, mirror.kept),
            leaves=leaves,
            unguarded=self.parts.unguarded,
            agreement=self.agreement.word,
            ailments=ailments,
            offers=offers,
            forecast=forecast,
        )

    def standing(self, now: float, *, tick: bool, leaving: bool) -> Standing:
        """Return what the guard may look at; `tick`: at a steady pace, `leaving`: the VMs are being handed over."""
        liveness, saving = self.liveness, self.durable.saving
        return Standing(
            tick=tick,
            pair=self.pairing.pair,
            may_write=self.may_write,
            known=self.sure,
            solo=self.solo,
            lease_valid=liveness.lease_valid(now),
            lease_over=liveness.lease_over(now),
            lease_age_s=liveness.lease_age_s(now),
            lease_until_s=liveness.lease_until_s,
            owner=self.durable.owner,
            deciding=saving is not None and saving.solo(self.setup.me),
            watchdog=self.setup.watchdog,
            superseded=self.superseded,
            leaving=leaving,
            stuck_looks=self.units.stuck_looks,
            doubt_s=self._doubt_s(now),
        )

    def _doubt_s(self, now: float) -> float:
        """How long the disk may have held a right that `record` does not give, and the peer was there all the time."""
        since = self.durable.doubt_from_s
        return 0.0 if since is None else min(now - since, self.liveness.good_s(now))

    def pair_facts(self, now: float, *, brought: bool = False) -> PairFacts:
        """Return all that the pair rules may look at; `brought`: by a live move."""
        setup, lost = self.setup, self.peer_lost(now)
        waited_s = now - (self.liveness.started_at or now)
        return PairFacts(
            me=setup.me,
            peer_id=setup.peer_id,
            machine=setup.machine,
            record=self.durable.record,
            peer=self.partner.view,
            peer_alive=self.liveness.peer_alive(now),
            peer_lost=lost,
            boot_wait_over=lost and waited_s >= setup.timers.boot_wait_s,
            waited=waited_s >= setup.timers.boot_wait_s,
            may_write=self.may_write,
            known=self.sure,
            config_hash=self.config_hash,
            dilation=setup.dilation,
            agreed=self._is_durably_agreed,
            yielded=self.pairing.yields and self.units.kept(self.filled),
            vms=tuple(self.filled),
            brought=brought,
        )


__all__ = ["Sight"]
