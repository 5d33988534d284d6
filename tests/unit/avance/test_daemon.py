"""The composition root: requests are answered, nothing is half done, and a decision reaches disk and peer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from avance import daemon as module
from avance.adapters.mirror import DataMirror
from avance.clock import now_s
from avance.config import parse
from avance.configuration import TWIN, Configuration
from avance.core import commands as c
from avance.core.conditions import BMC
from avance.core.engine import Decision
from avance.core.events import (
    CommandDone,
    DatagramsRefused,
    Event,
    HeartbeatSeen,
    SensorsRead,
    Tick,
)
from avance.core.model import Outcome, PairState, PeerView, Record
from avance.core.register import Word
from avance.core.results import Done, WitnessAsked, WitnessTaught
from avance.daemon import Daemon, PairedNode
from avance.replay import replay
from tests.playbook import PRIV, WEB, A, B
from tests.schema_check import complaints
from tests.unit.avance.adapters.tools import until
from tests.unit.avance.site import full_site, kept_of, site, vm


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All paths of the daemon in a temporary directory."""
    monkeypatch.setattr(module, "STATE_DIR", tmp_path)
    monkeypatch.setattr(module, "QUEUE_DIR", tmp_path / "callhome")
    monkeypatch.setattr(module, "JOURNAL_PATH", tmp_path / "journal.jsonl")
    monkeypatch.setattr(module, "CONFIG_PATH", tmp_path / "config.json")
    return tmp_path


def node(*vms: dict[str, Any], **changes: Any) -> PairedNode:  # noqa: ANN401 - keys of a site
    """Return node a of the site; `changes` replace single keys of it."""
    raw, directory = kept_of("a", *vms, **changes), Path(vars(module)["STATE_DIR"])
    kept = Configuration(directory / "config.json", directory / TWIN.name)
    return PairedNode(parse("a", raw["site"], raw["vms"]), raw, kept, DataMirror(directory))


def answers(daemon: Daemon, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Put requests to a daemon one after the other."""

    async def story() -> list[dict[str, Any]]:
        return [await daemon._request(request) for request in requests]

    return asyncio.run(story())


async def next_event(one: PairedNode) -> Event:
    """Return the next event that waits for a decision."""
    await until(lambda: bool(one._loop.waiting))
    return one._loop.waiting.popleft()


class Channel:
    """Stands for the heartbeat channel; keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[PeerView] = []
        self.told: list[Event] = []
        self.documents: list[bytes] = []

    def send(self, view: PeerView, *, echoing: bool) -> None:
        """Keep a view."""
        self.sent.append(view)

    def send_document(self, datagram: bytes) -> None:
        """Keep a document."""
        self.documents.append(datagram)

    def heard(self, event: Event) -> None:
        """Keep what the core has taken in."""
        self.told.append(event)


def test_status_matches_its_schema() -> None:
    """The status is as published: unpaired, paired without a VM, and with one."""
    statuses = [answers(Daemon(), {"op": "status"})[0], node().status(), node(vm()).status()]
    assert [complaints("status", status) for status in statuses] == [[], [], []]
    assert [status["pair"] for status in statuses] == ["UNPAIRED", "STARTING", "STARTING"]


def test_status_in_words_is_asked_for() -> None:
    """The same status in words for people, when it is asked for so."""
    given = answers(Daemon(), {"op": "status", "words": True}, {"op": "status", "words": "no"})
    assert given[0] == {"ok": "NOT PAIRED: run `avance pair` on both nodes"}
    assert given[1]["pair"] == "UNPAIRED"


def test_readiness_is_asked_for() -> None:
    """As a part of the status, and in words."""
    daemon = Daemon()
    assert "not paired yet" in answers(daemon, {"op": "readiness"})[0]["error"]
    daemon._node = node(vm())
    given = answers(daemon, {"op": "readiness"}, {"op": "readiness", "words": True})
    assert given[0] == {"readiness": None}
    assert given[1]["ok"].startswith("NOT READY: no backup stands by")


def test_unpaired_node_refuses_to_act() -> None:
    """Before a site is known there is nothing to protect and nobody to fence."""
    given = answers(Daemon(), {"op": "vm-add", "vm": vm()}, {"op": "fence-peer", "resource": ""}, {"op": "dance"})
    assert ["not paired yet" in answer["error"] for answer in given] == [True, True, False]
    assert "unknown request" in given[2]["error"]


def test_pairing_is_durable_and_happens_once(directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good site is kept for the next start; a second one is refused."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "eth0"), (2, "biz0")])
    request = {"op": "pair", "node": "a", "site": site()}
    given = answers(Daemon(), request, request)
    assert "ok" in given[0]
    assert "paired already" in given[1]["error"]
    assert json.loads((directories / "config.json").read_text())["node"] == "a"


@pytest.mark.parametrize("change", [{"policy": "x"}, {"nodes": {}}, {"timers": {"retry_s": None}}])
def test_bad_site_changes_nothing(directories: Path, change: dict[str, Any]) -> None:
    """A refused site leaves the node unpaired and writes nothing."""
    daemon = Daemon()
    given = answers(daemon, {"op": "pair", "node": "a", "site": site(**change)}, {"op": "status"})
    assert "error" in given[0]
    assert given[1]["pair"] == "UNPAIRED"
    assert not (directories / "config.json").exists()


def test_unpaired_node_has_no_operator() -> None:
    """Before a site is known there is nothing to override, reset or keep."""
    verbs = ("override", "reset-device", "keep")
    given = answers(Daemon(), *({"op": verb, "node": "b"} for verb in verbs))
    assert ["not paired yet" in answer["error"] for answer in given] == [True, True, True]


def test_decision_reaches_disk_and_peer(directories: Path) -> None:
    """A first election is decided, made durable by the real store, and told to the peer."""
    channel = Channel()

    async def story() -> None:
        one = node()
        view = PeerView(B, "b-boot", one.config.config_hash, 1.0, PairState.STARTING, Record())
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            one._attach(channel, tasks)
            one._turn(HeartbeatSeen(PRIV, view, now_s()))
            await until(lambda: bool(one._loop.waiting))
        done = one._loop.waiting.popleft()
        assert done == CommandDone(c.SaveRecord(Record(1, A)), Done(Outcome.OK))
        assert one._store.load() == Record(1, A)

    asyncio.run(story())
    assert [view.node for view in channel.sent] == [A]


def test_what_ends_the_decisions_ends_the_daemon() -> None:
    """A defect in a turn, in the thread of the decisions, comes out where it ends the process."""

    async def story() -> None:
        one = node()
        async with asyncio.TaskGroup() as tasks:
            one._attach(Channel(), tasks)
            one.engine.handle = broken  # type: ignore[method-assign]  # a core with a defect
            await one._decide({})

    def broken(event: Event, now: float) -> Decision:
        raise RuntimeError("a defect of the core")

    with pytest.raises(ExceptionGroup) as ended:
        asyncio.run(story())
    assert "a defect of the core" in str(ended.value.exceptions[0])


def test_end_of_the_daemon_ends_the_decisions() -> None:
    """When another part fails, no heartbeat is sent any more once the daemon is gone."""
    channel = Channel()

    async def story() -> None:
        one = node()
        async with asyncio.TaskGroup() as tasks:
            one._attach(channel, tasks)
            task = tasks.create_task(one._decide({}))
            await until(lambda: bool(channel.sent))
            task.cancel()
        count = len(channel.sent)
        await asyncio.sleep(0.7)
        assert len(channel.sent) == count

    asyncio.run(story())


def test_hung_workers_starve_the_watchdog() -> None:
    """A daemon that still decides, but does nothing of it, is not kept alive; one feed is on its way at most."""

    class Fed:
        def __init__(self) -> None:
            self.feeds = 0

        def feed(self) -> None:
            self.feeds += 1

    async def story() -> None:
        one, watchdog = node(), Fed()
        one._watchdog = watchdog  # type: ignore[assignment]  # what is used of it
        async with asyncio.TaskGroup() as tasks:
            one._attach(Channel(), tasks)
            for _ in range(5):
                one._feed()  # this loop stands still meanwhile
            assert watchdog.feeds == 1
            await asyncio.sleep(0)
            one._feed()
            assert watchdog.feeds == 2

    asyncio.run(story())


@pytest.mark.parametrize(
    ("command", "expected"),
    [(c.KeepMirrorNote("n"), ("keep_note", "n")), (c.UseMirrorNote("n"), ("use_note", "n")),
     (c.ReuseHalves(), ("reuse",)), (c.TrustMirror(), ("trust",))],
)  # fmt: skip
def test_each_command_about_the_mirror_calls_its_adapter(
    command: c.KeepMirrorNote | c.UseMirrorNote | c.ReuseHalves | c.TrustMirror, expected: tuple[str, ...]
) -> None:
    """And its outcome comes back as an event that belongs to no VM."""
    called: list[tuple[str, ...]] = []

    class Mirror:
        def __getattr__(self, method: str) -> Callable[..., Awaitable[Done]]:
            async def act(*words: str) -> Done:
                called.append((method, *words))
                return Done(Outcome.OK)

            return act

    async def story() -> Event:
        one = node(vm())
        one._mirror = Mirror()  # type: ignore[assignment]  # a stand-in that notes the method
        await one._perform(command)
        return await next_event(one)

    assert asyncio.run(story()) == CommandDone(command, Done(Outcome.OK))
    assert called == [expected]


@pytest.mark.parametrize("ready", [Outcome.OK, Outcome.FAILED])
def test_no_volume_is_prepared_without_a_current_half(ready: Outcome) -> None:
    """Preparing waits for the mirror, and what exists already needs no look at it."""
    called: list[str] = []

    class Disks:
        def __getattr__(self, method: str) -> Callable[..., Awaitable[Done]]:
            async def act(*_words: object, **_how: object) -> Done:
                called.append(method)
                return Done(Outcome.OK)

            return act

    class Mirror:
        async def ready(self) -> Done:
            called.append("ready")
            return Done(ready, "why")

    class Network:
        async def wait_up(self) -> Done:
            return Done(Outcome.OK)

    async def story() -> Done:
        one = node(vm())
        one._disks, one._mirror, one._network = Disks(), Mirror(), Network()  # type: ignore[assignment]  # stand-ins
        await one._disk_work_when_up(c.AttachDisk(WEB))
        return await one._disk_work_when_up(c.PrepareVolume(WEB))

    assert asyncio.run(story()) == Done(ready, "" if ready is Outcome.OK else "why")
    assert called == ["attach", "ready", *(["prepare"] if ready is Outcome.OK else [])]


def test_answer_of_a_witness_names_the_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both questions reach the client, and the event says which witness was asked."""
    calls: list[tuple[object, ...]] = []

    async def ask(*arguments: object) -> Done:
        calls.append(arguments)
        return WitnessAsked(Outcome.OK, "granted 5 a", Word.GRANTED)

    async def teach(*arguments: object, paired: bool, alone: bool) -> Done:
        calls.append((*arguments, paired, alone))
        return Done(Outcome.UNKNOWN, "silent")

    async def story() -> list[Event]:
        one = node()
        monkeypatch.setattr(one._witnesses, "ask", ask)
        monkeypatch.setattr(one._witnesses, "teach", teach)
        await one._perform(c.AskWitness("w1", 5, "n-1"))
        await one._perform(c.TeachWitness("w2", 4, A, paired=True))
        return list(one._loop.waiting)

    assert asyncio.run(story()) == [
        CommandDone(c.AskWitness("w1", 5, "n-1"), WitnessAsked(Outcome.OK, "granted 5 a", Word.GRANTED)),
        CommandDone(c.TeachWitness("w2", 4, A, paired=True), WitnessTaught(Outcome.UNKNOWN, "silent")),
    ]
    assert calls == [("w1", 5, "n-1"), ("w2", 4, A, True, False)]


class Parts:
    """Stands for hypervisor, wires, neighbours and watchdog; notes what was asked of it, in order."""

    problem = None
    armed = True

    def __init__(self, *, wires: Outcome = Outcome.OK) -> None:
        self.asked: list[str] = []
        self._wires = wires

    async def pause(self) -> Done:
        """Note it."""
        self.asked.append("pause")
        return Done(Outcome.OK)

    async def unpause(self) -> Done:
        """Note it."""
        self.asked.append("unpause")
        return Done(Outcome.OK)

    async def probe(self) -> Done:
        """Note it."""
        self.asked.append("probe")
        return Done(Outcome.OK)

    def take_down(self) -> Done:
        """Note it."""
        self.asked.append("down")
        return Done(self._wires)

    def bring_up(self) -> Done:
        """Note it."""
        self.asked.append("up")
        return Done(Outcome.OK)


def with_parts(parts: Parts) -> PairedNode:
    """Return a node on stand-ins."""
    one = node(vm())
    one._hypervisor = one._wires = one._neighbours = parts  # type: ignore[assignment]  # what is used of them
    return one


async def outcome(one: PairedNode, command: Any) -> Outcome:  # noqa: ANN401 - any command with an outcome
    """Perform a command and return the outcome of its event."""
    await one._perform(command)
    done = one._loop.waiting.popleft()
    assert isinstance(done, CommandDone)
    assert done.command == command
    return done.result.outcome


@pytest.mark.parametrize("wires", [Outcome.OK, Outcome.FAILED])
def test_paused_vms_are_off_the_wire_first(wires: Outcome) -> None:
    """The wire is cut first, the processors stop in any case, and both must succeed."""
    parts = Parts(wires=wires)
    assert asyncio.run(outcome(with_parts(parts), c.PauseVms())) is wires
    assert parts.asked == ["down", "pause"]


def test_unpaused_vms_are_back_on_the_wire() -> None:
    """The processors go on, then the wire is up."""
    parts = Parts()
    assert asyncio.run(outcome(with_parts(parts), c.UnpauseVms())) is Outcome.OK
    assert parts.asked == ["unpause", "up"]


def test_look_at_the_neighbours_is_performed() -> None:
    """ProbeNeighbours reaches its adapter."""
    parts = Parts()
    assert asyncio.run(outcome(with_parts(parts), c.ProbeNeighbours())) is Outcome.OK
    assert parts.asked == ["probe"]


@pytest.mark.parametrize("command", [c.ReadPeerPower(), c.CutPeerPower()])
def test_without_a_bmc_nothing_is_known_of_the_power(command: c.ReadPeerPower | c.CutPeerPower) -> None:
    """A site without BMC gets FAILED, never an answer."""
    assert asyncio.run(outcome(node(), command)) is Outcome.FAILED


class Idle:
    """Stands for everything that has a task of its own, which never ends here."""

    def __init__(self, *_given: object) -> None:
        self.sockets: dict[int, Callable[[], None]] = {}
        self.rejected: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_given: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def forever(*_given: object) -> None:
            await asyncio.Event().wait()

        return forever


class ToldAtOnce:
    """Stands for the reading of the sensors."""

    def __init__(self, hear: Callable[[Event], None], dilation: float) -> None:
        self._hear = hear

    async def run(self) -> None:
        """Tell it once."""
        self._hear(SensorsRead(BMC))


@pytest.mark.parametrize("has_bmc", [True, False])
def test_the_sensors_of_a_bmc_are_heard(monkeypatch: pytest.MonkeyPatch, *, has_bmc: bool) -> None:
    """They are read where the site names BMCs, and nowhere else."""
    monkeypatch.setattr(module, "BmcSensors", ToldAtOnce)
    monkeypatch.setattr(module, "HeartbeatChannel", Idle)
    for name in ("_decide", "_keep_gate", "_look_at_parts"):
        monkeypatch.setattr(PairedNode, name, getattr(Idle(), name))
    one = node(nodes=full_site()["nodes"]) if has_bmc else node()
    for name in ("_clock", "_disks", "_hypervisor", "_network", "_leftovers", "_change_over"):
        monkeypatch.setattr(one, name, Idle())

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(one.run())
            await until(lambda: hasattr(one, "_tasks"))
            for _ in range(3):
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(story())
    assert list(one._loop.waiting) == ([SensorsRead(BMC)] if has_bmc else [])


def test_journal_of_a_daemon_replays(directories: Path) -> None:
    """What the loop of a real daemon wrote is decided again from its files alone."""
    channel = Channel()

    async def story() -> None:
        one = node()
        one._journal.begin(one.engine, now_s())
        one._journal.milestone("daemon_started", now_s(), "epoch 0 was durable")
        view = PeerView(B, "b-boot", one.config.config_hash, 1.0, PairState.STARTING, Record())
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            one._attach(channel, tasks)
            for event in (Tick(), HeartbeatSeen(PRIV, view, now_s()), DatagramsRefused(PRIV, "not a heartbeat", 1)):
                one._turn(event)
            one._turn(await next_event(one))  # the outcome of the record's save
        one._journal._finish()

    asyncio.run(story())
    said = "\n".join(replay(directories / "journal.jsonl", why=True))
    assert "because first election: the lower node name owns epoch 1" in said
    assert "4 inputs decided again" in said
    assert "all are equal" in said
