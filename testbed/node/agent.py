"""Commands inside a node through qemu-guest-agent on its virtio-serial port, which works while every network is cut.

It must never use a network, never repeat a command by itself, and never call a command failed when its outcome is
unknown.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import secrets
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from testbed import pace
from testbed.errors import GuestCommandError, WaitTimeout
from testbed.socket_line import LineError, LineSocket, connect, packed, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

POLL_S = 0.05
REQUEST_TIMEOUT_S = 20.0  # one answer of the agent; it needs milliseconds, seconds while dom0 is starved under TCG
SYNC_INTERVAL_S = 2.0
CONNECT_TIMEOUT_S = 60.0
CHUNK_BYTES = 48 * 1024
LINE_BYTES_MAX = 64 * 1024 * 1024  # the agent returns up to 16 MiB of output, base64 in one line
TAIL_CHARS = 2000


class ExecResult(NamedTuple):
    """What a command in the node returned; the code is negative when a signal ended it."""

    returncode: int
    stdout: str
    stderr: str


class _AgentError(Exception):
    """The agent answered with an error: the request did not run."""


class GuestAgent:
    """The guest agent of one node; requests are serialised, and a lost connection is made anew for the next one."""

    def __init__(self, socket_path: Path, *, node: str) -> None:
        self._path = socket_path
        self._node = node
        self._lock = asyncio.Lock()
        self._sync_ids = itertools.count(secrets.randbelow(2**30))  # an earlier run's syncs may still be answered
        self._line: LineSocket | None = None
        self._in_step = False  # False while an answer to an abandoned request may still come

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        line, self._line, self._in_step = self._line, None, False
        if line is not None:
            await line.close()

    async def open(self) -> None:
        """Open the socket without asking anything, so that QEMU sees the port as connected before a guest is loaded."""
        if self._line is None:
            self._line = await connect(self._path, bytes_max=LINE_BYTES_MAX)
            self._in_step = False

    async def connect(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Wait until the agent in the node answers; raises WaitTimeout with the last problem."""
        async with self._lock:
            await self._in_touch(timeout_s)

    async def _in_touch(self, timeout_s: float) -> None:
        """Connect when needed, and flush answers to abandoned requests by a sync whose answer is recognised."""
        if self._in_step and self._line is not None and not self._line.closing:
            return
        last = "no answer to a sync"
        try:
            async with pace.timeout(timeout_s):
                while not self._in_step:
                    try:
                        await self.open()
                        await self._sync()
                    except TimeoutError:
                        last = "the port is open, the agent does not answer"
                    except OSError as error:
                        last = f"{type(error).__name__}: {error}"
                        await self.close()
                        await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise WaitTimeout(
                f"Waited {pace.scaled(timeout_s):g} s for the guest agent of node {self._node}; it did not come. "
                f"Last thing seen: {last}. Its console log says how far the boot came."
            ) from error

    async def _sync(self) -> None:
        number = next(self._sync_ids)
        # The leading 0xFF resets the agent's parser when half a request was left in it (qga-ref).
        await self._send({"execute": "guest-sync-delimited", "arguments": {"id": number}}, before=b"\xff")
        async with pace.timeout(SYNC_INTERVAL_S):
            while (await self._receive()).get("return") != number:
                pass
        self._in_step = True

    async def _send(self, request: dict[str, object], *, before: bytes = b"") -> None:
        assert self._line is not None, "send before open"
        await self._line.send(before + packed(request, bytes_max=LINE_BYTES_MAX))

    async def _receive(self) -> dict[str, Any]:
        assert self._line is not None, "receive before open"
        line = await self._line.read()
        try:
            return parsed(line.rpartition(b"\xff")[2])
        except LineError:
            return {}  # half a line from before the sync; the next one is whole

    async def _request(self, command: str, timeout_s: float, /, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Send one request and return the content of its answer."""
        async with self._lock:
            await self._in_touch(max(timeout_s, SYNC_INTERVAL_S))
            request: dict[str, object] = {"execute": command}
            if arguments:
                request["arguments"] = arguments
            self._in_step = False  # also when this is cancelled: its answer would meet the next request
            try:
                async with pace.timeout(timeout_s):
                    await self._send(request)
                    answer = await self._receive()
            except TimeoutError as error:
                raise GuestCommandError(
                    f"The guest agent of node {self._node} did not answer {command} in {pace.scaled(timeout_s):g} s; "
                    "the outcome is unknown."
                ) from error
            except OSError as error:
                await self.close()
                raise GuestCommandError(
                    f"The connection to the guest agent of node {self._node} ended during {command} ({error}); "
                    "the outcome is unknown."
                ) from error
            self._in_step = True
        if "error" in answer:
            raise _AgentError(str(answer["error"].get("desc", answer["error"])))
        return answer.get("return")

    async def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes | None = None) -> ExecResult:
        """Run a command in the node and return its result, whatever its exit code.

        Raises GuestCommandError when it could not be started, and when it did not end in time: then its outcome is
        unknown.
        """
        assert argv, "a command needs a program"
        shown = shlex.join(argv)
        arguments: dict[str, object] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if stdin is not None:
            arguments["input-data"] = base64.b64encode(stdin).decode()
        try:
            started = await self._request("guest-exec", REQUEST_TIMEOUT_S, **arguments)
        except _AgentError as error:
            raise GuestCommandError(f"Node {self._node} did not start `{shown}`: {error}") from error
        pid = started["pid"]
        try:
            async with pace.timeout(timeout_s):
                status = await self._ended(pid)
        except TimeoutError as error:
            raise GuestCommandError(
                f"`{shown}` on node {self._node} did not end in {pace.scaled(timeout_s):g} s. Its outcome is unknown: "
                f"it may still run there as pid {pid}. Look before you repeat it."
            ) from error
        except _AgentError as error:
            raise GuestCommandError(f"`{shown}` on node {self._node}: outcome unknown, {error}") from error
        if status.get("out-truncated") or status.get("err-truncated"):
            raise GuestCommandError(
                f"`{shown}` on node {self._node} wrote more than the agent returns; send it to a file."
            )
        code = -int(status["signal"]) if "signal" in status else int(status.get("exitcode", 0))
        return ExecResult(code, _text(status.get("out-data", "")), _text(status.get("err-data", "")))

    async def _ended(self, pid: int) -> dict[str, Any]:
        while True:
            status = await self._request("guest-exec-status", REQUEST_TIMEOUT_S, pid=pid)
            if status.get("exited"):
                assert isinstance(status, dict)
                return status
            await asyncio.sleep(POLL_S)

    async def must_succeed(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes | None = None) -> str:
        """Run a command that has to end with code 0 and return its standard output."""
        done = await self.run(argv, timeout_s=timeout_s, stdin=stdin)
        if done.returncode != 0:
            words = (done.stderr.strip() or done.stdout.strip() or "(it wrote nothing)")[-TAIL_CHARS:]
            raise GuestCommandError(
                f"`{shlex.join(argv)}` on node {self._node} failed with code {done.returncode}; "
                f"its last words:\n{words}"
            )
        return done.stdout

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a whole file in the node."""
        handle = await self._file("guest-file-open", path=path, mode="w")
        try:
            for start in range(0, len(content), CHUNK_BYTES):
                chunk = base64.b64encode(content[start : start + CHUNK_BYTES]).decode()
                await self._file("guest-file-write", handle=handle, **{"buf-b64": chunk})
        finally:
            await self._file("guest-file-close", handle=handle)

    async def read_file(self, path: str) -> bytes:
        """Read a whole file of the node."""
        handle = await self._file("guest-file-open", path=path, mode="r")
        parts: list[bytes] = []
        try:
            while True:
                part = await self._file("guest-file-read", handle=handle, count=CHUNK_BYTES)
                parts.append(base64.b64decode(part["buf-b64"]))
                if part["eof"]:
                    return b"".join(parts)
        finally:
            await self._file("guest-file-close", handle=handle)

    async def wall_clock_s(self) -> float:
        """Return the node's wall clock in seconds since 1970, as the agent itself reads it."""
        try:
            return int(await self._request("guest-get-time", REQUEST_TIMEOUT_S)) / 1e9
        except _AgentError as error:
            raise GuestCommandError(f"Node {self._node} refused to tell its time: {error}") from error

    async def _file(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        try:
            return await self._request(command, REQUEST_TIMEOUT_S, **arguments)
        except _AgentError as error:
            subject = arguments.get("path", arguments.get("handle"))
            raise GuestCommandError(f"Node {self._node} refused {command} ({subject}): {error}") from error


def _text(data: str) -> str:
    return base64.b64decode(data).decode(errors="replace")
