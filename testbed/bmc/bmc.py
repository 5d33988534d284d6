"""The BMC of a node: Debian's ipmi_sim with sensors, real control of the node's power, and faults of its own.

Others reach it over the public segment (`ipmitool -I lanplus`), the node itself over its KCS interface. The sensors
read files, so what they show is set from outside and survives a restart. The power status is looked up in the process
table at each question. It must never invent a reading, or say that it did what it did not, unless it was told to lie.

The configuration holds the password and lives in the private socket directory; everything else is an artefact.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from testbed.bmc import chassis, sensors
from testbed.bmc.relay import LanRelay, NodeWire
from testbed.bmc.sensors import SENSORS
from testbed.disk.server import NbdDisk
from testbed.errors import MachineError, TestbedError
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.lan.udp_relay import Pace, bound_port
from testbed.node.power_cut import cut_power
from testbed.process import Child
from testbed.site import ROOT
from testbed.socket_line import LINE_BYTES_MAX, LineSocket
from testbed.wait import wait_until

PROGRAM = "ipmi_sim"
KEEP = 0.5  # of the writes that a disk had not flushed when its node lost its power
START_TIMEOUT_S = 10.0
LISTENING = "0A"  # state of a TCP socket in proc(5)


class PowerSupply(Protocol):
    """The power of a node, as its power supply sees it."""

    def is_on(self) -> bool:
        """Whether the node runs, from the process table."""

    async def cut(self) -> None:
        """Take its power."""

    async def switch_on(self) -> None:
        """Give it power."""

    async def reset(self) -> None:
        """Press its reset button."""

    async def press_button(self) -> None:
        """Press its power button: the node shuts itself down, if it can."""


class _ManagedMachine(Protocol):
    async def kill(self) -> None: ...
    async def reset(self) -> None: ...
    async def execute(self, command: str) -> object: ...


class ManagedNode(Protocol):
    """What is needed of a node."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def is_on(self) -> bool:
        """True while its QEMU runs."""

    @property
    def machine(self) -> _ManagedMachine:
        """Its QEMU."""

    @property
    def storage(self) -> Mapping[str, NbdDisk]:
        """Its disk servers by the name of the disk."""

    async def power_on(self) -> None:
        """Start it from its disks."""


class NodePower:
    """The power of a node: to cut it is a real power cut, which loses a part of what its disks had not flushed."""

    def __init__(self, node: ManagedNode) -> None:
        self._node = node

    def is_on(self) -> bool:
        """Whether its QEMU runs."""
        return self._node.is_on

    async def cut(self) -> None:
        """Cut it, if it is on; what is lost is drawn anew each time, and the disks keep the seed."""
        if self._node.is_on:
            await cut_power([self._node], seed=secrets.randbits(32), keep=KEEP, tear=True)

    async def switch_on(self) -> None:
        """Start it, if it is off."""
        if not self._node.is_on:
            await self._node.power_on()

    async def reset(self) -> None:
        """Reset it, if it is on."""
        if self._node.is_on:
            await self._node.machine.reset()

    async def press_button(self) -> None:
        """Press the button, if it is on."""
        if self._node.is_on:
            await self._node.machine.execute("system_powerdown")


class Bmc:
    """One BMC as an async context manager; it has power from the beginning until the end, or until it is taken."""

    def __init__(
        self, node: str, power: PowerSupply, *, endpoint: Endpoint, sockets: Path, artefacts: Path, history: History
    ) -> None:
        self.node = node
        self.power = power
        self.endpoint = endpoint
        self.lies = False
        self.pace = Pace()
        # A person on the host may see the name for a moment in the process table; without it nobody gets in.
        self.user = f"u{secrets.token_hex(7)}"
        self.password = secrets.token_hex(8)
        self.lan = LanRelay(endpoint, self.pace)
        self.wire = NodeWire(sockets / f"{node}-ipmi", self.pace)
        self._chassis = sockets / f"{node}-chassis"
        self._configuration = sockets / f"{node}-bmc.conf"
        self._directory = (artefacts / f"bmc-{node}").absolute()
        self._history = history
        self._stack = AsyncExitStack()
        self._running: AsyncExitStack | None = None
        self._child: Child | None = None
        self._askers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        for name in ("values", "state"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        for name in SENSORS:
            self.set_normal(name)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.wire)
            stack.enter_context(self.lan)
            self._chassis.unlink(missing_ok=True)
            server = await asyncio.start_unix_server(self._asked, self._chassis, limit=LINE_BYTES_MAX)
            stack.push_async_callback(self._end_askers)
            stack.callback(server.close)
            stack.push_async_callback(self.lose_power)
            self._write_configuration()
            stack.callback(self._configuration.unlink, missing_ok=True)
            await self.get_power()
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
    def has_power(self) -> bool:
        """True while ipmi_sim runs."""
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        """The process id of ipmi_sim, or None without power."""
        return self._child.pid if self._child is not None and self._child.alive else None

    # ---------------------------------------------------------------- sensors

    def show(self, sensor: str, value: int) -> None:
        """Let a sensor read a value in its own unit (or states) from its next poll on; other states keep theirs."""
        described = SENSORS[sensor]
        path = self._directory / "values" / str(described.number)
        fresh = path.with_name(f".{path.name}")
        fresh.write_text(f"{described.raw(value)}\n", encoding="ascii")
        fresh.rename(path)  # ipmi_sim never reads half a number
        self._history.record(f"bmc.{self.node}", "sensor", sensor=sensor, value=value)

    def set_normal(self, sensor: str) -> None:
        """Let a sensor read what it reads when all is well."""
        self.show(sensor, SENSORS[sensor].normal)

    # ---------------------------------------------------------------- its own power

    async def sign_on(self, user: str, password: str) -> None:
        """Know this user and no other; it starts anew with that."""
        self.user, self.password = user, password
        await self.lose_power()
        self._write_configuration()
        await self.get_power()

    async def lose_power(self) -> None:
        """End ipmi_sim; both cables are dead. Sensors and event log are kept, sessions are not."""
        if self._running is None:
            return
        self.lan.serve(None)
        await self.wire.serve(None)
        running, self._running = self._running, None
        await running.aclose()
        self._history.record(f"bmc.{self.node}", "lost_power")

    async def get_power(self) -> None:
        """Start ipmi_sim and connect both cables; raises MachineError when it does not come."""
        if self._running is not None:
            await self.lose_power()
        argv = [
            PROGRAM, "-n", "-c", str(self._configuration), "-f", str(self._directory / "commands"),
            "-s", str(self._directory / "state"),
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # for the helper of the configuration
        async with AsyncExitStack() as stack:
            child = await stack.enter_async_context(
                Child(argv, name=f"BMC of node {self.node}", log=self._directory / "ipmi_sim.log", env=environment)
            )
            self._child = child

            async def listens() -> tuple[int, ...]:
                if not child.alive:
                    raise MachineError(
                        f"The BMC of node {self.node} ended with code {child.returncode}: {child.last_words()}"
                    )
                return loopback_ports(child.pid) or ()

            lan, wire = await wait_until(
                listens, what=f"the ports of the BMC of node {self.node}", timeout_s=START_TIMEOUT_S, poll_s=0.02
            )
            self.lan.serve(lan)
            await self.wire.serve(wire)
            self._running = stack.pop_all()
        self._history.record(f"bmc.{self.node}", "got_power", pid=child.pid)

    def _write_configuration(self) -> None:
        argv = [sys.executable, "-P", "-S", "-m", chassis.__name__, str(self._chassis)]
        text = sensors.configuration(node=self.node, user=self.user, password=self.password, chassis=shlex.join(argv))
        self._configuration.unlink(missing_ok=True)
        with open(os.open(self._configuration, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:  # noqa: PTH123
            file.write(text)
        commands = sensors.emulation(self._directory / "values")
        (self._directory / "commands").write_text(commands, encoding="ascii")

    # ---------------------------------------------------------------- the node's power

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._askers.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # only `_end_askers` cancels this task
                line = LineSocket(reader, writer)
                question = (await line.read(timeout_s=chassis.LIMIT_S)).decode(errors="replace").split()
                await line.send((await self.chassis(question)).encode())
        finally:
            self._askers.discard(task)
            writer.close()

    async def chassis(self, question: list[str]) -> str:
        """Answer a question of ipmi_sim, `get power` or `set power 0`, with `ok ...` or `error ...`."""
        lied = self.lies
        try:
            match question:
                case ["get", "power"]:
                    on = self.power.is_on()
                    return f"ok power:{int(on and not lied)}"
                case ["set", what, value]:
                    if not lied:
                        await self._do(what, value)
                case _:
                    return f"error not supported: {' '.join(question)}"
        except TestbedError as error:
            self._history.record(f"bmc.{self.node}", "power_failed", question=question, reason=str(error))
            return f"error {' '.join(str(error).split())}"
        self._history.record(f"bmc.{self.node}", "power_asked", question=question, done=not lied)
        return "ok"

    async def _do(self, what: str, value: str) -> None:
        match what, value:
            case "power", "0":
                await self.power.cut()
            case "power", _:
                await self.power.switch_on()
            case "reset", _:
                await self.power.reset()
            case "shutdown", _:
                await self.power.press_button()
            case _:
                raise MachineError(f"The BMC of node {self.node} cannot set {what}; nothing was done.")

    async def _end_askers(self) -> None:
        tasks = list(self._askers)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def loopback_ports(pid: int) -> tuple[int, int] | None:
    """The UDP port and the listening TCP port of a process, from proc(5), or None while it has not both."""
    udp, tcp = bound_port(pid), bound_port(pid, "tcp", LISTENING)
    return (udp, tcp) if udp and tcp else None
