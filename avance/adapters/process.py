"""The only place that starts a subprocess: deadline, output, three-valued outcome."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from avance.core.model import Outcome
from avance.ports import Done

_OUTPUT_BYTES_MAX = 4000
_REAP_S = 1.0  # a killed process is gone at once, unless it waits for a dying disk


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command did; a command that was killed at its deadline has outcome UNKNOWN."""

    outcome: Outcome
    stdout: str
    detail: str

    @property
    def done(self) -> Done:
        """The outcome without the output."""
        return Done(self.outcome, self.detail)


async def run(argv: Sequence[str], *, timeout_s: float) -> Completed:
    """Run a command to its end or to its deadline; never raises for what the command did."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    name = " ".join(argv)
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        detail = f"`{name}` did not end within {timeout_s:g} s; whether it acted is unknown"
        return Completed(Outcome.UNKNOWN, "", detail)
    finally:
        if process.returncode is None:
            process.kill()
            # A process that hangs in the kernel cannot be reaped yet; it must not take us with it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REAP_S):
                    await process.communicate()
    text = stdout.decode(errors="replace")
    if process.returncode == 0:
        return Completed(Outcome.OK, text, "")
    said = (stderr.decode(errors="replace").strip() or text.strip())[-_OUTPUT_BYTES_MAX:]
    return Completed(Outcome.FAILED, text, f"`{name}` ended with {process.returncode}: {said}")


async def run_all(argvs: Sequence[Sequence[str]], *, timeout_s: float) -> Done:
    """Run commands one after the other; the first that does not end OK is the result."""
    for argv in argvs:
        completed = await run(argv, timeout_s=timeout_s)
        if completed.outcome is not Outcome.OK:
            return completed.done
    return Done(Outcome.OK)


async def lines(argv: Sequence[str]) -> AsyncIterator[str]:
    """Yield the lines that a long-running command prints, until it ends; it is killed when the caller leaves."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            yield line.decode(errors="replace").rstrip("\n")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
