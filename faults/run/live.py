"""Faults by hand: a bed that is up takes the orders of `testbed inject` and `testbed heal`, and proves what it did.

The bed's own event loop does the work, one order at a time. It must never keep an order that was refused: then nothing
has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults import capability, registry, targets
from faults.fault import Fault
from testbed.bed import Bed
from testbed.by_hand.orders import Answer, Order, Orders
from testbed.errors import UsageError


class Live:
    """The faults that are there now, by number."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._turn = asyncio.Lock()
        self._armed: dict[int, Fault] = {}
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
        kind = registry.find(name)
        registry.check(name, parameters)
        targets.check_target(target, kind)
        await capability.require({name: kind.needs})
        roles = {}
        if targets.resolve_target(target, {"primary": "", "backup": ""}) != target:
            primary, backup = await self._bed.primary()
            roles = {"primary": primary.name, "backup": backup.name}
        fault = registry.build(name, targets.resolve_target(target, roles), parameters, seed=self._last)
        await fault.prepare(self._bed)
        self._last += 1
        self._armed[self._last] = fault
        await fault.inject(self._bed)
        proof = await fault.confirm(self._bed)
        self._bed.history.record(
            "fault", proof.verdict.value, name=fault.name, target=fault.target, evidence=proof.evidence
        )
        return {"number": self._last, "fault": f"{name} on {fault.target}", "verdict": proof.verdict.value,
                "evidence": proof.evidence, "armed": self._names()}  # fmt: skip

    async def _heal(self, number: int | None) -> Answer:
        if number is not None and number not in self._armed:
            known = ", ".join(map(str, self._armed)) or "none"
            raise UsageError(f"There is no fault number {number}; armed are {known}.")
        healed = []
        for one in [number] if number is not None else sorted(self._armed, reverse=True):
            fault = self._armed[one]
            await fault.heal(self._bed)
            del self._armed[one]
            self._bed.history.record("fault", "healed", name=fault.name, target=fault.target)
            healed.append(f"{fault.name} on {fault.target}")
        return {"healed": healed, "armed": self._names()}

    def _names(self) -> dict[str, str]:
        return {str(number): f"{fault.name} on {fault.target}" for number, fault in self._armed.items()}


@asynccontextmanager
async def serving(bed: Bed, orders: Orders) -> AsyncIterator[None]:
    """Take orders while the bed is up."""
    live = Live(bed)
    with orders.taking({"inject": live.inject, "heal": live.heal, "faults": live.faults}):
        yield
