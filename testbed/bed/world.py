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
from testbed.topology import NODES, PREFIX, WITNESS_UDP_PORT, Host
from testbed.world.outside import Outside
from testbed.world.service_centre.server import ServiceCentre
from testbed.world.tls import Credentials
from testbed.world.witness import WitnessOrder, WitnessProcess


@dataclass(frozen=True)
class Secrets:
    """What only one pair and its world know: the secret of its heartbeats, and the token for its service centre."""

    secret: str
    token: str

    @staticmethod
    def new() -> Secrets:
        """Invent some."""
        return Secrets(secrets.token_hex(32), secrets.token_hex(16))


class WorldParts:
    """What a bed consists of; there as soon as the context of the world, or of the bed, is entered."""

    switch: Switch
    outside: Outside
    centre: ServiceCentre
    client: Endpoint  # on the first public network
    clients: dict[str, Endpoint]  # by public network
    nodes: dict[str, Node]
    bmcs: dict[str, Bmc]
    witnesses: dict[str, WitnessProcess]

    def take(self, other: WorldParts) -> None:
        """Have the same parts as another one."""
        for name in WorldParts.__annotations__:
            setattr(self, name, getattr(other, name))


class World(WorldParts):
    """The running world as an async context manager."""

    def __init__(
        self, image: Image, options: site.SiteOptions, place: Place, *, credentials: Credentials, accel: str,
        history: History, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.keys = Secrets.new()
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

    async def belong_to(self, keys: Secrets) -> None:
        """Belong to the pair that has these keys, and to no other."""
        self.keys = keys
        await self._centre_stack.aclose()
        await self._start_centre(self._stack)
        for name, bmc in self.bmcs.items():
            await bmc.sign_on(*site.bmc_credentials(keys.secret, name))
        await self.start_witnesses()

    async def start_witnesses(self) -> None:
        """Let the witnesses belong to this pair; what they know of another one is gone."""
        for name, witness in self.witnesses.items():
            await witness.end()
            witness.lose_storage()
            await witness.start(site.witness_secret(self.keys.secret, name))

    async def _start(self, stack: AsyncExitStack) -> None:
        sockets, artefacts = self._place.sockets, self._place.artefacts
        self.switch = await stack.enter_async_context(
            Switch(sockets, self._options.segments, history=self._history, log=artefacts / "switch.log")
        )
        guests, first = self._options.guests, self._options.public[0]
        await self.switch.watch(
            macs=[vm.mac for vm in guests], ips=[self._options.service, *(vm.address for vm in guests)]
        )
        await self._start_centre(stack)
        local, remote = self.switch.device_sockets(first.gateway.port)
        self.outside = await stack.enter_async_context(
            Outside(
                local=local,
                remote=remote,
                centre=sockets / "centre",
                log=artefacts / "outside.log",
                history=self._history,
            )
        )
        for network in self._options.public[1:]:  # they lead nowhere: their gateways only answer
            await stack.enter_async_context(self._endpoint(network.gateway, None))
        self.clients = {
            network.name: await stack.enter_async_context(
                self._endpoint(network.client, network.gateway, history=self._history)
            )
            for network in self._options.public
        }
        self.client = self.clients[first.name]
        self.nodes = {
            name: Node(
                name, self._image, self._place, self.switch, self._history, accel=self._accel, topology=self._options
            )
            for name in NODES
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
        self.witnesses = {
            name: await self._make_witness(stack, name, host) for name, host in self._options.witness_hosts.items()
        }
        await self.start_witnesses()

    async def _start_bmc(self, stack: AsyncExitStack, node: Node) -> Bmc:
        name, sockets = node.name, self._place.sockets
        endpoint = await stack.enter_async_context(
            self._endpoint(self._options.bmcs[name], self._options.public[0].gateway)
        )
        bmc = Bmc(
            name, NodePower(node), endpoint=endpoint, sockets=sockets, artefacts=self._place.artefacts,
            history=self._history,
        )  # fmt: skip
        bmc.user, bmc.password = site.bmc_credentials(self.keys.secret, name)
        return await stack.enter_async_context(bmc)

    def _endpoint(self, host: Host, gateway: Host | None, *, history: History | None = None) -> Endpoint:
        way_out = None if gateway is None else gateway.address
        return Endpoint(self._place.sockets, host.port, host.mac, host.address, PREFIX, way_out, history=history)

    async def _make_witness(self, stack: AsyncExitStack, name: str, host: Host) -> WitnessProcess:
        sockets = self._place.sockets
        endpoint = await stack.enter_async_context(self._endpoint(host, self._options.public[0].gateway))
        witness = WitnessProcess(
            name, WitnessOrder(self._image.product.witness, self._options.dilation), endpoint=endpoint,
            port=WITNESS_UDP_PORT, sockets=sockets, artefacts=self._place.artefacts, history=self._history,
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
