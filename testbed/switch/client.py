"""The handle on the switch process: start it, give it rules, read its counters, feed its events to the history.

It exists so that the rest of the bed never sees the control protocol. It must never guess the state of a switch that
has died: every call after its death raises SwitchError with the last words of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import pace
from testbed.errors import SwitchError
from testbed.history import History
from testbed.process import Child
from testbed.site import ROOT
from testbed.socket_line import LineError, LineSocket, connect, packed, parsed
from testbed.wait import OwnedTask, wait_until

START_TIMEOUT_S = 15.0  # an interpreter starts in 0.1 s; a busy host may take much longer
REPLY_TIMEOUT_S = 10.0  # every request is answered within one turn of the switch
QUIT_TIMEOUT_S = 3.0  # then the process is killed
_TIMES = {"claim": "t_s", "seen": "last_s", "multicast": "last_s", "lost": "t_s"}


class Direction(StrEnum):
    """A direction of a port: in = from the device into the switch, out = from the switch to the device."""

    IN = "in"
    OUT = "out"
    BOTH = "both"


@dataclass(frozen=True)
class DirectionCounters:
    """What one direction of a port did; frames and bytes count only what passed."""

    passes: bool
    frames: int
    bytes: int
    dropped_rule: int
    dropped_queue: int
    dropped_absent: int
    last_s: float | None


@dataclass(frozen=True)
class PortState:
    """One port of the switch."""

    name: str
    segment: str
    inward: DirectionCounters
    outward: DirectionCounters
    queued: int


@dataclass(frozen=True)
class CaptureResult:
    """What a finished capture holds; `refused` frames did not fit its size bound."""

    path: Path
    frames: int
    refused: int


class Switch:
    """The running switch as an async context manager."""

    def __init__(self, directory: Path, segments: Mapping[str, Sequence[str]], *, history: History, log: Path) -> None:
        self.directory = directory
        self.segments = {name: list(ports) for name, ports in segments.items()}
        self._history = history
        config = json.dumps({"segments": self.segments})
        argv = [sys.executable, "-m", "testbed.switch", "--dir", str(directory), "--config", config]
        # The package is found from any working directory, also when it is not installed.
        self._child = Child(argv, name="switch", log=log, cwd=ROOT)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._gone = False
        self._why_gone = ""
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._child)
            self._line = await wait_until(
                self._connect,
                what="the control socket of the switch",
                timeout_s=START_TIMEOUT_S,
                poll_s=0.02,
                tolerate=(OSError,),
            )
            stack.callback(self._line.writer.close)
            await stack.enter_async_context(OwnedTask(self._read(), name="switch-events"))
            self._stack = stack.pop_all()
        self._history.record("switch", "started", pid=self._child.pid, segments=self.segments)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._stack:
            with contextlib.suppress(SwitchError, TimeoutError):
                await self.call("quit")
                async with pace.timeout(QUIT_TIMEOUT_S):
                    await self._child.wait()

    @property
    def pid(self) -> int:
        """The process id of the switch."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """True while the process runs and its control connection is open."""
        return self._child.alive and not self._gone

    def device_sockets(self, port: str) -> tuple[Path, Path]:
        """The paths for the device at this port: (its own socket, the socket that it sends to)."""
        known = list(itertools.chain.from_iterable(self.segments.values()))
        if port not in known:
            raise SwitchError(f"The switch has no port {port!r}; it has {', '.join(known)}.")
        return self.directory / f"q-{port}", self.directory / f"s-{port}"

    async def ports(self) -> dict[str, PortState]:
        """Counters and rules of all ports."""
        reply = await self.call("ports")
        return {name: _port(name, item) for name, item in reply["ports"].items()}

    async def cut(self, port: str, direction: Direction) -> float:
        """Drop silently what passes in this direction; returns the monotonic time from which it held."""
        return await self._rule("cut", port, direction)

    async def heal(self, port: str, direction: Direction) -> float:
        """Let frames pass again in this direction (the op `pass`); returns the monotonic time from which it held."""
        return await self._rule("pass", port, direction)

    async def rule_add(
        self, port: str, direction: Direction, kind: str, *, settings: Mapping[str, object] | None = None,
        match: Mapping[str, object] | None = None, seed: int = 0,
    ) -> tuple[int, float]:  # fmt: skip
        """Add a rule of a kind of `testbed.switch.rule_kinds` to a port; returns its number and the monotonic time."""
        fields = {"port": port, "direction": direction.value, "kind": kind, "seed": seed}
        reply = await self.call("rule_add", **fields, settings=dict(settings or {}), match=dict(match or {}))
        text = f"{kind} {direction.value} at {port}"
        self._history.record_at(float(reply["t_s"]), "switch", "rule", rule=kind, number=reply["rule"], text=text)
        return int(reply["rule"]), float(reply["t_s"])

    async def rule_remove(self, number: int) -> dict[str, Any]:
        """Remove a rule; what it kept leaves now, in order; returns its counters and how many frames it `released`."""
        reply = await self.call("rule_remove", rule=number)
        text = f"rule {number} ({reply['kind']}) removed"
        self._history.record_at(float(reply["t_s"]), "switch", "rule", rule="remove", number=number, text=text)
        return reply

    async def rules(self) -> dict[str, Any]:
        """All rules and injections with their counters, and the switch's own lateness."""
        return await self.call("rules")

    async def observe(self, taps: Sequence[int], *, reset: bool = False) -> dict[str, Any]:
        """What these taps saw since their last reset, and the counters of all ports at the same instant."""
        return await self.call("observe", taps=list(taps), reset=reset)

    async def inject(
        self, port: str, direction: Direction, frames: Sequence[bytes], *, interval_s: float = 0.001, count: int = 1
    ) -> tuple[int, float]:
        """Send made frames as if the device (in) or the wire (out) had; returns a number and the monotonic time."""
        texts = [frame.hex() for frame in frames]
        fields = {"port": port, "direction": direction.value, "interval_s": interval_s, "count": count}
        reply = await self.call("inject", **fields, frames=texts)
        text = f"{count} frames {direction.value} at {port}"
        self._history.record_at(float(reply["t_s"]), "switch", "inject", number=reply["injection"], text=text)
        return int(reply["injection"]), float(reply["t_s"])

    async def inject_stop(self, number: int) -> int:
        """End an injection early; returns how many frames it sent; raises SwitchError when it is over."""
        return int((await self.call("inject_stop", injection=number))["sent"])

    async def hold(self) -> None:
        """Stop forwarding on the whole switch; frames that arrive are kept in their order."""
        await self.call("hold")
        self._history.record("switch", "held")

    async def release(self) -> int:
        """Forward what was held and go on; returns how many frames were held."""
        released = int((await self.call("release"))["released"])
        self._history.record("switch", "released", frames=released)
        return released

    async def capture_start(self, path: Path) -> None:
        """Write all frames from now on to a pcapng file."""
        await self.call("capture_start", path=str(path.absolute()))

    async def capture_stop(self) -> CaptureResult:
        """Finish the capture."""
        reply = await self.call("capture_stop")
        return CaptureResult(Path(reply["path"]), int(reply["frames"]), int(reply["refused"]))

    async def watch(self, *, macs: Iterable[str] = (), ips: Iterable[str] = ()) -> None:
        """Report from now on, in the history, which ports use these addresses (it replaces an earlier watch)."""
        chosen = {"macs": list(macs), "ips": list(ips)}
        await self.call("watch", **chosen)
        self._history.record("switch", "watching", **chosen)

    async def count_multicasts(self) -> None:
        """Report from now on, in the history, how many frames to many each source sends; call it again to have all
        that was counted until now in the history.
        """
        reply = await self.call("multicasts")
        self._history.record_at(float(reply["t_s"]), "switch", "counting")

    async def save(self, path: Path) -> None:
        """Save tables, rules, queues and held frames for a snapshot of the pair; hold first."""
        await self.call("save", path=str(path.absolute()))

    async def load(self, path: Path) -> None:
        """Take over a saved state; a switch that was saved while it held, holds."""
        await self.call("load", path=str(path.absolute()))

    async def call(self, operation: str, **fields: object) -> dict[str, Any]:
        """Do one operation of the control protocol; raises SwitchError when it is refused or the switch is gone."""
        self._check_alive(operation)
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._line.write(packed({"id": number, "op": operation, **fields}))
            async with pace.timeout(REPLY_TIMEOUT_S):
                reply = await future
        except LineError as error:
            raise SwitchError(f"The switch was not asked for {operation!r}: {error}. Nothing was changed.") from error
        except TimeoutError as error:
            raise SwitchError(
                f"The switch did not answer {operation!r} within {pace.scaled(REPLY_TIMEOUT_S):g} s; whether it was "
                "done is unknown."
            ) from error
        finally:
            del self._waiting[number]
        if not reply.get("ok"):
            raise SwitchError(f"The switch refused {operation!r}: {reply.get('error')}. Nothing was changed.")
        return reply

    async def _rule(self, operation: str, port: str, direction: Direction) -> float:
        reply = await self.call(operation, port=port, direction=direction.value)
        t_s = float(reply["t_s"])
        text = f"{operation} {direction.value} at {port}"
        self._history.record_at(t_s, "switch", "rule", rule=operation, port=port, direction=direction.value, text=text)
        return t_s

    async def _connect(self) -> LineSocket:
        if not self._child.alive:
            raise SwitchError(f"The switch ended with code {self._child.returncode}: {self._child.last_words()}")
        return await connect(self.directory / "control")

    def _check_alive(self, operation: str) -> None:
        if not self.alive:
            raise SwitchError(f"{self._death()} {operation!r} was not done; start a new bed.")

    def _death(self) -> str:
        words = self._child.last_words()
        return f"The switch process is gone{self._why_gone} and with it every link of the bed; its last words: {words}"

    async def _read(self) -> None:
        try:
            with contextlib.suppress(ConnectionResetError):
                async for line in self._line.lines():
                    self._dispatch(parsed(line))
        except LineError as error:
            self._why_gone = f", or speaks no longer as it should ({error}),"
        finally:
            self._gone = True
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(SwitchError(f"{self._death()} Whether the request was done is unknown."))
        self._history.record("switch", "ended")

    def _dispatch(self, message: dict[str, Any]) -> None:
        kind = message.pop("event", None)
        if kind is not None:
            time_field = _TIMES[kind]
            t_s = message[time_field] if time_field != "t_s" else message.pop("t_s")
            self._history.record_at(t_s, "switch", kind, **message)
            if kind == "claim" and "mac" in message and "previous" in message:
                text = f"{message['mac']} from {message['previous']} to {message['port']}"
                self._history.record_at(t_s, "switch", "moved", text=text)
            return
        future = self._waiting.get(message["id"])
        if future is not None and not future.done():
            future.set_result(message)


def _port(name: str, item: dict[str, Any]) -> PortState:
    return PortState(name, item["segment"], _direction(item["in"]), _direction(item["out"]), item["out"]["queued"])


def _direction(item: dict[str, Any]) -> DirectionCounters:
    return DirectionCounters(
        item["pass"], item["frames"], item["bytes"], item["dropped_rule"], item["dropped_queue"],
        item["dropped_absent"], item["last_s"],
    )  # fmt: skip
