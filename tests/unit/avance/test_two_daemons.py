"""Two daemons agree on a VM: their loops, engines and files are real, heartbeats and documents are handed over.

Whatever would touch the machine is a stand-in that does nothing.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from avance import daemon as module
from avance import documents
from avance.adapters.mirror import DataMirror
from avance.clock import now_s
from avance.config import parse
from avance.configuration import TWIN, Configuration
from avance.core import commands as c
from avance.core.events import Event, HeartbeatSeen
from avance.core.model import Outcome, PairState, PeerView, Wanted
from avance.core.results import Done
from avance.daemon import PairedNode
from avance.wire.document import Document, unseal
from tests.playbook import PRIV, WEB
from tests.unit.avance.adapters.tools import until
from tests.unit.avance.site import kept_of, vm

LIMIT_S = 100
VM = vm(kernel=__file__, ramdisk=__file__)


class Still:
    """Stands for what would touch the machine: knows nothing, and does nothing."""

    problem = None
    armed = False

    def __init__(self, *_given: object, **_named: object) -> None:
        self.kept: list[str] = []

    def add(self, spec: Any) -> None:  # noqa: ANN401 - a VM
        """Note it."""
        self.kept.append(spec.name)

    def change(self, spec: Any) -> None:  # noqa: ANN401 - a VM
        """Do nothing."""

    def open_until(self, until_s: float | None) -> None:
        """Do nothing."""

    def room_mib(self) -> int:
        """There is memory for every VM."""
        return 4096

    def feed(self) -> None:
        """Do nothing."""

    def reset(self, reason: str) -> None:
        """Do nothing: this is the computer of the tests."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Done]]:
        async def act(*_given: object, **_named: object) -> Done:
            return Done(Outcome.FAILED, "not here")

        return act


class Wire:
    """Hands over to the other node what this one sends."""

    def __init__(self) -> None:
        self.other: PairedNode | None = None
        self.documents = 0

    def send(self, view: PeerView, *, echoing: bool) -> None:
        """Let the other one hear it, with an echo of what it sent just now."""
        if self.other is not None:
            self.other._hear(HeartbeatSeen(PRIV, view, now_s() - 0.01))

    def send_document(self, datagram: bytes) -> None:
        """Let the other one look at it."""
        assert self.other is not None
        document = unseal(self.other.config.secret, datagram)
        assert isinstance(document, Document)
        self.documents += 1
        self.other._document_came(document)

    def heard(self, event: Event) -> None:
        """Take no notice."""


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[PairedNode, PairedNode]:
    """Two nodes that were paired and never changed."""
    return nodes(tmp_path, monkeypatch)


def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *vms_of_a: dict[str, Any]) -> tuple[PairedNode, PairedNode]:
    """Two nodes that were paired; VMs were given to the first one only."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "eth0"), (2, "biz0")])
    for name in ("XenHypervisor", "DrbdDisks", "NodeNetwork", "ArpNeighbours", "DomainWires", "LeaseGate",
                 "NodeWatchdog", "WitnessClient"):  # fmt: skip
        monkeypatch.setattr(module, name, Still)
    made = []
    for name, vms in (("a", [*vms_of_a]), ("b", [])):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.setattr(module, "STATE_DIR", place)
        monkeypatch.setattr(module, "QUEUE_DIR", place / "callhome")
        monkeypatch.setattr(module, "JOURNAL_PATH", place / "journal.jsonl")
        raw = {**kept_of(name, *vms, watchdog=False), "number": len(vms)}
        kept = Configuration(place / "config.json", place / TWIN.name)
        made.append(PairedNode(parse(name, raw["site"], vms), raw, kept, DataMirror(place)))
    return made[0], made[1]


def runs(pair: tuple[PairedNode, PairedNode], story: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Let both run until they are paired, and until the story is over; returns what it returns."""
    wires = Wire(), Wire()
    wires[0].other, wires[1].other = pair[1], pair[0]

    async def whole() -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
            for one, wire in zip(pair, wires, strict=True):
                one._attach(wire, tasks)
            deciding = [tasks.create_task(one._decide({})) for one in pair]
            await until(lambda: all(one.engine.pair is PairState.PAIRED for one in pair))
            told = await story()
            for task in deciding:
                task.cancel()
        return told

    told = asyncio.run(whole())
    assert wires[0].documents + wires[1].documents >= 1
    return told


def given_on_b(pair: tuple[PairedNode, PairedNode], *, counts: bool) -> dict[str, Any]:
    """Let a person give a VM on the backup; returns the answer."""

    async def story() -> dict[str, Any]:
        answer = await pair[1].requests.change({"op": "vm-add", "vm": VM})
        await until(lambda: all(("web" in one.engine.units) is counts for one in pair))
        return answer

    return runs(pair, story)


def test_vm_that_is_given_once_counts_on_both(pair: tuple[PairedNode, PairedNode], tmp_path: Path) -> None:
    """On the backup: its person hears that it is done, and both daemons have it in use, in their files and adapters."""
    a, b = pair
    assert given_on_b(pair, counts=True) == {"ok": "vm add web: done, both nodes hold it"}
    assert a.config.config_hash == b.config.config_hash
    for name, one in zip(("a", "b"), pair, strict=True):
        raw = json.loads((tmp_path / name / "config.json").read_text())
        assert (raw["vms"], raw["number"]) == ([{**VM, "number": 0}], 1)
        assert one.status()["definitions"]["number"] == one.status()["definitions"]["peer_number"] == 1
        assert one._hypervisor.kept == one._disks.kept == ["web"]  # type: ignore[attr-defined]  # stand-ins
        assert one.definitions()["vms"] == [{**VM, "number": 0}]


def test_vm_that_could_not_start_on_the_other_node_is_refused(
    pair: tuple[PairedNode, PairedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node lacks the file that it starts from: this would show when the other one has died."""
    monkeypatch.setattr(documents, "missing_file", lambda _, after: "no such file" if after.node == "a" else "")
    answer = given_on_b(pair, counts=False)
    assert answer == {"error": "vm add web: node a refuses it: no such file; nothing was changed"}


def test_vm_for_which_the_other_node_has_no_memory_is_refused(pair: tuple[PairedNode, PairedNode]) -> None:
    """Each node says for itself how much it has."""
    pair[0]._documents._room_mib = lambda: 100
    answer = given_on_b(pair, counts=False)
    why = "the VMs that are to run need 104 MiB, and node a has 100 MiB for VMs"
    assert answer == {"error": f"vm add web: node a refuses it: {why}; nothing was changed"}


def test_what_a_guest_has_decided_counts_on_both(pair: tuple[PairedNode, PairedNode]) -> None:
    """The core proposes it, and nobody is answered; the list of VMs says it on both nodes."""

    async def story() -> dict[str, Any]:
        await pair[1].requests.change({"op": "vm-add", "vm": VM})
        await until(lambda: all("web" in one.engine.units for one in pair))
        while any(one.engine.units[WEB].spec.runs for one in pair):  # the core does not give in either
            pair[0]._dispatch(c.ProposeWanted(WEB, Wanted.OFF_BY_GUEST, alone=False))
            await asyncio.sleep(0.3)
        lists = [await one.life.asked({"op": "vm-list"}) for one in pair]
        assert [one["vms"][0]["why_off"] for one in lists] == ["switched off by its guest"] * 2
        return {}

    assert runs(pair, story) == {}


def test_what_counts_already_is_taken_whatever_a_node_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was given while this node was away: one VM that cannot start here must not cost all their second copy."""
    monkeypatch.setattr(documents, "missing_file", lambda *_: "no such file")
    pair = nodes(tmp_path, monkeypatch, {**VM, "number": 0})

    async def story() -> dict[str, Any]:
        await until(lambda: "web" in pair[1].engine.units)
        return {}

    assert runs(pair, story) == {}
