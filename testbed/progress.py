"""Progress for people: what is being done, how far, how long so far; never a silent minute."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from testbed.wait import OwnedTask

REPEAT_S = 10.0  # a step that lasts says so again after each of these


class Progress:
    """Prints one line per step to stderr, with the time since the start of the run."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._began_s = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line."""
        if not self._quiet:
            sys.stderr.write(f"[{time.monotonic() - self._began_s:6.1f} s] {text}\n")
            sys.stderr.flush()

    @asynccontextmanager
    async def step(self, text: str) -> AsyncIterator[None]:
        """Say that a step begins, that it still lasts, and how long it took."""
        began_s = time.monotonic()
        self.say(f"{text} ...")
        async with OwnedTask(self._repeat(text, began_s), name="progress"):
            yield
        self.say(f"{text}: done in {time.monotonic() - began_s:.1f} s")

    async def _repeat(self, text: str, began_s: float) -> None:
        while True:
            await asyncio.sleep(REPEAT_S)
            self.say(f"{text}: {time.monotonic() - began_s:.0f} s so far")
