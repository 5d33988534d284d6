"""Consent: how a pair whose replication is lost, but whose nodes hear each other, goes on without anybody else.

The owner shows `wants`, the next epoch. The backup leaves the replication, reads what its copy holds, and makes durable
that the owner owns that epoch; this record, seen in its next heartbeat, is the consent (docs/safety.md, S11). Only then
it marks its copies as outdated: a consent that cannot be made durable changes nothing. Pure judgements.
"""

from __future__ import annotations

from dataclasses import replace

from avance.core.model import DiskRole, DiskState, DiskView, LinkState, NodeId, PairState, PeerView, Record

_WORSE = (DiskState.DISKLESS, DiskState.FAILED, DiskState.INCONSISTENT, DiskState.OUTDATED)
_USABLE = (DiskState.UP_TO_DATE, DiskState.CONSISTENT)


def replication_lost(view: DiskView | None, link: LinkState) -> str | None:
    """Say why an owner's volume has no second copy that could be promoted, or None.

    An owner without a good copy of its own has no use for the right to write alone: it hands over (core/handover.py).
    DRBD does not freeze a primary whose connected peer has a worse disk (kernel source, sanitize_state), so the right
    to write alone must be there before that peer is lost.
    """
    if view is None or view.disk not in _USABLE:
        return None
    if link is LinkState.DOWN:
        return "the private link is down"
    if view.connection != "Connected":
        return f"DRBD is {view.connection}" if view.role is DiskRole.PRIMARY else None
    if view.peer_disk in _WORSE and view.disk is DiskState.UP_TO_DATE:
        return f"the peer's disk is {view.peer_disk}"
    return None


def asked(record: Record, peer: PeerView | None, pair: PairState, *, may_write: bool) -> bool:
    """This node is the backup of a living owner that asks for its consent to the next epoch."""
    if peer is None or may_write or pair not in (PairState.PAIRED, PairState.WAITING):
        return False
    return peer.record.owner == record.owner == peer.node and peer.wants == record.epoch + 1


def apart(view: DiskView | None) -> bool:
    """This node's copy stays as it is: it is gone, or it has left the replication.

    One that is connected, or may connect, can still change: a resynchronisation ends, or a write of the owner comes.
    """
    return view is None or view.disk in (DiskState.DISKLESS, DiskState.FAILED) or not must_disconnect(view)


def marked(view: DiskView | None) -> bool:
    """DRBD itself forbids the promotion of this copy, on its own disk: no record of ours is needed for that."""
    return view is not None and view.disk in (DiskState.OUTDATED, DiskState.INCONSISTENT) and not must_disconnect(view)


def stays(view: DiskView | None) -> bool:
    """The generation of such a copy stays: nobody writes. A writer that stands still begins another when it goes on.

    A second writer that stood still and was demoted stands still until it meets its peer again (core/migration.py).
    """
    frozen = view is not None and view.suspended and view.role is DiskRole.PRIMARY
    return view is not None and view.connection != "Connected" and not frozen


def must_disconnect(view: DiskView) -> bool:
    """A connected copy cannot be outdated (DRBD: "Refusing to be Outdated while Connected")."""
    return view.connection != "StandAlone"


def given(record: Record, owner: NodeId) -> Record:
    """Return the record that is the consent."""
    return replace(record, epoch=record.epoch + 1, owner=owner, peer_outdated=True)
