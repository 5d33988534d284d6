"""What both nodes hold, as far as the durable record has to say it: copies that are behind, and the newest data."""

from __future__ import annotations

from dataclasses import replace

from avance.core import copies
from avance.core.care import Care
from avance.core.durable import Held
from avance.core.model import DiskRole, DiskState, LinkState, PairState, VmId
from avance.core.sight import Sight

_WHOLE = (DiskState.UP_TO_DATE, DiskState.CONSISTENT)


def held(sight: Sight, care: Care, now: float) -> Held:
    """Return what both nodes hold just now."""
    record, peer, units = sight.durable.record, sight.partner.view, sight.units
    synced, elected = units.synced(), None
    together = sight.pairing.pair is PairState.PAIRED and peer is not None and sight.liveness.peer_alive(now)
    if together and peer is not None:
        elected = care.elect(record, peer.record, sight.setup.me, peer_up=peer.witnesses, now=now)
    return Held(
        in_service=sight.pairing.in_service,
        together=together,
        synced=synced,
        whole=synced.issuperset(sight.filled) and sight.private_link() is not LinkState.DOWN,
        zeroed=units.unnoted(record.fresh),
        works=record.peer_outdated and (units.works or _may_be_served(sight)),  # only then it matters
        tripped=sight.partner.crashes.tripped,
        elected=elected,
        behind=_behind(sight),
        generations=_newest_generations(sight),
        vms=frozenset(units.by_name),
    )


def _may_be_served(sight: Sight) -> bool:
    """A removed VM may still write here alone, and the peer, which still names it, could serve it without that."""
    peer, left = sight.partner.view, sight.units.leftovers
    return bool(left) and (peer is None or any(vm in peer.vms for vm in left))


def _newest_generations(sight: Sight) -> tuple[tuple[VmId, str], ...]:
    """Note the newest generation of each volume's data: our own while it is served or equal, or the peer's newer."""
    record, peer, me = sight.durable.record, sight.partner.view, sight.setup.me
    for name, unit in sight.units.by_name.items():
        view, mine, known = unit.disk, unit.generations, copies.newest(record, name)
        if view is None or not mine or mine[0] == copies.JUST_CREATED:
            continue
        alone = record.solo(me) and unit.serves
        only = view.peer_disk in (DiskState.DISKLESS, DiskState.FAILED)  # the peer writes here, over the link
        only = only and view.connection == "Connected" and view.disk is DiskState.UP_TO_DATE
        if view.in_sync or ((alone or only) and not sight.is_behind(name)):
            if unit.read_for == view and unit.busy is None and known != mine[0]:
                record = replace(record, generations=copies.with_newest(record, name, mine[0]))
            continue
        theirs = copies.peer_copy(peer, name).generations
        if copies.descends(mine, theirs) and known != theirs[0] and copies.peer_is_vouched(record, peer, name):
            record = replace(record, generations=copies.with_newest(record, name, theirs[0]))
    return tuple(pair for pair in record.generations if pair[0] in sight.units.by_name)


def _behind(sight: Sight) -> tuple[VmId, ...]:
    """Name the copies whose disk was lost while the other one went on, each until a resynchronisation from the peer."""
    found, record, paired = [], sight.durable.record, sight.pairing.pair is PairState.PAIRED
    for name, unit in sight.units.by_name.items():
        whole = unit.disk is not None and unit.disk.in_sync and unit.resynced
        marked = name in record.behind and not whole
        newer = marked and paired and copies.went_on_alone(record, sight.partner.view, name, sight.copy(name))
        if (marked and not newer) or _was_left(sight, name):
            found.append(name)
    return tuple(found)


def _was_left(sight: Sight, vm: VmId) -> bool:
    """The local disk is lost, and the peer's copy may take writes that this one does not."""
    unit, peer = sight.units.by_name[vm], sight.partner.view
    view = unit.disk
    if view is None or not copies.is_lost(view) or sight.both_fresh(vm):
        return False  # ... and to a volume that both nodes have just made, nothing was ever written
    if sight.durable.owner and view.role is not DiskRole.PRIMARY:
        return False  # nobody writes
    if view.connection == "Connected":  # however silent the peer's daemon is, its DRBD may mirror on
        return view.peer_disk in _WHOLE
    if sight.durable.record.solo(sight.setup.me) and unit.held_apart:
        return False  # the peer was lost before, and nobody writes to its copy since: this one stays the good one
    theirs = copies.peer_copy(peer, vm)
    if view.peer_disk is DiskState.INCONSISTENT:
        # It was just being filled from here, so nothing can be written there and this one stays the good one; unless
        # the peer says that its copy has become whole in the moment in which the connection ended.
        return theirs.disk in _WHOLE
    if view.role is DiskRole.PRIMARY or peer is None:
        return True
    return copies.is_there(theirs) and not copies.is_behind(peer.record, vm, theirs.generations)


__all__ = ["held"]
