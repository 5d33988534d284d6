"""Proves the terminal at a node's console, on a real pseudo-terminal and on pipes."""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.by_hand import terminal
from testbed.by_hand.orders import Order, Orders, Talk

GUARD_S = 100  # only ends what hangs
ORDER = {"order": "console", "node": "a"}


class Console:
    """A console that says something and keeps what is typed; it hangs up when a test wants it."""

    def __init__(self) -> None:
        self.typed = b""
        self.came = asyncio.Event()
        self.hang_up = asyncio.Event()

    async def open(self, _order: Order) -> Talk:
        """Answer the order."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"login: ")
            async with asyncio.TaskGroup() as tasks:
                typing = tasks.create_task(self._take(reader))
                await self.hang_up.wait()
                typing.cancel()

        return talk

    async def _take(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(100):
            self.typed += data
            self.came.set()
        self.hang_up.set()


def attached(
    directory: Path, keys: int, screen: int, act: Callable[[Console, asyncio.Task[None]], Awaitable[None]]
) -> Console:
    """Attach to a console and let the test type and look; returns the console."""

    async def whole() -> Console:
        console = Console()
        async with asyncio.timeout(GUARD_S), Orders(directory) as orders, asyncio.TaskGroup() as tasks:
            with orders.taking({}, {"console": console.open}):
                here = tasks.create_task(terminal.attach(orders.path, ORDER, keys=keys, screen=screen))
                await act(console, here)
                await here
        return console

    return asyncio.run(whole())


async def seen(screen: int, words: bytes) -> None:
    """Wait until the screen has shown these words."""
    found = b""
    while words not in found:
        found += await asyncio.to_thread(os.read, screen, 100)


def test_keys_go_to_the_node_one_by_one_and_one_key_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a line end, and Ctrl-C too; afterwards the terminal is as it was."""
    person, tty = os.openpty()
    shown, screen = os.pipe()
    before = termios.tcgetattr(tty)

    async def act(console: Console, _here: asyncio.Task[None]) -> None:
        await seen(shown, b"login: ")
        assert not termios.tcgetattr(tty)[3] & termios.ECHO
        os.write(person, b"r\x03")
        while console.typed != b"r\x03":
            console.came.clear()
            await console.came.wait()
        os.write(person, b"x" + terminal.LEAVE + b"unread")

    try:
        console = attached(tmp_path, tty, screen, act)
        assert console.typed == b"r\x03x"
        assert termios.tcgetattr(tty) == before
    finally:
        for handle in (person, tty, shown, screen):
            os.close(handle)
    said = capsys.readouterr().err
    assert "Ctrl-] leaves the console" in said
    assert "left the console" in said


def test_the_end_of_a_pipe_leaves_nothing_and_the_end_of_the_bed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who only reads need not type; who is left by the bed is not left waiting."""
    keys, typing = os.pipe()
    shown, screen = os.pipe()
    os.write(typing, b"help\n")
    os.close(typing)

    async def act(console: Console, here: asyncio.Task[None]) -> None:
        await seen(shown, b"login: ")
        await console.came.wait()
        assert not here.done()
        console.hang_up.set()

    try:
        assert attached(tmp_path, keys, screen, act).typed == b"help\n"
    finally:
        for handle in (keys, shown, screen):
            os.close(handle)
    assert "the bed went down" in capsys.readouterr().err


def test_a_file_as_input_is_no_typing(tmp_path: Path) -> None:
    """It cannot be waited for, and is not read; the console is shown all the same."""
    shown, screen = os.pipe()
    with (tmp_path / "input").open("wb+") as stream:

        async def act(console: Console, _here: asyncio.Task[None]) -> None:
            await seen(shown, b"login: ")
            console.hang_up.set()

        try:
            assert attached(tmp_path, stream.fileno(), screen, act).typed == b""
        finally:
            os.close(shown)
            os.close(screen)
