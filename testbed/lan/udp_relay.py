"""A server on the loopback as a host of the bed's network: an endpoint of the switch passes its datagrams on.

The server knows only the loopback, and nobody else learns its port there. Nothing here may answer for a server that is
not there: then a datagram is lost, as it is on a wire to a dead machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.lan import packets
from testbed.lan.endpoint import Endpoint

CLIENTS_MAX = 16
LOOPBACK = "127.0.0.1"
_DATAGRAM_BYTES_MAX = 4096


@dataclass
class Pace:
    """How much later than the server the host answers."""

    delay_s: float = 0.0


@dataclass
class RelayCounters:
    """What came and went."""

    asked: int = 0
    answered: int = 0
    unpowered: int = 0  # no server was there
    refused: int = 0  # what this host does not pass on


def _nothing(_payload: bytes) -> bool:
    return False


class UdpRelay:
    """Carries datagrams between an endpoint and a server on the loopback, with one socket there for each client."""

    def __init__(
        self, endpoint: Endpoint, port: int, *, pace: Pace | None = None, refuses: Callable[[bytes], bool] = _nothing
    ) -> None:
        self.counters = RelayCounters()
        self._endpoint = endpoint
        self._listen_port = port
        self._pace = pace or Pace()
        self._refuses = refuses
        self._server_port: int | None = None
        self._clients: dict[tuple[str, int], socket.socket] = {}

    def __enter__(self) -> Self:
        self._endpoint.listen(self._listen_port, self._asked)
        self._endpoint.announce()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._endpoint.stop_listening(self._listen_port)
        self.serve(None)

    def serve(self, port: int | None) -> None:
        """Use this port of the loopback from now on; None means that no server is there."""
        self._server_port = port
        for key in list(self._clients):
            self._forget(key)

    def _forget(self, key: tuple[str, int]) -> None:
        client = self._clients.pop(key)
        asyncio.get_running_loop().remove_reader(client.fileno())
        client.close()

    def _asked(self, datagram: packets.Udp, _now_s: float) -> None:
        self.counters.asked += 1
        if self._server_port is None:
            self.counters.unpowered += 1
        elif self._refuses(datagram.payload):
            self.counters.refused += 1
        else:
            with contextlib.suppress(OSError):  # it has just died: a datagram is lost
                client = self._client((datagram.source_ip, datagram.source_port), self._server_port)
                client.send(datagram.payload)

    def _client(self, key: tuple[str, int], port: int) -> socket.socket:
        known = self._clients.get(key)
        if known is not None:
            return known
        if len(self._clients) >= CLIENTS_MAX:
            self._forget(next(iter(self._clients)))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        client.connect((LOOPBACK, port))
        asyncio.get_running_loop().add_reader(client.fileno(), self._answer, client, key)
        self._clients[key] = client
        return client

    def _answer(self, client: socket.socket, key: tuple[str, int]) -> None:
        try:
            payload = client.recv(_DATAGRAM_BYTES_MAX)
        except OSError:  # nothing there, or the server is gone
            return
        if self._pace.delay_s > 0:
            asyncio.get_running_loop().call_later(self._pace.delay_s, self._send, key, payload)
        else:
            self._send(key, payload)

    def _send(self, key: tuple[str, int], payload: bytes) -> None:
        if self._server_port is not None:
            self.counters.answered += 1
            self._endpoint.udp_send(key[0], key[1], self._listen_port, payload)


def bound_port(pid: int, table: str = "udp", state: str = "") -> int:
    """Return the port that a process has bound, from a table (and, if given, a socket state) of proc(5), or 0."""
    inodes = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    try:
        lines = Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return 0
    rows = (line.split() for line in lines)
    return next((int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in inodes and state in ("", row[3])), 0)
