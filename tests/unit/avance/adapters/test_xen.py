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


def test_pause_asks_xen_without_looking_first(tools: Tools) -> None:
    """The domain is paused by the first program that is started, and only once: Xen counts."""

    async def story() -> None:
        adapter = hypervisor()
        assert (await adapter.pause()).outcome is Outcome.OK
        assert (await adapter.pause()).outcome is Outcome.OK

    asyncio.run(story())
    assert tools.calls == ["xl pause web"]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("", Outcome.OK), ("---s--", Outcome.OK), ("--p---", Outcome.OK), ("r-----", Outcome.FAILED)],
)
def test_failed_pause_counts_only_if_the_domain_cannot_run(tools: Tools, state: str, outcome: Outcome) -> None:
    """A domain that is absent, dead or paused is as good as paused; one that may run is not."""
    tools.ends("xl.pause", 1)
    if state:
        tools.says("xl", listed(state))
    assert asyncio.run(hypervisor().pause()).outcome is outcome


def test_pause_without_a_list_is_not_ok(tools: Tools) -> None:
    """Who cannot look does not know."""
    tools.ends("xl", 1)
    assert asyncio.run(hypervisor().pause()).outcome is not Outcome.OK


def test_nothing_starts_while_paused(tools: Tools) -> None:
    """Between pause and unpause no domain is created."""

    async def story() -> None:
        adapter = hypervisor()
        await adapter.pause()
        assert (await adapter.start(WEB)).outcome is Outcome.FAILED
        await adapter.unpause()
        assert (await adapter.start(WEB)).outcome is Outcome.OK

    asyncio.run(story())
    assert len([call for call in tools.calls if "create" in call]) == 1


def test_domain_that_is_born_during_a_pause_is_paused_too(tools: Tools, tmp_path: Path) -> None:
    """A creation that was under way ends in a paused domain, and until then the pause has not succeeded."""
    script, created = tmp_path / "xl", tmp_path / "created"
    wait = f"until [ -e {created} ]; do sleep 0.01; done"
    slow = f"case $1 in create) {wait} ;; pause) [ -e {created} ] || exit 1 ;; esac"
    script.write_text(script.read_text().replace("exit 0", slow))

    async def story() -> None:
        adapter = hypervisor()
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            started = tasks.create_task(adapter.start(WEB))
            await until(lambda: any("create" in call for call in tools.calls))
            done = await adapter.pause()
            assert done.outcome is Outcome.FAILED
            assert "just being created: web" in done.detail
            created.touch()
            assert (await started).outcome is Outcome.OK
        assert (await adapter.pause()).outcome is Outcome.OK

    asyncio.run(story())
    assert [call for call in tools.calls if "pause" in call] == ["xl pause web"] * 2


def test_unpause_takes_back_every_pause(tools: Tools, tmp_path: Path) -> None:
    """A domain that an earlier daemon had paused as well needs a second one; it goes on until the list says so."""
    script = tmp_path / "xl"
    second = f'echo x >> {tmp_path}/n && [ "$(wc -l < {tmp_path}/n)" = 2 ] && cp {tmp_path}/r {tmp_path}/xl.out'
    count = f'[ "$1" = unpause ] && {second}'
    script.write_text(script.read_text().replace("exit 0", f"{count}\nexit 0"))
    (tmp_path / "r").write_text(listed("-b----"))
    tools.says("xl", listed("--p---"))
    assert asyncio.run(hypervisor().unpause()).outcome is Outcome.OK
    assert [call.split()[1] for call in tools.calls] == ["list", "unpause", "list", "unpause", "list"]


def test_domain_that_stays_paused_is_a_failure(tools: Tools) -> None:
    """There is a bound, and then it is said."""
    tools.says("xl", listed("--p---"))
    done = asyncio.run(hypervisor().unpause())
    assert done.outcome is Outcome.FAILED
    assert "still paused: web" in done.detail
