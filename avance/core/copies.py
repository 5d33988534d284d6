"""Which copy of a volume is good: what a node may say of its own, and what follows from what the peer says of its own.

A copy is *behind* when it lacks, or may lack, writes that were acknowledged. That happens in two ways. Its disk was
lost while the other copy went on. Or another disk has come in its place: an old one, a clone, a foreign one. DRBD
names each generation of the data (kernel source, drbd_uuid_new_current). A disk is ours if the newest generation that
this node knows is the disk's current one or one of its ancestors. Pure judgements; the engine acts and remembers.
"""

from __future__ import annotations

from avance.core.model import Copy, DiskRole, DiskState, DiskView, PeerView, Record, VmId

JUST_CREATED = "4"  # linux/drbd.h, UUID_JUST_CREATED: metadata that was never part of a pair
_LOST = (DiskState.DISKLESS, DiskState.FAILED)
_USABLE = (DiskState.UP_TO_DATE, DiskState.CONSISTENT)
_THERE = (*_USABLE, DiskState.OUTDATED, DiskState.INCONSISTENT)
_NONE = ("", "0")
_NO_ANCESTOR = (*_NONE, JUST_CREATED)
_ABSENT = Copy()


def known(identifiers: tuple[str, ...]) -> tuple[str, ...]:
    """Return generation identifiers as they are compared: without leading zeroes and without DRBD's lowest bit.

    The lowest bit only says that the node was primary (kernel source, drbd_uuid_compare). What is empty is left out
    behind the current one.
    """
    found = [f"{int(word, 16) & ~1:x}" for word in identifiers]
    return tuple(word for place, word in enumerate(found) if place == 0 or word not in _NONE)


def is_lost(view: DiskView | None) -> bool:
    """DRBD works without a local disk: it serves, or mirrors, the peer's copy only."""
    if view is None or view.disk not in _LOST:
        return False
    return view.role is DiskRole.PRIMARY or view.connection != "StandAlone"


def newest(record: Record, vm: VmId) -> str:
    """Return the newest generation of a volume that a record knows; empty when it knows none."""
    for name, known in record.generations:
        if name == vm:
            return known
    return ""


def is_ours(known: str, generations: tuple[str, ...]) -> bool:
    """The disk with these generations holds the data that is known as the newest, or what was made from it."""
    return not known or known in generations


def descends(mine: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Their data was made from ours, and is newer: DRBD makes them the source (kernel source, drbd_uuid_compare)."""
    if not mine or not theirs or mine[0] in _NONE:
        return False
    return mine[0] != theirs[0] and mine[0] in theirs[1:]


def holds(theirs: tuple[str, ...], mine: tuple[str, ...]) -> bool:
    """Their data contain every write that a writer with our disk has acknowledged.

    A writer that goes on without its peer first begins a new generation (kernel source, drbd_uuid_new_current). If our
    generation is theirs or one of their ancestors, no writer did that with our disk: each write was mirrored, or went
    to their disk alone.
    """
    return bool(mine) and mine[0] not in _NO_ANCESTOR and mine[0] in theirs


def meets_by_bitmap(mine: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """The peer's bitmap says exactly what this older copy lacks: it was begun when the two were last equal.

    Where the peer has begun to fill another disk since, its bitmap lacks what that one got (uuid_compare, rule 51).
    """
    return descends(mine, theirs) and mine[0] == theirs[1]


def peer_copy(peer: PeerView | None, vm: VmId) -> Copy:
    """Return what the peer says of its copy; a copy that it does not name counts as absent."""
    return _ABSENT if peer is None else peer.copies.get(vm, _ABSENT)


def is_behind(record: Record, vm: VmId, generations: tuple[str, ...]) -> bool:
    """This copy lacks, or may lack, acknowledged writes. Whether the disk is ours is judged anew each time.

    A version that a person has given up counts as behind until the kept one has replaced it.
    """
    return (
        vm in record.behind
        or vm in record.discard
        or (bool(generations) and not is_ours(newest(record, vm), generations))
    )


def is_older(record: Record, peer: PeerView | None, vm: VmId, generations: tuple[str, ...]) -> bool:
    """The peer says that its copy was made from this one and went on, or knows data that this one does not come from.

    A peer that was left behind may know an older generation, which DRBD has forgotten here.
    """
    if peer is None or not generations or is_given_up(record, peer, vm):
        return False
    theirs = peer_copy(peer, vm)
    if theirs.disk is not DiskState.INCONSISTENT and descends(generations, theirs.generations):
        return True
    left_behind = record.peer_outdated and record.owner != peer.node
    return not left_behind and not is_ours(newest(peer.record, vm), generations)


def is_good(record: Record, vm: VmId, copy: Copy) -> bool:
    """The copy of the node with this record may be served: it is there, whole and not behind."""
    return copy.disk in _USABLE and not is_behind(record, vm, copy.generations)


def peer_is_good(record: Record, peer: PeerView | None, vm: VmId) -> bool:
    """The peer says that its copy is good, and it is not older than what this node knows; silence is not good.

    After a split each copy is a version of its own, and none is better than the other before a person has chosen.
    """
    if peer is None or record.split or peer.record.split or is_given_up(record, peer, vm):
        return False
    copy = peer_copy(peer, vm)
    known = not copy.generations or is_ours(newest(record, vm), copy.generations)
    return known and is_good(peer.record, vm, copy)


def is_given_up(record: Record, peer: PeerView, vm: VmId) -> bool:
    """A person chose this node's version of diverged data, and the peer's has not been replaced yet.

    DRBD may call the peer's the newer one, because it was made from ours; the person's word counts (S39).
    """
    return vm in peer.record.discard or record.chosen > peer.record.epoch


def is_there(copy: Copy) -> bool:
    """DRBD has a local disk on that node, good or not; an unknown state counts as absent."""
    return copy.disk in _THERE


def peer_says_good(peer: PeerView | None, vm: VmId) -> bool:
    """The peer calls its own copy good. This is enough if our record says that the peer went on without us.

    The newest generation that we know may then be older than the few that DRBD remembers.
    """
    return peer is not None and is_good(peer.record, vm, peer_copy(peer, vm))


def peer_is_vouched(record: Record, peer: PeerView | None, vm: VmId) -> bool:
    """The peer's copy is good: this node can tell, or the peer is an owner who went on without it and says so."""
    left_behind = peer is not None and record.peer_outdated and record.owner == peer.node
    return peer_is_good(record, peer, vm) or (left_behind and peer_says_good(peer, vm))


def went_on_alone(record: Record, peer: PeerView | None, vm: VmId, copy: Copy) -> bool:
    """This copy was written last: both copies are there, theirs is an ancestor of ours, and no newer one is known.

    It was then called behind by mistake: its disk was lost, and a daemon that had just started could not know when.
    """
    if peer is None or not is_there(copy) or not is_there(peer_copy(peer, vm)):
        return False
    known = (newest(record, vm), newest(peer.record, vm))
    newer = descends(peer_copy(peer, vm).generations, copy.generations)
    return newer and all(is_ours(one, copy.generations) for one in known)


def with_newest(record: Record, vm: VmId, generation: str) -> tuple[tuple[VmId, str], ...]:
    """Return the generations of a record with a newer one of one volume."""
    return (*(pair for pair in record.generations if pair[0] != vm), (vm, generation))
