"""The networks: one-way ports of each node on each link, losses, delays, and what hangs on the public switch.

Every cut is counted, so two faults on one port do not heal each other. It must never deliver what a cut stops.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from avance.core.model import LinkName, NodeId
from tests.playbook import BIZ, PRIV
from tests.sim.site import NODES

LATENCY_S = 0.002
MOST = 0.5  # of all frames
LINKS = (PRIV, BIZ)


@dataclass(slots=True)
class Port:
    """One node's socket on one link; `cut_in` and `cut_out` count the faults that stop a direction, `no_carrier` those
    that the node's device sees."""

    cut_in: int = 0
    cut_out: int = 0
    no_carrier: int = 0
    loss: float = 0.0
    delay_s: float = 0.0
    double: float = 0.0
    held: int = 0


class Network:
    """All ports, and who reaches whom."""

    def __init__(self) -> None:
        self.ports = {(node, link): Port() for node in NODES for link in LINKS}
        self.apart: dict[tuple[NodeId, LinkName], int] = {(node, link): 0 for node in NODES for link in LINKS}
        self.far_cut: dict[tuple[NodeId, str], int] = {}  # a node's way to one thing on the public switch
        self.gateway_up = True
        self.no_datagrams: dict[LinkName, int] = dict.fromkeys(LINKS, 0)  # heartbeats (UDP) vanish, TCP passes
        self.no_streams: dict[LinkName, int] = dict.fromkeys(LINKS, 0)  # the replication (TCP) stands, UDP passes
        self.no_large: dict[LinkName, int] = dict.fromkeys(LINKS, 0)  # only small frames pass: an MTU black hole
        self.singles: dict[tuple[NodeId, LinkName], int] = {}  # heartbeats of a node that slip through a cut

    def open(self, source: NodeId, target: NodeId, link: LinkName) -> bool:
        """Say whether frames pass from one node to the other on a link."""
        there, here = self.ports[source, link], self.ports[target, link]
        return not (there.cut_out or here.cut_in or self.apart[source, link])

    def both_ways(self, a: NodeId, b: NodeId, link: LinkName) -> bool:
        """Say whether frames pass in both directions, so that TCP can live."""
        return self.open(a, b, link) and self.open(b, a, link)

    def streams(self, source: NodeId, target: NodeId, link: LinkName) -> bool:
        """Say whether what TCP sends gets from one node to the other."""
        there, here = self.ports[source, link], self.ports[target, link]
        return not (there.cut_out or here.cut_in or self.apart[source, link] or self.no_streams[link])

    def connected(self, a: NodeId, b: NodeId) -> bool:
        """Say whether any one link carries frames in both directions."""
        return any(self.both_ways(a, b, link) for link in LINKS)

    def meets(self, a: NodeId, b: NodeId) -> bool:
        """Say whether heartbeats pass in both directions on any one link."""
        return any(self.both_ways(a, b, link) and not self._is_dumb(a, b, link) for link in LINKS)

    def _is_dumb(self, a: NodeId, b: NodeId, link: LinkName) -> bool:
        """Say whether heartbeats vanish or are held back on a link that is open, all or most of them."""
        ports = self.ports[a, link], self.ports[b, link]
        lossy = sum(port.loss for port in ports) > MOST
        return bool(self.no_datagrams[link]) or lossy or any(port.held for port in ports)

    def carries(self, source: NodeId, target: NodeId, link: LinkName, dice: random.Random) -> list[float]:
        """Return after which delays a datagram sent now arrives: none when lost, two when doubled."""
        there, here = self.ports[source, link], self.ports[target, link]
        if there.cut_out or here.cut_in or self.apart[source, link] or self.no_datagrams[link]:
            return self._slips(source, link)
        loss = there.loss + here.loss
        if loss and dice.random() < loss:
            return []
        delay_s = LATENCY_S
        if there.delay_s or here.delay_s:
            delay_s += dice.uniform(0.0, there.delay_s + here.delay_s)
        if (there.double or here.double) and dice.random() < there.double + here.double:
            return [delay_s, delay_s + dice.uniform(0.0, 0.5)]
        return [delay_s]

    def _slips(self, source: NodeId, link: LinkName) -> list[float]:
        """Return the delay of a single frame that passes although the link is cut."""
        if not self.singles or not self.singles.get((source, link)):
            return []
        self.singles[source, link] -= 1
        return [LATENCY_S]

    def reaches(self, node: NodeId, far: str) -> bool:
        """Say whether a node's datagram gets to a host on the public switch."""
        return not self.ports[node, BIZ].cut_out and not self.far_cut.get((node, far), 0)

    def reached_by(self, node: NodeId, far: str) -> bool:
        """Say whether the answer of a host on the public switch gets back to the node."""
        return not self.ports[node, BIZ].cut_in and not self.far_cut.get((node, far), 0)

    def talks(self, node: NodeId, far: str) -> bool:
        """Say whether question and answer pass."""
        return self.reaches(node, far) and self.reached_by(node, far)

    def gateway(self, node: NodeId) -> bool:
        """Say whether the gateway answers this node."""
        return self.gateway_up and self.talks(node, "gateway")

    def heal(self) -> None:
        """Take every fault back."""
        self.__init__()  # type: ignore[misc]  # as it was at the beginning
