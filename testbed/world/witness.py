"""A witness: the product's own service on a machine of its own on the public segment, as far as anybody there can see.

The process listens on the loopback; a relay makes it a host of the segment, with its own port of the switch. It can be
paused, killed, started again and lose its storage. It must never be asked for a right: `look` is the one question that
changes nothing (schema `avance/schema/witness.json`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import pace
from testbed.errors import MachineError
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.lan.udp_relay import LOOPBACK, UdpRelay, bound_port
from testbed.process import Child
from testbed.site import ROOT
from testbed.wait import wait_until
from testbed.world.witness_client import WitnessView, look

START_TIMEOUT_S = 10.0
END_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class WitnessOrder:
    """How a witness is started: the product's argument vector with its places, and the declared dilation."""

    template: Sequence[str]
    dilation: float = 1.0

    def argv(self, *, listen: str, state: Path, secret: Path) -> list[str]:
        """The argument vector."""
        return [
            word.format(python=sys.executable, listen=listen, state=state, secret=secret, dilation=self.dilation)
            for word in self.template
        ]


class WitnessProcess:
    """One witness as an async context manager; it runs from `start` until the end, or until it is killed."""

    def __init__(
        self,
        name: str,
        order: WitnessOrder,
        *,
        endpoint: Endpoint,
        port: int,
        sockets: Path,
        artefacts: Path,
        history: History,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.port = port
        self.relay = UdpRelay(endpoint, port)
        self._order = order
        self._secret_file = sockets / f"{name}-secret"
        self._directory = (artefacts / f"witness-{name}").absolute()
        self._history = history
        self._secret = ""
        self._child: Child | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            stack.enter_context(self.relay)
            stack.callback(self._secret_file.unlink, missing_ok=True)
            stack.push_async_callback(self.end)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def address(self) -> str:
        """Its address on the public segment."""
        return self.endpoint.ip

    @property
    def state(self) -> Path:
        """The file in which it keeps what it must never forget."""
        return self._directory / "state"

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self._directory / "witness.log"

    @property
    def alive(self) -> bool:
        """True while its process is there, paused or not."""
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        """Its process id, or None while there is none."""
        return self._child.pid if self._child is not None and self._child.alive else None

    async def start(self, secret: str | None = None) -> None:
        """Start it, with this secret of its own (the last one, if none is given); raises MachineError.

        One that runs is ended first. Its state is kept.
        """
        await self.end()
        self._secret = self._secret if secret is None else secret
        self._secret_file.unlink(missing_ok=True)
        with open(os.open(self._secret_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:  # noqa: PTH123
            file.write(self._secret)
        argv = self._order.argv(listen=f"{LOOPBACK}:0", state=self.state, secret=self._secret_file)
        child = Child(argv, name=f"witness {self.name}", log=self.log, cwd=ROOT)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(child)

            async def listens() -> int:
                if not child.alive:
                    raise MachineError(f"Witness {self.name} ended with code {child.returncode}: {child.last_words()}")
                return bound_port(child.pid)

            port = await wait_until(
                listens, what=f"the port of witness {self.name}", timeout_s=START_TIMEOUT_S, poll_s=0.02
            )
            stack.pop_all()
        self._child = child
        self.relay.serve(port)
        self._history.record(f"witness.{self.name}", "started", pid=child.pid)

    async def end(self) -> None:
        """End it in order, so that its log tells what it refused; kill it when it does not follow."""
        if not self.alive:
            return
        assert self._child is not None
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with pace.timeout(END_TIMEOUT_S):
                await self._child.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it at once, as a power cut of its machine does."""
        self.relay.serve(None)
        if self._child is not None:
            code = await self._child.kill()
            self._child = None
            self._history.record(f"witness.{self.name}", "ended", returncode=code)

    def pause(self) -> None:
        """Stop its process; it keeps what it knows, and answers what has come meanwhile when it goes on."""
        self._signal(signal.SIGSTOP)
        self._history.record(f"witness.{self.name}", "paused")

    def resume(self) -> None:
        """Let its process go on."""
        self._signal(signal.SIGCONT)
        self._history.record(f"witness.{self.name}", "resumed")

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            raise MachineError(f"Witness {self.name} does not run; start it first.")
        os.kill(pid, number)

    def lose_storage(self) -> None:
        """Remove what it has stored; one that runs still knows it until its end."""
        self.state.unlink(missing_ok=True)
        self._history.record(f"witness.{self.name}", "lost_storage")

    async def look(self, client: Endpoint, *, timeout_s: float) -> WitnessView | None:
        """Ask it from a host of the bed what it knows; None when no answer came."""
        return await look(client, self.address, self.port, bytes.fromhex(self._secret), timeout_s=timeout_s)
