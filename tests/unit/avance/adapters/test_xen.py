"""The hypervisor adapter on stand-ins of Xen, xenstored and xl: it looks without a program, and never guesses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from avance.adapters import xen as module
from avance.adapters.hypercall import Hypercalls
from avance.adapters.xen import XenHypervisor
from avance.core.events import DomainChanged, Event, MemorySeen
from avance.core.model import Outcome, VmId
from tests.playbook import WEB, spec
from tests.unit.avance.adapters.tools import Tools, until
from tests.unit.avance.adapters.xen_host import FakeStore, FakeXen
from tests.unit.avance.site import config


class Host:
    """A node with the VM `web` that has no domain yet: Xen, xenstored, xl, the adapter and what it reported."""

    def __init__(self, tools: Tools, directory: Path) -> None:
        self.tools, self.xen, self.store = tools, FakeXen(), FakeStore(directory / "xs")
        self.events: list[Event] = []
        self.adapter = self.anew()

    def anew(self) -> XenHypervisor:
        """Return the adapter of a daemon that has just started."""
        return XenHypervisor(config(), self.events.append, Hypercalls(self.xen), str(self.store.path))

    def plays(self, story: Callable[[], Awaitable[None]]) -> None:
        """Run a story while xenstored serves."""

        async def play() -> None:
            async with asyncio.timeout(20.0), self.store.serving():
                await story()

        asyncio.run(play())

    def follows(self, story: Callable[[], Awaitable[None]]) -> None:
        """Run a story while xenstored serves and the adapter follows it."""

        async def beside() -> None:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(self.adapter.follow())
                await story()
                following.cancel()

        self.plays(beside)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A node on which nothing runs; its xenstored has 0.1 s to answer, and a dying domain as long to go."""
    monkeypatch.setattr(module, "CONFIG_DIR", tmp_path)
    monkeypatch.setattr(module, "_ANSWER_S", 0.1)
    monkeypatch.setattr(module, "_DYING_S", 0.1)
    return Host(Tools(tmp_path, monkeypatch, "xl"), tmp_path)


def scripted(directory: Path, act: str) -> None:
    """Let xl do something else than end well at once."""
    script = directory / "xl"
    script.write_text(script.read_text().replace("exit 0", f"{act}\nexit 0"))


# ---------------------------------------------------------------- memory


def test_free_memory_is_told_when_it_changes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and again when it is another by more than a few pages, or when nobody says it any more."""
    monkeypatch.setattr(module, "_ASK_S", 0.01)
    host.xen.free_kib = 900 * 1024

    def told() -> list[int | None]:
        return [event.free_mib for event in host.events if isinstance(event, MemorySeen)]

    async def story() -> None:
        await until(lambda: told() == [900])
        host.xen.free_kib = 899 * 1024
        asked = len(host.store.asked)
        await until(lambda: len(host.store.asked) >= asked + 3)
        assert told() == [900]
        host.xen.free_kib = 700 * 1024
        await until(lambda: told() == [900, 700])
        host.xen.free_kib = None
        await until(lambda: told() == [900, 700, None])

    host.follows(story)


# ---------------------------------------------------------------- looks


@pytest.mark.parametrize(
    ("state", "running", "paused"),
    [("b", True, False), ("r", True, False), ("p", True, True), ("s", False, False), ("d", False, False),
     ("pd", False, False)],
)  # fmt: skip
def test_look_reports_what_xen_says(host: Host, state: str, running: bool, paused: bool) -> None:
    """A look tells a running domain, one that stands still and one that lingers dead apart, and starts no program."""
    host.xen.put(3, state, vm=WEB)

    async def story() -> None:
        assert (await host.adapter.read(WEB)).outcome is Outcome.OK

    host.plays(story)
    assert host.events == [DomainChanged(WEB, running, paused)]
    assert host.tools.calls == []


@pytest.mark.parametrize("kind", ["silent", "gone", "no Xen"])
def test_look_without_an_answer_is_unknown(host: Host, kind: str) -> None:
    """Without xenstored or without Xen a look ends UNKNOWN and reports nothing, whatever the other of them says."""
    host.xen.put(3, "b", vm=WEB)
    host.store.silent, host.xen.broken = kind == "silent", kind == "no Xen"

    async def story() -> None:
        if kind == "gone":
            host.store.path.unlink()
        done = await host.adapter.read(WEB)
        assert done.outcome is Outcome.UNKNOWN
        assert ("did not answer within 0.1 s" in done.detail) == (kind == "silent")

    host.plays(story)
    assert host.events == []


@pytest.mark.parametrize("name", ["web", "a web", "web b", " web", "web 3 96 1 r-----", "Web", "w" * 300, "w\u00e4b"])
def test_foreign_domain_confuses_nobody(host: Host, name: str) -> None:
    """A domain of somebody else is passed over, whatever its name has in it."""
    host.xen.put(4)
    host.store.nodes["/local/domain/4/name"] = name

    async def story() -> None:
        assert (await host.adapter.read(WEB)).outcome is Outcome.OK
        assert (await host.adapter.destroy(WEB)).outcome is Outcome.OK

    host.plays(story)
    assert host.events == [DomainChanged(WEB, running=False)]
    assert (host.xen.calls, host.tools.calls) == ([], [])


def test_domain_with_another_uuid_is_known_by_its_name(host: Host) -> None:
    """A VM's domain that was made by hand, or by an earlier version, is found; its name is asked for once."""
    host.xen.put(4)
    host.store.nodes["/local/domain/4/name"] = f"avance-{WEB}"

    async def story() -> None:
        await host.adapter.read(WEB)
        await host.adapter.read(WEB)

    host.plays(story)
    assert host.events == [DomainChanged(WEB, running=True)] * 2
    assert host.store.asked.count("/local/domain/4/name") == 1


def test_number_that_is_used_again_is_asked_anew(host: Host) -> None:
    """A later domain of the same number does not inherit a name."""
    host.xen.put(4)
    host.store.nodes["/local/domain/4/name"] = f"avance-{WEB}"

    async def story() -> None:
        await host.adapter.read(WEB)
        host.xen.listed[-1]["handle"][0] ^= 1
        host.store.nodes["/local/domain/4/name"] = "other"
        await host.adapter.read(WEB)

    host.plays(story)
    assert host.events == [DomainChanged(WEB, running=True), DomainChanged(WEB, running=False)]


def test_changes_are_reported_once(host: Host) -> None:
    """The first look reports each VM; then a word of xenstore leads to a report only of what changed."""

    async def story() -> None:
        await until(lambda: host.events == [DomainChanged(WEB, running=False)])
        host.xen.put(3, "p", vm=WEB, ran=False)
        host.store.fire("@introduceDomain")
        await until(lambda: host.events[1:] == [DomainChanged(WEB, running=True, paused=True, never_ran=True)])
        asked = len(host.store.asked)
        host.store.fire("@introduceDomain")
        await until(lambda: len(host.store.asked) > asked)
        host.xen.listed.pop()
        host.store.fire("@releaseDomain")
        await until(lambda: len(host.events) == 3)

    host.follows(story)
    assert host.events[2] == DomainChanged(WEB, running=False)
    assert host.tools.calls == []


def test_pause_by_somebody_else_is_noticed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What xenstore has no word for is seen by the regular look."""
    monkeypatch.setattr(module, "_ASK_S", 0.05)
    entry = host.xen.put(3, "b", vm=WEB)

    async def story() -> None:
        await until(lambda: host.events == [DomainChanged(WEB, running=True)])
        entry["paused"] = 1
        await until(lambda: host.events[1:] == [DomainChanged(WEB, running=True, paused=True)])

    host.follows(story)


def test_after_a_silence_everything_is_told_anew(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """While xenstored hangs nothing is reported, and afterwards each VM is, changed or not."""
    monkeypatch.setattr(module, "_ASK_S", 0.05)

    async def story() -> None:
        await until(lambda: len(host.events) == 1)
        host.store.silent = True
        asked = len(host.store.asked)
        await until(lambda: len(host.store.asked) >= asked + 3)
        assert len(host.events) == 1
        host.store.silent = False
        await until(lambda: host.events[1:] == [DomainChanged(WEB, running=False)])

    host.follows(story)


def test_vm_that_is_added_is_looked_at(host: Host) -> None:
    """Another VM in care is reported without waiting for a word of xenstore."""
    host.xen.put(5, "b", vm="db")

    async def story() -> None:
        await until(lambda: len(host.events) == 1)
        host.adapter.add(spec(VmId("db"), 1))
        await until(lambda: host.events[1:] == [DomainChanged(VmId("db"), running=True)])

    host.follows(story)


# ---------------------------------------------------------------- start and destroy


def test_domain_is_created_from_its_file(host: Host, tmp_path: Path) -> None:
    """A start writes the configuration and creates the domain, by one program."""

    async def story() -> None:
        assert (await host.adapter.start(WEB)).outcome is Outcome.OK

    host.plays(story)
    assert host.tools.calls == [f"xl create -q -e {tmp_path}/web.cfg"]
    assert 'name = "avance-web"' in (tmp_path / "web.cfg").read_text()


def test_dead_domain_is_cleared_away_first(host: Host) -> None:
    """A crashed domain of the VM is destroyed before a new one is created."""
    host.xen.put(3, "sc", vm=WEB)
    _gone_when_destroyed(host)

    async def story() -> None:
        assert (await host.adapter.start(WEB)).outcome is Outcome.OK

    host.plays(story)
    assert [call.split()[1] for call in host.tools.calls] == ["destroy", "create"]


def _gone_when_destroyed(host: Host) -> None:
    listing, calls = host.xen.domain_getinfo, host.tools

    def after(first: int, most: int) -> list[dict[str, object]]:
        ended = {int(call.split()[2]) for call in calls.calls if call.startswith("xl destroy")}
        host.xen.listed = [one for one in host.xen.listed if one["domid"] not in ended]
        return listing(first, most)

    host.xen.domain_getinfo = after  # type: ignore[method-assign]


def test_domain_that_is_still_dying_stops_a_start(host: Host) -> None:
    """As long as an earlier domain may have writes under way, no other one is given its disk."""
    host.xen.put(3, "d", vm=WEB)

    async def story() -> None:
        assert (await host.adapter.start(WEB)).outcome is Outcome.FAILED

    host.plays(story)
    assert not any("create" in call for call in host.tools.calls)


def test_running_domain_is_never_destroyed_by_a_start(host: Host) -> None:
    """A start that finds the domain running leaves it to xl to refuse."""
    host.xen.put(3, "r", vm=WEB)

    async def story() -> None:
        await host.adapter.start(WEB)

    host.plays(story)
    assert [call.split()[1] for call in host.tools.calls] == ["create"]


def test_start_that_is_killed_leaves_a_domain_that_stands_still(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A creation that ends at its deadline is UNKNOWN, and the next look says what it left: there, and standing."""
    monkeypatch.setattr(module, "_CREATE_S", 0.1)
    scripted(tmp_path, '[ "$1" = create ] && exec sleep 30')
    host.xen.put(3, "p", vm=WEB, ran=False)

    async def story() -> None:
        assert (await host.adapter.start(WEB)).outcome is Outcome.UNKNOWN
        await host.adapter.read(WEB)

    host.plays(story)
    assert host.events == [DomainChanged(WEB, running=True, paused=True, never_ran=True)]


def test_absent_domain_counts_as_destroyed(host: Host) -> None:
    """Destroying what is not there has reached its aim, without a program and without xenstored."""
    host.store.silent = True

    async def story() -> None:
        assert (await host.adapter.destroy(WEB)).outcome is Outcome.OK

    host.plays(story)
    assert host.tools.calls == []


@pytest.mark.parametrize("state", ["b", "p", "sc"])
def test_domain_is_destroyed_by_its_number(host: Host, state: str) -> None:
    """A domain stands still before xl starts, and is gone afterwards; half-made and crashed ones too."""
    entry = host.xen.put(3, state, vm=WEB)
    _gone_when_destroyed(host)

    async def story() -> None:
        assert (await host.adapter.destroy(WEB)).outcome is Outcome.OK

    host.plays(story)
    assert (host.xen.calls, entry["paused"], host.tools.calls) == (["pause 3"], 1, ["xl destroy 3"])


@pytest.mark.parametrize("state", ["r", "d", "s"])
def test_listed_domain_is_not_destroyed_yet(host: Host, state: str) -> None:
    """As long as the domain is listed, dying or not, it may hold the disk: destroy did not succeed."""
    host.xen.put(3, state, vm=WEB)

    async def story() -> None:
        assert (await host.adapter.destroy(WEB)).outcome is Outcome.FAILED

    host.plays(story)


def test_unknown_domain_is_never_passed_over(host: Host) -> None:
    """With a domain that cannot be named nothing is started, called destroyed or called paused."""
    host.xen.put(4)
    host.store.silent = True

    async def story() -> None:
        for act in (host.adapter.start, host.adapter.destroy):
            assert (await act(WEB)).outcome is Outcome.UNKNOWN
        assert (await host.adapter.pause()).outcome is Outcome.UNKNOWN

    host.plays(story)
    assert host.tools.calls == []


# ---------------------------------------------------------------- pause and unpause


def test_pause_needs_neither_a_program_nor_xenstored(host: Host) -> None:
    """The domain stands still at once, and is paused once only: Xen counts."""
    entry = host.xen.put(3, "r", vm=WEB)
    host.store.silent = True

    async def story() -> None:
        for _ in range(2):
            assert (await host.adapter.pause()).outcome is Outcome.OK

    host.plays(story)
    assert (entry["paused"], host.xen.calls, host.tools.calls) == (1, ["pause 3"], [])


def test_known_domain_stands_still_although_another_cannot_be_named(host: Host) -> None:
    """What is a VM's for certain is paused before anybody waits for xenstored."""
    entry = host.xen.put(3, "r", vm=WEB)
    host.xen.put(4)
    host.store.silent = True

    async def story() -> None:
        assert (await host.adapter.pause()).outcome is Outcome.UNKNOWN

    host.plays(story)
    assert entry["paused"] == 1


@pytest.mark.parametrize(
    ("state", "outcome"), [("", Outcome.FAILED), ("s", Outcome.OK), ("p", Outcome.OK), ("d", Outcome.OK)]
)
def test_failed_pause_counts_only_if_the_domain_can_run(host: Host, state: str, outcome: Outcome) -> None:
    """A domain that is dead or paused already is as good as paused; one that may run is not."""
    host.xen.put(3, state, vm=WEB)
    host.xen.stubborn = True

    async def story() -> None:
        assert (await host.adapter.pause()).outcome is outcome

    host.plays(story)


def test_pause_without_a_list_is_not_ok(host: Host) -> None:
    """Who cannot look does not know."""
    host.xen.broken = True

    async def story() -> None:
        assert (await host.adapter.pause()).outcome is Outcome.UNKNOWN
        assert (await host.adapter.unpause()).outcome is Outcome.UNKNOWN

    host.plays(story)


def test_nothing_starts_while_paused(host: Host) -> None:
    """Between pause and unpause no domain is created."""

    async def story() -> None:
        await host.adapter.pause()
        assert (await host.adapter.start(WEB)).outcome is Outcome.FAILED
        await host.adapter.unpause()
        assert (await host.adapter.start(WEB)).outcome is Outcome.OK

    host.plays(story)
    assert len([call for call in host.tools.calls if "create" in call]) == 1


@pytest.mark.parametrize("early", [False, True])
def test_domain_that_is_born_during_a_pause_is_paused_too(host: Host, tmp_path: Path, early: bool) -> None:
    """It stands still after its creation, whether it was there at the pause or came later; earlier is no success."""
    created = tmp_path / "created"
    scripted(tmp_path, f"[ $1 = create ] && until [ -e {created} ]; do sleep 0.01; done")

    async def story() -> None:
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            started = tasks.create_task(host.adapter.start(WEB))
            await until(lambda: any("create" in call for call in host.tools.calls))
            if early:
                host.xen.put(3, "p", vm=WEB, ran=False)
            done = await host.adapter.pause()
            assert done.outcome is (Outcome.OK if early else Outcome.FAILED)
            assert early or "just being created: web" in done.detail
            entry = host.xen.listed[-1] if early else host.xen.put(3, "p", vm=WEB, ran=False)
            host.xen.domain_unpause(3)  # the last step of xl
            created.touch()
            assert (await started).outcome is Outcome.OK
        assert entry["paused"] == 1
        assert (await host.adapter.pause()).outcome is Outcome.OK
        assert (await host.adapter.unpause()).outcome is Outcome.OK
        assert entry["paused"] == 0

    host.plays(story)


def test_domain_in_creation_keeps_the_pause_of_its_creator(host: Host) -> None:
    """An unpause takes back this node's own pause of a domain that never ran, and not the one of xl."""
    entry = host.xen.put(3, "p", vm=WEB, ran=False)

    async def story() -> None:
        await host.adapter.pause()
        assert entry["holds"] == 2
        assert (await host.adapter.unpause()).outcome is Outcome.OK
        assert (await host.anew().unpause()).outcome is Outcome.OK

    host.plays(story)
    assert entry["holds"] == 1


def test_unpause_takes_back_every_pause(host: Host) -> None:
    """A domain that an earlier daemon had paused as well goes on all the same."""
    entry = host.xen.put(3, "b", vm=WEB)

    async def story() -> None:
        for daemon in (host.anew(), host.anew()):
            await daemon.pause()
        assert entry["holds"] == 2
        assert (await host.anew().unpause()).outcome is Outcome.OK

    host.plays(story)
    assert entry["holds"] == 0


def test_domain_that_stays_paused_is_a_failure(host: Host) -> None:
    """There is a bound, and then it is said."""
    host.xen.put(3, "p", vm=WEB)
    host.xen.stubborn = True

    async def story() -> None:
        done = await host.adapter.unpause()
        assert done.outcome is Outcome.FAILED
        assert "still paused: web" in done.detail

    host.plays(story)
