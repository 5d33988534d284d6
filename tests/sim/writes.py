"""The writes of the guests: to which block each one goes, and the ledger of those that were acknowledged.

Writes are numbered in the order in which guests make them; a block keeps the number of its last write. Most writes go
to a few hot blocks, the others are spread, so that a block can stay unwritten for minutes.
"""

from __future__ import annotations

from avance.core.model import NodeId, VmId
from tests.sim.site import NODES

BLOCKS = 64
HOT = 8
EXTENT = 4  # blocks of one extent of DRBD's activity log
BLOCK_KIB = 4
EVERY_BLOCK = frozenset(range(BLOCKS))
Data = dict[int, int]  # block: its last write


def block_of(number: int) -> int:
    """Return the block that a write goes to: one of the hot ones three times out of four."""
    return number * 5 % HOT if number % 4 else HOT + number // 4 * 13 % (BLOCKS - HOT)


def extent_of(block: int) -> int:
    """Return the extent of a block."""
    return block // EXTENT


def blocks_of(extents: list[int]) -> set[int]:
    """Return all blocks of some extents."""
    return {extent * EXTENT + place for extent in extents for place in range(EXTENT)}


class Ledger:
    """What was acknowledged for one VM: by block, and apart from it what each node acknowledged alone in the hole."""

    def __init__(self) -> None:
        self.last: Data = {}
        self.apart: dict[NodeId, Data] = {node: {} for node in NODES}

    def note(self, number: int, node: NodeId, *, in_hole: bool) -> None:
        """Note a write; one of the hole counts for the copy of its own node only."""
        data = self.apart[node] if in_hole else self.last
        data[block_of(number)] = number

    def missing(self, data: Data, node: NodeId | None) -> list[int]:
        """Return the acknowledged writes that the copy of a node lacks; None: whatever one node wrote in the hole."""
        get = data.get
        lost = [number for block, number in self.last.items() if get(block, 0) < number]
        if node is not None and self.apart[node]:
            lost += [number for block, number in self.apart[node].items() if get(block, 0) < number]
        return lost

    def own_missing(self, data: Data, node: NodeId) -> list[int]:
        """Return what a node acknowledged in the hole and no longer has."""
        return [number for block, number in self.apart[node].items() if data.get(block, 0) < number]

    def settle(self, kept: NodeId | None) -> None:
        """End the hole: what the kept node wrote in it counts for everybody, None: what both wrote."""
        for node, data in self.apart.items():
            if kept in (None, node):
                for block, number in data.items():
                    self.last[block] = max(self.last.get(block, 0), number)
            data.clear()


__all__ = ["BLOCKS", "BLOCK_KIB", "EVERY_BLOCK", "Data", "Ledger", "VmId", "block_of", "blocks_of", "extent_of"]
