"""The hypervisor adapter on a stand-in of xl: it clears what is dead, and never takes `no answer` for `no domain`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from avance.adapters import xen as module
from avance.adapters.xen import XenHypervisor
from avance.core.events import DomainChanged, Event
from avance.core.model import Outcome
from tests.playbook import WEB
from tests.unit.avance.adapters.tools import Tools, beside, until
from tests.unit.avance.site import config

HEAD, DOM0 = (Path(__file__).parents[1] / "wire" / "data" / "xl-list-4.17.txt").read_text().splitlines()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """A node with xl and xenstore-watch and no VM."""
    monkeypatch.setattr(module, "CONFIG_DIR", tmp_path)
    made = Tools(tmp_path, monkeypatch, "xl", "xenstore-watch")
    made.says("xl", f"{HEAD}\n{DOM0}\n")
    return made


def listed(state: str) -> str:
    """Return a list with the VM in some state."""
    return f"{HEAD}\n{DOM0}\nweb 3 96 1 {state} 0.1\n"


def hypervisor(events: list[Event] | None = None) -> XenHypervisor:
    """Return the adapter of node a."""
    return XenHypervisor(config(), ([] if events is None else events).append)


def test_domain_is_created_from_its_file(tools: Tools, tmp_path: Path) -> None:
    """A start writes the configuration and creates the domain."""
    assert asyncio.run(hypervisor().start(WEB)).outcome is Outcome.OK
    assert tools.calls == ["xl list", f"xl create -q -e {tmp_path}/web.cfg"]
    assert 'name = "web"' in (tmp_path / "web.cfg").read_text()


def test_dead_domain_is_cleared_away_first(tools: Tools) -> None:
    """A crashed domain of the same name would stop the start; it is destroyed before."""
    tools.says("xl", listed("----c-"))
    asyncio.run(hypervisor().start(WEB))
    assert [call.split()[1] for call in tools.calls] == ["list", "destroy", "create"]


def test_running_domain_is_never_destroyed_by_a_start(tools: Tools) -> None:
    """A start that finds the domain running leaves it to xl to refuse."""
    tools.says("xl", listed("r-----"))
    asyncio.run(hypervisor().start(WEB))
    assert "xl destroy web" not in tools.calls


def test_absent_domain_counts_as_destroyed(tools: Tools) -> None:
    """Destroying what is not there has reached its aim."""
    tools.ends("xl.destroy", 1)
    assert asyncio.run(hypervisor().destroy(WEB)).outcome is Outcome.OK


@pytest.mark.parametrize("state", ["r-----", "-----d", "---s--"])
def test_listed_domain_is_not_destroyed_yet(tools: Tools, state: str) -> None:
    """As long as the domain is listed, dying or not, it may hold the disk: destroy did not succeed."""
    tools.says("xl", listed(state))
    assert asyncio.run(hypervisor().destroy(WEB)).outcome is Outcome.FAILED


@pytest.mark.parametrize(("state", "running"), [("-b----", True), ("---s--", False)])
def test_read_reports_before_it_ends(tools: Tools, state: str, running: bool) -> None:
    """A look reports what it saw as an event."""
    tools.says("xl", listed(state))
    events: list[Event] = []
    assert asyncio.run(hypervisor(events).read(WEB)).outcome is Outcome.OK
    assert events == [DomainChanged(WEB, running)]


@pytest.mark.parametrize("broken", ["code", "text"])
def test_no_list_is_no_answer(tools: Tools, broken: str) -> None:
    """Without a readable list nothing is reported, started or called destroyed."""
    if broken == "code":
        tools.ends("xl.list", 1)
    else:
        tools.says("xl", "unexpected\n")
    events: list[Event] = []

    async def story() -> None:
        adapter = hypervisor(events)
        for act in (adapter.read, adapter.start, adapter.destroy):
            assert (await act(WEB)).outcome is not Outcome.OK

    asyncio.run(story())
    assert events == []
    assert not any("create" in call for call in tools.calls)


def test_every_change_is_read_anew(tools: Tools) -> None:
    """Each line of the watch leads to one report of every VM."""
    tools.says("xenstore-watch", "@introduceDomain\n@releaseDomain\n")
    events: list[Event] = []

    async def story() -> None:
        await until(lambda: len(events) >= 2)

    beside(hypervisor(events).follow(), story)
    assert events[:2] == [DomainChanged(WEB, running=False)] * 2
