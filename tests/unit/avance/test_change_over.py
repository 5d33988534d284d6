"""Definitions that count are taken into use: VMs at once, a site with a new start of one daemon after the other."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from avance import change_over as module
from avance.change_over import ChangeOver, StartAnew
from avance.changes import Contents
from avance.config import parse
from avance.configuration import Configuration
from avance.core import commands as c
from avance.core.events import Event, VmAdded
from avance.core.model import Version
from avance.documents import Documents
from tests.unit.avance.site import kept_of, site, vm


class Leftovers:
    """Stands for what is left of removed VMs: nothing."""

    def take_on(self, removed: object) -> None:
        """Take no notice."""


class Keeper:
    """Notes the VMs that it is given."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def add(self, spec: Any) -> None:  # noqa: ANN401 - a VM
        """Note it."""
        self.names.append(spec.name)


class Scene:
    """A node that works with one VM, and definitions that count there now."""

    def __init__(self, directory: Path, contents: Contents) -> None:
        config = parse("a", site(), [vm(number=0)])
        kept = Configuration(directory / "one", directory / "two")
        self.documents = Documents(config, kept_of("a", vm(number=0)), kept, tuple, lambda: None)
        after = parse("a", contents.site, contents.vms)
        self.documents._keep(after.config_hash, contents)
        self.version = Version(2, after.config_hash)
        self.events: list[Event] = []
        self.keeper = Keeper()
        self.peer_hash = config.config_hash
        keepers: Any = (self.keeper,)
        left: Any = Leftovers()
        self.over = ChangeOver(self.documents, self.events.append, keepers, left, lambda known: known == self.peer_hash)


@pytest.fixture(autouse=True)
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the site."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "eth0"), (2, "biz0")])


def test_vm_is_taken_into_use_at_once(tmp_path: Path) -> None:
    """Everybody hears of it, and nothing starts anew."""
    db = vm(name="db", mac="00:16:3e:77:00:21", address="10.77.0.21", number=1)
    scene = Scene(tmp_path, Contents(site(), [vm(number=0), db]))

    async def story() -> None:
        scene.over.use(c.UseDefinitions(scene.version))
        async with asyncio.timeout(0.2):
            await scene.over.run()

    with pytest.raises(TimeoutError):
        asyncio.run(story())
    (event,) = scene.events
    assert isinstance(event, VmAdded)
    assert scene.keeper.names == ["db"]
    assert scene.documents.in_use.config_hash == scene.version.hash


@pytest.mark.parametrize("later", [False, True])
def test_site_needs_a_new_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, later: bool) -> None:
    """Soon, or when the other node works with it; until then this node says what it works with."""
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    scene = Scene(tmp_path, Contents(site(policy="safety"), [vm(number=0)]))

    waited: list[bool] = []

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(scene.over.run())
            scene.over.use(c.UseDefinitions(scene.version, later=later))
            await asyncio.sleep(0.2)
            waited.append(True)
            scene.peer_hash = scene.version.hash
            await asyncio.sleep(10.0)

    with pytest.raises(ExceptionGroup) as ended:
        asyncio.run(story())
    assert isinstance(ended.value.exceptions[0], StartAnew)
    assert bool(waited) is later
    assert scene.documents.in_use.config_hash != scene.version.hash
    assert not scene.events


def test_peer_that_does_not_come_back_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After half a minute this node has to have what counts as well."""
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    monkeypatch.setattr(module, "_PEER_BEGINS_S", 0.05)
    scene = Scene(tmp_path, Contents(site(policy="safety"), []))

    async def story() -> None:
        scene.over.use(c.UseDefinitions(scene.version, later=True))
        async with asyncio.timeout(10.0):
            await scene.over.run()

    with pytest.raises(StartAnew):
        asyncio.run(story())
