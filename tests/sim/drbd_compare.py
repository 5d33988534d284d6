"""Who becomes the source when two halves meet: drbd_uuid_compare and drbd_sync_handshake of DRBD 8.4 (drbd_receiver.c).

The numbers are the kernel's: 0 no resync, 1 by the bitmap, 2 in full; negative when the other side is the source; 100
both wrote; 1000 unrelated. The lowest bit of the kernel's identifiers (role) is left out, as its comparisons do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core.model import DiskState
from tests.sim.drbd_side import HISTORY

if TYPE_CHECKING:
    from tests.sim.drbd_side import Side

SPLIT, UNRELATED = 100, 1000


def compare(a: Side, b: Side) -> int:
    """Return who becomes the source: above 0 `a`, below 0 `b`, 0 nobody; 2 means a full resynchronisation."""
    verdict = by_ancestry(a, b)
    if abs(verdict) == UNRELATED:
        return verdict
    low_a, low_b = a.worth is DiskState.INCONSISTENT, b.worth is DiskState.INCONSISTENT
    if low_a != low_b:
        size = 2 if abs(verdict) == 2 or verdict == -SPLIT else 1
        return -size if low_a else size
    return verdict


def by_ancestry(a: Side, b: Side) -> int:
    """Compare the generation identifiers alone (rules 20 to 100)."""
    if a.current == b.current == 0:
        return 0
    if a.current == 0 or b.current == 0:
        return -2 if a.current == 0 else 2
    if a.current == b.current:
        return _same(a, b)
    if a.current == b.bitmap:  # rule 50
        return -1
    if b.history[:1] == (a.current,) and b.bitmap == mark_of(a.current):  # rule 51: the mark never got through
        b.bitmap, b.history = b.history[0], b.history[1:]
        return -1
    if a.current in b.history:
        return -2
    if b.current == a.bitmap:  # rule 70
        return 1
    if a.history[:1] == (b.current,) and a.bitmap == mark_of(b.current):  # rule 71
        a.bitmap, a.history = a.history[0], a.history[1:]
        return 1
    if b.current in a.history:
        return 2
    if a.bitmap == b.bitmap != 0:  # rule 90
        return SPLIT
    if _slots(a) & _slots(b):  # rule 100; two empty slots are equal, too (seen on the pair)
        return -SPLIT
    return UNRELATED


def _slots(side: Side) -> set[int]:
    return {*side.history, *([0] if len(side.history) < HISTORY else [])}


def _same(a: Side, b: Side) -> int:
    """One generation (rules 34 to 41): who missed the end of a resync, and who was the writer when all went down."""
    if bool(a.bitmap) != bool(b.bitmap):
        return 1 if a.bitmap else -1
    if not (a.crashed_primary or b.crashed_primary):
        return 0
    if a.primary != b.primary:
        return 1 if a.primary else -1
    if a.primary:
        return -SPLIT
    if a.crashed_primary != b.crashed_primary:
        return 1 if a.crashed_primary else -1
    return 1


def mark_of(generation: int) -> int:
    """Return the identifier under which a resynchronisation runs (UUID_NEW_BM_OFFSET)."""
    return generation + 1
