"""No adapter raises: it answers with an outcome or an event, within its time, whatever the outside world does to it.

Every adapter is fed with each nasty thing of one list (nasty.py) that can concern it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from avance import data_disks
from avance.adapters import callhome, drbd, mirror, moving, neighbours, netlink, power, process, xen
from avance.adapters.callhome import AlertQueue, Delivery, Reception, deliver, waiting
from avance.adapters.drbd import DrbdDisks
from avance.adapters.gate import LeaseGate
from avance.adapters.heartbeat import HeartbeatChannel
from avance.adapters.hypercall import Hypercalls
from avance.adapters.mirror import DataMirror
from avance.adapters.neighbours import ArpNeighbours
from avance.adapters.netlink import NodeNetwork
from avance.adapters.power import PeerBmc
from avance.adapters.store import RecordStore
from avance.adapters.vif import DomainWires
from avance.adapters.watchdog import NodeWatchdog
from avance.adapters.witness import WitnessClient
from avance.adapters.xen import XenHypervisor
from avance.config import BmcConfig, CallHome, WitnessSite
from avance.core import alerts
from avance.core.events import Event, LinkChanged, NeighboursSeen, PartSeen
from avance.core.halves import Note
from avance.core.model import NodePart, Outcome, Record
from avance.core.results import Done
from avance.errors import StoreError
from avance.network_devices import read_carrier
from avance.wire import md
from tests.playbook import WEB, A
from tests.unit.avance.adapters import nasty
from tests.unit.avance.adapters.test_heartbeat import VIEW
from tests.unit.avance.adapters.test_netlink import Route
from tests.unit.avance.adapters.tools import descriptors, until
from tests.unit.avance.adapters.xen_host import FakeStore, FakeXen
from tests.unit.avance.site import config

TEXT_MAX = 4000  # letters of an outcome: an alert holds 4096
LIMIT_S = 30.0
NOTE = md.note_text(Note(1, "a" * 32, ("b" * 32,), 9))
# Of each file in avance/adapters: which tests of this file feed it ("programs": test_programs.py of tests/integration).
FED = {
    "bmc_sensors": "files, descriptors, answers: test_bmc_sensors.py",
    "callhome": "files, sockets, descriptors",
    "control": "tests/unit/avance/adapters/test_control.py, with the other ends of that socket",
    "drbd": "programs, files, descriptors",
    "drbd_module": "files: test_drbd_module.py",
    "gate": "devices, files, descriptors",
    "heartbeat": "devices, datagrams",
    "hypercall": "module",
    "moving": "descriptors; programs and sockets: test_moving.py",
    "mirror": "programs, files, descriptors",
    "neighbours": "devices, files, descriptors",
    "netlink": "devices; pyroute2 itself loses descriptors when none is free, so that is not tried",
    "power": "programs, descriptors",
    "process": "programs, and all of test_process.py",
    "store": "files, descriptors",
    "vif": "devices, descriptors",
    "watchdog": "files, descriptors",
    "witness": "datagrams, descriptors",
    "xen": "programs, files, sockets, module, descriptors",
    "xenstore": "sockets",
}


def test_every_adapter_is_fed() -> None:
    """A new adapter is added here, with what can be done to it."""
    names = {path.stem for path in Path(drbd.__file__).parent.glob("*.py")} - {"__init__"}
    assert names == set(FED)


async def settled(work: Awaitable[Done]) -> Done:
    """Return the outcome, which comes in time and can be told to a person."""
    async with asyncio.timeout(LIMIT_S):
        done = await work
    assert isinstance(done, Done)
    assert len(done.detail) <= TEXT_MAX
    assert all(letter.isprintable() or letter in "\n\t" for letter in done.detail), done.detail[:200]
    assert done.ok or done.detail, "what is not OK says why"
    return done


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A node whose files are in a temporary directory and whose deadlines are short; no child outlives the test."""
    for module, name, value in (
        (drbd, "RESOURCE_DIR", tmp_path), (drbd, "_SHORT_S", 0.2), (drbd, "_READ_S", 0.2), (drbd, "_LISTED_S", 0.01),
        (drbd, "_ZERO_MIB_PER_S", 1e9), (drbd, "_RESTART_S", 0.01), (xen, "CONFIG_DIR", tmp_path), (xen, "_XL_S", 0.2),
        (xen, "_CREATE_S", 0.2), (xen, "_ANSWER_S", 0.3), (power, "READ_S", 0.2), (power, "CUT_S", 0.2),
        (mirror, "_TOOL_S", 0.2), (data_disks, "_TOOL_S", 0.2), (data_disks, "_READ_S", 1.0), (mirror, "_LOOK_S", 0.05),
        (neighbours, "_WAIT_S", 0.01), (neighbours, "_PAUSE_S", 0.001), (process, "_REAP_S", 30.0),
        (netlink, "ANNOUNCE_S", (0.0,)), (callhome, "_REQUEST_S", 0.5), (moving, "_CONNECT_S", 0.2),
        (moving, "_ACCEPT_S", 0.2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    children = tmp_path / "children"
    monkeypatch.setenv("NASTY_CHILDREN", str(children))
    yield tmp_path
    for pid in children.read_text().split() if children.exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def disk_calls(disks: DrbdDisks) -> list[Callable[[], Awaitable[Done]]]:
    """Every method of the port that does something."""
    return [
        lambda: disks.prepare(WEB), lambda: disks.attach(WEB), lambda: disks.connect(WEB, discard=True),
        lambda: disks.keep(WEB, 4), lambda: disks.initialise(WEB), lambda: disks.promote(WEB),
        lambda: disks.demote(WEB), lambda: disks.resume(WEB), lambda: disks.disconnect(WEB), lambda: disks.outdate(WEB),
        lambda: disks.resync(WEB), lambda: disks.invalidate(WEB), lambda: disks.generations(WEB),
        lambda: disks.in_flight(WEB), lambda: disks.two_writers(WEB, allowed=True),
    ]  # fmt: skip


def bmc() -> PeerBmc:
    """The power of a peer that nobody reaches."""
    return PeerBmc(BmcConfig(IPv4Address("127.0.0.1"), "u", "p"), 1.0)


def data_mirror(directory: Path, sink: Callable[[Event], None]) -> DataMirror:
    """A mirror of two blank disks, on which md does nothing."""
    disks = (str(directory / "vdb"), str(directory / "vdc"))
    for disk in disks:
        Path(disk).write_bytes(bytes(2 << 20))
    made = DataMirror(directory, disks=disks, sysfs=directory / "md")
    made.attach(sink)
    return made


# ---------------------------------------------------------------- programs: tests/integration, with the same nasty list

NOT_DONE = {"absent", "no program", "fails", "is killed", "hangs", "complains without an end"}


async def followed(forever: Awaitable[None], seen: Callable[[], bool], how: str) -> None:
    """Let something run that never ends until it has told, or, where a program hangs, for a moment."""
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_run(forever))
        try:
            async with asyncio.timeout(0.3 if how == "hangs" else LIMIT_S):
                await until(seen)
        except TimeoutError:
            assert how == "hangs"
        assert not task.done()
        task.cancel()


async def _run(forever: Awaitable[None]) -> None:
    await forever


def xen_with_web() -> Hypercalls:
    """Xen with the domain of the VM, which no tool changes."""
    host = FakeXen()
    host.put(3, vm=WEB)
    return Hypercalls(host)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("how", nasty.FILES)
def test_files(place: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """What is written or read has an outcome, and nobody waits for, or keeps, what has no end."""
    monkeypatch.setattr(drbd, "_COUNTERS", place / "counters")
    monkeypatch.setenv("PATH", str(place))
    of_mirror = ("mirror", "mirror.peer", "mirror.part", "keeper")
    for name in ("counters", "web.cfg", "web.cfg.part", "avance-web.res.part", *of_mirror):
        nasty.file(place / name, how)

    async def story() -> None:
        disks = DrbdDisks(config(), print)
        await settled(disks.in_flight(WEB))
        await settled(disks.prepare(WEB))
        await settled(XenHypervisor(config(), print, Hypercalls(FakeXen())).start(WEB))
        made = data_mirror(place, print)
        await settled(made.keep_note(NOTE))
        await settled(made.use_note(NOTE))
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(made.run())
            await asyncio.sleep(0.1)
            assert not task.done()
            task.cancel()

    asyncio.run(story())
    dog = NodeWatchdog(10.0, place / "no-such-watchdog", place / "keeper")
    dog.feed()
    assert not dog.armed
    assert dog.problem


@pytest.mark.parametrize("how", nasty.FILES)
def test_files_of_the_record(place: Path, how: str) -> None:
    """One bad copy, and two: a save has an outcome, and a load gives the good copy or its sentence."""

    async def story() -> None:
        store = RecordStore(place, 1.0)
        assert (await settled(store.save(Record(4, A)))).ok
        nasty.file(place / "record.a", how)
        assert RecordStore(place, 1.0).load() == Record(4, A)
        if not (place / "record.a").is_dir():
            assert RecordStore(place, 1.0).problem == ""
        for name in ("record.a", "record.b"):
            with contextlib.suppress(IsADirectoryError):
                nasty.file(place / name, how)
        if how != "absent":
            with pytest.raises(StoreError, match="starts no VM"):
                RecordStore(place, 1.0).load()
        await settled(store.save(Record(5, A)))

    asyncio.run(story())


@pytest.mark.parametrize("how", nasty.FILES)
def test_files_of_the_queue(place: Path, how: str) -> None:
    """An alert that is no alert, and a place for alerts that takes none: nothing is delivered, and that is told."""
    target = CallHome("https://127.0.0.1:1/", "no certificate", "t0ken")
    path = place / "000000000001.json"
    nasty.file(path, how)
    gone = how == "absent"  # the daemon may replace an alert by a newer one at any moment
    assert (deliver(target, path).said is Reception.TAKEN) is gone
    directory = place / "queue"
    nasty.file(directory, how)
    waiting(directory)

    async def story() -> None:
        queue = AlertQueue(directory, A)
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(queue.write())
            queue.put(alerts.protected(), 3)
            await until(lambda: queue.dropped == 1 or (directory.is_dir() and bool(list(directory.iterdir()))))
            await queue.count()
            assert (queue.problem == "") is (queue.dropped == 0)
            task.cancel()

    asyncio.run(story())


@pytest.mark.parametrize("how", nasty.FILES)
def test_files_of_the_kernel(place: Path, how: str) -> None:
    """What sysfs says of a device may be anything."""
    port = place / "biz0" / "brif" / "eth1"
    port.mkdir(parents=True)
    (place / "eth1").mkdir()
    (place / "biz0" / "brif" / "vif1.0").mkdir()
    for path in (
        place / "biz0" / "brif" / "vif1.0" / "port_no",
        place / "biz0" / "brforward",
        place / "eth1" / "address",
    ):
        nasty.file(path, how)
    nasty.file(place / "biz0" / "carrier", how)
    assert read_carrier("biz0", place) is False
    gate = LeaseGate(["biz0"], IPv4Address("10.77.0.10"), lambda device, program: None, lambda device: True, place)
    gate.open_until(None)
    asyncio.run(gate.keep())
    assert gate.problem

    async def story() -> None:
        events: list[Event] = []
        await settled(ArpNeighbours(config(), events.append, place).probe())
        assert isinstance(events[0], NeighboursSeen)

    asyncio.run(story())


# ---------------------------------------------------------------- sockets and datagrams


@pytest.mark.parametrize("how", [*nasty.ANSWERS, "nobody listens", "no socket"])
def test_sockets(place: Path, how: str) -> None:
    """A xenstored that says anything else than an answer is one that does not answer."""
    path = place / "xenstored"

    async def story() -> None:
        hypervisor = XenHypervisor(config(), print, xen_with_web(), str(path))
        async with contextlib.AsyncExitStack() as stack:
            if how in nasty.ANSWERS:
                await stack.enter_async_context(nasty.answering(partial(asyncio.start_unix_server, path=path), how))
            elif how == "nobody listens":
                stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
            for _ in range(2):
                assert (await settled(hypervisor.read(WEB))).outcome is Outcome.UNKNOWN
            hypervisor._store.close()

    asyncio.run(story())


@pytest.mark.parametrize("how", [*nasty.ANSWERS, "nobody listens"])
def test_service_centre(place: Path, how: str) -> None:
    """Whoever answers in the service centre's place: the alert is kept, and the reason is told."""
    path = place / "000000000001.json"
    path.write_text('{"id": "x"}')

    async def story() -> Delivery:
        listen = partial(asyncio.start_server, host="127.0.0.1", port=0)
        async with nasty.answering(listen, "silent" if how == "nobody listens" else how) as server:
            port = server.sockets[0].getsockname()[1]
            if how == "nobody listens":
                server.close()
            return await asyncio.to_thread(deliver, CallHome(f"https://127.0.0.1:{port}/v1", "", "t0ken"), path)

    assert asyncio.run(story()).said in (Reception.AWAY, Reception.UNCLEAR)
    assert path.exists()


@pytest.mark.parametrize("url", ["https://[::1", "https://1.2.3.4:99999/", "https://", "https://a b/", "https://HALF/"])
@pytest.mark.parametrize("token", ["t0ken", "t0ken\n", "HALF"])
def test_definitions_that_cannot_work(place: Path, url: str, token: str) -> None:
    """A URL, a certificate or a token that is none ends nothing, and the token stands in no reason."""
    url, token = (text.replace("HALF", "\ud800") for text in (url, token))
    path = place / "000000000001.json"
    path.write_text('{"id": "x"}')
    why = deliver(CallHome(url, "", token), path).why
    assert why
    assert "t0ken" not in why
    assert why.encode(), "a reason can be written into a log"
    assert deliver(CallHome("https://127.0.0.1:1/", "no certificate", token), path).said is Reception.AWAY


def test_datagrams() -> None:
    """What comes from strangers, or from nobody, is no answer of a witness; one that the site lacks is not asked."""

    async def story() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.setblocking(False)
            site = WitnessSite("w1", IPv4Address("127.0.0.1"), server.getsockname()[1])
            timers = replace(config().timers, witness_try_s=0.5)
            client = WitnessClient(replace(config(), witnesses=(site,), timers=timers), "boot")
            loop = asyncio.get_running_loop()
            async with asyncio.TaskGroup() as tasks:
                asked = tasks.create_task(settled(client.ask("w1", 4, "n0")))
                _, sender = await loop.sock_recvfrom(server, 9000)
                for datagram in nasty.DATAGRAMS:
                    server.sendto(datagram, sender)
            assert asked.result().outcome is Outcome.UNKNOWN
        assert (await settled(client.ask("w1", 4, "n0"))).outcome is Outcome.UNKNOWN, "nobody listens"
        assert (await settled(client.ask("w9", 4, "n0"))).outcome is Outcome.UNKNOWN
        assert "names no witness w9" in (await settled(client.teach("w9", 4, A, paired=True))).detail

    asyncio.run(story())


# ---------------------------------------------------------------- devices


def absent_devices() -> Any:  # noqa: ANN401 - a Config with other devices
    """The configuration of a node whose network cards are not there."""
    site = config()
    links = tuple(replace(link, device=f"no-such-{link.name}"[:15]) for link in site.links)
    gateways = ((site.links[1].name, IPv4Address("10.77.0.2")),)
    return replace(site, links=links, service_device="no-such-biz0", gateways=gateways)


def test_devices(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards that are not there: each command has its outcome, and the core hears of each card."""
    site = absent_devices()
    events: list[Any] = []

    async def story() -> None:
        network = NodeNetwork(site, events.append)
        network._route = Route()  # pyroute2 leaves something open in each thread
        await followed(network.run(), lambda: len(events) == 4, "")
        told = [event for event in events if isinstance(event, PartSeen)]
        assert {(event.part, event.name) for event in told} == {(NodePart.DEVICE, link.name) for link in site.links}
        assert "as soon as the device is back, it is used again" in told[0].problem
        assert {LinkChanged(link.name, carrier=False) for link in site.links} == {*events} - {*told}
        for act in (network.hold_address, network.release_address):
            assert "no network device" in (await settled(act())).detail
        monkeypatch.setattr(netlink, "_CALL_S", 0.01)
        assert not (await settled(network.wait_up())).ok
        assert (await settled(ArpNeighbours(site, events.append).probe())).detail
        gate = LeaseGate(site.public_devices, IPv4Address("10.77.0.10"), netlink.put_filter, netlink.has_filter)
        gate.open_until(None)
        await gate.keep()
        assert gate.problem

    asyncio.run(story())
    assert DomainWires(place / "absent").take_down().outcome is Outcome.UNKNOWN
    with HeartbeatChannel(site, "boot", events.append, lambda _: None) as channel:
        channel.send(VIEW, echoing=True)
        assert set(channel.unsent.values()) == {1}
        for read in channel.sockets.values():
            read()


@pytest.mark.parametrize(
    "listed",
    [
        [{}], [{"domid": "x"}], [None], None, 5, [{"domid": 1, "handle": None}], "broken",
        [{"domid": 1, "handle": [1], "shutdown": 0, "crashed": 0, "dying": 0, "paused": 0}],
        [{"domid": 0}] * 64,
    ],
)  # fmt: skip
def test_module(place: Path, listed: object) -> None:
    """A module of Xen of another version: what it lists is not understood, and so nothing is known."""

    def domain_getinfo(first: int, most: int) -> object:
        if listed == "broken":
            raise RuntimeError(1, "no")
        return listed

    made = SimpleNamespace(domain_getinfo=domain_getinfo)
    for module in (SimpleNamespace(xc=lambda: made), SimpleNamespace()):

        async def story(module: object = module) -> None:
            async with FakeStore(place / "store").serving():
                hypervisor = XenHypervisor(config(), print, Hypercalls(module), str(place / "store"))
                for act in (hypervisor.read, hypervisor.start, hypervisor.destroy, hypervisor.clear):
                    assert (await settled(act(WEB))).outcome is Outcome.UNKNOWN
                for halt in (hypervisor.pause, hypervisor.unpause):
                    assert not (await settled(halt())).ok
                hypervisor._store.close()

        asyncio.run(story())


# ---------------------------------------------------------------- descriptors


def test_no_descriptor_is_left(place: Path) -> None:
    """A process that can open nothing answers to every command, and has lost nothing afterwards."""

    async def story() -> None:
        site = replace(config(), witnesses=(WitnessSite("w1", IPv4Address("127.0.0.1"), 9),))
        disks, store = DrbdDisks(site, print), RecordStore(place, 1.0)
        hypervisor, empty = (
            XenHypervisor(site, print, xen_with_web()),
            XenHypervisor(site, print, Hypercalls(FakeXen())),
        )
        queue, made = AlertQueue(place / "queue", A), data_mirror(place, print)
        dog = NodeWatchdog(10.0, place / "dog", place / "keeper")
        gate = LeaseGate(["lo"], IPv4Address("10.77.0.10"), lambda device, program: None, lambda device: True)
        calls: list[Callable[[], Awaitable[Done]]] = [
            *disk_calls(disks), lambda: hypervisor.read(WEB), lambda: hypervisor.start(WEB),
            lambda: hypervisor.destroy(WEB), lambda: hypervisor.send(WEB, "m"),
            lambda: empty.receive(WEB, "m"), bmc().read, bmc().cut, bmc().restore,
            lambda: store.save(Record(4, A)), lambda: made.keep_note(NOTE),
            lambda: WitnessClient(site, "boot").ask("w1", 4, "n0"),
        ]  # fmt: skip
        before = await asyncio.to_thread(descriptors)  # with the first thread asyncio imports what makes threads
        with nasty.no_descriptor():
            for call in calls:
                assert not (await settled(call())).ok
            await settled(ArpNeighbours(site, print).probe())
            assert not DomainWires().take_down().ok
            gate.open_until(None)
            await gate.keep()
            dog.feed()
            await queue.count()
            assert deliver(CallHome("https://127.0.0.1:1/", "", "t"), place / "absent").said is Reception.UNCLEAR
            assert netlink.is_here(IPv4Address("127.0.0.1")), "who cannot look does not know"
        assert gate.problem
        assert dog.problem
        assert descriptors() == before
        store.load()

    asyncio.run(story())
