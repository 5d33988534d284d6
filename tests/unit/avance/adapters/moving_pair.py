"""Two nodes of which one sends its domain to the other: their adapters on loopback, a stand-in for Xen, and one for xl.

The addresses are others in each process that tests, so two of them at the same time do not meet.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from avance.adapters.hypercall import Hypercalls
from avance.adapters.xen import XenHypervisor
from avance.config import Config
from avance.core.events import Event
from avance.core.model import VmId
from avance.core.results import Done
from avance.wire import moving
from tests.playbook import DB, WEB, spec
from tests.unit.avance.adapters import fake_xl
from tests.unit.avance.adapters.xen_host import FakeXen
from tests.unit.avance.site import config

_NET = f"127.{os.getpid() >> 8 & 127 | 64}.{os.getpid() & 255}"
ADDRESSES = {"a": f"{_NET}.1", "b": f"{_NET}.2", "foreign": f"{_NET}.3"}
PORT = spec().port + moving.PORT_ABOVE
MOVE = "boot.1"


@dataclass
class FileXen(FakeXen):
    """The domains of one node, which the stand-in for xl changes."""

    place: fake_xl.Place = field(default_factory=lambda: fake_xl.Place("."))
    node: str = "a"

    def domain_getinfo(self, first: int, most: int) -> list[dict[str, Any]]:
        """Return them as they are now; a pause that was made here stays."""
        holds = {one["domid"]: one["holds"] for one in self.listed[1:]}
        states = {one["number"]: one for one in self.place.domains(self.node)}
        self.listed = self.listed[:1]
        for number, one in states.items():
            entry = self.put(number, one["state"], vm=one["vm"], ran=one["ran"])
            entry["holds"] = holds.get(number, entry["holds"])
            entry["paused"] = int(entry["holds"] > 0)
        return super().domain_getinfo(first, most)


def site_of(node: str, **changes: Any) -> Config:  # noqa: ANN401 - keys of a site
    """Return the configuration of a node whose private link is loopback."""
    one = config(node, **changes)
    other = "b" if node == "a" else "a"
    links = tuple(
        replace(link, address=IPv4Interface(f"{ADDRESSES[node]}/24"), peer_address=IPv4Address(ADDRESSES[other]))
        if link.name == one.replication_link
        else link
        for link in one.links
    )
    return replace(one, links=links, vms=(spec(), spec(DB, 1)))


class MovingPair:
    """Node a with the VM's domain 3, node b without one."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:  # noqa: ANN401
        self.directory, self.place = directory, fake_xl.Place(str(directory))
        self.place.keep("a", [{"number": 3, "state": "b", "vm": WEB, "ran": True}])
        self.place.keep("b", [])
        script = directory / "xl"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {fake_xl.__file__} {directory} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(directory), prepend=":")
        self.events: list[Event] = []
        self.xens = {node: FileXen(place=self.place, node=node) for node in ("a", "b")}
        self.a, self.b = (
            XenHypervisor(site_of(node, **changes), self.events.append, Hypercalls(self.xens[node])) for node in "ab"
        )

    def goes_wrong(self, verb: str, how: str) -> None:
        """Let xl do this."""
        (self.directory / f"{verb}.wrong").write_text(how)

    @property
    def notes(self) -> list[str]:
        """How far xl is."""
        path = self.directory / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def noted(self, text: str) -> bool:
        """Say whether xl has come so far."""
        return any(note.startswith(text) for note in self.notes)

    def numbers(self, node: str) -> list[int]:
        """The domains of a node."""
        return [one["number"] for one in self.place.domains(node)]

    async def both(self, vm: VmId = WEB) -> tuple[Done, Done]:
        """Move the domain; returns what became of it on both sides."""
        async with asyncio.TaskGroup() as tasks:
            received = tasks.create_task(self.b.receive(vm, MOVE))
            sent = tasks.create_task(self.a.send(vm, MOVE))
        return sent.result(), received.result()

    def left_over(self) -> list[str]:
        """The programs of this move that still run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words, environment = path.read_bytes(), (path.parent / "environ").read_bytes()
            except OSError:
                continue
            if f"PATH={self.directory}".encode() in environment and int(path.parent.name) != os.getpid():
                found.append(words.decode(errors="replace"))
        return found
