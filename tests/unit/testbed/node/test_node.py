"""Proves one node without its machine: what it refuses, and its contract with the image."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from testbed.disk.server import NbdDisk
from testbed.errors import GuestCommandError, ImageError, MachineError, WaitTimeout
from testbed.history import History
from testbed.node import node as node_module
from testbed.node.agent import ExecResult, GuestAgent
from testbed.node.node import Node, Place
from testbed.switch.client import Switch
from testbed.topology import DISK_NAMES, Topology
from tests.unit.testbed.small_image import small_image

ONE_VM = Topology()
needs_nbdkit = pytest.mark.skipif(shutil.which("nbdkit") is None, reason="nbdkit is not installed")


def make_node(tmp_path: Path, history: History, sockets: Path, topology: Topology = ONE_VM) -> Node:
    """A node of the small image; its switch is not running, which is a wire that leads nowhere."""
    switch = Switch(sockets, topology.segments, history=history, log=tmp_path / "switch.log")
    place = Place(sockets, tmp_path / "run", tmp_path / "disks")
    return Node("a", small_image(tmp_path / "image"), place, switch, history, accel="tcg", topology=topology)


def with_node(tmp_path: Path, scenario: Callable[[Node, History], Awaitable[None]]) -> None:
    """Run the scenario and close the node, whatever happened."""

    async def whole() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            node = make_node(tmp_path, history, Path(name))
            try:
                await scenario(node, history)
            finally:
                await node.close()

    asyncio.run(whole())


def test_a_node_that_is_off_says_so(tmp_path: Path) -> None:
    """Nobody speaks to the machine that was."""
    node = make_node(tmp_path, History(), tmp_path)
    assert not node.is_on
    with pytest.raises(MachineError, match="Node a is off; start it first"):
        _ = node.machine
    with pytest.raises(MachineError, match="Node a cannot boot: it was not started"):
        asyncio.run(node.wait_booted(10))


def test_the_hardware_follows_the_topology(tmp_path: Path) -> None:
    """A network card for each link, memory for all VMs, and processors."""
    bed = Topology(networks=2, vms=4, processors=2)
    node = make_node(tmp_path, History(), tmp_path, bed)
    node.storage = {disk: cast("NbdDisk", SimpleNamespace(socket=tmp_path / disk)) for disk in DISK_NAMES}
    spec = node.spec()
    assert [(nic.name, nic.mac) for nic in spec.nics] == list(bed.node_macs["a"].items())
    assert len(spec.nics) == 3
    assert (spec.memory_mib, spec.processors) == (32 + 3 * (96 + 16), 2)


@needs_nbdkit
def test_a_missing_root_is_named(tmp_path: Path) -> None:
    """The error says which file is gone, and no disk server is left."""

    async def scenario(node: Node, _history: History) -> None:
        node.image.root.unlink()
        with pytest.raises(ImageError, match=r"root\.img is gone; no disk was made"):
            await node.make_disks()
        assert node.storage == {}

    with_node(tmp_path, scenario)


class FakeGuest:
    """Stands for the agent: answers each command with the next of the given texts."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.commands: list[list[str]] = []
        self.files: dict[str, bytes] = {}

    async def connect(self, timeout_s: float) -> None:
        """Be there."""

    async def must_succeed(self, argv: Sequence[str], *, timeout_s: float) -> str:
        """Give the next answer."""
        self.commands.append(list(argv))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes | None = None) -> ExecResult:
        """Say whether a file exists."""
        assert argv[:2] == ["test", "-e"]
        return ExecResult(0 if argv[2] in self.files else 1, "", "")

    async def read_file(self, path: str) -> bytes:
        """Return a kept file."""
        return self.files[path]

    async def write_file(self, path: str, content: bytes) -> None:
        """Keep the file."""
        self.files[path] = content


class FakeMachine:
    """A machine that is on and has this guest."""

    alive = True

    def __init__(self, guest: FakeGuest) -> None:
        self.guest = guest


def node_with(tmp_path: Path, guest: FakeGuest) -> Node:
    """A node whose machine is replaced (white box): only its words to the product are looked at."""
    node = make_node(tmp_path, History(), tmp_path)
    node._machine = FakeMachine(guest)  # type: ignore[assignment]
    return node


def test_the_fake_guest_has_the_calls_of_the_real_one() -> None:
    """A renamed method of the agent breaks this test and not the pair."""
    for name in ("connect", "must_succeed", "run", "read_file", "write_file"):
        assert callable(getattr(GuestAgent, name))
        assert callable(getattr(FakeGuest, name))


def test_a_command_is_the_published_one_with_its_document(tmp_path: Path) -> None:
    """The document is written into the node first, and node and file are filled in."""
    guest = FakeGuest("")
    node = node_with(tmp_path, guest)
    asyncio.run(node.command(node.image.product.pair, {"schema": "x/1"}, timeout_s=1))
    assert guest.commands == [["nothing", "pair", "a", "/run/pair.json"]]
    assert json.loads(guest.files["/run/pair.json"]) == {"schema": "x/1"}


def test_inputs_are_kept_beside_the_journal(tmp_path: Path) -> None:
    """What a living node's daemon was told is copied under the name that the replay looks for, rotated or not."""
    guest = FakeGuest()
    node = node_with(tmp_path, guest)
    node.image = replace(node.image, product=replace(node.image.product, inputs="/log/inputs.jsonl"))
    node.journal_log.parent.mkdir(parents=True, exist_ok=True)
    asyncio.run(node.keep_inputs())
    assert list(node.journal_log.parent.glob("inputs*")) == []
    guest.files = {"/log/inputs.jsonl.1": b"one\n", "/log/inputs.jsonl": b"two\n"}
    asyncio.run(node.keep_inputs())
    assert (node.journal_log.parent / "inputs-a.jsonl.1").read_bytes() == b"one\n"
    assert (node.journal_log.parent / "inputs-a.jsonl").read_bytes() == b"two\n"


def test_a_product_without_inputs_has_none_to_keep(tmp_path: Path) -> None:
    """Neither a product that names no inputs nor a node that is off is asked."""
    node = node_with(tmp_path, FakeGuest())
    asyncio.run(node.keep_inputs())
    node._machine = None
    node.image = replace(node.image, product=replace(node.image.product, inputs="/log/inputs.jsonl"))
    asyncio.run(node.keep_inputs())


def test_a_node_is_booted_when_the_product_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that is not up yet and a silent agent mean "not yet"."""
    monkeypatch.setattr(node_module, "BOOT_POLL_S", 0.001)
    guest = FakeGuest(GuestCommandError("no socket"), WaitTimeout("no agent"), '{"node": "a"}')
    asyncio.run(node_with(tmp_path, guest).wait_booted(20))
    assert guest.commands == [["nothing", "status"]] * 3


def test_a_node_that_does_not_boot_shows_the_last_problem(tmp_path: Path) -> None:
    """The time-out says what the product's command said last."""
    guest = FakeGuest(*[GuestCommandError("avance: no such file")] * 9)
    with pytest.raises(WaitTimeout, match=r"node a booted.*avance: no such file"):
        asyncio.run(node_with(tmp_path, guest).wait_booted(0.1))


def test_a_status_is_asked_on_the_control_port(tmp_path: Path) -> None:
    """A node whose image names the question is asked without a program in the node."""

    class FakePort:
        async def ask(self, question: str, *, timeout_s: float) -> dict[str, Any]:
            assert (question, timeout_s) == ("how?", 3.0)
            return {"role": "primary"}

    node = node_with(tmp_path, FakeGuest())
    node.image = replace(node.image, questions={"status": "how?"})
    node.machine.control = FakePort()  # type: ignore[assignment]
    assert asyncio.run(node.status(timeout_s=3.0)) == {"role": "primary"}


def test_a_status_that_is_no_json_is_an_error_of_the_node(tmp_path: Path) -> None:
    """The answer is shown, and the reader of the error learns which node it was."""
    with pytest.raises(GuestCommandError, match=r"node a answered its status with no JSON: 'Traceback'"):
        asyncio.run(node_with(tmp_path, FakeGuest("Traceback")).status())
