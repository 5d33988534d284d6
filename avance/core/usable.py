"""What may be done with a copy, as DRBD describes it. Pure judgements for `core/unit.py`."""

from __future__ import annotations

from avance.core.circumstances import Circumstances
from avance.core.model import DiskRole, DiskState, DiskView

GONE = (DiskState.DISKLESS, DiskState.FAILED)
GOOD = (DiskState.UP_TO_DATE, DiskState.CONSISTENT)


def may_meet(disk: DiskView, around: Circumstances) -> bool:
    """Say whether a connection would do good.

    An outdated copy must not meet a writer that has none: DRBD calls it UpToDate then, and begins a generation of it,
    and the two never meet again (seen on the pair, decision 0020).
    """
    gone = disk.disk in GONE
    if around.i_am_owner:
        return not (around.solo and (gone or is_marked(disk)))
    harmless = disk.disk is DiskState.INCONSISTENT or around.discard or not around.outdated
    return not gone and (harmless or around.peer_attached)


def is_marked(disk: DiskView) -> bool:
    """The copy is marked as outdated, but may be promoted: the peer gave the right back, or a person vouches for it.

    DRBD does not know that, so the promotion is forced. A connected copy is left alone: it takes the peer's data.
    """
    return disk.disk is DiskState.OUTDATED and disk.connection == "StandAlone"


def has_data(disk: DiskView | None) -> bool:
    """Say whether a VM could read its volume: from the copy here, or over the connection."""
    if disk is None:
        return False
    return disk.disk in GOOD or (disk.connection == "Connected" and disk.peer_disk is DiskState.UP_TO_DATE)


def usable(disk: DiskView, around: Circumstances) -> bool:
    """Say whether the copy may be promoted (docs/safety.md, S8): one of two good ones, or one with the lone right."""
    if disk.peer_role is DiskRole.PRIMARY or around.behind:
        return False
    if around.solo:
        return disk.disk in GOOD or is_marked(disk)
    return disk.disk is disk.peer_disk is DiskState.UP_TO_DATE and disk.connection == "Connected"


__all__ = ["GONE", "GOOD", "has_data", "is_marked", "may_meet", "usable"]
