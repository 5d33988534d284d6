"""Proves the two cables of a BMC: who gets in, and that a wire without a BMC is dead."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from testbed.bmc.relay import NodeWire, opens_without_password
from testbed.lan.udp_relay import Pace


def open_session(algorithm: int, *, payload_type: int = 0x10) -> bytes:
    """An RMCP+ datagram that asks for a session with this authentication algorithm."""
    header = bytes.fromhex("0600ff07 06") + bytes([payload_type]) + bytes(8) + bytes([32, 0])
    request = bytes(4) + bytes(4) + bytes([0, 0, 0, 8, algorithm, 0, 0, 0]) + bytes([1, 0, 0, 8, 1, 0, 0, 0])
    return header + request


@pytest.mark.parametrize(
    ("payload", "refused"),
    [
        (open_session(0), True),
        (open_session(0x40), True),  # reserved bits do not hide it
        (open_session(1), False),
        (open_session(2), True),
        (open_session(1)[:20], True),  # it names no algorithm: ipmi_sim would choose
        (open_session(0, payload_type=0x12), False),  # another message of the same protocol
        (open_session(0, payload_type=0x50), True),  # the bit for "encrypted" does not hide it either
        (bytes.fromhex("0600ff06 000011be 80000000"), False),  # a presence ping
        (b"", False),
    ],
)
def test_a_session_without_a_password_is_not_passed_on(payload: bytes, refused: bool) -> None:
    """Anything but RAKP-HMAC-SHA1 is refused before ipmi_sim sees it."""
    assert opens_without_password(payload) is refused


def test_a_wire_without_a_bmc_is_dead_and_comes_to_life() -> None:
    """Without power the node's connection ends at once; with it bytes pass; when it goes, the connection ends."""

    async def scenario() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(10))
            await reader.read()
            writer.close()

        with tempfile.TemporaryDirectory(prefix="tb-") as directory:
            async with NodeWire(Path(directory) / "a-ipmi", Pace()) as wire:
                reader, writer = await asyncio.open_unix_connection(wire.path)
                assert await reader.read() == b""
                writer.close()
                server = await asyncio.start_server(echo, "127.0.0.1", 0)
                await wire.serve(server.sockets[0].getsockname()[1])
                reader, writer = await asyncio.open_unix_connection(wire.path)
                writer.write(b"hello")
                assert await reader.read(5) == b"hello"
                assert (wire.connected, wire.bytes_from_node) == (True, 5)
                await wire.serve(None)
                assert await reader.read() == b""
                assert not wire.connected
                writer.close()
                server.close()
                await server.wait_closed()

    asyncio.run(asyncio.wait_for(scenario(), 10))
