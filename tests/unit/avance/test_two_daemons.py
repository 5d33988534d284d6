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
from avance.adapters.mirror import DataMirror
from avance.clock import now_s
from avance.config import parse
from avance.configuration import TWIN, Configuration
from avance.core.events import Event, HeartbeatSeen
from avance.core.model import Outcome, PairState, PeerView
from avance.core.results import Done
from avance.daemon import PairedNode
from avance.wire.document import Document, unseal
from tests.playbook import PRIV
from tests.unit.avance.adapters.tools import until
from tests.unit.avance.site import kept_of, vm

LIMIT_S = 100


class Still:
    """Stands for what would touch the machine: knows nothing, and does nothing."""

    problem = None
    armed = False

    def __init__(self, *_given: object, **_named: object) -> None:
        self.kept: list[str] = []

    def add(self, spec: Any) -> None:  # noqa: ANN401 - a VM
        """Note it."""
        self.kept.append(spec.name)

    def open_until(self, until_s: float | None) -> None:
        """Do nothing."""

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
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "eth0"), (2, "biz0")])
    for name in ("XenHypervisor", "DrbdDisks", "NodeNetwork", "ArpNeighbours", "DomainWires", "LeaseGate",
                 "NodeWatchdog", "WitnessClient"):  # fmt: skip
        monkeypatch.setattr(module, name, Still)
    made = []
    for name in ("a", "b"):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.setattr(module, "STATE_DIR", place)
        monkeypatch.setattr(module, "QUEUE_DIR", place / "callhome")
        monkeypatch.setattr(module, "JOURNAL_PATH", place / "journal.jsonl")
        raw = {**kept_of(name, watchdog=False), "number": 0}
        kept = Configuration(place / "config.json", place / TWIN.name)
        made.append(PairedNode(parse(name, raw["site"], []), raw, kept, DataMirror(place)))
    return made[0], made[1]


def test_vm_that_is_given_once_counts_on_both(pair: tuple[PairedNode, PairedNode], tmp_path: Path) -> None:
    """On the backup: its person hears that it is done, and both daemons have it in use, in their files and adapters."""
    a, b = pair
    wires = Wire(), Wire()
    wires[0].other, wires[1].other = b, a

    async def story() -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
            for one, wire in zip(pair, wires, strict=True):
                one._attach(wire, tasks)
            deciding = [tasks.create_task(one._decide({})) for one in pair]
            await until(lambda: all(one.engine.pair is PairState.PAIRED for one in pair))
            answer = await b.requests.change({"op": "vm-add", "vm": vm()})
            await until(lambda: all("web" in one.engine.units for one in pair))
            for task in deciding:
                task.cancel()
        return answer

    assert asyncio.run(story()) == {"ok": "vm add web: done, both nodes hold it"}
    assert a.config.config_hash == b.config.config_hash
    assert wires[1].documents >= 1
    for name, one in zip(("a", "b"), pair, strict=True):
        raw = json.loads((tmp_path / name / "config.json").read_text())
        assert (raw["vms"], raw["number"]) == ([vm(number=0)], 1)
        assert one.status()["definitions"]["number"] == one.status()["definitions"]["peer_number"] == 1
        assert one._hypervisor.kept == one._disks.kept == ["web"]  # type: ignore[attr-defined]  # stand-ins
        assert one.definitions()["vms"] == [vm(number=0)]
