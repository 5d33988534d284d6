"""The outside world on the public network: a gateway that answers ARP and ping, and the way to the service centre.

A QEMU without a machine joins its user-mode TCP/IP stack (slirp) to a port of the bed's switch, so no root is needed.
Traffic to the service centre's address reaches a unix socket; everything else is refused (`restrict=on`). It must never
carry a node's traffic to a real network, and never be used as evidence that a node works: it is a peer, not a probe.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.errors import MachineError, UsageError, WaitTimeout
from testbed.history import History
from testbed.process import Child
from testbed.topology import PREFIX, PublicNetwork
from testbed.wait import OwnedTask, wait_until
from testbed.world import outside_relay
from testbed.world.tls import CENTRE_ADDRESS

NETWORK, GATEWAY_ADDRESS = f"{PublicNetwork(0).address(0)}/{PREFIX}", PublicNetwork(0).gateway.address
CENTRE_PORT = 443
RESTARTS_MAX = 5
READY_S = 10.0
READY_POLL_S = 0.02
RESTART_PAUSE_S = 0.5
SOCKET_PATH_MAX = 107  # sun_path holds 108 bytes with the final zero


def outside_argv(*, local: Path, remote: Path, centre: Path, qemu: str = "qemu-system-x86_64") -> tuple[str, ...]:
    """The command line of the guest-less QEMU.

    `local` is the datagram socket that QEMU binds, `remote` the switch's socket for this port, and `centre` the stream
    socket of the service centre.
    """
    for path in (local, remote, centre):
        if len(str(path).encode()) > SOCKET_PATH_MAX:
            raise UsageError(f"The socket path {path} exceeds {SOCKET_PATH_MAX} bytes. Use a shorter run directory.")
    # slirp splits the command like a shell does; -I -S keep the interpreter's start short
    relay = shlex.join([sys.executable, "-I", "-S", str(outside_relay.__file__), str(centre)])
    user = (
        f"user,id=stack,net={NETWORK},host={GATEWAY_ADDRESS},restrict=on,ipv6=off,"
        f"guestfwd=tcp:{CENTRE_ADDRESS}:{CENTRE_PORT}-cmd:{_comma(relay)}"
    )
    port = f"dgram,id=port,local.type=unix,local.path={_comma(local)},remote.type=unix,remote.path={_comma(remote)}"
    return (
        qemu, "-name", "outside", "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none",
        "-netdev", user, "-netdev", port,
        "-netdev", "hubport,id=h-stack,hubid=0,netdev=stack", "-netdev", "hubport,id=h-port,hubid=0,netdev=port",
    )  # fmt: skip


def _comma(value: object) -> str:
    """Double the commas, which end a value in QEMU's option syntax."""
    return str(value).replace(",", ",,")


class Outside:
    """The running outside world, between `async with` and its end; started again (and recorded) when its QEMU dies."""

    def __init__(
        self, *, local: Path, remote: Path, centre: Path, log: Path, history: History, qemu: str = "qemu-system-x86_64"
    ) -> None:
        self._argv = outside_argv(local=local, remote=remote, centre=centre, qemu=qemu)
        self._local = local
        self._log = log
        self._history = history
        self._child: Child | None = None
        self._stack = AsyncExitStack()
        self.restarts = 0

    async def __aenter__(self) -> Self:
        try:
            await self._start()
            await self._stack.enter_async_context(OwnedTask(self._keep_running(), name="outside keeper"))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._stack.aclose()
        finally:
            await self._stop()

    @property
    def alive(self) -> bool:
        """True while QEMU runs."""
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int:
        """The process id of the present QEMU."""
        if self._child is None:
            raise MachineError("The outside world is not running. Enter the Outside context first.")
        return self._child.pid

    async def _start(self) -> None:
        self._local.unlink(missing_ok=True)  # a killed QEMU leaves its socket: existence must mean "ready"
        child = Child(self._argv, name="outside", log=self._log)
        await child.__aenter__()
        self._child = child

        async def bound() -> bool:
            if not child.alive:
                raise MachineError(f"The QEMU of the outside world ended at once; its last words: {child.last_words()}")
            return self._local.exists()

        await wait_until(bound, what=f"the socket {self._local} of QEMU", timeout_s=READY_S, poll_s=READY_POLL_S)
        self._history.record("outside", "started", pid=child.pid)

    async def _stop(self) -> None:
        if self._child is not None:
            await self._child.__aexit__(None, None, None)
            self._child = None
        self._local.unlink(missing_ok=True)

    async def _keep_running(self) -> None:
        while True:
            assert self._child is not None
            code = await self._child.wait()
            self._history.record("outside", "died", returncode=code, last_words=self._child.last_words())
            if self.restarts >= RESTARTS_MAX:
                self._history.record("outside", "given_up", restarts=self.restarts)
                return
            self.restarts += 1
            await asyncio.sleep(RESTART_PAUSE_S)
            try:
                await self._start()
            except (MachineError, WaitTimeout) as error:
                await self._child.kill()
                self._history.record("outside", "restart_failed", text=str(error))
