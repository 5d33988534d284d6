"""Faults of what a link does to frames: lost, late, doubled, out of order, damaged, held. One rule per directed port.

How they prove themselves is in `rule`; here stands what each does and which frames would show it. None may take
silence for an effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar

from faults.fault import FaultVerdict
from faults.kinds.link.evidence import ENOUGH, FrameBalance, of_chance
from faults.kinds.link.rule import RuleFault, ways_of
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError
from testbed.lan import packets

TRIALS = 8  # frames that a fault sends itself in one window; the last one leaves when half of it is over
SHORT_BYTES, FULL_BYTES = 60, 1_514  # an Ethernet frame, at least and usually at most
ASKED_OF_RATE = 1.25  # so much of the limit is asked for where the nodes ask for less
ASKED_S = 0.5  # so long: what waits in the queue afterwards delays a heartbeat by an eighth of a second


@dataclass
class Loss(RuleFault):
    """The link loses single frames at random."""

    name: str = field(default="link.loss", init=False)
    kind: ClassVar[str] = "loss"
    probability: float = field(default=0.3, kw_only=True)

    def settings(self) -> dict[str, object]:
        """The probability."""
        return {"probability": self.probability}

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """As many are missing as chance allows."""
        return of_chance(seen.lost, seen.sent, self.probability)


@dataclass
class BurstLoss(RuleFault):
    """The link loses several frames in a row, then works for a while."""

    name: str = field(default="link.burst_loss", init=False)
    kind: ClassVar[str] = "burst_loss"
    turns_bad: float = field(default=0.05, kw_only=True)
    turns_good: float = field(default=0.2, kw_only=True)

    def settings(self) -> dict[str, object]:
        """The chances that the channel turns with a frame."""
        return {"turns_bad": self.turns_bad, "turns_good": self.turns_good}

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """Some are missing, and some of them stood together."""
        share = self.turns_bad / max(self.turns_bad + self.turns_good, 1e-9)
        if seen.sent * share < 2 * ENOUGH:
            return FaultVerdict.INCONCLUSIVE
        return FaultVerdict.CONFIRMED if seen.longest_loss >= 2 and seen.arrived else FaultVerdict.MISMATCH


@dataclass
class Delay(RuleFault):
    """Every frame takes longer, by a fixed time and a jitter."""

    name: str = field(default="link.delay", init=False)
    kind: ClassVar[str] = "delay"
    delay_s: float = field(default=0.05, kw_only=True)
    jitter_s: float = field(default=0.0, kw_only=True)

    def settings(self) -> dict[str, object]:
        """Delay and jitter."""
        return {"delay_s": self.delay_s, "jitter_s": self.jitter_s}

    def window(self) -> float:
        """Long enough for most frames to come out."""
        return max(self.window_s, 3 * (self.delay_s + self.jitter_s))

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """The median frame is as late as it should be; a busy host can only make it later."""
        if seen.delay_median_s is None:
            return FaultVerdict.INCONCLUSIVE
        enough = seen.delay_median_s >= 0.8 * self.delay_s > 0
        return FaultVerdict.CONFIRMED if enough else FaultVerdict.MISMATCH


@dataclass
class Duplicate(RuleFault):
    """Frames arrive twice."""

    name: str = field(default="link.duplicate", init=False)
    kind: ClassVar[str] = "duplicate"
    probability: float = field(default=0.3, kw_only=True)

    def settings(self) -> dict[str, object]:
        """The probability."""
        return {"probability": self.probability}

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """As many came twice as chance allows."""
        return of_chance(seen.extra, seen.sent, self.probability)


@dataclass
class Reorder(RuleFault):
    """Frames overtake each other."""

    name: str = field(default="link.reorder", init=False)
    kind: ClassVar[str] = "reorder"
    probability: float = field(default=0.3, kw_only=True)
    gap_frames: int = field(default=1, kw_only=True)

    def settings(self) -> dict[str, object]:
        """The probability, and by how many frames one is overtaken."""
        return {"probability": self.probability, "gap_frames": self.gap_frames}

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """Some arrived behind younger ones."""
        if seen.overtaken:
            return FaultVerdict.CONFIRMED
        enough = seen.sent * self.probability >= 2 * ENOUGH
        return FaultVerdict.MISMATCH if enough else FaultVerdict.INCONCLUSIVE


@dataclass
class Corrupt(RuleFault):
    """Bits of frames flip on the way; checksums can notice."""

    name: str = field(default="link.corrupt", init=False)
    kind: ClassVar[str] = "corrupt"
    valid_checksum: ClassVar[bool] = False
    probability: float = field(default=0.3, kw_only=True)
    bits: int = field(default=1, kw_only=True)

    def settings(self) -> dict[str, object]:
        """Probability, bits, and whether checksums are repaired."""
        return {"probability": self.probability, "bits": self.bits, "valid_checksum": self.valid_checksum}

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """Frames came out that nobody sent, each in the place of one that is missing."""
        if seen.strange and abs(seen.strange - seen.lost) <= 1:
            return FaultVerdict.CONFIRMED
        if seen.strange:
            return FaultVerdict.MISMATCH
        enough = seen.sent * self.probability >= 2 * ENOUGH
        return FaultVerdict.MISMATCH if enough else FaultVerdict.INCONCLUSIVE


@dataclass
class CorruptValidChecksum(Corrupt):
    """Bits of UDP and TCP payloads flip on the way, and every checksum says that all is well."""

    name: str = field(default="link.corrupt_valid_checksum", init=False)
    valid_checksum: ClassVar[bool] = True
    match: Mapping[str, object] = field(default_factory=lambda: {"protocol": 6}, kw_only=True)


@dataclass
class RateLimit(RuleFault):
    """The link carries only so many bits in a second."""

    name: str = field(default="link.rate_limit", init=False)
    kind: ClassVar[str] = "rate"
    bits_per_s: float = field(default=1e6, kw_only=True)
    queue_frames: int = field(default=256, kw_only=True)

    def settings(self) -> dict[str, object]:
        """Rate and queue."""
        return {"bits_per_s": self.bits_per_s, "queue_frames": self.queue_frames}

    def window(self) -> float:
        """At first long enough for what the nodes send; then short, for frames of its own."""
        return min(ASKED_S, self.window_s) if self._last else self.window_s

    async def speak(self, bed: Bed) -> None:
        """Ask for more than the limit, where the first window has not: nodes that wait for answers ask for less."""
        count = math.ceil(ASKED_OF_RATE * self.bits_per_s * self.window() / (8 * FULL_BYTES))
        for way in ways_of(self.direction) if self._last and count and not self.match else ():
            frames = [packets.trial_frame(FULL_BYTES)]
            await bed.switch.inject(self.target, way, frames, interval_s=0.9 * self.window() / count, count=count)

    def judge(self, seen: FrameBalance, window_s: float) -> FaultVerdict:
        """No more came out than the rate allows, although more was sent."""
        limit = self.bits_per_s * 1.1 + 2 * seen.longest_sent_bytes * 8 / window_s
        if seen.sent_bits_per_s <= limit:
            return FaultVerdict.INCONCLUSIVE
        return FaultVerdict.CONFIRMED if 0 < seen.arrived_bits_per_s <= limit else FaultVerdict.MISMATCH


@dataclass
class MtuBlackHole(RuleFault):
    """Long frames vanish while short ones pass."""

    name: str = field(default="link.mtu_black_hole", init=False)
    kind: ClassVar[str] = "mtu"
    bytes_max: int = field(default=1_000, kw_only=True)

    def settings(self) -> dict[str, object]:
        """The longest frame that passes, with its Ethernet header."""
        return {"bytes_max": self.bytes_max}

    async def speak(self, bed: Bed) -> None:
        """Send long and short frames of its own: the nodes send no long ones any more where none arrive."""
        longest = max(FULL_BYTES, self.bytes_max + 1)
        frames = [packets.trial_frame(size) for size in (longest, SHORT_BYTES)]
        for way in ways_of(self.direction) if not self.match else ():
            await bed.switch.inject(self.target, way, frames, interval_s=self.window() / TRIALS / 2, count=TRIALS)

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """A long one was sent, and only long ones are missing."""
        if seen.longest_sent_bytes <= self.bytes_max:
            return FaultVerdict.INCONCLUSIVE
        only_long = seen.shortest_lost_bytes is not None and seen.shortest_lost_bytes > self.bytes_max
        there = only_long and seen.longest_arrived_bytes <= self.bytes_max
        return FaultVerdict.CONFIRMED if there else FaultVerdict.MISMATCH


@dataclass
class Flap(RuleFault):
    """The link goes silent and comes back, again and again."""

    name: str = field(default="link.flap", init=False)
    kind: ClassVar[str] = "flap"
    down_s: float = field(default=2.0, kw_only=True)
    up_s: float = field(default=2.0, kw_only=True)

    def settings(self) -> dict[str, object]:
        """How long it is silent and how long it works."""
        return {"down_s": self.down_s, "up_s": self.up_s}

    def window(self) -> float:
        """More than one whole turn."""
        return max(self.window_s, 1.5 * (self.down_s + self.up_s))

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """Some are missing in a row, and others came through."""
        if seen.sent < 2 * ENOUGH:
            return FaultVerdict.INCONCLUSIVE
        return FaultVerdict.CONFIRMED if seen.longest_loss >= 2 and seen.arrived else FaultVerdict.MISMATCH


@dataclass
class HoldAndRelease(RuleFault):
    """Nothing arrives; when it is over, everything that was sent meanwhile arrives late, in its order."""

    name: str = field(default="link.hold_and_release", init=False)
    kind: ClassVar[str] = "jam"

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """Frames were sent and none arrived."""
        if not seen.sent:
            return FaultVerdict.INCONCLUSIVE
        return FaultVerdict.MISMATCH if seen.arrived else FaultVerdict.CONFIRMED

    async def verify_released(self, bed: Bed) -> None:
        """All that was held has come out, in its order."""
        for direction, seen in (await self.seen_since_reset(bed, self.window_s)).items():
            if seen.lost or seen.overtaken:
                raise TestbedError(
                    f"{self.name} at {self.target} ({direction.value}) lost or mixed up what it held: {asdict(seen)}."
                )


@dataclass
class MatchDrop(RuleFault):
    """One kind of message never arrives, by protocol, port or content; everything else does."""

    name: str = field(default="link.match_drop", init=False)
    kind: ClassVar[str] = "match_drop"

    async def prepare(self, bed: Bed) -> None:
        """Refuse a match that means everything: that is a cut."""
        if not self.match:
            raise UsageError("link.match_drop needs a match (ethertype, protocol, port, payload); link.cut drops all.")
        await super().prepare(bed)

    def judge(self, seen: FrameBalance, _window_s: float) -> FaultVerdict:
        """Such messages were sent and none arrived."""
        if not seen.sent:
            return FaultVerdict.INCONCLUSIVE
        return FaultVerdict.MISMATCH if seen.arrived else FaultVerdict.CONFIRMED


FAULTS = (
    Loss, BurstLoss, Delay, Duplicate, Reorder, Corrupt, CorruptValidChecksum, RateLimit, MtuBlackHole, Flap,
    HoldAndRelease, MatchDrop,
)  # fmt: skip
