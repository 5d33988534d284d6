"""What the faults that are one rule per directed port share: taps around the rule, windows, counters, a verified heal.

Evidence comes from taps before and behind the rules and from the counters of both ports, never from the rule. Over a
window without enough traffic the verdict is inconclusive. It must never confirm a fault by the rule's existence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import Any, ClassVar

from faults.fault import Aim, FaultVerdict, Proof
from faults.kinds.link.evidence import FrameBalance, compare, counted, counters_agree, proof_of
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError
from testbed.switch.client import Direction
from testbed.wait import wait_until

WINDOWS_MAX = 3  # so often a window without enough traffic is followed by another
DRAIN_TIMEOUT_S = 30.0


@dataclass
class _Way:
    """One direction of the target while the fault is there."""

    direction: Direction
    before: int
    behind: int
    rule: int | None = None


def ways_of(direction: Direction) -> list[Direction]:
    """The single directions that are meant."""
    return [Direction.IN, Direction.OUT] if direction is Direction.BOTH else [direction]


async def check_port(bed: Bed, target: str) -> None:
    """Refuse a target that is no port of the switch."""
    known = list(await bed.switch.ports())
    if target not in known:
        raise UsageError(f"A link fault needs a port of the switch as target, not {target!r}; possible are {known}.")


async def remove_taps(bed: Bed, placed: list[int]) -> None:
    """Take these taps away, each once, also when it is called again after one could not be removed."""
    while placed:
        await bed.switch.rule_remove(placed.pop())


@dataclass
class RuleFault:
    """Base of the faults that are one rule per direction; a subclass says which, and judges what came out."""

    target: str
    _: KW_ONLY
    name: str = field(default="", init=False)
    aim: ClassVar[Aim] = Aim.PORT
    kind: ClassVar[str] = ""
    direction: Direction = Direction.BOTH
    match: Mapping[str, object] = field(default_factory=dict)
    seed: int = 1
    window_s: float = 2.0
    _ways: list[_Way] = field(default_factory=list, init=False)
    _placed: list[int] = field(default_factory=list, init=False)  # taps
    _ended: list[int] = field(default_factory=list, init=False)  # rules
    _last: dict[Direction, FrameBalance] = field(default_factory=dict, init=False)  # of the window before
    _at_s: float | None = field(default=None, init=False)

    def settings(self) -> dict[str, object]:
        """The settings of the rule."""
        return {}

    def judge(self, seen: FrameBalance, window_s: float) -> FaultVerdict:
        """Whether what came out shows the fault."""
        raise NotImplementedError

    def window(self) -> float:
        """How long to look."""
        return self.window_s

    async def speak(self, bed: Bed) -> None:
        """Send frames at the beginning of a window, where the traffic that is there cannot show the fault."""

    async def prepare(self, bed: Bed) -> None:
        """Place the taps before and behind where the rule will stand."""
        await check_port(bed, self.target)
        for direction in ways_of(self.direction):
            taps = []
            for behind in (False, True):
                settings = {"behind": behind}
                tap, _ = await bed.switch.rule_add(self.target, direction, "tap", settings=settings, match=self.match)
                self._placed.append(tap)
                taps.append(tap)
            self._ways.append(_Way(direction, *taps))

    async def inject(self, bed: Bed) -> None:
        """Add the rule to each direction."""
        for number, way in enumerate(self._ways):
            way.rule, self._at_s = await bed.switch.rule_add(
                self.target, way.direction, self.kind, settings=self.settings(), match=self.match,
                seed=self.seed + number,
            )  # fmt: skip

    async def confirm(self, bed: Bed) -> Proof:
        """Watch frames enter and leave, at most three windows long, until they say something."""
        proof = await self._look(bed)
        for _ in range(WINDOWS_MAX - 1):
            if proof.verdict is FaultVerdict.INCONCLUSIVE:
                proof = await self._look(bed)
        return proof

    async def heal(self, bed: Bed) -> None:
        """Remove the rules, wait until what they kept has left, and see that frames come through untouched."""
        for way in self._ways:
            rule, way.rule = way.rule, None
            if rule is not None:
                await bed.switch.rule_remove(rule)
                self._ended.append(rule)
        await self._wait_gone(bed)
        await self.verify_released(bed)
        await self._verify_clean(bed)

    async def remove_instruments(self, bed: Bed) -> None:
        """Take the taps away."""
        await remove_taps(bed, self._placed)

    async def verify_released(self, bed: Bed) -> None:
        """Look at what the rules let go at their end; a fault that keeps frames says what must be true."""

    async def seen_since_reset(self, bed: Bed, window_s: float) -> dict[Direction, FrameBalance]:
        """What both taps of each direction have noted."""
        state = await bed.switch.observe(self._taps())
        return {way.direction: self._compare(state, way, window_s) for way in self._ways}

    def _taps(self) -> list[int]:
        return [tap for way in self._ways for tap in (way.before, way.behind)]

    def _compare(self, state: Mapping[str, Any], way: _Way, window_s: float) -> FrameBalance:
        before, behind = (state["taps"][str(tap)]["records"] for tap in (way.before, way.behind))
        return compare(before, behind, window_s)

    async def _look(self, bed: Bed) -> Proof:
        first = await bed.switch.observe(self._taps(), reset=True)
        await self.speak(bed)
        await asyncio.sleep(self.window())
        last = await bed.switch.observe(self._taps())
        window_s = last["t_s"] - first["t_s"]
        verdicts: list[FaultVerdict] = []
        evidence: dict[str, object] = {"window_s": window_s}
        for way in self._ways:
            seen = self._last[way.direction] = self._compare(last, way, window_s)
            verdict = self.judge(seen, window_s)
            counters = counted(first["ports"], last["ports"], self.target, way.direction)
            arrived = last["taps"][str(way.behind)]["matched"]
            if not self.match and not counters_agree(counters, arrived):
                verdict = FaultVerdict.MISMATCH
            verdicts.append(verdict)
            evidence[way.direction.value] = asdict(seen) | {"counters": counters, "verdict": verdict.value}
        return proof_of(verdicts, self._at_s, evidence)

    async def _wait_gone(self, bed: Bed) -> None:
        async def gone() -> bool:
            return not set(self._ended) & {rule["rule"] for rule in (await bed.switch.rules())["rules"]}

        await wait_until(gone, what=f"the end of {self.name} at {self.target}", timeout_s=DRAIN_TIMEOUT_S, poll_s=0.02)

    async def _verify_clean(self, bed: Bed) -> None:
        others = {
            rule["direction"]
            for rule in (await bed.switch.rules())["rules"]
            if rule["port"] == self.target and rule["kind"] != "tap"
        }
        await bed.switch.observe(self._taps(), reset=True)
        await asyncio.sleep(self.window_s)
        for direction, seen in (await self.seen_since_reset(bed, self.window_s)).items():
            harm = seen.lost + seen.extra + seen.strange + seen.overtaken
            if harm and direction.value not in others:
                raise TestbedError(
                    f"{self.name} at {self.target} ({direction.value}) was removed, but frames still do not come "
                    f"through untouched: {asdict(seen)}. The link must not be used for a verdict."
                )
