"""A small client of QEMU's debug stub: halt the processor, look where it is, write a few bytes there, let it go on.

It speaks the remote serial protocol of GDB over a unix socket, with the five packets that are needed. It exists because
nothing else reaches the code that runs below a node's Linux. It must never leave a machine halted: leaving the context
lets it go on, whatever happened inside.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from testbed import pace
from testbed.errors import MachineError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

    from testbed.node.machine import Machine

ANSWER_TIMEOUT_S = 5.0
INTERRUPT = b"\x03"
_STOPPED = ("T", "S")  # how a packet begins that tells of a halt; numbers are in small letters
# The layout of the packet "g" for x86-64: sixteen registers of eight bytes, then rip, eflags and the segments.
_RIP_AT, _FLAGS_AT, _CS_AT = 128, 136, 140
_INTERRUPT_FLAG = 1 << 9


class DebugStubError(MachineError):
    """The debug stub refused a packet, or did not answer; the text says what the machine does now."""


@dataclass(frozen=True)
class Where:
    """Where a halted processor stands."""

    rip: int
    cs: int
    flags: int

    @property
    def ring(self) -> int:
        """The privilege level: 0 is the hypervisor of a node, 3 everything above it."""
        return self.cs & 3

    @property
    def takes_interrupts(self) -> bool:
        """The processor's interrupt flag."""
        return bool(self.flags & _INTERRUPT_FLAG)


@asynccontextmanager
async def attach(machine: Machine) -> AsyncIterator[DebugStub]:
    """Open the debug stub of a running machine for the length of the context; it runs again afterwards."""
    if (state := await machine.status()) != "running":
        raise UsageError(f"node {machine.name} is {state}; its processor can be looked at only while it runs")
    socket = machine.spec.socket("gdb")
    socket.unlink(missing_ok=True)
    await _monitor(machine, f"gdbserver unix:{socket},server=on,wait=off")
    try:
        async with DebugStub(socket, node=machine.name) as stub:
            yield stub
    finally:
        await _monitor(machine, "gdbserver none")
        socket.unlink(missing_ok=True)
        if await machine.status() != "running":  # the stub failed half-way
            await machine.cont()


async def _monitor(machine: Machine, line: str) -> None:
    await machine.execute("human-monitor-command", {"command-line": line})


class DebugStub:
    """One connection; the machine is halted from entry on, except between `go` and `halt`."""

    def __init__(self, socket: Path, *, node: str) -> None:
        self._socket = socket
        self._node = node
        self._running = True

    async def __aenter__(self) -> Self:
        try:
            self._reader, self._writer = await asyncio.open_unix_connection(self._socket)
        except OSError as error:
            raise DebugStubError(f"Node {self._node} has no debug stub: {error}. Nothing changed.") from error
        self._running = False  # connecting halts the machine
        try:
            await self.where()  # behind it no word about the halt is left in the stream
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        try:
            if self._running:
                await self.halt()
            await self._ask("D")
        finally:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()

    async def where(self) -> Where:
        """Where the halted processor stands."""
        raw = bytes.fromhex(await self._ask("g"))
        (rip,) = struct.unpack_from("<Q", raw, _RIP_AT)
        flags, cs = struct.unpack_from("<II", raw, _FLAGS_AT)
        assert _CS_AT == _FLAGS_AT + 4
        return Where(rip, cs, flags)

    async def read(self, address: int, count: int) -> bytes:
        """Read memory as the processor sees it now."""
        return bytes.fromhex(await self._ask(f"m{address:x},{count:x}"))

    async def write(self, address: int, data: bytes) -> None:
        """Write memory as the processor sees it now, also where it may not write itself."""
        if await self._ask(f"M{address:x},{len(data):x}:{data.hex()}") != "OK":
            raise DebugStubError(f"Node {self._node} refused {len(data)} bytes at {address:#x}; nothing was written.")

    async def go(self) -> None:
        """Let the machine go on."""
        self._send("c")
        self._running = True

    async def halt(self) -> None:
        """Halt it again."""
        self._writer.write(INTERRUPT)
        while not (await self._answer()).startswith(_STOPPED):
            pass
        self._running = False

    async def _ask(self, packet: str) -> str:
        self._send(packet)
        answer = await self._answer()
        while answer.startswith(_STOPPED):  # the stub tells of a halt when it likes
            answer = await self._answer()
        if answer.startswith("E") or not answer:
            raise DebugStubError(f"The debug stub of node {self._node} refused {packet[:20]!r}: {answer or 'unknown'}.")
        return answer

    def _send(self, packet: str) -> None:
        body = packet.encode()
        self._writer.write(b"$" + body + b"#%02x" % (sum(body) % 256))

    async def _answer(self) -> str:
        """Read one packet, acknowledge it and return its content."""
        try:
            async with pace.timeout(ANSWER_TIMEOUT_S):
                await self._reader.readuntil(b"$")  # the acknowledgement of ours is before it
                body = (await self._reader.readuntil(b"#"))[:-1]
                await self._reader.readexactly(2)
                self._writer.write(b"+")
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise DebugStubError(
                f"The debug stub of node {self._node} did not answer ({error!r}); the machine may be halted. "
                "Let it go on with `cont`, or kill it."
            ) from error
        return body.decode()
