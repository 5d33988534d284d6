"""Faults by hand: a bed that is up takes the orders of `testbed inject` and `testbed heal`, and proves what it did.

The bed's own event loop does the work, one order at a time. A fault has a number from its preparation until it was
taken back: one that fails half-way is taken back at once, and keeps its number only when that failed, too. It must
never keep an order that was refused: then nothing has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults import capability, registry
from faults.life import FaultFailed, Life
from testbed.bed import Bed
from testbed.by_hand.orders import Answer, Order, Orders
from testbed.errors import TestbedError, UsageError


class Live:
    """The faults that are there now, by number."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._turn = asyncio.Lock()
        self._armed: dict[int, Life] = {}
        self._last = 0

    async def inject(self, order: Order) -> Answer:
        """Do `fault` to `target` with the parameters `with`, and prove it; raises TestbedError."""
        async with self._turn:
            return await self._inject(order["fault"], order["target"], order["with"])

    async def heal(self, order: Order) -> Answer:
        """Take back the fault of this `number`, or with null all, the last one first; raises TestbedError."""
        async with self._turn:
            return await self._heal(order["number"])

    async def faults(self, _order: Order) -> Answer:
        """Say which faults are there; one that is being done or healed counts."""
        return {"armed": self._names()}

    async def _inject(self, name: str, target: str, parameters: dict[str, object]) -> Answer:
        kind = registry.check(name, target, parameters, self._bed.topology)
        await capability.require({name: kind.needs})
        roles = {}
        if registry.resolve_target(target, {"primary": "", "backup": ""}) != target:
            primary, backup = await self._bed.primary()
            roles = {"primary": primary.name, "backup": backup.name}
        fault = registry.build(name, registry.resolve_target(target, roles), parameters, seed=self._last)
        life = Life(fault, self._bed)
        self._last += 1
        number = self._last
        self._armed[number] = life
        try:
            proof = await life.prove()
        except FaultFailed as error:
            raise TestbedError(f"{error}{self._again(number)}") from error
        finally:
            self._forget(number)
        return {"number": number, "fault": str(life), "verdict": proof.verdict.value,
                "evidence": proof.evidence, "armed": self._names()}  # fmt: skip

    async def _heal(self, number: int | None) -> Answer:
        if number is not None and number not in self._armed:
            known = ", ".join(map(str, self._armed)) or "none"
            raise UsageError(f"There is no fault number {number}; armed are {known}.")
        healed, problems = [], []
        for one in [number] if number is not None else sorted(self._armed, reverse=True):
            life = self._armed[one]
            try:
                await life.heal()
            except FaultFailed as error:
                problems.append(f"{error}{self._again(one)}")
            else:
                healed.append(str(life))
            finally:
                self._forget(one)
        if problems:
            raise TestbedError(" ".join([*problems, f"Healed: {', '.join(healed) or 'nothing'}."]))
        return {"healed": healed, "armed": self._names()}

    def _forget(self, number: int) -> None:
        """Take a fault out of the book when it cannot be there any more."""
        if not self._armed[number].may_be_there:
            del self._armed[number]

    def _again(self, number: int) -> str:
        """What a person can do about a fault that may still be there, as the rest of a sentence."""
        return f" `testbed heal {number}` tries again." if self._armed[number].may_be_there else ""

    def _names(self) -> dict[str, str]:
        return {str(number): str(life) for number, life in self._armed.items()}


@asynccontextmanager
async def serving(bed: Bed, orders: Orders) -> AsyncIterator[None]:
    """Take orders while the bed is up."""
    live = Live(bed)
    with orders.taking({"inject": live.inject, "heal": live.heal, "faults": live.faults}):
        yield
