"""What became of the frames of a directed port, from two taps of the switch: one before its rules, one behind them.

Pure. The taps know nothing of the rules between them, so a rule that is there but does nothing is found out. It must
never call silence a proof: without frames there is no verdict.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faults.fault import FaultVerdict, Proof

ENOUGH = 5.0  # so many hits must be expected before their absence says anything
_SIGMAS = 5.0
RECORDS_FULL = 4_000  # a tap notes no more; then both are compared up to the same time

Record = Sequence[Any]  # [monotonic seconds, length in bytes, check code]


@dataclass(frozen=True)
class FrameBalance:
    """Frames that entered against frames that came out, over one window."""

    sent: int
    arrived: int
    lost: int
    extra: int
    strange: int
    overtaken: int
    longest_loss: int
    delay_median_s: float | None
    sent_bits_per_s: float
    arrived_bits_per_s: float
    longest_arrived_bytes: int
    longest_sent_bytes: int
    shortest_lost_bytes: int | None


def compare(sent: Sequence[Record], arrived: Sequence[Record], window_s: float) -> FrameBalance:
    """Pair the frames by their check codes, equal ones in their order."""
    window_s = max(window_s, 1e-9)
    limit_s = min([records[-1][0] for records in (sent, arrived) if len(records) >= RECORDS_FULL], default=math.inf)
    sent = [record for record in sent if record[0] <= limit_s]
    arrived = [record for record in arrived if record[0] <= limit_s]
    open_places: dict[int, deque[int]] = defaultdict(deque)
    for place, record in enumerate(sent):
        open_places[record[2]].append(place)
    paired: set[int] = set()
    delays_s: list[float] = []
    extra = strange = overtaken = 0
    last = -1
    for t_s, _, code in arrived:
        if code not in open_places:
            strange += 1
        elif not open_places[code]:
            extra += 1
        else:
            place = open_places[code].popleft()
            paired.add(place)
            delays_s.append(t_s - sent[place][0])
            overtaken += place < last
            last = max(last, place)
    lost_bytes = [record[1] for place, record in enumerate(sent) if place not in paired]
    return FrameBalance(
        len(sent), len(arrived), len(lost_bytes), extra, strange, overtaken,
        _longest_run([place in paired for place in range(len(sent))]),
        statistics.median(delays_s) if delays_s else None,
        sum(record[1] for record in sent) * 8 / window_s,
        sum(record[1] for record in arrived) * 8 / window_s,
        max((record[1] for record in arrived), default=0),
        max((record[1] for record in sent), default=0),
        min(lost_bytes, default=None),
    )  # fmt: skip


def _longest_run(paired: Sequence[bool]) -> int:
    longest = run = 0
    for found in paired:
        run = 0 if found else run + 1
        longest = max(longest, run)
    return longest


def of_chance(hits: int, trials: int, probability: float) -> FaultVerdict:
    """Whether this many hits fit the probability; too few trials say nothing."""
    expected = trials * probability
    if expected < ENOUGH:
        return FaultVerdict.INCONCLUSIVE
    spread = _SIGMAS * math.sqrt(expected * (1 - probability)) + 1
    return FaultVerdict.CONFIRMED if abs(hits - expected) <= spread else FaultVerdict.MISMATCH


def together(verdicts: Sequence[FaultVerdict]) -> FaultVerdict:
    """One verdict of all directions: a mismatch anywhere is one, and only all together confirm."""
    if FaultVerdict.MISMATCH in verdicts:
        return FaultVerdict.MISMATCH
    if not verdicts or FaultVerdict.INCONCLUSIVE in verdicts:
        return FaultVerdict.INCONCLUSIVE
    return FaultVerdict.CONFIRMED


def proof_of(verdicts: Sequence[FaultVerdict], at_s: float | None, evidence: Mapping[str, object]) -> Proof:
    """One proof of all directions, of a fault that is there from `at_s` on if all of them confirm it."""
    verdict = together(verdicts)
    return Proof(verdict, at_s if verdict is FaultVerdict.CONFIRMED else None, evidence)


Ports = Mapping[str, Mapping[str, Any]]


def left(port: Mapping[str, Any]) -> int:
    """Frames that came to the exit of a port, whether the device took them or not."""
    out = port["out"]
    return int(out["frames"] + out["dropped_queue"] + out["dropped_absent"] + out["queued"])


def far_ports(ports: Ports, target: str) -> list[str]:
    """The other ports of the segment."""
    segment = ports[target]["segment"]
    return [name for name, port in ports.items() if port["segment"] == segment and name != target]


def counted(before: Ports, after: Ports, target: str, direction: str) -> dict[str, int]:
    """How many frames the counters of the port let through, and how many left at the far end when there is one only."""
    if direction == "out":
        return {"near": left(after[target]) - left(before[target])}
    found = {"near": int(after[target]["in"]["frames"] - before[target]["in"]["frames"])}
    others = far_ports(after, target)
    if len(others) == 1:
        far = others[0]
        lost = after[far]["out"]["dropped_rule"] - before[far]["out"]["dropped_rule"]
        found["far"] = left(after[far]) - left(before[far]) + int(lost)
    return found


def counters_agree(counters: Mapping[str, int], arrived: int) -> bool:
    """Whether the counters tell the same as the tap; a few frames may have been addressed to the port itself."""
    return all(abs(value - arrived) <= 2 + arrived // 20 for value in counters.values())
