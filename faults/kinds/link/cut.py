"""Faults of a whole link: cut silently, both ways or one, or with its carrier.

A cut is proved by the counters of both ports, carrier loss by what QEMU's own network card no longer sends when it is
asked to announce itself. None may call a link silent that had nothing to carry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from faults.fault import Aim, FaultVerdict, Proof, Trait
from faults.kinds.link.evidence import far_ports, left, proof_of
from faults.kinds.link.rule import WINDOWS_MAX, check_port, ways_of
from testbed import pace
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError
from testbed.switch.client import Direction

ANNOUNCE = {"initial": 10, "max": 10, "rounds": 3, "step": 10}  # milliseconds: three frames within 50 ms
ANNOUNCE_S = 1.0  # a busy host may be late with them


@dataclass
class Cut:
    """A cable stops carrying frames in both directions; carrier stays, nobody is told."""

    target: str
    name: str = field(default="link.cut", init=False)
    aim: ClassVar[Aim] = Aim.PORT
    direction: Direction = field(default=Direction.BOTH, kw_only=True)
    window_s: float = field(default=2.0, kw_only=True)
    _at_s: float | None = field(default=None, init=False)

    async def prepare(self, bed: Bed) -> None:
        """Check that the port exists."""
        await check_port(bed, self.target)

    async def inject(self, bed: Bed) -> None:
        """Cut."""
        self._at_s = await bed.switch.cut(self.target, self.direction)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when frames were offered in each direction and none passed, here or at the far end."""
        proof = Proof.of(None, None, {})
        before = await bed.switch.observe([])
        for number in range(1, WINDOWS_MAX + 1):
            await asyncio.sleep(self.window_s)
            after = await bed.switch.observe([])
            proof = self._judge(before["ports"], after["ports"], number * self.window_s)
            if proof.verdict is not FaultVerdict.INCONCLUSIVE:
                break
        return proof

    async def heal(self, bed: Bed) -> None:
        """Let frames pass, and see that the port no longer stops all that comes."""
        await bed.switch.heal(self.target, self.direction)
        before = (await bed.switch.observe([]))["ports"][self.target]
        await asyncio.sleep(self.window_s)
        after = (await bed.switch.observe([]))["ports"][self.target]
        for way in ways_of(self.direction):
            passed, dropped = _moved(before, after, way)
            if dropped and not passed:
                raise TestbedError(f"{self.name} at {self.target} was healed, but {dropped} frames {way} were dropped.")

    def _judge(self, before: Mapping[str, Any], after: Mapping[str, Any], window_s: float) -> Proof:
        evidence: dict[str, object] = {"window_s": window_s}
        verdicts: list[FaultVerdict] = []
        for way in ways_of(self.direction):
            passed, dropped = _moved(before[self.target], after[self.target], way)
            found = {"passed": passed, "dropped": dropped}
            others = far_ports(after, self.target)
            if way is Direction.IN and len(others) == 1:
                found["left_at_far_end"] = left(after[others[0]]) - left(before[others[0]])
            evidence[way.value] = found
            if passed or found.get("left_at_far_end"):
                verdicts.append(FaultVerdict.MISMATCH)
            else:
                verdicts.append(FaultVerdict.CONFIRMED if dropped else FaultVerdict.INCONCLUSIVE)
        return proof_of(verdicts, self._at_s, evidence)


def _moved(before: Mapping[str, Any], after: Mapping[str, Any], way: Direction) -> tuple[int, int]:
    """How many frames passed the port in this direction, and how many were dropped there."""
    dropped = int(after[way.value]["dropped_rule"] - before[way.value]["dropped_rule"])
    if way is Direction.OUT:
        return left(after) - left(before), dropped
    return int(after["in"]["frames"] - before["in"]["frames"]), dropped


@dataclass
class CutOneWay(Cut):
    """A cable stops carrying frames in one direction: one side still hears the other and is not heard."""

    name: str = field(default="link.cut_one_way", init=False)
    direction: Direction = field(default=Direction.IN, kw_only=True)

    async def prepare(self, bed: Bed) -> None:
        """Refuse both directions: that is a cut."""
        if self.direction is Direction.BOTH:
            raise UsageError("link.cut_one_way needs the direction in or out; link.cut cuts both.")
        await super().prepare(bed)


@dataclass
class CarrierLoss:
    """The network card of a node reports that its cable is unplugged, and sends and receives nothing."""

    target: str
    name: str = field(default="link.carrier_loss", init=False)
    aim: ClassVar[Aim] = Aim.PORT
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.NEEDS_QMP})
    window_s: float = field(default=2.0, kw_only=True)
    _announced: int = field(default=0, init=False)
    _at_s: float | None = field(default=None, init=False)

    async def prepare(self, bed: Bed) -> None:
        """Let the card announce itself: a frame must come to the switch, or silence later proves nothing."""
        node, _, nic = self.target.partition(".")
        nics = [card.name for card in bed.nodes[node].machine.spec.nics] if node in bed.nodes else []
        if nic not in nics:
            possible = [f"{name}.{card.name}" for name, item in bed.nodes.items() for card in item.machine.spec.nics]
            raise UsageError(f"There is no network card {self.target!r}; possible are {', '.join(possible)}.")
        self._announced = await self._announce(bed, ANNOUNCE_S)

    async def inject(self, bed: Bed) -> None:
        """Take the link of the card down."""
        await self.reassert(bed)
        self._at_s = (await bed.switch.observe([]))["t_s"]

    async def reassert(self, bed: Bed) -> None:
        """Say again that the link is down; needed after `cont`, a reset and a restore, which may raise it."""
        await self._set(bed, up=False)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the card announced itself before and now neither that nor anything else reaches the switch."""
        came = await self._announce(bed, self.window_s)
        evidence = {"frames_at_announcement_before": self._announced, "frames_at_announcement_after": came}
        return Proof.of(not came if self._announced else None, self._at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Raise the link; raises when the card still says nothing."""
        await self._set(bed, up=True)
        if not await self._announce(bed, ANNOUNCE_S):
            raise TestbedError(f"The link of {self.target} was raised, but its announcement does not reach the switch.")

    async def _set(self, bed: Bed, *, up: bool) -> None:
        node, _, nic = self.target.partition(".")
        await bed.nodes[node].machine.execute("set_link", {"name": nic, "up": up})

    async def _announce(self, bed: Bed, wait_s: float) -> int:
        """Ask the card for its announcement; returns how many frames came from it."""
        node, _, nic = self.target.partition(".")
        before = (await bed.switch.ports())[self.target].inward.frames
        await bed.nodes[node].machine.execute("announce-self", {**ANNOUNCE, "interfaces": [nic]})
        await pace.sleep(wait_s)
        return (await bed.switch.ports())[self.target].inward.frames - before


FAULTS = (CarrierLoss, Cut, CutOneWay)
