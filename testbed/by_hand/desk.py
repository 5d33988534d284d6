"""What a person may ask of a bed that is up: run a command in a node, sit at a node's console, see how everything is.

The process that holds the bed answers, because nobody else can: QEMU gives the port of the guest agent and the console
to one holder each. It must never wait without a limit, and what it does in a node is only what it was asked to do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from testbed.bed import Bed, Stage
from testbed.by_hand.orders import Answer, Order, Orders, Talk
from testbed.errors import TestbedError, UsageError, WaitTimeout
from testbed.node.machine import Machine
from testbed.node.node import Node
from testbed.topology import Vm
from testbed.wait import OwnedTask

ROLES = ("primary", "backup")
STATUS_TIMEOUT_S = 30.0
SERVICE_TIMEOUT_S = 3.0  # times the dilation; the VM answers in milliseconds, in 0.2 s on a slow computer
CONSOLE_LINES = 20  # of what was written before somebody came
CONSOLE_WAITING_MAX = 4096  # pieces of output that a terminal may lag behind
READ_BYTES = 65536
OFF_POLL_S = 0.2
FAULTS_ORDER = "faults"  # whoever injects faults answers it


class ByHand:
    """The orders `exec`, `console` and `status` of one bed."""

    def __init__(self, bed: Bed, orders: Orders) -> None:
        self._bed = bed
        self._orders = orders

    # ------------------------------------------------------------------ which node

    async def node(self, word: str) -> Node:
        """Return the node of a name or role; raises UsageError when nobody, or more than one, has the role now."""
        if word in self._bed.nodes:
            return self._bed.nodes[word]
        if word not in ROLES:
            known = ", ".join((*self._bed.nodes, *ROLES))
            raise UsageError(f"There is no node {word!r}; there are {known}.")
        told = await self._statuses()
        having = [name for name, status in told.items() if (status["product"] or {}).get("role") == word]
        if len(having) != 1:
            words = "; ".join(f"node {name} {_role(status)}" for name, status in told.items())
            raise UsageError(f"There is no single {word} now: {words}. Name the node instead.")
        return self._bed.nodes[having[0]]

    # ------------------------------------------------------------------ exec

    async def execute(self, order: Order) -> Answer:
        """Run a command in a node: `argv`, `timeout_s`; answers with its code and what it wrote, as text.

        Raises:
            GuestCommandError: it could not be started, or did not end in time; then it may still run there.
            MachineError: the node is off.
        """
        argv = [str(word) for word in order["argv"]]
        if not argv:
            raise UsageError("There is no command; write it after --, for example: testbed exec primary -- xl list")
        node = await self.node(order["node"])
        done = await node.machine.guest.run(argv, timeout_s=float(order["timeout_s"]))
        return {"node": node.name, "code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    # ------------------------------------------------------------------ console

    async def console(self, order: Order) -> Talk:
        """Join a node's serial console: its last lines, then all that comes; what is typed goes there."""
        node = await self.node(order["node"])

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(_last_lines(self._bed.options.artefacts / f"console-{node.name}.log"))
            async with OwnedTask(_follow(node, writer), name=f"console of {node.name}"):
                while data := await reader.read(READ_BYTES):
                    if node.is_on:
                        await node.machine.console.send(data)

        return talk

    # ------------------------------------------------------------------ status

    async def status(self, _order: Order) -> Answer:
        """Say how the bed is: both nodes as QEMU and the product see them, the VM as a client does, and the faults."""
        bed = self._bed
        faults = await self._orders.act({"order": FAULTS_ORDER}) if self._orders.takes(FAULTS_ORDER) else {}
        async with asyncio.TaskGroup() as tasks:
            vm, nodes = tasks.create_task(self._served()), tasks.create_task(self._statuses())
        return {
            "stage": bed.stage.name.lower(),
            "artefacts": str(bed.options.artefacts.resolve()),
            "image": bed.image.hash,
            "accelerator": bed.accelerator.name,
            "dilation": bed.options.site.dilation,
            "vm": vm.result(),
            "faults": faults,
            "nodes": nodes.result(),
        }

    async def _served(self) -> str:
        if self._bed.stage is not Stage.PROTECTED:
            return "not asked: the pair is not protected yet"
        async with asyncio.TaskGroup() as tasks:
            asked = {vm.name: tasks.create_task(self._vm_served(vm)) for vm in self._bed.topology.guests}
        if len(asked) == 1:
            return next(iter(asked.values())).result()
        return "; ".join(f"{name} {task.result()}" for name, task in asked.items())

    async def _vm_served(self, vm: Vm) -> str:
        limit_s = SERVICE_TIMEOUT_S * self._bed.options.site.dilation
        async with self._bed.probe("status", ledger=None, vm=vm) as probe:
            try:
                await probe.wait_first_ok(limit_s)
            except WaitTimeout as error:
                return f"does not answer the client: {error}"
            waits = [one.done_at_s - one.sent_at_s for one in probe.attempts if one.done_at_s is not None]
        return f"answers the client, in {1000 * sorted(waits)[len(waits) // 2]:.0f} ms"

    async def _statuses(self) -> dict[str, dict[str, Any]]:
        async with asyncio.TaskGroup() as tasks:
            asked = {name: tasks.create_task(_status(node)) for name, node in self._bed.nodes.items()}
        return {name: task.result() for name, task in asked.items()}


async def _status(node: Node) -> dict[str, Any]:
    """One node: what QEMU says (`off` without one), its pid, the product's status, and why that is missing."""
    found: dict[str, Any] = {"machine": "off", "pid": None, "product": None, "problem": ""}
    if not node.is_on:
        return found
    try:
        found["pid"] = node.machine.pid
        found["machine"] = await node.machine.status()
        if found["machine"] != "running":
            return found | {"problem": "not asked: its machine stands still"}
        found["product"] = await node.status(timeout_s=STATUS_TIMEOUT_S)
    except TestbedError as error:
        found["problem"] = str(error)
    return found


def _role(status: dict[str, Any]) -> str:
    if status["machine"] != "running":
        return f"is {status['machine']}"
    return "does not answer" if status["product"] is None else f"says {status['product']['role']}"


def _last_lines(log: Path) -> bytes:
    """The end of a console log, without the stamps, as a terminal wants it."""
    try:
        with log.open(encoding="utf-8", errors="replace") as stream:
            lines = [line.rstrip("\n").partition("] ")[2] for line in deque(stream, maxlen=CONSOLE_LINES)]
    except FileNotFoundError:
        return b""
    return "".join(f"{line}\r\n" for line in lines).encode()


async def _follow(node: Node, writer: asyncio.StreamWriter) -> None:
    """Write what comes from a node's console, over all its processes, until nobody reads it any more."""
    heard: Machine | None = None
    told_off = False
    while True:
        machine = node.machine if node.is_on else None
        if machine is None and not told_off:
            await _say(writer, f"node {node.name} is off")
            told_off = True
        elif machine is not None and machine is not heard:
            if told_off:
                await _say(writer, f"node {node.name} is on")
            told_off, heard = False, machine
            await _hear(machine, writer)
        await asyncio.sleep(OFF_POLL_S)


async def _hear(machine: Machine, writer: asyncio.StreamWriter) -> None:
    """Write what comes from the console of one process until that has ended."""
    waiting = asyncio.Queue[bytes](CONSOLE_WAITING_MAX)
    with machine.console.listening(lambda data: _keep(waiting, data)):
        while data := await waiting.get():
            writer.write(data)
            await writer.drain()


def _keep(waiting: asyncio.Queue[bytes], data: bytes) -> None:
    """Hand output to a terminal; what one that stands still cannot take is left to the log."""
    if waiting.full() and not data:
        waiting.get_nowait()
    if not waiting.full():
        waiting.put_nowait(data)


async def _say(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(f"\r\n[testbed: {text}]\r\n".encode())
    await writer.drain()


@asynccontextmanager
async def serving(bed: Bed) -> AsyncIterator[Orders]:
    """Take orders by hand while the bed is up; others may add theirs to what is yielded."""
    async with Orders(bed.sockets) as orders:
        hand = ByHand(bed, orders)
        with orders.taking({"exec": hand.execute, "status": hand.status}, {"console": hand.console}):
            yield orders
