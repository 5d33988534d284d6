"""Stand-ins for a node's Xen and xenstored: the module of hypercalls as Xen 4.17's tools have it, and a store's socket.

They must never know anything of the product beyond these two interfaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avance.core.model import VmId
from avance.wire import xl

HEADER = struct.Struct("=IIII")
FOREIGN = "11111111222243334444555555555555"


def _entry(number: int, state: str, digits: str, *, ran: bool, reason: int = 255) -> dict[str, Any]:
    words = {"r": "running", "b": "blocked", "p": "paused", "s": "shutdown", "c": "crashed", "d": "dying"}
    entry: dict[str, Any] = {"domid": number, "handle": list(bytes.fromhex(digits)), "cpu_time": 5 * ran}
    entry |= {word: int(letter in state) for letter, word in words.items()}
    entry |= {"shutdown_reason": 3 if "c" in state else reason, "mem_kb": 96 << 10}
    entry["holds"] = entry["paused"]
    return entry


@dataclass
class FakeXen:
    """Domains as `xc.domain_getinfo` of Xen 4.17 returns them, and what was done to them; also the module's name."""

    listed: list[dict[str, Any]] = field(default_factory=lambda: [_entry(0, "r", "0" * 32, ran=True)])
    calls: list[str] = field(default_factory=list)
    free_kib: int | None = None
    broken: bool = False
    stubborn: bool = False

    def xc(self) -> FakeXen:
        """Open the interface."""
        return self

    def put(
        self, number: int, state: str = "b", *, vm: str = "", ran: bool = True, reason: int = 255
    ) -> dict[str, Any]:
        """Let a domain exist, of a VM or foreign; the letters are those of xl(1): r b p s c d.

        `reason`: why it was shut down, 255 where it was not (xen/include/public/sched.h).
        """
        entry = _entry(number, state, xl.uuid_of(VmId(vm)) if vm else FOREIGN, ran=ran, reason=reason)
        self.listed.append(entry)
        return entry

    def domain_getinfo(self, first: int, most: int) -> list[dict[str, Any]]:
        """Return at most so many domains from this number on; none at all is an error, as on Xen 4.17 (tried)."""
        if self.broken:
            raise RuntimeError(13, "Permission denied")
        found = sorted((one for one in self.listed if one["domid"] >= first), key=lambda one: int(one["domid"]))[:most]
        if not found:
            raise RuntimeError(3, "No such process")
        return found

    def physinfo(self) -> dict[str, Any]:
        """Return what Xen says of the machine; nothing of its memory unless a test does."""
        if self.broken:
            raise RuntimeError(13, "Permission denied")
        return {} if self.free_kib is None else {"free_memory": self.free_kib, "nr_cpus": 2}

    def _hold(self, name: str, number: int, more: int) -> None:
        self.calls.append(f"{name} {number}")
        found = [one for one in self.listed if one["domid"] == number]
        if not found or self.stubborn:
            raise RuntimeError(3, "No such process")
        found[0]["holds"] += more
        found[0]["paused"] = int(found[0]["holds"] > 0)

    def domain_pause(self, number: int) -> None:
        """Pause once more."""
        self._hold("pause", number, 1)

    def domain_unpause(self, number: int) -> None:
        """Take one pause back."""
        self._hold("unpause", number, -1)


@dataclass
class FakeStore:
    """xenstored on a socket; `silent` lets it take questions and answer none."""

    path: Path
    nodes: dict[str, str] = field(default_factory=lambda: {"/local/domain/0/name": "Domain-0"})
    silent: bool = False
    asked: list[str] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeStore]:
        """Answer on the socket until the end of the block."""
        server = await asyncio.start_unix_server(self._serve, self.path)
        try:
            yield self
        finally:
            self.hang_up()
            server.close()

    def hang_up(self) -> None:
        """Close every connection, as a xenstored that dies."""
        for writer in self.writers:
            writer.close()
        self.writers.clear()

    def fire(self, node: str) -> None:
        """Tell everybody of a change."""
        payload = f"{node}\0{node}\0".encode()
        for writer in self.writers:
            writer.write(HEADER.pack(15, 0, 0, len(payload)) + payload)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, number, _, length = HEADER.unpack(await reader.readexactly(HEADER.size))
                node = (await reader.readexactly(length)).split(b"\0")[0].decode()
                if kind == 4:
                    self.watched.append(node)
                else:
                    self.asked.append(node)
                if self.silent:
                    continue
                self.answer(writer, kind, number, node)

    def answer(self, writer: asyncio.StreamWriter, kind: int, number: int, node: str) -> None:
        """Answer one question, as xenstored does."""
        value = b"OK\0" if kind == 4 else self.nodes.get(node, "").encode()
        if not value:
            kind, value = 16, b"ENOENT\0"
        writer.write(HEADER.pack(kind, number, 0, len(value)) + value)
        if kind == 4:
            self.fire(node)  # a watch fires once as soon as it is set
