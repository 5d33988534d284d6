"""The datagrams that the product's daemon of one node sends to its peer, counted where they enter the switch.

A view of a process in a node that needs no help from the node: a daemon that is stopped, dead or starved is silent or
late here. Nothing is known of what is in the datagrams: they are UDP from one node's address to the other's. It must
never call silence a proof when there was no heartbeat before.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from testbed import pace
from testbed.bed import Bed
from testbed.switch.client import Direction
from testbed.topology import NODES

UDP = 17
WINDOW_S = 3.0  # two heartbeats a second on each link


@dataclass(frozen=True)
class Beats:
    """What came in one window, by port: when the frames entered, on the host's monotonic clock."""

    began_s: float
    ended_s: float
    at_s: Mapping[str, tuple[float, ...]]

    @property
    def counts(self) -> dict[str, int]:
        """How many on each link."""
        return {port: len(times) for port, times in self.at_s.items()}

    @property
    def longest_gap_s(self) -> float:
        """The longest time without a heartbeat on any link, the edges of the window included."""
        return max((gap for times in self.at_s.values() for gap in self._gaps(times)), default=0.0)

    @property
    def on_all_links(self) -> bool:
        """Every link carried some."""
        return bool(self.at_s) and all(self.at_s.values())

    @property
    def silent(self) -> bool:
        """No link carried any."""
        return not any(self.at_s.values())

    def _gaps(self, times: Sequence[float]) -> list[float]:
        edges = [self.began_s, *times, self.ended_s]
        return [later - earlier for earlier, later in itertools.pairwise(edges)]

    def shown(self) -> dict[str, object]:
        """Return it as evidence."""
        return {
            "window_s": round(self.ended_s - self.began_s, 3),
            "heartbeats": self.counts,
            "longest_gap_s": round(self.longest_gap_s, 3),
        }


class HeartbeatWatch:
    """Taps on all links of one node, from `start` to `stop`."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._taps: dict[str, int] = {}
        self._began_s = 0.0

    async def start(self, bed: Bed) -> None:
        """Place the taps."""
        peer = next(name for name in NODES if name != self.node)
        addresses = bed.topology.node_addresses
        for link in bed.topology.links:
            own, other = (ipaddress.ip_interface(addresses[name][link]).ip.packed.hex() for name in (self.node, peer))
            match = {"protocol": UDP, "payload": own + other}
            port = f"{self.node}.{link}"
            self._taps[port], self._began_s = await bed.switch.rule_add(port, Direction.IN, "tap", match=match)

    async def reset(self, bed: Bed) -> None:
        """Begin a window."""
        self._began_s = float((await bed.switch.observe(list(self._taps.values()), reset=True))["t_s"])

    async def so_far(self, bed: Bed) -> Beats:
        """Return what came since the last reset."""
        state = await bed.switch.observe(list(self._taps.values()))
        times = {
            port: tuple(record[0] for record in state["taps"][str(tap)]["records"]) for port, tap in self._taps.items()
        }
        return Beats(self._began_s, float(state["t_s"]), times)

    async def window(self, bed: Bed, window_s: float = WINDOW_S) -> Beats:
        """Count in one window from now on."""
        await self.reset(bed)
        await pace.sleep(window_s)
        return await self.so_far(bed)

    async def stop(self, bed: Bed) -> None:
        """Take the taps away; harmless when there are none."""
        taps, self._taps = self._taps, {}
        for tap in taps.values():
            await bed.switch.rule_remove(tap)
