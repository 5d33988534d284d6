"""The machine protocol (QMP) of one QEMU process: a thin typed layer, and the only file that imports qemu.qmp.

Every event goes into the history on arrival. The end of the connection becomes a record "disconnected" that says
whether it was expected (after `quit` or a kill) or not. It must never retry a command: whether an unanswered one ran
is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Self

from qemu.qmp import EventListener, ExecInterruptedError, ExecuteError, QMPClient, QMPError, Runstate
from qemu.qmp.protocol import ConnectError, StateError

from testbed import pace
from testbed.errors import MachineError
from testbed.wait import OwnedTask, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from testbed.history import History

COMMAND_TIMEOUT_S = 10.0  # a healthy QEMU answers in 1-5 ms; a wedged main loop never does
CONNECT_POLL_S = 0.02
CLOSE_TIMEOUT_S = 2.0

# The library logs each refused connection attempt as an error; the typed errors raised here say the same once.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class QmpRefused(MachineError):
    """QEMU answered a command with an error: it did not run."""


class QmpLost(MachineError):
    """The connection to QEMU is gone, or the answer did not come: whether the command ran is unknown."""


class Qmp:
    """The connection to one QEMU process; a context manager that connects on entry."""

    def __init__(
        self,
        socket_path: Path,
        history: History,
        *,
        node: str,
        connect_timeout_s: float = 15.0,
        process_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._path = socket_path
        self._history = history
        self._node = node
        self._source = f"qmp.{node}"
        self._connect_timeout_s = connect_timeout_s
        self._process_alive = process_alive
        self._client = QMPClient(node)
        self._listener = EventListener()
        self._client.register_listener(self._listener)
        self._tasks: list[OwnedTask] = []
        self._expected = False
        self._ending = asyncio.Lock()
        self.disconnected = asyncio.Event()

    async def __aenter__(self) -> Self:
        await wait_until(
            self._connect_once,
            what=f"the QMP socket of node {self._node}",
            timeout_s=self._connect_timeout_s,
            poll_s=CONNECT_POLL_S,
            tolerate=(ConnectError,),
        )
        self._tasks = [
            OwnedTask(self._read_events(), name=f"qmp-events-{self._node}"),
            OwnedTask(self._watch(), name=f"qmp-watch-{self._node}"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _connect_once(self) -> bool:
        if not self._process_alive():
            raise QmpLost(f"QEMU of node {self._node} ended before it opened its QMP socket.")
        await self._client.connect(str(self._path))
        return True

    async def close(self) -> None:
        """End the connection; harmless when it is gone already."""
        self._expected = True
        watcher = self._tasks.pop() if self._tasks else None
        if watcher is not None:
            await self._disconnect()
            await watcher.finish(CLOSE_TIMEOUT_S)
            await watcher.cancel()
        while self._tasks:
            await self._tasks.pop().cancel()

    async def _disconnect(self) -> None:
        """Bring the client back to idle; the end of the stream raises, which is normal after quit or a kill."""
        async with self._ending:  # QEMU's end and ours may meet, and the client is taken apart only once
            if self._client.runstate is Runstate.IDLE:
                return
            try:
                await self._client.disconnect()
            except (EOFError, OSError, QMPError) as error:
                self._history.record(self._source, "stream_ended", how=type(error).__name__)

    async def _watch(self) -> None:
        while self._client.runstate is Runstate.RUNNING:
            await self._client.runstate_changed()
        await self._disconnect()
        while not self._listener.empty():  # events that came just before the end are evidence
            self._record_event(dict(await self._listener.get()))
        self.disconnected.set()
        self._history.record(self._source, "disconnected", expected=self._expected)

    async def _read_events(self) -> None:
        async for event in self._listener:
            self._record_event(dict(event))

    def _record_event(self, event: Mapping[str, object]) -> None:
        self._history.record(self._source, "event", event=event.get("event"), data=event.get("data", {}))

    def expect_disconnect(self) -> None:
        """Say that the connection is about to end on purpose."""
        self._expected = True

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout_s: float = COMMAND_TIMEOUT_S,
        oob: bool = False,
    ) -> object:
        """Run one command and return QEMU's answer.

        Raises QmpRefused when QEMU refuses it, and QmpLost when the connection ends or no answer comes in time. With
        `oob` the command passes a wedged main loop; 7.2 accepts that for `yank`, `query-yank`, `migrate-pause` and
        `migrate-recover` only.
        """
        try:
            async with pace.timeout(timeout_s):
                return await self._client.execute(command, None if arguments is None else dict(arguments), oob=oob)
        except ExecuteError as error:
            raise QmpRefused(f"QEMU of node {self._node} refused `{command}`: {error}") from error
        except (ExecInterruptedError, StateError) as error:
            raise QmpLost(
                f"The QMP connection of node {self._node} ended during `{command}`; whether it ran is unknown."
            ) from error
        except TimeoutError as error:
            raise QmpLost(
                f"QEMU of node {self._node} did not answer `{command}` in {pace.scaled(timeout_s):g} s; whether it ran "
                "is unknown. Its main loop may be wedged by hanging I/O: resume the disk, yank it, or kill the node."
            ) from error

    async def execute_dict(self, command: str, arguments: Mapping[str, object] | None = None) -> dict[str, object]:
        """Run a command whose answer is an object; see `execute`."""
        answer = await self.execute(command, arguments)
        if not isinstance(answer, dict):
            raise QmpLost(f"QEMU of node {self._node} answered `{command}` with {answer!r} instead of an object.")
        return answer
