"""Measures how late a timed fault of a link is: `link.cut` by the director, on a switch without machines.

Lateness counts from the time at which the schedule says that the cut is due to the time at which the switch says that
it held, on the same monotonic clock. Frames run in both directions all the while, so that each cut is also proved. It
must never be used as a test: it measures, others judge.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import cast

from faults.run.director import Act, Director, build
from faults.schedule.schedule import Schedule
from faults.schedule.step import Step
from faults.schedule.trigger import Trigger
from testbed.bed import Bed
from testbed.history import History
from testbed.progress import Progress
from testbed.switch.client import Switch
from testbed.topology import NODES, PRIVATE, Topology
from testbed.wait import OwnedTask

CUTS = 40
WINDOW_S = 0.05  # of the proof: some twenty frames each way
FRAME_EVERY_S = 0.002
DUE_S = (0.03, 0.06)  # after the start of a schedule; drawn, so that cuts meet the traffic in every phase
SEED = 1
FRAME = b"\xff" * 6 + bytes.fromhex("0216aa000001") + b"\x88\xb5" + bytes(46)


@dataclass(frozen=True)
class InjectionTimes:
    """Seconds from due to cut for each proven cut, seconds from due to the order, and how many were not proven."""

    late_s: tuple[float, ...]
    order_late_s: tuple[float, ...]
    unproven: int


def lateness(act: Act) -> float | None:
    """Seconds from the time at which a step was due to the fault, or None when it was not proven to be there."""
    if act.proof is None or act.proof.injected_at_s is None:  # only a confirmed fault has a time
        return None
    assert act.due_s is not None, "what was injected was due"
    return act.proof.injected_at_s - act.due_s


async def measure(cuts: int = CUTS) -> InjectionTimes:
    """Cut the private link so often, each time by a schedule of its own, and heal it."""
    late_s: list[float] = []
    order_late_s: list[float] = []
    chance = Random(SEED)
    async with _bed() as bed:
        for _ in range(cuts):
            step = Step("cut", "link.cut", f"{NODES[0]}.{PRIVATE}", Trigger(chance.uniform(*DUE_S)),
                        parameters={"window_s": WINDOW_S})  # fmt: skip
            acts = build(Schedule("bench", SEED, (step,)))
            director = Director(bed, acts)
            try:
                await director.run()
            finally:
                await director.heal_all()
            found = lateness(acts[0])
            if found is not None:
                late_s.append(found)
                order_late_s.append(acts[0].late_s or 0.0)
    return InjectionTimes(tuple(late_s), tuple(order_late_s), cuts - len(late_s))


@asynccontextmanager
async def _bed() -> AsyncIterator[Bed]:
    """What a fault of a link uses of a bed: a switch, a history, and no nodes; frames run on the private link."""
    ports = Topology().segments[PRIVATE]
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-")))
        history = stack.enter_context(History())
        switch = await stack.enter_async_context(
            Switch(directory, {PRIVATE: ports}, history=history, log=directory / "log")
        )
        devices = {}
        for port in ports:
            mine, exit_to = switch.device_sockets(port)
            device = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            device.bind(str(mine))
            devices[device] = exit_to
        await stack.enter_async_context(OwnedTask(_talk(devices), name="frames"))
        yield cast("Bed", SimpleNamespace(switch=switch, history=history, progress=Progress(quiet=True), nodes={}))


async def _talk(devices: dict[socket.socket, Path]) -> None:
    """Each device sends broadcasts and drops what it gets."""
    while True:
        for device, exit_to in devices.items():
            with contextlib.suppress(BlockingIOError):
                device.sendto(FRAME, str(exit_to))
            with contextlib.suppress(BlockingIOError):
                while device.recv(16_384):
                    pass
        await asyncio.sleep(FRAME_EVERY_S)
