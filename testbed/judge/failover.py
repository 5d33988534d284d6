"""At most one failover per fault: a pure judge over where the service's addresses were used, and the boots of its VM.

A move is a change of the node whose switch port sends with an address; a start is a boot id that answered for the first
time. Each move and each start needs a fault of its own that came before it. A short use of an address by one node while
the other uses it is no move: that is for the oracle of two active nodes. It must never look at the product's own word.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from testbed.judge.dual_active import MERGE_GAP_S, Entry, Sighting
from testbed.judge.finding import Finding, blind, holds, violated
from testbed.judge.twice import BOOTS_SOURCE

FAILOVERS = "failovers"


@dataclass(frozen=True)
class FaultSpan:
    """A fault and the time in which a failover may be its consequence; without an end it may be at any time after."""

    name: str
    target: str
    began_s: float
    settled_s: float | None = None


@dataclass(frozen=True)
class Move:
    """An address went from one node to another, or the VM started anew."""

    what: str
    t_s: float
    text: str


def faults_of(records: Iterable[Entry]) -> list[FaultSpan]:
    """The faults of a history; one that was healed before the next one began pays for nothing after that."""
    began: list[tuple[tuple[str, ...], float]] = []
    healed: dict[int, float] = {}
    for record in records:
        if record.source != "fault":
            continue
        key = tuple(str(record.fields.get(field, "")) for field in ("name", "target", "step"))
        live = [number for number, (known, _) in enumerate(began) if known == key and number not in healed]
        if record.kind in {"injecting", "injected"} and not live:
            began.append((key, record.t_s))
        elif record.kind == "healed" and live:
            healed[live[-1]] = record.t_s
    spans = []
    for number, (key, began_s) in enumerate(began):
        later = [at_s for _, at_s in began[number + 1 :] if number in healed and at_s >= healed[number]]
        spans.append(FaultSpan(key[0], key[1], began_s, min(later, default=None)))
    return spans


def moves(
    sightings: Iterable[Sighting], node_ports: Mapping[str, Sequence[str]], *, gap_s: float = MERGE_GAP_S
) -> list[Move]:
    """The changes of the node that uses each address, in the order of time; pauses below the gap are none."""
    node_of = {port: node for node, ports in node_ports.items() for port in ports}
    uses: dict[str, dict[str, list[Sighting]]] = {}
    for one in sightings:
        if one.port in node_of and not one.is_cut:
            uses.setdefault(one.address, {}).setdefault(node_of[one.port], []).append(one)
    found = []
    for address, by_node in uses.items():
        stays = sorted((start, end, node) for node, seen in by_node.items() for start, end in _stays(seen, gap_s))
        kept = [stay for stay in stays if not any(_hides(other, stay) for other in stays)]
        for (_, _, before), (start, _, after) in itertools.pairwise(kept):
            if before != after:
                found.append(Move(address, start, f"{address} from node {before} to node {after}"))
    return sorted(found, key=lambda move: move.t_s)


def _stays(seen: Sequence[Sighting], gap_s: float) -> list[tuple[float, float]]:
    """Uses of an address by one node; pauses below the gap do not part them."""
    stays: list[tuple[float, float]] = []
    for one in sorted(seen, key=lambda item: item.first_s):
        if stays and one.first_s - stays[-1][1] <= gap_s:
            stays[-1] = (stays[-1][0], max(stays[-1][1], one.last_s))
        else:
            stays.append((one.first_s, one.last_s))
    return stays


def _hides(outer: tuple[float, float, str], inner: tuple[float, float, str]) -> bool:
    """Whether one stay lies within the longer one of another node."""
    longer = outer[1] - outer[0] > inner[1] - inner[0]
    return outer[2] != inner[2] and longer and outer[0] <= inner[0] and inner[1] <= outer[1]


def starts(records: Iterable[Entry], since_s: float) -> list[Move]:
    """The boots of the VM that answered for the first time after this, except the one that answered before it."""
    first_seen: dict[str, float] = {}
    for record in records:
        boot = record.fields.get("boot")
        if record.source == BOOTS_SOURCE and isinstance(boot, str):
            first_seen.setdefault(boot, record.t_s)
    order = sorted(first_seen.items(), key=lambda item: item[1])
    return [Move("VM", t_s, f"boot {boot} of the VM answered") for boot, t_s in order[1:] if t_s >= since_s]


def unpaid(happened: Iterable[Move], faults: Iterable[FaultSpan]) -> list[Move]:
    """The moves for which there is no fault of their own; each fault pays for one move of each address."""
    left: list[Move] = []
    for _, group in itertools.groupby(sorted(happened, key=lambda move: (move.what, move.t_s)), key=lambda m: m.what):
        waiting = sorted(faults, key=lambda fault: fault.began_s)
        ready: list[tuple[float, float]] = []  # the fault whose time ends first pays first, so that most are paid
        for move in group:
            while waiting and waiting[0].began_s <= move.t_s:
                fault = waiting.pop(0)
                heapq.heappush(ready, (float("inf") if fault.settled_s is None else fault.settled_s, fault.began_s))
            while ready and ready[0][0] < move.t_s:
                heapq.heappop(ready)
            if ready:
                heapq.heappop(ready)
            else:
                left.append(move)
    return sorted(left, key=lambda move: move.t_s)


def judge(happened: Sequence[Move], faults: Sequence[FaultSpan], *, unseen: str) -> Finding:
    """Judge all moves and starts; `unseen` says why some may be missing, if so."""
    told = [f"{move.text} at {move.t_s:.3f} s" for move in happened]
    names = [f"{fault.name} on {fault.target} at {fault.began_s:.3f} s" for fault in faults]
    excess = unpaid(happened, faults)
    if excess:
        text = f"no fault accounts for {'; '.join(f'{m.text} at {m.t_s:.3f} s' for m in excess)}"
        return violated(FAILOVERS, text, moves=told, faults=names)
    if unseen:
        return blind(FAILOVERS, unseen, moves=told, faults=names)
    return holds(FAILOVERS, f"{len(told)} moves and starts, {len(names)} faults", moves=told, faults=names)
