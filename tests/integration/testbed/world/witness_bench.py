"""A switch with a client and the product's real witness as a host: shared by tests of witness, client and faults."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from avance.core.model import NodeId
from avance.wire.rejected import Rejected
from avance.wire.witness import Ask, Look, Question, Reply, Sender, Teach, decode_reply, encode, keys
from images.manifest import PRODUCT
from testbed.bed import Bed
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.switch.client import Switch
from testbed.world.witness import WitnessOrder, WitnessProcess

WITNESS_PORT, WITNESS_MAC, WITNESS_IP = "witness1.biz0", "02:77:00:00:01:05", "10.77.0.5"
CLIENT_PORT, CLIENT_MAC, CLIENT_IP = "client.biz0", "02:77:00:00:01:00", "10.77.0.100"
UDP_PORT = 7790
SECRET = "5e" * 32


@dataclass
class WitnessBench:
    """The parts; with these names they are a bed for the faults of a witness."""

    directory: Path
    history: History
    switch: Switch
    client: Endpoint
    witnesses: dict[str, WitnessProcess]

    @property
    def witness(self) -> WitnessProcess:
        """The one that there is."""
        return self.witnesses["w1"]

    @property
    def bed(self) -> Bed:
        """The same, as the faults want it."""
        return cast("Bed", self)

    async def put(self, question: Question) -> Reply:
        """Put a question from the client's port until it is answered."""
        port, heard = self.client.free_port(), asyncio.Queue[bytes]()
        self.client.listen(port, lambda datagram, _now_s: heard.put_nowait(datagram.payload))
        try:
            self.client.udp_send(WITNESS_IP, UDP_PORT, port, encode(keys(bytes.fromhex(SECRET)), question))
            async with asyncio.timeout(100):
                reply = decode_reply(keys(bytes.fromhex(SECRET)), await heard.get())
        finally:
            self.client.stop_listening(port)
        assert not isinstance(reply, Rejected)
        return reply

    async def converse(self, *, teach: int | None = None, ask: int | None = None) -> str:
        """Do what the nodes do: both teach an epoch that a owns, or b asks for one; returns the last word."""
        life = (await self.put(Look(self._sender("a", "")))).life
        reply = None
        if teach is not None:
            for node in ("a", "b"):
                reply = await self.put(Teach(self._sender(node, life), teach, NodeId("a"), paired=True))
        if ask is not None:
            reply = await self.put(Ask(self._sender("b", life), ask, "n"))
        assert reply is not None
        return reply.word

    def _sender(self, node: str, life: str) -> Sender:
        return Sender(NodeId(node), f"{node}-boot", next(_numbers), life)


_numbers = itertools.count(1)


@asynccontextmanager
async def witness_bench() -> AsyncIterator[WitnessBench]:
    """A witness that runs, reachable through the switch."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-")))
        history = stack.enter_context(History())
        segments = {"biz0": [CLIENT_PORT, WITNESS_PORT]}
        switch = await stack.enter_async_context(Switch(directory, segments, history=history, log=directory / "log"))
        client = await stack.enter_async_context(Endpoint(directory, CLIENT_PORT, CLIENT_MAC, CLIENT_IP, 24, None))
        host = await stack.enter_async_context(Endpoint(directory, WITNESS_PORT, WITNESS_MAC, WITNESS_IP, 24, None))
        witness = await stack.enter_async_context(
            WitnessProcess(
                "w1", WitnessOrder(cast("list[str]", PRODUCT["witness"])), endpoint=host, port=UDP_PORT,
                sockets=directory, artefacts=directory / "run", history=history,
            )
        )  # fmt: skip
        await witness.start(SECRET)
        yield WitnessBench(directory, history, switch, client, {"w1": witness})
