"""The disks of a node, each behind an nbdkit process of its own, so that they can lose power, lie, hang and vanish.

`NbdDisk` is one disk server and its control socket; `NbdClient` is a small client that asks the disk as a machine
would and so shows what the control socket only claims. It must never wait for a hanging disk without a limit, and its
end never depends on the disk: a server that does not answer is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import pace
from testbed.errors import DiskServerError
from testbed.process import Child
from testbed.site import ROOT
from testbed.socket_line import LineError, connect, packed, parsed
from testbed.wait import wait_until

PLUGIN = Path(__file__).resolve().with_name("nbd_plugin.py")
CONTROL_TIMEOUT_S = 10.0  # saving a disk of 512 MiB takes about a second
START_TIMEOUT_S = 15.0
IO_TIMEOUT_S = 5.0
ORDERLY_END_S = 2.0

# The network block device protocol (proto.md of NetworkBlockDevice/nbd).
HANDSHAKE, OPTION = b"NBDMAGIC", b"IHAVEOPT"
OPTION_EXPORT_NAME = 1
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FLAG_FUA = 1


class DiskIoError(OSError):
    """The disk answered a request with an error number."""


class NbdDisk:
    """One disk behind nbdkit; a context manager that ends the server, writing its cache back when it still answers."""

    def __init__(
        self,
        name: str,
        image: Path,
        size: int,
        *,
        sockets: Path,
        log: Path,
        backing: Path | None = None,
        cache: int | None = None,
    ) -> None:
        self.name = name
        self.image = image
        self.size = size
        self.socket = sockets / f"n-{name}"
        self._control = sockets / f"c-{name}"
        argv = [
            "nbdkit", "--foreground", "--unix", str(self.socket), "python", str(PLUGIN),
            f"image={image}", f"size={size}", f"control={self._control}",
        ]  # fmt: skip
        if backing is not None:
            argv.append(f"backing={backing.resolve()}")
        if cache is not None:
            argv.append(f"cache={cache}")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self._child = Child(argv, name=f"the server of disk {name}", log=log, env=environment)

    async def __aenter__(self) -> Self:
        self._control.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        await self._child.__aenter__()
        try:
            await wait_until(
                self._answers,
                what=f"the server of disk {self.name}",
                timeout_s=START_TIMEOUT_S,
                poll_s=0.02,
                tolerate=(OSError,),
            )
        except BaseException:
            await self._child.kill()
            raise
        return self

    async def _answers(self) -> bool:
        if not self.alive:
            raise DiskServerError(f"The server of disk {self.name} ended at once: {self._child.last_words()}")
        async with NbdClient(self.socket):
            return bool(await self._ask("state", {}))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(DiskServerError):
            await self.command("sync", timeout_s=ORDERLY_END_S)
        await self._child.kill()
        self._control.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)

    @property
    def alive(self) -> bool:
        """True while the server runs."""
        return self._child.alive

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._child.pid

    async def kill(self) -> None:
        """End the server at once; what its volatile cache held is gone."""
        await self._child.kill()

    async def command(self, name: str, *, timeout_s: float = CONTROL_TIMEOUT_S, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Give the disk one command and return its answer; see `testbed.disk.core` for the commands."""
        try:
            async with pace.timeout(timeout_s):
                answer = await self._ask(name, arguments)
        except TimeoutError as error:
            raise DiskServerError(
                f"The server of disk {self.name} did not answer `{name}` in {pace.scaled(timeout_s):g} s; whether it "
                "ran is unknown. Kill the server or the node."
            ) from error
        except OSError as error:
            reached = f"`{name}` did not reach disk {self.name}: {error}."
            if isinstance(error, LineError):
                reached = f"Disk {self.name} did not answer `{name}`: {error}; whether it ran is unknown."
            state = "runs" if self.alive else f"has ended with code {self._child.returncode}"
            raise DiskServerError(f"{reached} Its server {state}; last words: {self._child.last_words()}") from error
        if not answer["ok"]:
            raise DiskServerError(f"Disk {self.name} refused `{name}`: {answer['error']}. Nothing has changed.")
        return answer["result"]

    async def _ask(self, name: str, arguments: dict[str, object]) -> dict[str, Any]:
        command = packed({"command": name, "arguments": arguments})
        line = await connect(self._control)
        try:
            await line.send(command)
            return parsed(await line.read())
        finally:
            line.writer.close()

    async def state(self) -> dict[str, Any]:
        """Return the counters of the disk and what is armed."""
        state: dict[str, Any] = await self.command("state")
        return state

    async def save(self, directory: Path) -> None:
        """Save image and volatile cache; the machine that uses the disk is paused."""
        await self.command("save", directory=str(directory), timeout_s=60.0)

    async def load(self, directory: Path) -> None:
        """Load what `save` saved; no machine uses the disk."""
        await self.command("load", directory=str(directory), timeout_s=60.0)


class NbdClient:
    """A client of one disk that has one request at a time on its way; every request has a deadline."""

    size: int

    def __init__(self, socket: Path, *, timeout_s: float = IO_TIMEOUT_S) -> None:
        self._socket = socket
        self._timeout_s = timeout_s
        self._cookie = 0

    async def __aenter__(self) -> Self:
        async with pace.timeout(self._timeout_s):
            self._reader, self._writer = await asyncio.open_unix_connection(self._socket)
            try:
                await self._shake_hands()
            except BaseException:
                self._writer.close()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._writer.write(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, DISCONNECT, self._cookie, 0, 0))
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _shake_hands(self) -> None:
        try:
            greeting = await self._reader.readexactly(18)
            if greeting[:16] != HANDSHAKE + OPTION:
                raise ConnectionError(f"{self._socket} greets with {greeting!r}, which is no NBD server")
            self._writer.write(struct.pack(">I", FIXED_NEWSTYLE | NO_ZEROES))
            self._writer.write(OPTION + struct.pack(">II", OPTION_EXPORT_NAME, 0))
            self.size, _flags = struct.unpack(">QH", await self._reader.readexactly(10))
        except asyncio.IncompleteReadError as error:
            raise ConnectionError(f"{self._socket} closed the connection during the handshake") from error

    async def _request(self, kind: int, offset: int, count: int, data: bytes = b"", flags: int = 0) -> bytes:
        self._cookie += 1
        head = struct.pack(">IHHQQI", REQUEST_MAGIC, flags, kind, self._cookie, offset, count)
        try:
            async with pace.timeout(self._timeout_s):
                self._writer.write(head + data)
                await self._writer.drain()
                magic, number, cookie = struct.unpack(">IIQ", await self._reader.readexactly(16))
                if (magic, cookie) != (REPLY_MAGIC, self._cookie):
                    raise ConnectionError(f"{self._socket} answered out of turn; this client gave up on a request")
                if number:
                    raise DiskIoError(number, f"the disk answered {errno.errorcode.get(number, number)}")
                return await self._reader.readexactly(count) if kind == READ else b""
        except asyncio.IncompleteReadError as error:
            raise ConnectionError(f"{self._socket} closed the connection") from error

    async def read(self, offset: int, count: int) -> bytes:
        """Read; raises DiskIoError when the disk says no, TimeoutError when it does not answer."""
        return await self._request(READ, offset, count)

    async def write(self, offset: int, data: bytes, *, fua: bool = False) -> None:
        """Write; with `fua` it is durable when this returns."""
        await self._request(WRITE, offset, len(data), data, FLAG_FUA if fua else 0)

    async def flush(self) -> None:
        """Make durable what was written."""
        await self._request(FLUSH, 0, 0)
