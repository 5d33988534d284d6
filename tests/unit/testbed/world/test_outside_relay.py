"""Unit tests of testbed.world.outside_relay on socket pairs: what is copied and when it ends. They start no process."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.world.outside_relay import relay

LIMIT_S = 100.0


@pytest.fixture
def path() -> Iterator[Path]:
    """A short socket path."""
    with tempfile.TemporaryDirectory(prefix="tb-") as directory:
        yield Path(directory) / "c"


def test_nobody_listens(path: Path) -> None:
    """The relay gives up at once, which closes the node's connection."""
    near, far = socket.socketpair()
    with near, far:
        assert relay(str(path), near.fileno(), near.fileno()) == 1


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_bytes_pass_both_ways_and_a_half_close_keeps_the_answer(path: Path, size: int) -> None:
    """The node may close its direction and still gets the whole answer; then the relay ends with 0."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()  # to the end: the answer starts after the half close
        writer.write(data.upper())
        await writer.drain()
        writer.close()

    async def scene() -> None:
        near, far = socket.socketpair()
        with near:
            async with (
                asyncio.timeout(LIMIT_S),
                await asyncio.start_unix_server(echo, path),
                asyncio.TaskGroup() as group,
            ):
                ended = group.create_task(asyncio.to_thread(relay, str(path), near.fileno(), near.fileno()))
                reader, writer = await asyncio.open_connection(sock=far)
                writer.write(b"a" * size)
                writer.write_eof()
                assert await reader.readexactly(size) == b"A" * size
                assert await ended == 0
                writer.close()

    asyncio.run(scene())


def test_the_node_vanishes(path: Path) -> None:
    """When the node's side is gone, the relay closes the far side and ends with it."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        writer.close()

    async def scene() -> None:
        near, far = socket.socketpair()
        with near:
            async with asyncio.timeout(LIMIT_S), await asyncio.start_unix_server(hold, path):
                far.close()
                assert await asyncio.to_thread(relay, str(path), near.fileno(), near.fileno()) == 0

    asyncio.run(scene())
