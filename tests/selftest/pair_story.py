"""One restored pair for the faults of a family: each is sabotaged first, then real, then healed, one after the other.

The results are collected and judged by the tests, so that one fault that fails does not hide the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from faults.fault import Fault, FaultVerdict, Proof
from faults.life import Life
from faults.registry import UNDILATED
from testbed import pace
from testbed.bed import Bed, Session
from testbed.client.ledger import Ledger
from testbed.errors import GuestCommandError, TestbedError
from testbed.site import SiteOptions
from testbed.wait import wait_until

PROTECTED_S = 240.0
SABOTAGED_WINDOW_S = 2.0  # nothing has to show, so that less time is enough


@dataclass
class Told:
    """What became of one fault."""

    sabotaged: Proof | None = None
    real: Proof | None = None
    problem: str = ""
    not_protected: str = ""


Case = Callable[[], Fault]


async def _nothing(_bed: Bed) -> None:
    """Inject nothing: the sabotage."""


async def one(bed: Bed, make: Case) -> Told:
    """Sabotage it, do it, heal it, and wait until the pair is protected again."""
    told = Told()
    try:
        told.sabotaged = await _once(bed, _dilated(make()), sabotaged=True)
        told.real = await _once(bed, _dilated(make()), sabotaged=False)
    except TestbedError as error:
        told.problem = f"{type(error).__name__}: {error}"
    try:
        await protected(bed)
    except TestbedError as error:
        told.not_protected = str(error)
    return told


def _dilated(fault: Fault) -> Fault:
    """The fault with its times as the registry would give them to a pair of this dilation."""
    for name, value in list(vars(fault).items()):
        is_time = name == "seconds" or (name.endswith("_s") and name not in UNDILATED)
        if is_time and isinstance(value, int | float):
            vars(fault)[name] = pace.scaled(value)
    return fault


async def _once(bed: Bed, fault: Fault, *, sabotaged: bool) -> Proof:
    if sabotaged:
        vars(fault)["inject"] = _nothing
        if hasattr(fault, "window_s"):
            fault.window_s = SABOTAGED_WINDOW_S
    async with Life(fault, bed) as life:
        return await life.prove()


async def protected(bed: Bed) -> None:
    """Wait until both nodes say that the VM is protected."""

    async def said() -> bool:
        return all([(await node.status())["protected"] for node in bed.nodes.values()])

    await wait_until(said, what="the pair protected", timeout_s=PROTECTED_S, poll_s=0.5, tolerate=(GuestCommandError,))


def tell(out: Path, cases: Mapping[str, Case]) -> dict[str, Told]:
    """Run the story under a light load of writes and return what became of each fault, by name."""

    async def story() -> dict[str, Told]:
        found: dict[str, Told] = {}
        async with Session(out, SiteOptions()) as session:
            await session.protect()
            bed = session.bed
            with Ledger(out / "ledger.jsonl") as ledger:
                async with bed.probe("story", ledger=ledger):
                    for name, make in cases.items():
                        began_s = time.monotonic()
                        found[name] = await one(bed, make)
                        # Shown when a test fails.
                        print(name, f"{time.monotonic() - began_s:.1f} s", found[name], flush=True)
        return found

    return asyncio.run(story())


def check(told: Told) -> None:
    """The promise of every fault."""
    assert not told.problem, told.problem
    assert told.sabotaged is not None
    assert told.real is not None
    assert told.sabotaged.verdict is FaultVerdict.MISMATCH, told.sabotaged
    assert told.real.verdict is FaultVerdict.CONFIRMED, told.real
    assert told.real.injected_at_s is not None
    assert not told.not_protected, told.not_protected
