"""The one hole that the design documents, as the judges know it: when it opens, when it closes, what was written in it.

Policy `availability`, no arbiter, and no path between the nodes or a node that stood still (decision 0015). While it is
open two nodes may run and write; afterwards only what a node acknowledged *alone in it* may be missing on the other
one's copy. Everything else is judged as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core.model import NodeId, Record, VmId
from tests.playbook import A, B
from tests.sim.site import peer_of
from tests.sim.writes import Ledger

if TYPE_CHECKING:
    from tests.sim.world import World

OPENS_S = 2.0
CLOSES_S = 5.0  # in which both nodes have heard each other, and have stopped
CANNOT_STOP_S = 15.0  # ... and so much later where tools hang: such a node is off the wire and resets itself


class Hole:
    """The documented hole of one world, and the ledgers of its writes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledgers: dict[VmId, Ledger] = {vm: Ledger() for vm in world.site.vms}
        self.hole = False  # it was open at some time
        self.hole_open = False
        self.fell_in = False  # two nodes wrote because of it
        self.asked = False  # a person had to choose between two copies, each of which may lack something
        self.claimed: set[NodeId] = set()  # who has held a lone right since it opened first
        self.split_at: float | None = None
        self._met_at: float | None = None

    def look_for_hole(self) -> None:
        """Look whether the hole is open now; called once a second, when a machine stands still, and when
        a node writes alone."""
        world = self.world
        if world.site.witnesses or world.site.policy != "availability":
            return
        a, b = world.machines[A], world.machines[B]
        for node, machine in world.machines.items():
            self.notice_claim(node, machine.store.record)  # also one that was saved as its machine died
        if a.still or b.still:
            self._open()
            return
        met = a.on and b.on and world.network.meets(A, B)
        heard = met and all(one.daemon is not None and not one.daemon.stopped and not one.blocked_s for one in (a, b))
        heard = heard and not (a.store.hanging or b.store.hanging)  # nothing is judged while a record is on its way
        self._met_at = None if not heard else world.now if self._met_at is None else self._met_at
        slow = any((one.cannot_look or one.cannot_stop) and one.domains for one in (a, b))
        limit_s = CLOSES_S + (CANNOT_STOP_S if slow else 0.0)
        if self._met_at is not None and world.now - self._met_at >= limit_s:
            self.hole_open = False
        if met or not (a.on and b.on):
            self.split_at = None
            return
        self.split_at = world.now if self.split_at is None else self.split_at
        reach = not world.site.gateway or (world.network.gateway(A) and world.network.gateway(B))
        if reach and world.now - self.split_at >= OPENS_S:
            self._open()

    def _open(self) -> None:
        self.hole = self.hole_open = True
        self._met_at = None

    def notice_claim(self, node: NodeId, record: Record) -> None:
        """A node holds this record durably; two lone rights, one of them from the hole, are what SPLIT is for."""
        if self.hole and record.solo(node):
            self.claimed.add(node)

    @property
    def divided(self) -> bool:
        """Two nodes wrote, or could have: only then is it right that both wait for a person."""
        return self.fell_in or len(self.claimed) > 1

    def forgiven(self, rule: str) -> bool:
        """Say whether the open hole explains what would be wrong otherwise."""
        if self.hole_open:
            self.world.trace_line("-", f"the documented hole: {rule}")
        return self.hole_open

    def notice_diverged(self, vm: VmId, data: dict[int, int], node: NodeId) -> None:
        """A node writes on, or starts, from a copy without what the other one acknowledged alone in the hole."""
        if not self.fell_in and self.ledgers[vm].own_missing(data, peer_of(node)):
            self.world.trace_line("-", "the documented hole: two nodes wrote")
            self.fell_in = True

    def settled(self, kept: NodeId | None) -> None:
        """The copies are one again: what was written in the hole is as any other write; `kept` after a choice."""
        for ledger in self.ledgers.values():
            ledger.settle(kept)
        self.claimed.clear()

    def chose(self, kept: NodeId) -> None:
        """A person chose whose data are kept after a split."""
        self.settled(kept)
        self.fell_in = self.hole_open = False

    def vouched(self, node: NodeId) -> None:
        """A person takes a node's copy into service as it is, knowingly: what it lacks is as if written in the hole."""
        self.hole = self.hole_open = True
        for vm, ledger in self.ledgers.items():
            data = self.world.resources[vm].sides[node].data
            for block, number in list(ledger.last.items()):
                if data.get(block, 0) < number:
                    ledger.apart[peer_of(node)][block] = number
                    ledger.last[block] = data.get(block, 0)
