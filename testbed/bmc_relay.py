"""The two cables of a BMC: its LAN side as a host of the public segment, and its wire to the node that it belongs to.

Both end at ipmi_sim, which knows only UDP and TCP ports of the loopback; nobody else learns these numbers. A BMC can be
slow on both. Nothing here may answer for a BMC that has no power, or let somebody in without a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import packets
from testbed.endpoint import Endpoint

RMCP_PORT = 623
CLIENTS_MAX = 16
_CHUNK_BYTES = 4096
_SOURCE = "127.0.0.1"


@dataclass
class Pace:
    """How much later than ipmi_sim the BMC answers, on both cables."""

    delay_s: float = 0.0


@dataclass
class RelayCounters:
    """What the LAN side did."""

    asked: int = 0
    answered: int = 0
    unpowered: int = 0
    refused: int = 0  # sessions without authentication


def opens_without_password(payload: bytes) -> bool:
    """Say whether a datagram opens an RMCP+ session with another authentication than RAKP-HMAC-SHA1, such as none.

    ipmi_sim lets anybody in who asks for none, and has no setting against it.
    """
    rmcp_ipmi, session, algorithm_at = payload[3:4] == b"\x07", payload[4:6], 16 + 12
    if not rmcp_ipmi or len(session) < 2 or session[0] != 0x06 or session[1] & 0x3F != 0x10:
        return False
    return len(payload) <= algorithm_at or payload[algorithm_at] & 0x3F != 0x01


class LanRelay:
    """Carries datagrams between an endpoint and ipmi_sim, with one loopback socket for each client."""

    def __init__(self, endpoint: Endpoint, pace: Pace) -> None:
        self.counters = RelayCounters()
        self._endpoint = endpoint
        self._pace = pace
        self._port: int | None = None
        self._clients: dict[tuple[str, int], socket.socket] = {}

    def __enter__(self) -> Self:
        self._endpoint.listen(RMCP_PORT, self._asked)
        self._endpoint.announce()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._endpoint.stop_listening(RMCP_PORT)
        self.serve(None)

    def serve(self, port: int | None) -> None:
        """Use this port of ipmi_sim from now on; None means that the BMC has no power."""
        self._port = port
        for key in list(self._clients):
            self._forget(key)

    def _forget(self, key: tuple[str, int]) -> None:
        client = self._clients.pop(key)
        asyncio.get_running_loop().remove_reader(client.fileno())
        client.close()

    def _asked(self, datagram: packets.Udp, _now_s: float) -> None:
        self.counters.asked += 1
        if self._port is None:
            self.counters.unpowered += 1
        elif opens_without_password(datagram.payload):
            self.counters.refused += 1
        else:
            with contextlib.suppress(OSError):  # it has just died: a datagram is lost
                self._client((datagram.source_ip, datagram.source_port), self._port).send(datagram.payload)

    def _client(self, key: tuple[str, int], port: int) -> socket.socket:
        known = self._clients.get(key)
        if known is not None:
            return known
        if len(self._clients) >= CLIENTS_MAX:
            self._forget(next(iter(self._clients)))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        client.connect((_SOURCE, port))
        asyncio.get_running_loop().add_reader(client.fileno(), self._answer, client, key)
        self._clients[key] = client
        return client

    def _answer(self, client: socket.socket, key: tuple[str, int]) -> None:
        try:
            payload = client.recv(_CHUNK_BYTES)
        except OSError:  # nothing there, or ipmi_sim is gone
            return
        if self._pace.delay_s > 0:
            asyncio.get_running_loop().call_later(self._pace.delay_s, self._send, key, payload)
        else:
            self._send(key, payload)

    def _send(self, key: tuple[str, int], payload: bytes) -> None:
        if self._port is not None:
            self.counters.answered += 1
            self._endpoint.udp_send(key[0], key[1], RMCP_PORT, payload)


class NodeWire:
    """The socket to which QEMU connects its KCS interface, and the connection from there to ipmi_sim.

    QEMU connects again and again while it is refused; so it finds a BMC that got its power back, and a restored node
    finds the BMC of its new run.
    """

    def __init__(self, path: Path, pace: Pace) -> None:
        self.path = path
        self.bytes_from_node = 0
        self._pace = pace
        self._port: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """True while a node is connected to a BMC that has power."""
        return bool(self._tasks) and self._port is not None

    async def __aenter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, self.path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self.serve(None)
        self.path.unlink(missing_ok=True)

    async def serve(self, port: int | None) -> None:
        """Use this port of ipmi_sim from now on; None means that the BMC has no power. Connections end."""
        self._port = port
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # `serve` cancels; nobody else awaits this task
                if self._port is not None:
                    await self._join(reader, writer, self._port)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        from_bmc, to_bmc = await asyncio.open_connection(_SOURCE, port)
        try:
            async with asyncio.TaskGroup() as tasks:
                down = tasks.create_task(self._pump(reader, to_bmc, from_node=True))
                up = tasks.create_task(self._pump(from_bmc, writer, from_node=False))
                await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
                down.cancel()
                up.cancel()
        finally:
            to_bmc.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_node: bool) -> None:
        with contextlib.suppress(OSError):  # one of the two ends is gone
            while data := await reader.read(_CHUNK_BYTES):
                if from_node:
                    self.bytes_from_node += len(data)
                elif self._pace.delay_s > 0:
                    await asyncio.sleep(self._pace.delay_s)
                writer.write(data)
                await writer.drain()
