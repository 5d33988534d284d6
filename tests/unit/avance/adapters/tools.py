"""Stand-ins for the programs of a node: scripts on PATH that note how they were called and say what they are told.

They must never do anything else, so that a test can run the real adapters on any machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = """#!/bin/sh
echo "{name} $*" >> {directory}/calls
[ -f {directory}/{name}.out ] && cat {directory}/{name}.out
[ -f {directory}/{name}.$1.rc ] && exit "$(cat {directory}/{name}.$1.rc)"
[ -f {directory}/{name}.rc ] && exit "$(cat {directory}/{name}.rc)"
exit 0
"""


class Tools:
    """Scripts in a directory that stands first on PATH."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self._directory = directory
        monkeypatch.setenv("PATH", str(directory), prepend=":")
        for name in names:
            script = directory / name
            script.write_text(_SCRIPT.format(name=name, directory=directory))
            script.chmod(0o755)

    def says(self, name: str, text: str) -> None:
        """Let a program print this."""
        (self._directory / f"{name}.out").write_text(text)

    def ends(self, name: str, code: int) -> None:
        """Let a program end with this code; `name` may be `program.verb`."""
        (self._directory / f"{name}.rc").write_text(str(code))

    @property
    def calls(self) -> list[str]:
        """Every call so far, in order."""
        path = self._directory / "calls"
        return path.read_text().splitlines() if path.exists() else []


def beside(forever: Coroutine[Any, Any, None], body: Callable[[], Awaitable[None]], limit_s: float = 10.0) -> None:
    """Run something that never ends beside a test, and cancel it when the test is done."""

    async def both() -> None:
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(forever)
            await body()
            task.cancel()

    asyncio.run(both())


async def until(what: Callable[[], bool]) -> None:
    """Wait until something holds; the caller's deadline ends it."""
    while not what():  # noqa: ASYNC110 - the code under test has no event to wait for
        await asyncio.sleep(0.005)


def descriptors() -> int:
    """Count what this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
