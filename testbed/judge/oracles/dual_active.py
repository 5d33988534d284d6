"""Were two nodes using one address at the same time, seen from the wire? Pure.

It must never look at the product's own word, and never forgive an overlap that is longer than allowed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from testbed.judge.finding import Finding, blind, failed, passed
from testbed.judge.oracle import Oracle
from testbed.judge.recorded import Recorded
from testbed.judge.sightings import MERGE_GAP_S, Sighting, joined, sightings_of, why_unwatched


@dataclass(frozen=True)
class Overlap:
    """Two nodes used one address at once; `reached_network` is False when a cut hid one of them from clients."""

    address: str
    nodes: tuple[str, str]
    from_s: float
    to_s: float
    reached_network: bool

    @property
    def duration_s(self) -> float:
        """How long both were active."""
        return self.to_s - self.from_s


class DualActive:
    """One address is used by one node at a time, but for as long as the schedule allows."""

    name = "dual_active"
    is_needed = True

    def judge(self, recorded: Recorded) -> Finding:
        """Compare the times in which each node's client port sent with each address."""
        claims, scene, allowed_s = sightings_of(recorded), recorded.scene, recorded.overlap_allowed_s
        gap_s = MERGE_GAP_S * scene.dilation
        overlaps = dual_active(claims, scene.client_ports, allowed_s, merge_gap_s=gap_s)
        if overlaps:
            first = overlaps[0]
            text = f"nodes {' and '.join(first.nodes)} both used {first.address} for {first.duration_s:.3f} s"
            return failed(self.name, text, overlaps=[_told(one) for one in overlaps])
        unseen = why_unwatched(recorded)
        if unseen:
            return blind(self.name, unseen)
        shared = dual_active(claims, scene.client_ports, 0.0, merge_gap_s=gap_s)
        if not shared:
            return passed(self.name, "no address was used by two nodes at once", overlaps=[])
        longest_s = max(overlap.duration_s for overlap in shared)
        text = f"no address was used by two nodes at once for longer than {allowed_s:g} s"
        text = f"{text}; the longest time was {longest_s:.3f} s"
        return passed(self.name, text, overlaps=[], allowed=[_told(one) for one in shared])


ORACLES: tuple[Oracle, ...] = (DualActive(),)


def _told(one: Overlap) -> list[object]:
    return [one.address, *one.nodes, one.from_s, one.to_s, one.reached_network]


def dual_active(
    claims: Iterable[Sighting],
    node_ports: Mapping[str, Sequence[str]],
    tolerance_s: float,
    *,
    merge_gap_s: float = MERGE_GAP_S,
) -> list[Overlap]:
    """The times at which two nodes used one address for at least `tolerance_s` (0: any overlap), one item for each."""
    node_of = {port: node for node, ports in node_ports.items() for port in ports}
    by_use: dict[tuple[str, str], list[Sighting]] = {}
    for claim in claims:
        node = node_of.get(claim.port)
        if node is not None:
            by_use.setdefault((claim.address, node), []).append(claim)
    active: dict[tuple[str, str], list[Sighting]] = {use: joined(found, merge_gap_s) for use, found in by_use.items()}
    addresses = sorted({address for address, _ in active})
    pairs = list(itertools.combinations(sorted(node_ports), 2))
    overlaps = [
        overlap
        for address in addresses
        for pair in pairs
        for overlap in _overlaps(address, pair, *(active.get((address, node), []) for node in pair))
        if overlap.duration_s >= tolerance_s
    ]
    return sorted(overlaps, key=lambda overlap: overlap.from_s)


def _overlaps(address: str, nodes: tuple[str, str], left: list[Sighting], right: list[Sighting]) -> Iterable[Overlap]:
    for one, other in itertools.product(left, right):
        from_s, to_s = max(one.first_s, other.first_s), min(one.last_s, other.last_s)
        if from_s <= to_s:  # equal: a single frame in the middle of the other's activity counts too
            yield Overlap(address, nodes, from_s, to_s, not (one.is_cut or other.is_cut))
