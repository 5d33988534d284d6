"""The only place of the testbed that starts processes, so that nothing it started can outlive it.

Every child gets `PR_SET_PDEATHSIG=SIGKILL`: when the testbed dies, even by SIGKILL, the kernel kills its children.
That signal belongs to the *thread* that forked, so children are started from the loop's one long-lived thread and
never from an executor.

It must never use a shell, leave a child unreaped, or hide the output of a command that failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shlex
import signal
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from testbed import pace
from testbed.errors import HostError, MachineError, TestbedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LIVE_END_S = 30.0  # a test run ends its machines and writes its artefacts
TAIL_LINES = 12  # enough for QEMU's and qemu-img's last words, short enough for an error message

# Loaded before any fork: the code between fork and exec must not take the import lock or load a library.
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Completed:
    """The result of a short command."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def _die_with_parent() -> Callable[[], None]:
    """Return the function that runs in the child between fork and exec."""
    parent = os.getpid()

    def in_child() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died between fork and prctl: the signal would never come
            os._exit(127)

    return in_child


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill the child and everything that it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the child leads its own session, hence its own group


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a text file, or a sentence saying that there is nothing in it."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            last = deque(stream, maxlen=lines)
    except FileNotFoundError:
        return f"(no file {path})"
    return "".join(last).strip() or "(it wrote nothing)"


class Child:
    """One long-running process as an async context manager; leaving the context always kills and reaps it."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        assert argv, "a child needs a program to run"
        self.argv = tuple(argv)
        self.name = name
        self.log = log
        self._env = env
        self._cwd = cwd
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        assert self._process is None, f"{self.name} was started twice"
        try:
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self.argv, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, cwd=self._cwd,
                    start_new_session=True, preexec_fn=_die_with_parent(),
                )  # fmt: skip
        except OSError as error:
            raise MachineError(f"{self.name} was not started ({shlex.join(self.argv[:1])}): {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    @property
    def _started(self) -> asyncio.subprocess.Process:
        assert self._process is not None, f"{self.name} was not started: use `async with`"
        return self._process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._started.pid

    @property
    def alive(self) -> bool:
        """True until the process has ended and was reaped."""
        return self._started.returncode is None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal, None while it runs."""
        return self._started.returncode

    async def wait(self) -> int:
        """Wait for the end without a limit of its own; the caller sets the deadline."""
        return await self._started.wait()

    async def kill(self) -> int:
        """Send SIGKILL to the process and to all it started, and reap it; harmless when it is gone."""
        process = self._started
        if process.returncode is None:
            _kill_group(process)
        return await process.wait()

    def last_words(self) -> str:
        """Return the tail of what the process wrote."""
        return tail(self.log)


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    check: bool = True,
    error: type[TestbedError] = HostError,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a short command to its end and return what it wrote.

    Raises the given error class when the program is missing, fails (unless `check` is off) or exceeds the time limit;
    a command that exceeds it, or whose caller is cancelled, is killed and reaped.
    """
    shown = shlex.join(argv)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=env, cwd=cwd, start_new_session=True, preexec_fn=_die_with_parent(),
        )  # fmt: skip
    except OSError as problem:
        raise error(f"`{shown}` was not started: {problem}. Is the program installed?") from problem
    try:
        async with pace.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError as problem:
        raise error(
            f"`{shown}` did not end in {pace.scaled(timeout_s):g} s and was killed; what it did until then is unknown."
        ) from problem
    finally:
        if process.returncode is None:
            _kill_group(process)
            await process.communicate()  # drains the pipes too, so that nothing is left to the garbage collector
    assert process.returncode is not None
    done = Completed(tuple(argv), process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    if check and done.returncode != 0:
        words = "\n".join(
            (done.stderr.strip() or done.stdout.strip() or "(it wrote nothing)").splitlines()[-TAIL_LINES:]
        )
        raise error(f"`{shown}` failed with code {done.returncode}; its last words:\n{words}")
    return done


async def run_live(argv: Sequence[str], *, cwd: Path | None = None) -> int:
    """Run a command whose output goes where ours goes, and return its exit code; a caller that leaves ends it first.

    It stays in our process group, so that Ctrl-C reaches it as well, and is given time to clean up.
    """
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, cwd=cwd, preexec_fn=_die_with_parent()
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                async with asyncio.timeout(LIVE_END_S):
                    await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
