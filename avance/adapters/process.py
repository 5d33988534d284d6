"""The only place that starts a program: deadline, bounded output, three-valued outcome; it never raises for a program.

A program runs in a session of its own, so that at its deadline its children end with it. What it prints is read as it
comes and kept up to a bound. Once it has ended itself, all that it wrote is there: nobody waits for a child that goes
on and holds its pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from avance.core.model import Outcome
from avance.core.results import Done
from avance.wire.quoted import printable

OUTPUT_BYTES_MAX = 1 << 20  # of standard output; a program that prints more has not said what was asked
LINE_BYTES_MAX = 1 << 16
_SAID_BYTES_MAX = 1000  # of a complaint; what matters of it comes last
_PART_BYTES = 1 << 16
_REST_MAX = 32  # reads after the end of a program; what it wrote itself fits into a pipe
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_REAP_S = 1.0  # a killed process is gone at once, unless it waits for a dying disk
_unreaped: list[subprocess.Popen[bytes]] = []  # killed, and not gone when somebody stopped waiting for them


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program did; one that was killed, at its deadline or by somebody else, has outcome UNKNOWN.

    `code` is its exit code, None when it has none: it was not started, or was killed. A program that was not started
    has outcome FAILED, because it did nothing.
    """

    outcome: Outcome
    stdout: str
    detail: str
    code: int | None = None

    @property
    def done(self) -> Done:
        """The outcome without the output."""
        return Done(self.outcome, self.detail)


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    connection: socket.socket | None = None,
) -> Completed:
    """Run a program to its end or to its deadline; never raises for what the program did.

    `environment` is added to the daemon's own: the place for passwords, which must not stand on a command line.
    `connection` is what the program finds as its standard input; it stays open here, too.
    """
    name = " ".join(argv)
    try:
        program = _Program(argv, environment, connection=connection)
    except (OSError, ValueError) as error:  # ValueError: an argument that no program can be given
        return Completed(Outcome.FAILED, "", _not_started(name, error))
    printed = bytearray()
    async with program:
        try:
            async with asyncio.timeout(timeout_s):  # not wait_for, which can lose a cancellation (before Python 3.12)
                while (part := await program.read()) is not None:
                    printed += part[: OUTPUT_BYTES_MAX + 1 - len(printed)]
        except TimeoutError:
            detail = f"`{name}` did not end within {timeout_s:g} s; whether it acted is unknown"
            return Completed(Outcome.UNKNOWN, "", detail)
    if len(printed) > OUTPUT_BYTES_MAX:
        text, note = "", f"`{name}` printed more than {OUTPUT_BYTES_MAX} bytes, and nobody looked at them"
    else:
        text, note = printed.decode(errors="replace"), ""
    if program.code == 0:
        return Completed(Outcome.OK, text, note, 0)
    detail = program.ended(name, instead=text) + (f"; {note}" if note else "")
    if program.code is None or program.code < 0:
        return Completed(Outcome.UNKNOWN, "", f"{detail}; whether it acted is unknown")
    return Completed(Outcome.FAILED, text, detail, program.code)


async def run_all(argvs: Sequence[Sequence[str]], *, timeout_s: float) -> Done:
    """Run programs one after the other; the first that does not end OK is the result."""
    for argv in argvs:
        completed = await run(argv, timeout_s=timeout_s)
        if completed.outcome is not Outcome.OK:
            return completed.done
    return Done(Outcome.OK)


class Lines:
    """The lines that a long-running program prints, as they come; it ends when its reader leaves the `async with`.

    The lines end, and `why` says it, when the program ends, when it prints more than LINE_BYTES_MAX without a line end,
    or when it was not `started`. A last line without its end may be cut, and is left out. It never raises.

    `environment` is as for `run`; `given` is what the program finds on its standard input, which is a file.
    """

    def __init__(
        self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, given: bytes | None = None
    ) -> None:
        self._argv, self._environment, self._given = argv, environment, given
        self._name = " ".join(argv)
        self._program: _Program | None = None
        self._whole: deque[bytes] = deque()
        self._rest = b""
        self.why = ""

    @property
    def started(self) -> bool:
        """The program was started, so it may have acted."""
        return self._program is not None

    async def __aenter__(self) -> Self:
        """Start it."""
        try:
            self._program = _Program(self._argv, self._environment, self._given)
        except (OSError, ValueError) as error:
            self.why = _not_started(self._name, error)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        if self._program is not None:
            await self._program.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        """It is read from where the last reader stopped."""
        return self

    async def __anext__(self) -> str:
        """Return the next line."""
        while not self._whole:
            part = None if self._program is None or self.why else await self._program.read()
            if part is None:
                if self._program is not None and not self.why:
                    self.why = self._program.ended(self._name)
                raise StopAsyncIteration
            *whole, self._rest = (self._rest + part).split(b"\n")
            self._whole.extend(whole)
            if len(self._rest) > LINE_BYTES_MAX:
                self.why = f"`{self._name}` printed {len(self._rest)} bytes without a line end"
        return self._whole.popleft().decode(errors="replace")


class _Program:
    """A program that was started, its pipes, and its end.

    Raises:
        OSError: it was not started, and did nothing.
        ValueError: so it was, because of an argument that no program can be given.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None,
        given: bytes | None = None,
        connection: socket.socket | None = None,
    ) -> None:
        stdin, place = subprocess.DEVNULL, os.eventfd(0)  # a place for the handle: to fail later would be too late
        try:
            if given is not None:
                stdin = os.memfd_create("stdin")
                os.pwrite(stdin, given, 0)
            _unreaped[:] = [one for one in _unreaped if one.poll() is None]
            self._process = subprocess.Popen(
                argv,
                env=None if environment is None else {**os.environ, **environment},
                stdin=stdin if connection is None else connection.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        finally:
            os.close(place)
            if stdin >= 0:
                os.close(stdin)
        self._handle = os.pidfd_open(self._process.pid)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._out, self._err = _Pipe(self._process.stdout), _Pipe(self._process.stderr)
        self._complaint = b""
        self._rest = _REST_MAX

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs, below 0 when a signal ended it."""
        return self._process.returncode

    async def read(self) -> bytes | None:
        """Return what it has printed since; None once it has ended and all that it wrote was returned."""
        while True:
            ended = self._process.poll() is not None
            part = self._out.take()
            self._complaint = (self._complaint + self._err.take())[-_SAID_BYTES_MAX:]
            if ended:
                self._rest -= 1
            if part and self._rest > 0:
                return part
            if ended:
                return None
            await _readable(self._handle, *(pipe.descriptor for pipe in (self._out, self._err) if not pipe.over))

    def ended(self, name: str, *, instead: str = "") -> str:
        """Say how it ended, and what it complained of; `instead` is what counts when it did not complain."""
        code = self.code
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with {code}"
        said = self._complaint.decode(errors="replace").strip() or instead.strip()[-_SAID_BYTES_MAX:]
        return f"`{name}` {how}" + (f": {printable(said)}" if said else "")

    async def __aenter__(self) -> Self:
        """It runs already."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it and its children, unless it has ended by itself."""
        try:
            if self._process.poll() is None:
                with contextlib.suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                # A process that hangs in the kernel cannot be reaped yet; it must not take us with it.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REAP_S):
                        await _readable(self._handle)
        finally:
            if self._process.poll() is None:  # it hangs in the kernel, or this wait was cancelled
                _unreaped.append(self._process)
            self._out.stream.close()
            self._err.stream.close()
            os.close(self._handle)


class _Pipe:
    """One end of a pipe; nobody waits in it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.descriptor = stream.fileno()
        self.over = False
        os.set_blocking(self.descriptor, False)

    def take(self) -> bytes:
        """Return what is in it; `over` is true when nothing more can come."""
        if self.over:
            return b""
        try:
            part = os.read(self.descriptor, _PART_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            part = b""
        self.over = not part
        return part


async def _readable(*descriptors: int) -> None:
    """Wait until one of these can be read, or is at its end."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    try:
        for descriptor in descriptors:
            loop.add_reader(descriptor, wake)
        await woken
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)


def _not_started(name: str, error: Exception) -> str:
    return f"`{printable(name)}` was not started, so it did nothing: {error}"


def keep_open(descriptor: int, known_as: int) -> int:
    """Start a process that only sleeps, outlives this one and keeps `descriptor` open; returns its number.

    Raises:
        OSError: it could not be started.
    """
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    actions = [*nothing, (os.POSIX_SPAWN_DUP2, descriptor, known_as)]
    return os.posix_spawnp("sleep", ["sleep", "infinity"], {"PATH": _SYSTEM_PATH}, file_actions=actions, setsid=True)
