"""The two cables of a BMC: its LAN side as a host of the public segment, and its wire to the node that it belongs to.

Both end at ipmi_sim, which knows only UDP and TCP ports of the loopback; nobody else learns these numbers. A BMC can be
slow on both. Nothing here may answer for a BMC that has no power, or let somebody in without a password.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.lan.endpoint import Endpoint
from testbed.lan.udp_relay import LOOPBACK, Pace, UdpRelay

RMCP_PORT = 623
_CHUNK_BYTES = 4096


def opens_without_password(payload: bytes) -> bool:
    """Say whether a datagram opens an RMCP+ session with another authentication than RAKP-HMAC-SHA1, such as none.

    ipmi_sim lets anybody in who asks for none, and has no setting against it.
    """
    rmcp_ipmi, session, algorithm_at = payload[3:4] == b"\x07", payload[4:6], 16 + 12
    if not rmcp_ipmi or len(session) < 2 or session[0] != 0x06 or session[1] & 0x3F != 0x10:
        return False
    return len(payload) <= algorithm_at or payload[algorithm_at] & 0x3F != 0x01


class LanRelay(UdpRelay):
    """Its LAN side; sessions without authentication are refused."""

    def __init__(self, endpoint: Endpoint, pace: Pace) -> None:
        super().__init__(endpoint, RMCP_PORT, pace=pace, refuses=opens_without_password)


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
        from_bmc, to_bmc = await asyncio.open_connection(LOOPBACK, port)
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
