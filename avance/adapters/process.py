"""The only place that starts a subprocess: deadline, output, three-valued outcome."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from avance.core.model import Outcome
from avance.core.results import Done

_OUTPUT_BYTES_MAX = 4000
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
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


async def run(argv: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None) -> Completed:
    """Run a command to its end or to its deadline; never raises for what the command did.

    `environment` is added to the daemon's own: the place for passwords, which must not stand on a command line.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=_with(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    name = " ".join(argv)
    try:
        async with asyncio.timeout(timeout_s):  # not wait_for, which can lose a cancellation (before Python 3.12)
            stdout, stderr = await process.communicate()
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


def _with(environment: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if environment is None else {**os.environ, **environment}


async def run_all(argvs: Sequence[Sequence[str]], *, timeout_s: float) -> Done:
    """Run commands one after the other; the first that does not end OK is the result."""
    for argv in argvs:
        completed = await run(argv, timeout_s=timeout_s)
        if completed.outcome is not Outcome.OK:
            return completed.done
    return Done(Outcome.OK)


async def lines(argv: Sequence[str], *, environment: Mapping[str, str] | None = None) -> AsyncGenerator[str, None]:
    """Yield the lines that a long-running command prints, until it ends; it is killed when the caller leaves.

    Who leaves before its end closes the generator (contextlib.aclosing); `environment` is as for `run`.
    """
    process = await asyncio.create_subprocess_exec(
        *argv, env=_with(environment), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            yield line.decode(errors="replace").rstrip("\n")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def keep_open(descriptor: int, known_as: int) -> int:
    """Start a process that only sleeps, outlives this one and keeps `descriptor` open; returns its number.

    Raises:
        OSError: it could not be started.
    """
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    actions = [*nothing, (os.POSIX_SPAWN_DUP2, descriptor, known_as)]
    return os.posix_spawnp("sleep", ["sleep", "infinity"], {"PATH": _SYSTEM_PATH}, file_actions=actions, setsid=True)
