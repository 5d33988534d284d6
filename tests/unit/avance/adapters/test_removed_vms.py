"""The adapters and VMs that are changed or removed: nothing is left of one, whatever programs and files do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from avance.adapters.drbd import DrbdDisks
from avance.adapters.hypercall import Hypercalls
from avance.adapters.xen import XenHypervisor
from avance.config import parse
from avance.core.events import DomainChanged
from avance.core.model import Outcome
from avance.definitions import removed
from tests.playbook import WEB, spec
from tests.unit.avance.adapters import nasty
from tests.unit.avance.adapters.test_contract import place, settled
from tests.unit.avance.adapters.test_xen import Host, _gone_when_destroyed, host
from tests.unit.avance.site import config, site, vm

__all__ = ["host", "place"]


@pytest.mark.parametrize("how", nasty.FILES)
def test_resource_file_that_is_anything(place: Path, how: str) -> None:
    """What cannot be removed is told, and what is gone is gone."""
    path = place / "avance-web.res"
    nasty.file(path, how)
    for name in ("drbdsetup", "lvs"):
        (place / name).write_text("#!/bin/sh\nexit 0\n")
        (place / name).chmod(0o755)

    async def story() -> None:
        disks = DrbdDisks(config(), print)
        disks.remove(WEB)
        done = await settled(disks.clear(WEB, 0))
        assert done.ok is (how != "directory")
        assert path.exists() is (how == "directory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(place))
        asyncio.run(story())


def test_domain_of_a_removed_vm_is_destroyed(host: Host) -> None:
    """It is known by its uuid, also to a daemon that has found a tombstone only; its end is told, and told again."""
    host.xen.put(3, vm=WEB)
    _gone_when_destroyed(host)

    async def story() -> None:
        host.adapter = XenHypervisor(parse("a", site(), removed([vm()], WEB)), host.events.append, Hypercalls(host.xen))
        for _ in range(2):
            assert (await host.adapter.clear(WEB)).ok

    host.plays(story)
    assert host.tools.calls == ["xl destroy 3"]
    assert host.events == [DomainChanged(WEB, running=False)] * 2


def test_dying_domain_of_a_removed_vm_is_gone(host: Host) -> None:
    """Its memory may wait for I/O that is frozen, and that goes on only when the resource is taken down."""
    host.xen.put(3, "d", vm=WEB)

    async def story() -> None:
        host.adapter.remove(WEB)
        assert (await host.adapter.clear(WEB)).ok

    host.plays(story)
    assert host.events == [DomainChanged(WEB, running=False)]


def test_living_domain_of_a_removed_vm_is_not_gone(host: Host) -> None:
    """xl has failed, or nobody can look: nothing is told that is not known."""
    host.xen.put(3, vm=WEB)
    host.tools.ends("xl", 1)

    async def story() -> None:
        host.adapter.remove(WEB)
        assert not (await host.adapter.clear(WEB)).ok
        host.xen.broken = True
        assert (await host.adapter.clear(WEB)).outcome is Outcome.UNKNOWN

    host.plays(story)
    assert host.events == []


def test_removed_vm_is_paused_with_the_others(host: Host) -> None:
    """It may still write; nothing else is reported of it."""
    host.xen.put(3, vm=WEB)

    async def story() -> None:
        host.adapter.remove(WEB)
        assert (await host.adapter.pause()).ok
        assert (await host.adapter.read(WEB)).ok

    host.follows(story)
    assert host.xen.calls == ["pause 3"]
    assert host.events == []


def test_removed_vm_is_not_started(host: Host) -> None:
    """A command that was on its way does nothing; one whose domain is being created is waited for."""

    async def story() -> None:
        host.adapter._starting.add(WEB)
        host.adapter.remove(WEB)
        assert "just being created" in (await host.adapter.clear(WEB)).detail
        assert (await host.adapter.start(WEB)).detail == "web was not started: it was removed"
        host.adapter.change(spec())
        assert not (await host.adapter.start(WEB)).ok
        host.adapter.add(spec())
        assert (await host.adapter.start(WEB)).ok

    host.plays(story)


def test_changed_vm_gets_its_memory_at_its_next_start(host: Host, tmp_path: Path) -> None:
    """Its file is written when its domain is created."""

    async def story() -> None:
        host.adapter.change(replace(spec(), memory_mib=512))
        assert not (tmp_path / "web.cfg").exists()
        await host.adapter.start(WEB)

    host.plays(story)
    assert "memory = 512\n" in (tmp_path / "web.cfg").read_text()
