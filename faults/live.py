"""Faults by hand: a bed that is up takes orders on a socket, one line of JSON each, and proves what it did.

The orders come from `testbed inject` and `testbed heal` of the same user; the socket lies in the bed's own directory.
The bed's own event loop does the work, one order at a time. It must never keep an order that was refused: then nothing
has changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from faults import capability, registry, targets
from faults.fault import Fault
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError

SOCKET = "faults"
ORDER_BYTES_MAX = 1 << 20
ANSWER_TIMEOUT_S = 2400.0  # a heal that boots a node takes minutes on a slow host, whose dilation is not known here


class Live:
    """The faults that are there now, by number."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._turn = asyncio.Lock()
        self._armed: dict[int, Fault] = {}
        self._last = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one order and answer it."""
        try:
            answer = await self._answer(await reader.readline())
            writer.write(json.dumps(answer, default=str).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            return  # who asked has gone; what was ordered is done, and `testbed heal` lists it
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, object]:
        try:
            order = json.loads(line)
            async with self._turn:
                return {"ok": True, **await self.obey(order)}
        except (ValueError, KeyError, TypeError) as error:
            return {"ok": False, "refused": True, "error": f"This is no order: {error!r}."}
        except TestbedError as error:
            return {"ok": False, "refused": isinstance(error, UsageError), "error": str(error)}

    async def obey(self, order: Mapping[str, Any]) -> dict[str, object]:
        """Do what an order says; raises TestbedError."""
        match order["order"]:
            case "inject":
                return await self._inject(order["fault"], order["target"], order["with"])
            case "heal":
                return await self._heal(order["number"])
        raise UsageError(f"There is no order {order['order']!r}; there are inject and heal.")

    async def _inject(self, name: str, target: str, parameters: dict[str, object]) -> dict[str, object]:
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

    async def _heal(self, number: int | None) -> dict[str, object]:
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
async def serving(bed: Bed) -> AsyncIterator[None]:
    """Take orders while the bed is up."""
    path = bed.sockets / SOCKET
    server = await asyncio.start_unix_server(Live(bed).serve, path, limit=ORDER_BYTES_MAX)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def ask(socket: Path, order: Mapping[str, object]) -> dict[str, Any]:
    """Give an order to the bed behind a socket and return its answer; raises UsageError or TestbedError as it says."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket, limit=ORDER_BYTES_MAX)
            try:
                writer.write(json.dumps(order).encode() + b"\n")
                answer: dict[str, Any] = json.loads(await reader.readline())
            finally:
                writer.close()
    except (OSError, ValueError) as error:
        raise UsageError(f"The bed that is up takes no orders ({error}); only one of `testbed up` does.") from error
    if not answer["ok"]:
        raise (UsageError if answer["refused"] else TestbedError)(answer["error"])
    return answer
