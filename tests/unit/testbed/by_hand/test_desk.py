"""Proves what a person may ask of a bed that is up: the right node, its console over restarts, an honest status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from testbed.bed import Bed, Stage
from testbed.by_hand import desk
from testbed.by_hand.desk import ByHand, serving
from testbed.by_hand.orders import Orders, ask, talking
from testbed.errors import GuestCommandError, TestbedError, UsageError, WaitTimeout
from testbed.node.agent import ExecResult
from testbed.topology import Topology
from testbed.wait import wait_until

GUARD_S = 100  # only ends what hangs


class FakeMachine:
    """A QEMU with a console into which a test speaks, and an agent that runs one command."""

    pid = 4711

    def __init__(self) -> None:
        self.console = self
        self.guest = self
        self.state = "running"
        self.typed: list[bytes] = []
        self.ran: list[tuple[list[str], float]] = []
        self.hearers: list[Callable[[bytes], None]] = []
        self.came = asyncio.Event()

    async def status(self) -> str:
        """QEMU's run state."""
        return self.state

    async def run(self, argv: list[str], *, timeout_s: float) -> ExecResult:
        """Run a command in the node, as the agent does."""
        self.ran.append((argv, timeout_s))
        return ExecResult(-9, "out", "err")

    async def send(self, data: bytes) -> None:
        """Type."""
        self.typed.append(data)
        self.came.set()

    @contextlib.contextmanager
    def listening(self, hear: Callable[[bytes], None]) -> Iterator[None]:
        """Hear the console."""
        self.hearers.append(hear)
        self.came.set()
        try:
            yield
        finally:
            self.hearers.remove(hear)

    def say(self, data: bytes) -> None:
        """Speak on the console."""
        for hear in self.hearers:
            hear(data)


class FakeNode:
    """A node whose product says a role, or does not answer."""

    def __init__(self, name: str, role: str | None) -> None:
        self.name, self.role = name, role
        self.here: FakeMachine | None = FakeMachine()

    @property
    def is_on(self) -> bool:
        """Whether it has a machine."""
        return self.here is not None

    @property
    def machine(self) -> FakeMachine:
        """Its machine."""
        if self.here is None:
            raise GuestCommandError(f"Node {self.name} is off; start it first.")
        return self.here

    async def status(self, *, timeout_s: float) -> dict[str, Any]:
        """The product's status."""
        if self.role is None:
            raise GuestCommandError(f"node {self.name} is silent for {timeout_s:g} s")
        return {"role": self.role}


class FakeProbe:
    """A client whose VM answers after 5, 7 and 9 ms, or not at all."""

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers
        self.attempts = [SimpleNamespace(sent_at_s=1.0, done_at_s=1.0 + ms / 1000) for ms in (5, 7, 9)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def wait_first_ok(self, timeout_s: float) -> float:
        """Wait for answers."""
        if not self._answers:
            raise WaitTimeout(f"Waited {timeout_s:g} s")
        return 1.0


def served(
    directory: Path,
    act: Callable[[Path, FakeNode, FakeNode], Awaitable[None]],
    *,
    roles: tuple[str | None, str | None] = ("backup", "primary"),
    answers: bool = True,
    vms: int = 1,
    stage: Stage = Stage.PROTECTED,
) -> None:
    """Serve a bed without machines, and let the test ask it."""

    async def whole() -> None:
        nodes = [FakeNode(name, role) for name, role in zip("ab", roles, strict=True)]
        bed = SimpleNamespace(
            sockets=directory,
            nodes={node.name: node for node in nodes},
            stage=stage,
            options=SimpleNamespace(artefacts=directory, site=SimpleNamespace(dilation=2)),
            image=SimpleNamespace(hash="1ma9e"),
            accelerator=SimpleNamespace(name="tcg"),
            topology=Topology(vms=vms),
            probe=lambda _run, *, ledger, vm: FakeProbe(answers=answers and vm.number == 0),
        )
        async with asyncio.timeout(GUARD_S), serving(cast("Bed", bed)) as orders:
            await act(orders.path, nodes[0], nodes[1])

    asyncio.run(whole())


def exec_order(node: str, *argv: str) -> dict[str, object]:
    """The order of `testbed exec`."""
    return {"order": "exec", "node": node, "argv": argv, "timeout_s": 5}


@pytest.mark.parametrize(("word", "name"), [("a", "a"), ("b", "b"), ("primary", "b"), ("backup", "a")])
def test_a_command_runs_in_the_node_that_was_named_or_has_the_role(tmp_path: Path, word: str, name: str) -> None:
    """Code and both outputs come back, and the other node ran nothing."""

    async def act(socket: Path, a: FakeNode, b: FakeNode) -> None:
        answer = await ask(socket, exec_order(word, "xl", "list"))
        assert answer == {"ok": True, "node": name, "code": -9, "stdout": "out", "stderr": "err"}
        ran = {node.name: node.machine.ran for node in (a, b)}
        assert ran == {name: [(["xl", "list"], 5.0)], ("b" if name == "a" else "a"): []}

    served(tmp_path, act)


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        (("primary", "primary"), "no single primary now: node a says primary; node b says primary"),
        (("backup", None), "no single primary now: node a says backup; node b does not answer"),
    ],
)
def test_a_role_that_is_not_one_nodes_is_refused(tmp_path: Path, roles: tuple[str, str | None], words: str) -> None:
    """The words say what each node says, and nothing was run anywhere."""

    async def act(socket: Path, a: FakeNode, b: FakeNode) -> None:
        with pytest.raises(UsageError, match=words):
            await ask(socket, exec_order("primary", "reboot"))
        assert a.machine.ran == b.machine.ran == []

    served(tmp_path, act, roles=roles)


def test_a_role_is_found_beside_a_node_that_is_off(tmp_path: Path) -> None:
    """A dead node has no role, and is in nobody's way."""

    async def act(socket: Path, a: FakeNode, _b: FakeNode) -> None:
        a.here = None
        assert (await ask(socket, exec_order("primary", "true")))["node"] == "b"
        with pytest.raises(UsageError, match="no single backup now: node a is off; node b says primary"):
            await ask(socket, exec_order("backup", "true"))
        with pytest.raises(TestbedError, match="Node a is off"):
            await ask(socket, exec_order("a", "true"))

    served(tmp_path, act)


@pytest.mark.parametrize(("node", "argv"), [("c", ["true"]), ("a", [])])
def test_an_unknown_node_and_no_command_are_refused(tmp_path: Path, node: str, argv: list[str]) -> None:
    """The words name what there is, or how it is written."""

    async def act(socket: Path, _a: FakeNode, _b: FakeNode) -> None:
        with pytest.raises(UsageError, match=r"there are a, b, primary, backup|There is no command"):
            await ask(socket, exec_order(node, *argv))

    served(tmp_path, act)


def test_a_console_shows_what_was_what_comes_and_takes_keys(tmp_path: Path) -> None:
    """The last lines without their stamps, then every byte as it comes; keys reach the node."""
    lines = [f"[{number:9.3f}] line {number}] x" for number in range(desk.CONSOLE_LINES + 5)]
    (tmp_path / "console-a.log").write_text("\n".join(lines) + "\n", encoding="utf-8")

    async def act(socket: Path, a: FakeNode, _b: FakeNode) -> None:
        async with talking(socket, {"order": "console", "node": "a"}) as (_answer, reader, writer):
            old = (await reader.readuntil(b"line 24] x\r\n")).decode().splitlines()
            assert old == [f"line {number}] x" for number in range(5, 25)]
            await a.machine.came.wait()
            a.machine.say(b"\x1b[1mlo")
            a.machine.say(b"gin: ")
            assert await reader.readexactly(11) == b"\x1b[1mlogin: "
            a.machine.came.clear()
            writer.write(b"root\r")
            await a.machine.came.wait()
            assert a.machine.typed == [b"root\r"]
            machine = a.machine

        async def unheard() -> bool:
            return not machine.hearers

        await wait_until(unheard, what="nobody to listen", timeout_s=GUARD_S, poll_s=0.01)

    served(tmp_path, act)


def test_a_console_goes_on_when_its_node_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is switched off and on again is told of, and the new machine is heard."""
    monkeypatch.setattr(desk, "OFF_POLL_S", 0.01)

    async def act(socket: Path, a: FakeNode, _b: FakeNode) -> None:
        async with talking(socket, {"order": "console", "node": "a"}) as (_answer, reader, writer):
            first = a.machine
            await first.came.wait()
            a.here = None
            first.say(b"")  # as the reader says it when the output has ended
            await reader.readuntil(b"[testbed: node a is off]\r\n")
            writer.write(b"is anybody there?")  # goes nowhere, and does no harm
            a.here = second = FakeMachine()
            await reader.readuntil(b"[testbed: node a is on]\r\n")
            await second.came.wait()
            second.say(b"(XEN) again\r\n")
            await reader.readuntil(b"(XEN) again\r\n")

    served(tmp_path, act)


def test_a_terminal_that_stands_still_holds_nobody_up() -> None:
    """What does not fit is left out of the terminal; the end of the output is never left out."""

    async def fill() -> list[bytes]:
        waiting = asyncio.Queue[bytes](2)
        for data in (b"1", b"2", b"3", b""):
            desk._keep(waiting, data)
        return [waiting.get_nowait() for _ in range(waiting.qsize())]

    assert asyncio.run(fill()) == [b"2", b""]


def test_the_status_says_what_each_source_says(tmp_path: Path) -> None:
    """QEMU about the machines, the product about itself, the client about the VM; what is silent is named."""

    async def act(socket: Path, a: FakeNode, b: FakeNode) -> None:
        a.machine.state = "paused"
        found = await ask(socket, {"order": "status"})
        assert (found["stage"], found["dilation"], found["accelerator"]) == ("protected", 2, "tcg")
        assert found["vm"] == "answers the client, in 7 ms"
        assert found["nodes"]["a"]["machine"] == "paused"
        assert found["nodes"]["a"]["product"] is None
        assert "stands still" in found["nodes"]["a"]["problem"]
        assert found["nodes"]["b"] == {"machine": "running", "pid": 4711, "product": {"role": "primary"}, "problem": ""}
        b.role, a.here = None, None
        found = await ask(socket, {"order": "status"})
        assert found["nodes"]["a"] == {"machine": "off", "pid": None, "product": None, "problem": ""}
        assert found["nodes"]["b"]["problem"] == "node b is silent for 30 s"

    served(tmp_path, act)


def test_a_vm_that_does_not_answer_is_no_failure_of_the_status(tmp_path: Path) -> None:
    """It is waited for as long as the dilation allows, and the words say so."""

    async def act(socket: Path, _a: FakeNode, _b: FakeNode) -> None:
        assert (await ask(socket, {"order": "status"}))["vm"] == "does not answer the client: Waited 6 s"

    served(tmp_path, act, answers=False)


def test_each_of_several_vms_is_asked(tmp_path: Path) -> None:
    """The words name them."""

    async def act(socket: Path, _a: FakeNode, _b: FakeNode) -> None:
        told = (await ask(socket, {"order": "status"}))["vm"]
        assert told == "web answers the client, in 7 ms; web1 does not answer the client: Waited 6 s"

    served(tmp_path, act, vms=2)


def test_a_bed_on_its_way_up_is_not_asked_for_its_vm(tmp_path: Path) -> None:
    """The status can be asked from the first moment on."""

    async def act(socket: Path, _a: FakeNode, _b: FakeNode) -> None:
        found = await ask(socket, {"order": "status"})
        assert (found["stage"], found["vm"]) == ("cold", "not asked: the pair is not protected yet")

    served(tmp_path, act, stage=Stage.COLD)


def test_the_faults_are_those_of_whoever_injects_them(tmp_path: Path) -> None:
    """They come through the order that another package adds."""

    async def faults(_order: object) -> dict[str, Any]:
        return {"armed": {"1": "link.cut on a.priv0"}}

    async def whole() -> dict[str, Any]:
        orders = Orders(tmp_path)
        bed = SimpleNamespace(
            nodes={},
            stage=Stage.COLD,
            options=SimpleNamespace(artefacts=tmp_path, site=SimpleNamespace(dilation=1)),
            image=SimpleNamespace(hash="1ma9e"),
            accelerator=SimpleNamespace(name="tcg"),
        )
        with orders.taking({desk.FAULTS_ORDER: faults}):
            return await ByHand(cast("Bed", bed), orders).status({})

    assert asyncio.run(whole())["faults"] == {"armed": {"1": "link.cut on a.priv0"}}
