"""Proves that a person sees what is being done, that it still lasts, and how long it took."""

from __future__ import annotations

import asyncio
import re

import pytest

from testbed import progress
from testbed.errors import HostError
from testbed.progress import Progress


async def lines(limit: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Wait until so many lines were printed, and return all."""
    text = ""
    async with asyncio.timeout(100):
        while text.count("\n") < limit:
            text += capsys.readouterr().err
            await asyncio.sleep(0.001)
    return text


def test_a_step_says_begin_still_and_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A step that lasts repeats itself, and its end tells its length."""
    monkeypatch.setattr(progress, "REPEAT_S", 0.001)

    async def scenario() -> str:
        async with Progress().step("boot"):
            return await lines(3, capsys)

    seen = asyncio.run(scenario()).splitlines()
    assert re.fullmatch(r"\[ +\d+\.\d s\] boot \.\.\.", seen[0])
    assert all(line.endswith("boot: 0 s so far") for line in seen[1:3])
    assert re.search(r"boot: done in \d+\.\d s\n$", capsys.readouterr().err)


def test_a_step_that_fails_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    """The error goes on, and nothing repeats itself afterwards."""

    async def scenario() -> int:
        with pytest.raises(HostError):
            async with Progress().step("boot"):
                raise HostError("no memory")
        return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1
    assert "done" not in capsys.readouterr().err


def test_a_quiet_progress_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Tests stay readable."""

    async def scenario() -> None:
        async with Progress(quiet=True).step("boot"):
            pass

    asyncio.run(scenario())
    assert capsys.readouterr().err == ""
