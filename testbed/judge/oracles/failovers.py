"""At most one failover per fault, by where the service's addresses were used, and by the boots of its VM. Pure.

A move is a change of the node whose switch port sends with an address; a start is a boot id that answered for the first
time. Each move and each start needs a fault of its own that came before it. A short use of an address by one node while
the other uses it is no move: that is for the oracle of two active nodes. It must never look at the product's own word.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from testbed.history import HistoryRecord
from testbed.judge.finding import Finding, blind, failed, passed
from testbed.judge.oracle import Oracle
from testbed.judge.oracles.twice import BOOTS
from testbed.judge.recorded import Recorded
from testbed.judge.sightings import MERGE_GAP_S, Sighting, joined, sightings, sightings_of, why_unwatched


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


class Failovers:
    """Each move of an address and each start of the VM has a fault of its own."""

    name = "failovers"
    is_needed = True

    def judge(self, recorded: Recorded) -> Finding:
        """Find all moves and starts; the evidence counts those of the VM."""
        since_s, until_s = recorded.since_s, recorded.until_s
        ports, gap_s = recorded.scene.client_ports, MERGE_GAP_S * recorded.scene.dilation
        # Who had an address before is known from before the time that is judged.
        ever = [one for one in sightings(recorded.records) if one.first_s <= until_s]
        moved = [move for move in moves(ever, ports, gap_s=gap_s) if move.t_s >= since_s]
        boots = {vm.of(BOOTS): vm.name for vm in recorded.scene.topology.guests}
        started = [start for start in starts(recorded.records, since_s, boots) if start.t_s <= until_s]
        happened = sorted([*moved, *started], key=lambda move: move.t_s)
        own = moves(sightings_of(recorded), ports, gap_s=gap_s)
        found = judge_moves(happened, faults_of(recorded.seen), unseen=why_unwatched(recorded))
        counted = {
            "vm_moves": sum(move.what in recorded.scene.vm_macs for move in own),
            "vm_starts": len(started),
        }
        return replace(found, evidence={**counted, **found.evidence})


ORACLES: tuple[Oracle, ...] = (Failovers(),)


def judge_moves(happened: Sequence[Move], faults: Sequence[FaultSpan], *, unseen: str) -> Finding:
    """Judge all moves and starts; `unseen` says why some may be missing, if so."""
    told = [f"{move.text} at {move.t_s:.3f} s" for move in happened]
    names = [f"{fault.name} on {fault.target} at {fault.began_s:.3f} s" for fault in faults]
    excess = unpaid(happened, faults)
    if excess:
        text = f"no fault accounts for {'; '.join(f'{m.text} at {m.t_s:.3f} s' for m in excess)}"
        return failed(Failovers.name, text, moves=told, faults=names)
    if unseen:
        return blind(Failovers.name, unseen, moves=told, faults=names)
    return passed(Failovers.name, f"{len(told)} moves and starts, {len(names)} faults", moves=told, faults=names)


def faults_of(records: Iterable[HistoryRecord]) -> list[FaultSpan]:
    """The faults of a history; one that was healed before the next one began pays for nothing after that.

    A fault that strikes again by itself (`again`) is one more fault each time.
    """
    began: list[tuple[tuple[str, ...], float]] = []
    healed: dict[int, float] = {}
    for record in records:
        if record.source != "fault":
            continue
        key = tuple(str(record.fields.get(field, "")) for field in ("name", "target", "step"))
        live = [number for number, (known, _) in enumerate(began) if known == key and number not in healed]
        if record.kind == "again" or (record.kind in {"injecting", "injected"} and not live):
            began.append((key, record.t_s))
        elif record.kind == "healed" and live:
            healed.update(dict.fromkeys(live, record.t_s))  # with it every strike is over
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
        stays = sorted((one.first_s, one.last_s, node) for node, seen in by_node.items() for one in joined(seen, gap_s))
        kept = [stay for stay in stays if not any(_hides(other, stay) for other in stays)]
        for (_, _, before), (start, _, after) in itertools.pairwise(kept):
            if before != after:
                found.append(Move(address, start, f"{address} from node {before} to node {after}"))
    return sorted(found, key=lambda move: move.t_s)


def _hides(outer: tuple[float, float, str], inner: tuple[float, float, str]) -> bool:
    """Whether one stay lies within the longer one of another node."""
    longer = outer[1] - outer[0] > inner[1] - inner[0]
    return outer[2] != inner[2] and longer and outer[0] <= inner[0] and inner[1] <= outer[1]


def starts(records: Iterable[HistoryRecord], since_s: float, boots: Mapping[str, str]) -> list[Move]:
    """The boots of each VM that answered for the first time after this, except the one that answered before it.

    `boots` are the VMs by the source of the records that name their boots.
    """
    first_seen: dict[str, dict[str, float]] = {vm: {} for vm in boots.values()}
    for record in records:
        boot = record.fields.get("boot")
        if record.source in boots and isinstance(boot, str):
            first_seen[boots[record.source]].setdefault(boot, record.t_s)
    found = []
    for vm, seen in first_seen.items():
        order = sorted(seen.items(), key=lambda item: item[1])
        found += [
            Move(f"VM {vm}", t_s, f"boot {boot} of VM {vm} answered") for boot, t_s in order[1:] if t_s >= since_s
        ]
    return sorted(found, key=lambda start: start.t_s)


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
