"""All ids that one reader had: the survivor's service, or the log on a node's replica; pure.

It must never take what could not be read for an empty book.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.client.ledger import ReadBack
from testbed.replica.worklog import Log


@dataclass(frozen=True)
class Reading:
    """All ids of one reader, in their order; what came from an incomplete one proves only what it shows.

    `totals` are what the reader said on the way that there are in all. `given_up_by`: this is not the VM's data but the
    version that this node keeps beside them, because a person gave it up.
    """

    reader: str
    at_s: float
    ids: tuple[str, ...]
    complete: bool = True
    reason: str = ""
    totals: tuple[int, ...] = ()
    given_up_by: str = ""


def from_service(reader: str, at_s: float, found: ReadBack) -> Reading:
    """What the service gave when it was asked for everything."""
    return Reading(reader, at_s, found.ids, found.complete, found.reason, found.totals)


def from_replica(reader: str, at_s: float, log: Log, *, given_up_by: str = "") -> Reading:
    """What a replica holds; the log of a disk that could be read is complete, also when damage ends it early."""
    return Reading(reader, at_s, log.ids, True, log.damage, given_up_by=given_up_by)


def unreadable(reader: str, at_s: float, why: str, *, given_up_by: str = "") -> Reading:
    """A reader that could not read."""
    return Reading(reader, at_s, (), False, why, given_up_by=given_up_by)
