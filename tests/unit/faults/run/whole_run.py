"""A whole run in this process: a bed without machines, whose client is answered and whose disks can be pulled.

The run, its director, the fault, the client and the judges are the real ones. Made up is what stands outside: nodes,
switch, service and disk servers. These speak the real protocols, on sockets of their own.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import json
import struct
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import pytest

from faults.kinds import disk
from faults.run import scenario
from testbed.client.ledger import Datagram
from testbed.disk.server import FIXED_NEWSTYLE, HANDSHAKE, NO_ZEROES, OPTION, READ, REPLY_MAGIC, NbdDisk
from testbed.history import History
from testbed.lan.packets import Udp
from testbed.replica.look import DATA_DISKS
from testbed.site import SiteOptions
from tests.unit.testbed.small_image import cold_bed

SIZE = 1 << 20


class Service:
    """The VM's service as the client's endpoint meets it: each write is taken, and each question answered at once."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.handlers: dict[int, Callable[[Datagram, float], None]] = {}
        self.free_port = iter(range(40_000, 60_000)).__next__

    def listen(self, port: int, handler: Callable[[Datagram, float], None]) -> None:
        """Keep the handler."""
        self.handlers[port] = handler

    def stop_listening(self, port: int) -> None:
        """Forget it."""
        del self.handlers[port]

    def udp_send(self, dst_ip: str, dst_port: int, src_port: int, payload: bytes) -> None:
        """Answer at once."""
        verb, word, *rest = payload.decode().split()
        if verb == "PUT":
            self.ids.append(word)
            answer = f"OK {word} {len(self.ids) - 1}"
        elif verb == "PING":
            answer = f"PONG {word} one {len(self.ids)}"
        else:
            page = self.ids[int(word) : int(word) + int(rest[0])]
            answer = " ".join(["IDS", str(len(self.ids)), word, *page])
        now_s = asyncio.get_running_loop().time()
        self.handlers[src_port](Udp(dst_ip, "", "", dst_port, src_port, answer.encode()), now_s)


class Switch:
    """A switch that has no port and forwards nothing."""

    async def count_multicasts(self) -> None:
        """There are none."""

    async def rules(self) -> dict[str, Any]:
        """It held no frame back."""
        return {"lateness": {}}

    async def ports(self) -> dict[str, Any]:
        """It has none."""
        return {}


class DiskServer:
    """A disk of zeroes on the sockets of an `NbdDisk`; it goes when it is told to, or says so and does not."""

    def __init__(self, directory: Path, name: str, *, obeys: bool) -> None:
        self.disk = NbdDisk(name, directory / name, SIZE, sockets=directory, log=directory / "disk.log")
        self.obeys = obeys
        self.is_gone = False
        self.orders = 0

    async def start(self, stack: AsyncExitStack) -> None:
        """Listen on both sockets."""
        for path, answer in ((self.disk.socket, self._serve), (self.disk._control, self._obey)):
            listener = await asyncio.start_unix_server(answer, path)
            stack.callback(listener.close)

    async def _obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        order = json.loads(await reader.readline())["command"]
        self.orders += 1
        if order in ("gone", "back") and self.obeys:
            self.is_gone = order == "gone"
        writer.write(json.dumps({"ok": True, "result": {"orders": self.orders}}).encode() + b"\n")
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HANDSHAKE + OPTION + struct.pack(">H", FIXED_NEWSTYLE | NO_ZEROES))
        await reader.readexactly(4 + 16)
        writer.write(struct.pack(">QH", SIZE, 0))
        while True:
            _, _, kind, cookie, _, count = struct.unpack(">IHHQQI", await reader.readexactly(28))
            if kind != READ:
                break
            number = errno.ESHUTDOWN if self.is_gone else 0
            writer.write(struct.pack(">IIQ", REPLY_MAGIC, number, cookie) + (b"" if number else bytes(count)))
        writer.close()


@dataclass
class Node:
    """A node that says that all is well, and has disks; it counts as off, so that its machine is asked for nothing."""

    name: str
    role: str
    storage: dict[str, NbdDisk]
    is_on: bool = False
    image: Any = field(default_factory=lambda: SimpleNamespace(questions={}))

    async def status(self) -> dict[str, object]:
        """All is well."""
        return {"role": self.role, "protected": True}

    async def keep_inputs(self) -> None:
        """There are none."""


class NoLevels:
    """Probes of the other levels, none of which could be made."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def fields(self, **_since: object) -> dict[str, object]:
        """Nothing was measured."""
        return {}


class WholeSession:
    """A session whose bed is there at once, in place of `testbed.bed.Session`; its primary is node a."""

    began = False
    obeys = True  # its disk servers do

    def __init__(self, out: Path, site: SiteOptions) -> None:
        self.out, self.site = out, site
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.began = True
        self.out.mkdir()
        sockets = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-")))
        self.history = self._stack.enter_context(History(self.out / "history.jsonl"))
        bed = cold_bed(self.out.parent, self.out.parent, self.history, site=self.site)
        nodes = {}
        for name, role in (("a", "primary"), ("b", "backup")):
            servers = {one: DiskServer(sockets, f"{name}-{one}", obeys=self.obeys) for one in DATA_DISKS}
            for server in servers.values():
                await server.start(self._stack)
            nodes[name] = Node(name, role, {one: server.disk for one, server in servers.items()})
        vars(bed).update(
            nodes=nodes, switch=Switch(), clients={"biz0": Service()}, centre=SimpleNamespace(received=[]),
            probe_levels=lambda *_udp, **_record: NoLevels(), peak_memory_mib=lambda: 0,
        )  # fmt: skip
        self.bed = bed
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def protect(self, *, cold: bool) -> None:
        """It is."""
        assert not cold


def without_machines(patch: pytest.MonkeyPatch, *, obeys: bool = True) -> None:
    """Let `run_schedule` have such a session, and lose no time in it; a busy host is not taken for a dead disk."""
    patch.setattr(scenario, "Session", type("Session", (WholeSession,), {"obeys": obeys}))
    patch.setattr(scenario, "OBSERVE_MIN_S", 0.0)
    patch.setattr(disk, "try_read", functools.partial(disk.try_read, timeout_s=60.0))
