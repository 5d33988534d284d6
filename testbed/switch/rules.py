"""The rule engine of the switch: what happens to frames on a directed port that has rules.

Pure: time comes in as an argument, chance from a seeded generator of each rule, frames leave through the callbacks of a
lane. The switch calls it for ports that have rules and asks `next_due_ns` how long it may sleep. It must never lose a
frame without counting it, keep more frames than its bound, or let one rule's frames overtake each other by accident.
"""

from __future__ import annotations

import heapq
import itertools
import statistics
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

WAITING_FRAMES_MAX = 20_000  # per rule; as many as a held switch keeps
NEVER_NS = 1 << 62
_LATENESS_SAMPLES = 2_000
_DUE_FRAMES_MAX = 64  # fairness: then the sockets are looked at
_TIMERS_MAX = 16
_RELEASE_BURST_FRAMES = 32  # what waited when its rule ended leaves in bursts that a queue of 256 survives
_RELEASE_PERIOD_NS = 1_000_000

Timer = Callable[[int], None]


@dataclass(frozen=True)
class Match:
    """Which frames a rule means; a field that is None fits every frame, IP fields fit unfragmented IPv4 only."""

    ethertype: int | None = None
    protocol: int | None = None
    port: int | None = None
    payload: bytes | None = None

    @property
    def everything(self) -> bool:
        """True when no field is given."""
        return self.ethertype is None and self.protocol is None and self.port is None and self.payload is None

    def fits(self, frame: bytes) -> bool:
        """Whether the rule means this frame; `payload` may stand anywhere in the frame, also in its header."""
        if self.ethertype is not None and frame[12:14] != self.ethertype.to_bytes(2):
            return False
        if self.payload is not None and self.payload not in frame:
            return False
        if self.protocol is None and self.port is None:
            return True
        if frame[12:14] != b"\x08\x00" or len(frame) < 34:
            return False
        if self.protocol is not None and frame[23] != self.protocol:
            return False
        if self.port is None:
            return True
        start = 14 + (frame[14] & 15) * 4
        wanted = self.port.to_bytes(2)
        first = not (frame[20] & 0x1F or frame[21])  # later fragments have no ports
        return first and frame[23] in {6, 17} and wanted in {frame[start : start + 2], frame[start + 2 : start + 4]}


class Lateness:
    """How much later than due frames left; the newest samples and the maximum of all."""

    def __init__(self) -> None:
        """Start without samples."""
        self.samples_ns: deque[int] = deque(maxlen=_LATENESS_SAMPLES)
        self.count = self.max_ns = 0

    def add(self, late_ns: int) -> None:
        """Note one frame."""
        self.samples_ns.append(late_ns)
        self.count += 1
        self.max_ns = max(self.max_ns, late_ns)

    def as_json(self) -> dict[str, object]:
        """Return count, median and maximum in seconds; None without a sample."""
        median = statistics.median(self.samples_ns) / 1e9 if self.samples_ns else None
        return {"count": self.count, "median_s": median, "max_s": self.max_ns / 1e9 if self.count else None}


class Rule:
    """One rule; a kind says in `act` what becomes of a frame that it means."""

    kind = "pass"
    stage = 1  # taps stand before (0) and behind (2) the rules that do something

    def __init__(self, match: Match, seed: int) -> None:
        self.match = match
        self.seed = seed
        self.random = Random(seed)
        self.number = 0
        self.matched = self.dropped = self.passed = self.changed = 0
        self.waiting: deque[tuple[int, bytes]] = deque()  # (due, frame), in the order in which they will leave
        self.armed_ns = NEVER_NS
        self.closing = False
        self.frames_max = WAITING_FRAMES_MAX
        self.lateness = Lateness()
        self.on_drop: Callable[[bytes, str], None] = _ignore

    def act(self, frame: bytes, now_ns: int) -> Sequence[bytes]:  # noqa: ARG002 - kinds need the time
        """Return the frames that leave now; `drop` and `keep` take care of the others."""
        return (frame,)

    def apply(self, frame: bytes, now_ns: int) -> Sequence[bytes]:
        """Return what leaves at once; a frame that the rule does not mean passes untouched."""
        if not self.match.everything and not self.match.fits(frame):
            return (frame,)
        if self.closing:  # behind those that still leave, so that the order is kept
            self.keep(frame, self.waiting[-1][0])
            return ()
        self.matched += 1
        leaving = self.act(frame, now_ns)
        self.passed += len(leaving)
        return leaving

    def drop(self, frame: bytes, why: str = "") -> tuple[()]:
        """Count a loss."""
        self.dropped += 1
        self.on_drop(frame, f"dropped: rule {self.number} {self.kind}{why}")
        return ()

    def keep(self, frame: bytes, due_ns: int) -> tuple[()]:
        """Let the frame leave later, never before one that was kept earlier; a full rule drops it."""
        if len(self.waiting) >= self.frames_max:
            return self.drop(frame, " queue full")
        last_ns = self.waiting[-1][0] if self.waiting else 0
        self.waiting.append((max(due_ns, last_ns), frame))
        return ()

    def take_due(self, now_ns: int, all_lateness: Lateness) -> list[bytes]:
        """Return what is due, in its order, a bounded number at a time."""
        frames: list[bytes] = []
        while self.waiting and self.waiting[0][0] <= now_ns and len(frames) < _DUE_FRAMES_MAX:
            due_ns, frame = self.waiting.popleft()
            self.lateness.add(now_ns - due_ns)
            all_lateness.add(now_ns - due_ns)
            frames.append(frame)
        self.passed += len(frames)
        return frames

    def as_json(self) -> dict[str, object]:
        """Return counters and lateness."""
        return {
            "rule": self.number, "kind": self.kind, "seed": self.seed, "matched": self.matched, "dropped": self.dropped,
            "passed": self.passed, "changed": self.changed, "waiting": len(self.waiting), "closing": self.closing,
            "lateness": self.lateness.as_json(),
        }  # fmt: skip


def _ignore(_frame: bytes, _comment: str) -> None:
    """Take a frame that nobody asks for."""


@dataclass
class Lane:
    """The rules of one directed port, and where frames go that come through or do not."""

    port: str
    direction: str
    emit: Callable[[bytes], None]
    drop: Callable[[bytes, str], None]
    rules: list[Rule] = field(default_factory=list)


class RuleEngine:
    """All lanes that have rules, and the heap of what is due later."""

    def __init__(self) -> None:
        """Start without rules."""
        self.rules: dict[int, tuple[Lane, Rule]] = {}
        self.lateness = Lateness()
        self._timers: list[tuple[int, int, Timer]] = []
        self._numbers = itertools.count(1)
        self._order = itertools.count()

    @property
    def next_due_ns(self) -> int | None:
        """When `fire` must be called next, or None."""
        return self._timers[0][0] if self._timers else None

    def add(self, lane: Lane, rule: Rule) -> int:
        """Put the rule into the lane, behind the others of its stage, and return its number."""
        rule.number = next(self._numbers)
        rule.on_drop = lane.drop
        lane.rules = sorted([*lane.rules, rule], key=lambda member: member.stage)
        self.rules[rule.number] = (lane, rule)
        return rule.number

    def remove(self, number: int, now_ns: int) -> int:
        """End a rule; what it kept leaves now, in order and in bursts; returns how many frames that are."""
        lane, rule = self.rules[number]
        count = len(rule.waiting)
        if not count:
            self._forget(lane, rule)
            return 0
        if not rule.closing:
            rule.closing = True
            frames = [frame for _, frame in rule.waiting]
            rule.waiting.clear()
            for place, frame in enumerate(frames):
                rule.waiting.append((now_ns + place // _RELEASE_BURST_FRAMES * _RELEASE_PERIOD_NS, frame))
            self._arm(lane, rule)
        return count

    def run(self, lane: Lane, frame: bytes, now_ns: int) -> None:
        """Send a frame through all rules of the lane."""
        self._run(lane, [frame], lane.rules, now_ns)

    def at(self, due_ns: int, timer: Timer) -> None:
        """Call the timer when it is due."""
        heapq.heappush(self._timers, (due_ns, next(self._order), timer))

    def fire(self, now_ns: int) -> None:
        """Do what is due, a bounded part of it."""
        for _ in range(_TIMERS_MAX):
            if not self._timers or self._timers[0][0] > now_ns:
                return
            heapq.heappop(self._timers)[2](now_ns)

    def _run(self, lane: Lane, frames: Sequence[bytes], rules: Sequence[Rule], now_ns: int) -> None:
        for rule in rules:
            leaving: list[bytes] = []
            for frame in frames:
                leaving.extend(rule.apply(frame, now_ns))
            if rule.waiting:
                self._arm(lane, rule)
            if not leaving:
                return
            frames = leaving
        for frame in frames:
            lane.emit(frame)

    def _arm(self, lane: Lane, rule: Rule) -> None:
        due_ns = rule.waiting[0][0]
        if due_ns < rule.armed_ns:
            rule.armed_ns = due_ns
            self.at(due_ns, lambda now_ns: self._due(lane, rule, now_ns))

    def _due(self, lane: Lane, rule: Rule, now_ns: int) -> None:
        rule.armed_ns = NEVER_NS
        frames = rule.take_due(now_ns, self.lateness)
        behind = lane.rules[lane.rules.index(rule) + 1 :] if rule in lane.rules else []
        if frames:
            self._run(lane, frames, behind, now_ns)
        if rule.waiting:
            self._arm(lane, rule)
        elif rule.closing:
            self._forget(lane, rule)

    def _forget(self, lane: Lane, rule: Rule) -> None:
        lane.rules = [member for member in lane.rules if member is not rule]
        self.rules.pop(rule.number, None)
