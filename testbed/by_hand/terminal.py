"""The terminal of a person at a node's console: each key goes there as it is, but for the one that leaves.

It must never leave a terminal without echo and line editing, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

from testbed.by_hand.orders import Order, talking
from testbed.wait import OwnedTask

LEAVE = b"\x1d"
LEAVE_NAME = "Ctrl-]"  # as with telnet and virsh
READ_BYTES = 65536


async def attach(socket: Path, order: Order, *, keys: int = 0, screen: int = 1) -> None:
    """Join two file descriptors, of a terminal or of pipes, with the console behind an order.

    Returns when the key that leaves was typed, or the bed went down. The end of a pipe does not leave: who only reads
    gives no input. Raises UsageError or TestbedError as the bed says.
    """
    async with talking(socket, order) as (_answer, reader, writer):
        sys.stderr.write(f"testbed: {LEAVE_NAME} leaves the console\r\n")
        with _raw(keys), _typed(keys) as typed:
            async with OwnedTask(_send(typed, writer, left := asyncio.Event()), name="keys"):
                await _show(reader, screen, left)
    sys.stderr.write("\r\ntestbed: left the console\r\n" if left.is_set() else "\r\ntestbed: the bed went down\r\n")


async def _send(typed: asyncio.Queue[bytes], writer: asyncio.StreamWriter, left: asyncio.Event) -> None:
    while True:
        data, leave, _rest = (await typed.get()).partition(LEAVE)
        with contextlib.suppress(ConnectionError):  # the reading side notices it, too
            writer.write(data)
            await writer.drain()
        if leave:
            left.set()
            return


async def _show(reader: asyncio.StreamReader, screen: int, left: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(left.wait())
        coming: asyncio.Task[bytes] | None = None
        while True:
            coming = coming or tasks.create_task(reader.read(READ_BYTES))
            await asyncio.wait({leaving, coming}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done() or not coming.result():
                break
            _write(screen, coming.result())
            coming = None
        leaving.cancel()
        coming.cancel()


def _write(screen: int, data: bytes) -> None:
    while data:
        data = data[os.write(screen, data) :]


@contextlib.contextmanager
def _typed(keys: int) -> Iterator[asyncio.Queue[bytes]]:
    """A queue of what is typed, read without blocking the loop; a file or an end of input is simply no typing."""
    loop, typed = asyncio.get_running_loop(), asyncio.Queue[bytes]()

    def ready() -> None:
        data = os.read(keys, READ_BYTES)
        if data:
            typed.put_nowait(data)
        else:
            loop.remove_reader(keys)

    try:
        loop.add_reader(keys, ready)
    except PermissionError:  # epoll refuses ordinary files
        yield typed
        return
    try:
        yield typed
    finally:
        loop.remove_reader(keys)


@contextlib.contextmanager
def _raw(keys: int) -> Iterator[None]:
    """Keys one by one, unseen and without a meaning of their own, where there is a terminal."""
    if not os.isatty(keys):
        yield
        return
    before = termios.tcgetattr(keys)
    try:
        tty.setraw(keys)
        yield
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
