"""The layer-2 dual-active judge: were two nodes using one address at the same time, seen from the wire; pure.

It judges what the switch recorded of frames that *entered* at a port, so it needs no co-operation of any node, and a
frame that the switch flooded is no claim. It must never look at the product's own word, and never forgive an overlap
that is longer than allowed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

MERGE_GAP_S = 1.0  # a port that was silent for less than this was active all the time


class Entry(Protocol):
    """What the oracle needs of a record of the history."""

    @property
    def t_s(self) -> float:
        """When it was seen."""

    @property
    def source(self) -> str:
        """Who saw it."""

    @property
    def kind(self) -> str:
        """What it says."""

    @property
    def fields(self) -> Mapping[str, object]:
        """The details."""


@dataclass(frozen=True)
class Sighting:
    """An address was in use at a port from the first to the last time; `is_cut` says that a rule stopped all of it."""

    address: str
    port: str
    first_s: float
    last_s: float
    is_cut: bool = False


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


def sightings(records: Iterable[Entry]) -> list[Sighting]:
    """The claims and keep-alives of the switch in a history."""
    found = []
    for record in records:
        if record.source != "switch" or record.kind not in {"claim", "seen"}:
            continue
        fields = record.fields
        address, port = fields.get("mac") or fields.get("ip"), fields["port"]
        first_s, last_s = fields.get("first_s", record.t_s), fields.get("last_s", record.t_s)
        assert isinstance(address, str)
        assert isinstance(port, str)
        assert isinstance(first_s, float)
        assert isinstance(last_s, float)
        found.append(Sighting(address, port, first_s, last_s, fields.get("cut") is True))
    return found


def is_complete(records: Iterable[Entry]) -> bool:
    """False when the switch had to drop events, so that the absence of an overlap proves nothing."""
    return not any(record.source == "switch" and record.kind == "lost" for record in records)


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
    active: dict[tuple[str, str], list[Sighting]] = {use: _merge(found, merge_gap_s) for use, found in by_use.items()}
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


def _merge(claims: list[Sighting], gap_s: float) -> list[Sighting]:
    """Intervals of activity: sightings with at most this gap between them are one."""
    merged: list[Sighting] = []
    for claim in sorted(claims, key=lambda item: item.first_s):
        before = merged[-1] if merged else None
        if before is None or claim.first_s - before.last_s > gap_s:
            merged.append(claim)
            continue
        last_s = max(before.last_s, claim.last_s)
        merged[-1] = Sighting(claim.address, before.port, before.first_s, last_s, before.is_cut and claim.is_cut)
    return merged


def _overlaps(
    address: str, nodes: tuple[str, str], left: list[Sighting], right: list[Sighting]
) -> Iterable[Overlap]:
    for one, other in itertools.product(left, right):
        from_s, to_s = max(one.first_s, other.first_s), min(one.last_s, other.last_s)
        if from_s <= to_s:  # equal: a single frame in the middle of the other's activity counts too
            yield Overlap(address, nodes, from_s, to_s, not (one.is_cut or other.is_cut))
