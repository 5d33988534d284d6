"""A switch with a client and a BMC whose node is a switch of our own: shared by the tests of BMC, client and faults."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testbed.bmc.bmc import Bmc, PowerSupply
from testbed.bmc.client import IpmiClient
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.switch.client import Switch

BMC_PORT, BMC_MAC, BMC_IP = "bmc-a.biz0", "02:77:00:00:01:31", "10.77.0.31"
CLIENT_PORT, CLIENT_MAC, CLIENT_IP = "client.biz0", "02:77:00:00:01:00", "10.77.0.100"


@dataclass
class LampPower:
    """The power of a node that is nothing but a lamp, and what was done to it."""

    on: bool = True
    done: list[str] = field(default_factory=list)

    def is_on(self) -> bool:
        """Whether it shines."""
        return self.on

    async def cut(self) -> None:
        """Switch it off."""
        self.done.append("cut")
        self.on = False

    async def switch_on(self) -> None:
        """Switch it on."""
        self.done.append("on")
        self.on = True

    async def reset(self) -> None:
        """Note it."""
        self.done.append("reset")

    async def press_button(self) -> None:
        """Note it."""
        self.done.append("button")


@dataclass
class BmcBench:
    """The parts."""

    directory: Path
    history: History
    switch: Switch
    client: Endpoint
    bmc: Bmc

    def asker(self, *, password: str | None = None) -> IpmiClient:
        """A client of the BMC."""
        return IpmiClient(self.client, BMC_IP, user=self.bmc.user, password=password or self.bmc.password)


@asynccontextmanager
async def bmc_bench(power: PowerSupply) -> AsyncIterator[BmcBench]:
    """A BMC with power, reachable through the switch."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-")))
        history = stack.enter_context(History())
        segments = {"biz0": [CLIENT_PORT, BMC_PORT]}
        switch = await stack.enter_async_context(Switch(directory, segments, history=history, log=directory / "log"))
        client = await stack.enter_async_context(Endpoint(directory, CLIENT_PORT, CLIENT_MAC, CLIENT_IP, 24, None))
        lan = await stack.enter_async_context(Endpoint(directory, BMC_PORT, BMC_MAC, BMC_IP, 24, None))
        bmc = await stack.enter_async_context(
            Bmc("a", power, endpoint=lan, sockets=directory, artefacts=directory / "run", history=history)
        )
        yield BmcBench(directory, history, switch, client, bmc)
