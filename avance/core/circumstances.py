"""What a VM with its disk must know of the pair to choose its next command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from avance.core.model import PairState


class Goal(StrEnum):
    """What the pair wants of the VMs on this node."""

    RUN = "RUN"
    STOP = "STOP"
    HOLD = "HOLD"


@dataclass(slots=True)  # not frozen, as PairFacts
class Circumstances:
    """What a unit must know of the pair to choose its next command.

    `solo`: this node alone may write. `consenting`: the owner asks this backup to let go of its copy. `replicate`: the
    private link carries, and the peer is stable enough to be synchronised. `cut`: the private link is down.
    `keep`: the epoch under whose name a copy is kept, because an operator gives this node's version up; 0 for none.
    `discard`: this version has been given up. `leaving`: the VMs are being handed over. `unproven`: this backup's
    mirror may lack its last writes. `behind`: this node's copy must not be served. `peer_good`: the peer's may.
    `outdated`: the owner has written, or may have, without this backup's copy. `peer_attached`: the peer has
    a disk, good or not. `giving`: the record that hands the VMs over is on its way to the disk.
    `related`: the two copies have a generation in common. `left`: the VM has failed too often, so it is not started.
    `moving`: that is why it is handed over, so this owner lets go of its copy, and marks it, once nothing writes.
    `accepted`: the disk is ours, or the peer knows its data, so it may be attached. `peer_read`: the generations of
    the peer's copy are known. `target`: they show that DRBD will take this copy as the target of a resynchronisation.
    `asked`: the owner asks this backup for its consent. `marking`: this owner's record cannot be written, so it lets go
    of its copies on their own disks. `held`: the replication broke again and again, and is left alone for a while.
    `agreed`: both nodes hold the same definitions.
    `shuts`: the guest is to be asked to shut down.
    `sends`: the live move for which the VMs leave this owner; `takes`: the one of the peer's in which this node takes
    part; both empty for none. `adopts`: what was taken in may go on here (core/migration.py).
    `unread`: the record knows a generation of the volume, and this
    run of the daemon does not know the copy's.
    """

    goal: Goal
    pair: PairState
    both_fresh: bool
    i_am_owner: bool
    retry_s: float
    solo: bool
    consenting: bool
    replicate: bool
    cut: bool
    keep: int
    discard: bool
    leaving: bool
    behind: bool
    peer_good: bool
    accepted: bool
    peer_read: bool
    target: bool
    asked: bool = False
    marking: bool = False
    held: bool = False
    unread: bool = False
    agreed: bool = True
    unproven: bool = False
    outdated: bool = False
    peer_attached: bool = True
    giving: bool = False
    related: bool = True
    left: bool = False
    moving: bool = False
    shuts: bool = False
    sends: str = ""
    takes: str = ""
    adopts: bool = False


__all__ = ["Circumstances", "Goal"]
