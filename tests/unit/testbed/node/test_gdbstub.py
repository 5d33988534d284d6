"""The client of the debug stub halts, looks, writes and always lets the machine go on, on a stub of its kind."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from testbed.errors import UsageError
from testbed.node import gdbstub
from testbed.node.gdbstub import DebugStub, DebugStubError, Where, attach
from testbed.node.machine import Machine

RIP, FLAGS, CS = 0xFFFF82D04030C376, 0x202, 0xE008


@dataclass
class Stub:
    """The other side: registers, some memory, and what it was told."""

    memory: dict[int, bytes] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    is_running: bool = True
    is_mute: bool = False
    refuses: str = "?"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; it begins with a word about the halt that nobody asked for, as QEMU's does."""
        self.is_running = False
        self._say(writer, "T05thread:01;")
        while first := await reader.read(1):
            if first == b"\x03":
                self.is_running = False
                self._say(writer, "T02thread:01;")
            elif first == b"$":
                packet = (await reader.readuntil(b"#"))[:-1]
                assert int(await reader.readexactly(2), 16) == sum(packet) % 256
                writer.write(b"+")
                self.told.append(packet.decode())
                if not self.is_mute:
                    self._answer(writer, packet.decode())
        writer.close()
        await writer.wait_closed()

    def _answer(self, writer: asyncio.StreamWriter, packet: str) -> None:
        if packet.startswith(self.refuses):
            self._say(writer, "E22")
        elif packet == "g":
            self._say(writer, (struct.pack("<16Q", *range(16)) + struct.pack("<QII", RIP, FLAGS, CS)).hex())
        elif packet.startswith("M"):
            place, data = packet[1:].split(":")
            self.memory[int(place.split(",")[0], 16)] = bytes.fromhex(data)
            self._say(writer, "OK")
        elif packet.startswith("m"):
            self._say(writer, self.memory[int(packet[1:].split(",", 1)[0], 16)].hex())
        elif packet in ("c", "D"):
            self.is_running = True
            if packet == "D":
                self._say(writer, "OK")

    def _say(self, writer: asyncio.StreamWriter, text: str) -> None:
        body = text.encode()
        writer.write(b"$" + body + b"#%02x" % (sum(body) % 256))


@asynccontextmanager
async def stub_at(socket: Path) -> AsyncIterator[Stub]:
    """A stub that listens there."""
    stub = Stub()
    server = await asyncio.start_unix_server(stub.serve, socket)
    try:
        yield stub
    finally:
        server.close()
        await server.wait_closed()


def test_the_processor_is_found_and_its_code_overwritten(tmp_path: Path) -> None:
    """Registers are read right, memory is written, and afterwards the machine runs."""

    async def story() -> tuple[Where, bytes, Stub]:
        async with stub_at(tmp_path / "s") as stub:
            async with DebugStub(tmp_path / "s", node="a") as client:
                await client.go()
                await client.halt()
                where = await client.where()
                await client.write(where.rip, b"\x0f\x0b")
                written = await client.read(where.rip, 2)
                assert not stub.is_running
            return where, written, stub

    where, written, stub = asyncio.run(story())
    assert where == Where(RIP, CS, FLAGS)
    assert (where.ring, where.takes_interrupts) == (0, True)
    assert written == b"\x0f\x0b"
    assert stub.is_running
    assert stub.told[-1] == "D"


def test_the_machine_goes_on_when_the_work_fails_or_left_it_running(tmp_path: Path) -> None:
    """An error inside the context, and an end while it runs, both detach."""

    async def story() -> list[bool]:
        async with stub_at(tmp_path / "s") as stub:
            with pytest.raises(ZeroDivisionError):
                async with DebugStub(tmp_path / "s", node="a"):
                    raise ZeroDivisionError
            states = [stub.is_running]
            async with DebugStub(tmp_path / "s", node="a") as client:
                await client.go()
            return [*states, stub.is_running]

    assert asyncio.run(story()) == [True, True]


def test_a_refused_write_says_so(tmp_path: Path) -> None:
    """The error names the node, and the machine goes on."""

    async def story() -> bool:
        async with stub_at(tmp_path / "s") as stub:
            stub.refuses = "M"
            with pytest.raises(DebugStubError, match="stub of node a refused 'M1000,1:00'"):
                async with DebugStub(tmp_path / "s", node="a") as client:
                    await client.write(0x1000, b"\0")
            return stub.is_running

    assert asyncio.run(story())


def test_a_stub_that_is_not_there_or_mute_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is waited for without a limit, and the text says what to do."""
    monkeypatch.setattr(gdbstub, "ANSWER_TIMEOUT_S", 0.05)

    async def story() -> None:
        with pytest.raises(DebugStubError, match="Node a has no debug stub"):
            await DebugStub(tmp_path / "none", node="a").__aenter__()
        async with stub_at(tmp_path / "s") as stub:
            stub.is_mute = True
            with pytest.raises(DebugStubError, match=r"may be halted. Let it go on with `cont`, or kill it"):
                await DebugStub(tmp_path / "s", node="a").__aenter__()

    asyncio.run(story())


class FakeMachine:
    """A machine whose monitor opens the stub, and whose stub may leave it halted."""

    name = "a"

    def __init__(self, directory: Path, *, status: str = "running") -> None:
        self.spec = SimpleNamespace(socket=lambda purpose: directory / f"a-{purpose}")
        self.state = status
        self.did: list[str] = []

    async def status(self) -> str:
        """The run state."""
        return self.state

    async def cont(self) -> None:
        """Let it go on."""
        self.did.append("cont")

    async def execute(self, command: str, arguments: dict[str, str]) -> None:
        """Note the line."""
        assert command == "human-monitor-command"
        self.did.append(arguments["command-line"].partition(":")[0])


def test_the_stub_is_closed_and_a_machine_left_halted_goes_on(tmp_path: Path) -> None:
    """Also when nobody answered at the socket."""
    fake = FakeMachine(tmp_path)

    async def story() -> None:
        with pytest.raises(DebugStubError, match="no debug stub"):
            async with attach(cast("Machine", fake)):
                fake.state = "never reached"

    asyncio.run(story())
    assert fake.did == ["gdbserver unix", "gdbserver none"]


def test_a_machine_that_does_not_run_is_not_looked_at(tmp_path: Path) -> None:
    """Detaching would let a paused machine go on."""
    fake = FakeMachine(tmp_path, status="paused")

    async def story() -> None:
        async with attach(cast("Machine", fake)):
            raise AssertionError

    with pytest.raises(UsageError, match="node a is paused"):
        asyncio.run(story())
    assert fake.did == []
