"""What is around the nodes of a bed: switch, outside world, service centre, client, BMCs and witnesses.

`async with World(...)` starts it all and makes the nodes, which are off. It belongs to one pair by that pair's keys,
and to another one after `belong_to`. It must never start a node: the bed does.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from testbed import site
from testbed.bmc.bmc import PROGRAM as BMC_PROGRAM
from testbed.bmc.bmc import Bmc, NodePower
from testbed.errors import HostError
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.node.image import Image
from testbed.node.node import Node, Place
from testbed.switch.client import Switch
from testbed.world.outside import Outside
from testbed.world.service_centre.server import ServiceCentre
from testbed.world.tls import Credentials
from testbed.world.witness import Witness, WitnessOrder


@dataclass(frozen=True)
class Keys:
    """What only one pair and its world know: the secret of its heartbeats, and the token for its service centre."""

    secret: str
    token: str

    @staticmethod
    def new() -> Keys:
        """Invent some."""
        return Keys(secrets.token_hex(32), secrets.token_hex(16))


class World:
    """The running world as an async context manager."""

    switch: Switch
    outside: Outside
    centre: ServiceCentre
    client: Endpoint
    nodes: dict[str, Node]
    bmcs: dict[str, Bmc]
    witnesses: dict[str, Witness]

    def __init__(
        self, image: Image, options: site.SiteOptions, place: Place, *, credentials: Credentials, accel: str,
        history: History, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.keys = Keys.new()
        self._image = image
        self._options = options
        self._place = place
        self._credentials = credentials
        self._accel = accel
        self._history = history
        self._say = say
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def belong_to(self, keys: Keys) -> None:
        """Belong to the pair that has these keys, and to no other."""
        self.keys = keys
        await self._centre_stack.aclose()
        await self._start_centre(self._stack)
        for name, bmc in self.bmcs.items():
            await bmc.sign_on(*site.bmc_credentials(keys.secret, name))
        await self.start_witnesses()

    async def start_witnesses(self) -> None:
        """Let the witnesses belong to this pair; what they know of another one is gone."""
        for witness in self.witnesses.values():
            await witness.end()
            witness.lose_storage()
            await witness.start(self.keys.secret)

    async def _start(self, stack: AsyncExitStack) -> None:
        sockets, artefacts = self._place.sockets, self._place.artefacts
        self.switch = await stack.enter_async_context(
            Switch(sockets, site.SEGMENTS, history=self._history, log=artefacts / "switch.log")
        )
        await self.switch.watch(macs=[site.VM_MAC], ips=[site.SERVICE, site.VM_ADDRESS])
        await self._start_centre(stack)
        local, remote = self.switch.device_sockets(site.OUTSIDE_PORT)
        self.outside = await stack.enter_async_context(
            Outside(
                local=local,
                remote=remote,
                centre=sockets / "centre",
                log=artefacts / "outside.log",
                history=self._history,
            )
        )
        self.client = await stack.enter_async_context(
            Endpoint(
                sockets, site.CLIENT_PORT, site.CLIENT_MAC, site.CLIENT, site.PREFIX, site.GATEWAY,
                history=self._history,
            )
        )  # fmt: skip
        self.nodes = {
            name: Node(name, self._image, self._place, self.switch, self._history, accel=self._accel)
            for name in site.NODES
        }
        for node in self.nodes.values():
            stack.push_async_callback(node.close)
        self.bmcs = {}
        if shutil.which(BMC_PROGRAM) is None:
            if self._options.power:
                raise HostError(f"{BMC_PROGRAM} is not installed: a site with power control needs the BMCs.")
            self._say(f"{BMC_PROGRAM} is not installed: the nodes have no BMC, and its faults are refused")
        else:
            self.bmcs = {name: await self._start_bmc(stack, node) for name, node in self.nodes.items()}
        names = site.WITNESSES[: self._options.witnesses]
        self.witnesses = {name: await self._make_witness(stack, name) for name in names}
        await self.start_witnesses()

    async def _start_bmc(self, stack: AsyncExitStack, node: Node) -> Bmc:
        name, sockets = node.name, self._place.sockets
        lan = Endpoint(
            sockets, site.BMC_PORTS[name], site.BMC_MACS[name], site.BMC_ADDRESSES[name], site.PREFIX, site.GATEWAY
        )
        endpoint = await stack.enter_async_context(lan)
        bmc = Bmc(
            name, NodePower(node), endpoint=endpoint, sockets=sockets, artefacts=self._place.artefacts,
            history=self._history,
        )  # fmt: skip
        bmc.user, bmc.password = site.bmc_credentials(self.keys.secret, name)
        return await stack.enter_async_context(bmc)

    async def _make_witness(self, stack: AsyncExitStack, name: str) -> Witness:
        sockets = self._place.sockets
        endpoint = await stack.enter_async_context(
            Endpoint(
                sockets, site.WITNESS_PORTS[name], site.WITNESS_MACS[name], site.WITNESS_ADDRESSES[name], site.PREFIX,
                site.GATEWAY,
            )
        )  # fmt: skip
        witness = Witness(
            name, WitnessOrder(self._image.product.witness, self._options.dilation), endpoint=endpoint,
            port=site.WITNESS_UDP_PORT, sockets=sockets, artefacts=self._place.artefacts, history=self._history,
        )  # fmt: skip
        return await stack.enter_async_context(witness)

    async def _start_centre(self, stack: AsyncExitStack) -> None:
        self._centre_stack = await stack.enter_async_context(AsyncExitStack())
        self.centre = await self._centre_stack.enter_async_context(
            ServiceCentre(
                socket=self._place.sockets / "centre",
                tls=self._credentials.server_context(),
                store=self._place.artefacts / "alerts.jsonl",
                token=self.keys.token,
                history=self._history,
            )
        )
