"""A real switch process between two sockets of the test that talk all the time: the smallest world for link faults.

The sockets stand for the devices, so what they sent and got is evidence that neither the switch nor a fault can invent.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from faults.fault import Fault, Proof
from faults.life import Life
from testbed.bed import Bed
from testbed.history import History
from testbed.lan import packets
from testbed.node.node import Node
from testbed.switch.client import Switch
from testbed.wait import OwnedTask
from tests.unit.testbed.wire import Device

LEFT, RIGHT = "a.priv0", "b.priv0"
SEGMENTS = {"priv0": [LEFT, RIGHT]}
MACS = {LEFT: "52:54:00:09:00:01", RIGHT: "52:54:00:09:00:02"}
IPS = {LEFT: "10.9.0.1", RIGHT: "10.9.0.2"}
INTERVAL_S = 0.003
DIFFERENT = 600
PORT = 7_000
LONG_BYTES = 1_100


@functools.cache
def talk(port: str) -> list[bytes]:
    """The frames that the device at this port sends in turn: numbered datagrams, every fourth a long one."""
    other = RIGHT if port == LEFT else LEFT
    frames = []
    for number in range(DIFFERENT):
        payload = f"{port} {number:05d} ".encode().ljust(LONG_BYTES if number % 4 == 3 else 40, b".")
        datagram = packets.Udp("", IPS[port], IPS[other], PORT, PORT, payload)
        frames.append(packets.udp(MACS[port], MACS[other], datagram))
    return frames


@dataclass
class Talker:
    """One device that sends its frames in turn and keeps what comes."""

    port: str
    device: Device
    sent: list[bytes] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    silent: bool = False

    async def run(self) -> None:
        """Send and receive until the task ends."""
        frames, number = talk(self.port), 0
        asyncio.get_running_loop().add_reader(self.device.socket, self.read)
        while True:
            if not self.silent:
                frame = frames[number % len(frames)]
                number += 1
                try:
                    self.device.send(frame)
                    self.sent.append(frame)
                except BlockingIOError:
                    pass  # a full socket: it was not sent
            await asyncio.sleep(INTERVAL_S)

    def close(self) -> None:
        """Close the socket."""
        asyncio.get_running_loop().remove_reader(self.device.socket)
        self.device.socket.close()

    def read(self) -> None:
        """Take in what has come."""
        self.got += self.device.receive()


@dataclass
class Wire:
    """What a fault sees of a bed, and the two devices."""

    switch: Switch
    history: History
    talkers: dict[str, Talker]
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def bed(self) -> Bed:
        """The part of a bed that link faults use."""
        return cast("Bed", self)

    async def phase(self, seconds: float) -> dict[str, Heard]:
        """What each side sent and the other one heard in this time."""
        starts = {name: (len(talker.sent), len(talker.got)) for name, talker in self.talkers.items()}
        await asyncio.sleep(seconds)
        found = {}
        for name, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
            self.talkers[other].read()
            found[name] = Heard(self.talkers[name].sent[starts[name][0] :], self.talkers[other].got[starts[other][1] :])
        return found


@dataclass(frozen=True)
class Heard:
    """Frames that one side sent, and what the other side heard meanwhile."""

    sent: list[bytes]
    got: list[bytes]


@dataclass(frozen=True)
class Story:
    """One life of a fault: what was proved, and what the devices saw before, during and after it."""

    proof: Proof
    before: dict[str, Heard]
    during: dict[str, Heard]
    after: dict[str, Heard]


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    """A switch process with two talking devices."""
    for port in (LEFT, RIGHT):
        talk(port)  # made before anybody waits for it
    with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
        directory = Path(name)
        async with Switch(directory, SEGMENTS, history=history, log=directory / "log") as switch:
            talkers = {port: Talker(port, Device(directory, port)) for port in (LEFT, RIGHT)}
            async with AsyncExitStack() as stack:
                for talker in talkers.values():
                    stack.callback(talker.close)
                    await stack.enter_async_context(OwnedTask(talker.run(), name=f"talker-{talker.port}"))
                yield Wire(switch, history, talkers)


async def live(fault: Fault, *, window_s: float = 0.5, silent: bool = False) -> Story:
    """Let a fault happen and end between two talking devices."""
    async with wire() as world:
        before = await world.phase(window_s)
        for talker in world.talkers.values():
            talker.silent = silent
        async with Life(fault, world.bed) as life:
            await life.prepare()
            await life.inject()
            during = await world.phase(window_s)
            proof = await life.confirm()
        after = await world.phase(window_s)
    return Story(proof, before, during, after)


def run_story(fault: Fault, *, window_s: float = 0.5, silent: bool = False) -> Story:
    """The same for a synchronous test."""
    return asyncio.run(live(fault, window_s=window_s, silent=silent))


async def _nothing(_self: object, _bed: Bed) -> None:
    """Do nothing: the sabotage of an injection."""


def sabotaged(fault: Fault) -> Fault:
    """The same fault, which says that it injects and does nothing."""
    kind = type(fault)
    fault.__class__ = type(f"Sabotaged{kind.__name__}", (kind,), {"inject": _nothing})
    return fault
