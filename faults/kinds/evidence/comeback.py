"""A node that came back by itself: reset by its own watchdog or its own product, or switched on by its peer.

A heal that finds such a node has nothing to take back there. It must never ask the node: the record of its machine
tells.
"""

from __future__ import annotations

from testbed.bed import Bed
from testbed.judge.oracles.twice import boots_anew


def boots_since(bed: Bed, node: str, mark: int) -> bool:
    """Say whether the node's machine began to boot after this mark of the history."""
    return any(boots_anew(record) == node for record in bed.history.since(mark))
