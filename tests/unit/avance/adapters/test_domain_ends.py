"""Domains that end by themselves: why, for as long as Xen says so; guests that are asked; the memory that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from avance.core.events import DomainChanged
from avance.core.model import DomainEnd, Outcome, VmId
from tests.playbook import WEB
from tests.unit.avance.adapters.test_xen import Host, host, scripted
from tests.unit.avance.adapters.tools import until

__all__ = ["host"]


@pytest.mark.parametrize(
    ("state", "reason", "end"),
    [("s", 0, DomainEnd.POWEROFF), ("s", 1, DomainEnd.REBOOT), ("sc", 3, DomainEnd.CRASH), ("s", 2, DomainEnd.UNKNOWN),
     ("sd", 0, DomainEnd.UNKNOWN), ("r", 0, DomainEnd.UNKNOWN)],
)  # fmt: skip
def test_a_look_says_why_it_ended(host: Host, state: str, reason: int, end: DomainEnd) -> None:
    """Without any program; a domain that lives has no end."""
    host.xen.put(3, state, vm=WEB, reason=reason)

    async def story() -> None:
        assert (await host.adapter.read(WEB)).outcome is Outcome.OK

    host.plays(story)
    assert host.events == [DomainChanged(WEB, running=state == "r", ended=end)]
    assert host.tools.calls == []


def test_a_new_daemon_finds_it_and_a_destroyed_one_is_no_end(host: Host) -> None:
    """The reason outlives the daemon; when nothing of the domain is left, there is none."""
    host.xen.put(3, "s", vm=WEB, reason=0)
    host.adapter = host.anew()
    off, gone = DomainChanged(WEB, running=False, ended=DomainEnd.POWEROFF), DomainChanged(WEB, running=False)

    async def story() -> None:
        await until(lambda: host.events == [off])
        host.xen.listed.pop()
        host.store.fire("@releaseDomain")
        await until(lambda: host.events == [off, gone])

    host.follows(story)


@pytest.mark.parametrize("newest", ["b", "s"])
def test_the_newest_domain_counts(host: Host, newest: str) -> None:
    """What is left of an earlier one says nothing of one that came after it."""
    host.xen.put(3, "s", vm=WEB, reason=0)
    host.xen.put(4, newest, vm=WEB, reason=1)

    async def story() -> None:
        await host.adapter.read(WEB)

    host.plays(story)
    end = DomainEnd.REBOOT if newest == "s" else DomainEnd.UNKNOWN
    assert host.events == [DomainChanged(WEB, running=newest == "b", ended=end)]


def test_a_guest_is_asked_by_its_number(host: Host) -> None:
    """It is not waited for; what comes of it is seen in its domain."""
    host.xen.put(3, "b", vm=WEB)

    async def story() -> None:
        assert (await host.adapter.shutdown(WEB)).outcome is Outcome.OK

    host.plays(story)
    assert (host.tools.calls, host.xen.calls) == (["xl shutdown 3"], [])


@pytest.mark.parametrize("states", ["", "s", "d", "bb"])
def test_a_guest_that_does_not_live_is_not_asked(host: Host, states: str) -> None:
    """Nor one of two: nobody could tell which."""
    for number, state in enumerate(states, 3):
        host.xen.put(number, state, vm=WEB)

    async def story() -> None:
        done = await host.adapter.shutdown(WEB)
        assert (done.outcome, "not one domain" in done.detail) == (Outcome.FAILED, True)

    host.plays(story)
    assert host.tools.calls == []


def test_a_guest_that_stands_still_is_not_asked(host: Host) -> None:
    """It could not do anything."""
    host.xen.put(3, "b", vm=WEB)

    async def story() -> None:
        await host.adapter.pause()
        done = await host.adapter.shutdown(WEB)
        assert (done.outcome, "are paused" in done.detail) == (Outcome.FAILED, True)

    host.plays(story)
    assert host.tools.calls == []


def test_an_xl_that_refuses_or_hangs(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest without the driver is refused with xl's words; an xl that does not end leaves it unknown."""
    host.xen.put(3, "b", vm=WEB)

    async def story() -> None:
        scripted(tmp_path, 'echo "no PV drivers" >&2; exit 3')
        done = await host.adapter.shutdown(WEB)
        assert (done.outcome, "no PV drivers" in done.detail) == (Outcome.FAILED, True)
        monkeypatch.setattr("avance.adapters.xen._XL_S", 0.1)
        (tmp_path / "xl").write_text("#!/bin/sh\nexec sleep 30\n")
        assert (await host.adapter.shutdown(WEB)).outcome is Outcome.UNKNOWN

    host.plays(story)


def test_memory_for_vms_is_what_is_free_and_what_they_have(host: Host) -> None:
    """Neither that of others nor that of removed VMs; a Xen that cannot be asked says nothing."""
    host.xen.free_kib = 200 * 1024
    assert host.adapter.room_mib() == 200
    host.xen.put(3, "b", vm=WEB)
    host.xen.put(4, "b")
    host.xen.put(5, "b", vm="db")
    assert host.adapter.room_mib() == 296
    host.adapter.remove(VmId("db"))
    assert host.adapter.room_mib() == 296
    host.xen.broken = True
    assert host.adapter.room_mib() is None
