"""Whatever the programs of a node do: the adapters answer with an outcome or an event, within their time.

Each program of the list (nasty.py) is started for each command, some hundreds of processes in all.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from avance.adapters.drbd import DrbdDisks
from avance.adapters.xen import XenHypervisor
from avance.core.events import DiskStreamReset, Event, MirrorChanged
from tests.playbook import WEB
from tests.unit.avance.adapters import nasty
from tests.unit.avance.adapters.test_contract import (
    NOT_DONE,
    bmc,
    data_mirror,
    disk_calls,
    followed,
    place,
    settled,
    xen_with_web,
)
from tests.unit.avance.site import config

__all__ = ["place"]


@pytest.mark.parametrize("how", nasty.PROGRAMS)
def test_programs(place: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Whatever the tools do: each command has an outcome, and what did not do its work is never called OK."""
    monkeypatch.setenv("PATH", str(nasty.programs(place, how)))
    events: list[Event] = []

    async def story() -> None:
        disks, hypervisor = DrbdDisks(config(), events.append), XenHypervisor(config(), events.append, xen_with_web())
        for call in disk_calls(disks):
            done = await settled(call())
            assert not (how in NOT_DONE and done.ok)
        for act in (bmc().read, bmc().cut, bmc().restore):
            done = await settled(act())
            assert not (how in NOT_DONE and done.ok)
        await settled(hypervisor.start(WEB))
        asked = await settled(hypervisor.shutdown(WEB))
        assert not (how in NOT_DONE and asked.ok)
        assert not (await settled(hypervisor.destroy(WEB))).ok, "Xen lists it still"
        await followed(disks.follow(), lambda: any(isinstance(event, DiskStreamReset) for event in events), how)
        made = data_mirror(place, events.append)
        await followed(made.run(), lambda: any(isinstance(event, MirrorChanged) for event in events), how)
        await settled(made.trust())

    asyncio.run(story())


@pytest.mark.parametrize("how", nasty.PROGRAMS)
def test_programs_that_are_asked_for_a_removed_vm(place: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Each step has an outcome, and nothing is called gone that nobody has taken away."""
    monkeypatch.setenv("PATH", str(nasty.programs(place, how)))

    async def story() -> None:
        disks, hypervisor = DrbdDisks(config(), print), XenHypervisor(config(), print, xen_with_web())
        for keeper in (disks, hypervisor):
            keeper.remove(WEB)
        for call in disk_calls(disks):
            await settled(call())
        assert not (await settled(hypervisor.start(WEB))).ok
        assert not (await settled(hypervisor.clear(WEB))).ok, "Xen lists it still"
        done = await settled(disks.clear(WEB, 0))
        assert not (how in (*NOT_DONE, "no line end", "much to say") and done.ok)

    asyncio.run(story())
