"""The composition root: event -> core -> perform -> event.

It wires the adapters to the engine and holds no rule of its own. Decisions are made in the thread of `avance/loop.py`,
which also does what takes no time; everything that waits is done in the asyncio loop of the main thread. Any unexpected
exception, in either, ends the process; the supervisor starts it again and the state is read anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import avance
from avance.adapters.bmc_sensors import BmcSensors
from avance.adapters.callhome import QUEUE_DIR, AlertQueue
from avance.adapters.control import serve
from avance.adapters.drbd import DrbdDisks
from avance.adapters.drbd_module import DrbdModule
from avance.adapters.gate import LeaseGate
from avance.adapters.heartbeat import HeartbeatChannel
from avance.adapters.mirror import DataMirror
from avance.adapters.neighbours import ArpNeighbours
from avance.adapters.netlink import NodeNetwork, has_filter, put_filter, warm_up
from avance.adapters.power import PeerBmc
from avance.adapters.store import STATE_DIR, RecordStore
from avance.adapters.vif import DomainWires
from avance.adapters.watchdog import REASON, NodeWatchdog, left_before
from avance.adapters.witness import WitnessClient
from avance.adapters.xen import XenHypervisor
from avance.arbiter_work import power_work, witness_work
from avance.change_over import ChangeOver, StartAnew
from avance.changes import shown
from avance.clock import HardwareClock, now_s
from avance.config import CONFIG_PATH, Config, parse
from avance.configuration import TWIN, Configuration
from avance.core import alerts
from avance.core import commands as c
from avance.core.engine import Engine
from avance.core.events import CommandDone, DocumentHeard, Event
from avance.core.leftover import MayGo
from avance.core.model import NodePart, Outcome, PairState, VmId
from avance.core.results import Done, answered
from avance.disk_work import DiskCommand, disk_work, mirror_work
from avance.documents import Documents, missing_device
from avance.domain_work import DomainWork
from avance.engine_setup import engine_setup
from avance.errors import AvanceError, ConfigError
from avance.health_text import health_text
from avance.journal import JOURNAL_PATH, Journal
from avance.leftovers import Leftovers
from avance.loop import Loop
from avance.parts import NodeParts
from avance.ports import PeerChannel
from avance.readiness_text import readiness_text
from avance.requests import ASKED, Requests
from avance.standby import await_turn
from avance.status import Around, document, unpaired
from avance.status_text import definitions_text, status_text
from avance.vm_life import LIFE, VmLife
from avance.vm_list import vms_document
from avance.wire import derived
from avance.wire.decision_lines import Before
from avance.wire.document import Document
from avance.wire.masked import Mask

_ASK_WORKERS_S = 5.0  # between two looks whether the asyncio loop still answers
_END_S = 5.0  # for the turn that the decisions are in when the daemon ends


class PairedNode:
    """A paired node: the engine, its adapters and the loop between them."""

    def __init__(self, config: Config, raw: dict[str, Any], kept: Configuration, mirror: DataMirror) -> None:
        """Build everything; nothing outside is touched yet. Configuration and mirror are there before it is paired.

        Raises:
            StoreError: the durable record is damaged.
        """
        self._kept = kept
        self._hypervisor = XenHypervisor(config, self._hear)
        room_mib = self._hypervisor.room_mib
        self._documents = Documents(config, raw, kept, lambda: self._leftovers.unfinished, room_mib)
        self._boot = uuid.uuid4().hex
        self._store = RecordStore(STATE_DIR, config.dilation)
        self.engine = Engine(engine_setup(config, self._boot, self._documents.stand), self._store.load())
        self._clock = HardwareClock()
        self._loop = Loop(self._turn, self.engine.wake_at, self._clock)
        self._turning = threading.Lock()  # the engine is looked at between two turns only
        self._workers_answered, self._ask_workers_at = True, 0.0
        self._mask = Mask(derived.every(raw["site"]))
        sink = self._hear
        self._disks = DrbdDisks(config, sink)
        self._mirror = mirror
        self._module = DrbdModule()
        self._domains = DomainWork(self._disks, self._hypervisor, config.dilation)
        self._leftovers = Leftovers(self._hypervisor, self._disks, self._may_go, dilation=config.dilation)
        self._leftovers.take_on(config.removed)
        self._network = NodeNetwork(config, sink)
        self._wires = DomainWires()
        self._gate = LeaseGate(config.public_devices, config.service_address.ip, put_filter, has_filter)
        self._neighbours = ArpNeighbours(config, sink)
        keepers = (self._hypervisor, self._disks, self._neighbours)
        self._change_over = ChangeOver(self._documents, self._loop.put, keepers, self._leftovers, self._peer_works_with)
        self._power = None if config.peer_bmc is None else PeerBmc(config.peer_bmc, config.dilation)
        self._watchdog = watchdog = NodeWatchdog(config.timers.watchdog_s)
        self.alerts = AlertQueue(QUEUE_DIR, config.node)
        self._journal = Journal(JOURNAL_PATH, config.node, self._boot)
        self._witnesses = WitnessClient(config, self._boot)
        self.requests = Requests(config, self._loop.put, self.engine.units, self._documents)
        self.life = VmLife(self.requests.change, self._vms, config.dilation)
        self._rejected: Mapping[str, int] = {}
        self._gate_tried = False
        self._parts = NodeParts(
            {
                NodePart.GATE: lambda: self._gate.problem or "" if self._gate_tried else None,
                # The first feed arms it; before that nobody knows.
                NodePart.WATCHDOG: lambda: "" if not config.watchdog or watchdog.armed else watchdog.problem,
                NodePart.RECORD: lambda: self._store.problem or "",
                NodePart.CONFIGURATION: lambda: kept.problem or "",
                NodePart.JOURNAL: lambda: self._journal.problem or "",
                NodePart.ALERTS: lambda: self.alerts.problem or "",
                NodePart.MODULE: lambda: self._module.problem,
                NodePart.REMOVAL: lambda: self._leftovers.problem,
                NodePart.BMC: lambda: "" if self._power is None else self._power.problem,
            }
        )

    @property
    def config(self) -> Config:
        """What this node works with."""
        return self._documents.in_use

    async def run(self) -> None:
        """Serve until the process ends.

        Raises:
            StartAnew: in a group: definitions count that only a new start takes into use.
        """
        self._journal.begin(self.engine, now_s())
        self._mirror.attach(self._hear)
        reset = left_before(REASON)
        started = [f"epoch {self.engine.record.epoch} was durable", self._store.found, self._kept.found]
        started.append("" if reset is None else f"this machine had reset itself: {reset[0]}")
        self._journal.milestone("daemon_started", now_s(), "; ".join(text for text in started if text))
        with HeartbeatChannel(self.config, self._boot, self._hear, self._document_came) as channel, self._clock:
            self._rejected = channel.rejected
            async with asyncio.TaskGroup() as tasks:
                self._attach(channel, tasks)
                tasks.create_task(self._decide(channel.sockets))  # the first: it ends before the journal does
                for forever in (self._journal.write(), self.alerts.write()):
                    tasks.create_task(forever)
                tasks.create_task(self._disks.follow())
                tasks.create_task(self._hypervisor.follow())
                tasks.create_task(self._network.run())
                tasks.create_task(self._keep_gate())
                tasks.create_task(self._look_at_parts())
                tasks.create_task(self._leftovers.run())
                tasks.create_task(self._change_over.run())
                tasks.create_task(self._tell_reset(reset))
                if self.config.peer_bmc is not None:  # a site names the BMCs of both nodes, or none
                    tasks.create_task(BmcSensors(self._hear, self.config.dilation).run())
                if self._power is not None:
                    tasks.create_task(self._power.follow())

    def _attach(self, channel: PeerChannel, tasks: asyncio.TaskGroup) -> None:
        """Say where heartbeats go, and who does the work that waits."""
        self._channel, self._tasks, self._workers = channel, tasks, asyncio.get_running_loop()

    async def _decide(self, sockets: Mapping[int, Callable[[], None]]) -> None:
        """Let the decisions run in their thread; what ends them ends this, and the other way round."""
        try:
            await asyncio.to_thread(self._loop.run, sockets)
        finally:
            self._loop.end()
            self._loop.ended.wait(_END_S)

    async def _keep_gate(self) -> None:
        """Put it in place as soon as the networks are there, and again when it vanishes; without it all else works."""
        await self._network.wait_up()
        while True:
            await self._gate.keep()
            self._gate_tried = True
            await self._network.wait_changed(self._gate.pause_s)

    async def _look_at_parts(self) -> None:
        """Tell the core of each part that does not do its work, and when it does again."""
        while True:
            for seen in self._parts.changed():
                self._hear(seen)
            await asyncio.sleep(self._parts.pause_s)

    async def _tell_reset(self, found: tuple[str, str] | None) -> None:
        """Say why and when this machine had reset itself, if it had; what is told durably is forgotten."""
        if found is not None and await self.alerts.keep(alerts.was_reset(*found), self.engine.record.epoch):
            with contextlib.suppress(OSError):
                await asyncio.to_thread(REASON.unlink)

    # ---------------------------------------------------------------- in the thread of the decisions

    def _turn(self, event: Event) -> None:
        with self._turning:
            now, before = now_s(), Before.of(self.engine)
            self._journal.heard(event, now)
            decision = self.engine.handle(event, now)
            self._journal.decision(event, before, self.engine, decision, now)
        self._channel.heard(event)
        for command in decision.commands:
            self._dispatch(command)

    def _dispatch(self, command: c.Command) -> None:
        """Do what takes no time here, and hand the rest to the asyncio loop."""
        match command:
            case c.SendHeartbeat(view, echoing):
                self._channel.send(view, echoing=echoing)
            case c.OpenGate(until_s):
                self._gate.open_until(until_s)
            case c.FeedWatchdog():
                self._feed()
            case c.ResetNode(reason):
                self._watchdog.reset(reason)
            case c.SendAlert(alert, epoch):
                self._workers.call_soon_threadsafe(self.alerts.put, alert, epoch)
            case c.UseDefinitions():
                self._workers.call_soon_threadsafe(self._change_over.use, command)
            case c.SendDocument(key):
                self._workers.call_soon_threadsafe(self._send_document, key)
            case c.EndMove():
                self._workers.call_soon_threadsafe(self._end_moves)
            case c.ProposeWanted():
                self._workers.call_soon_threadsafe(self._propose, command)
            case c.AnswerFencePeer() | c.AnswerOperator():
                self._workers.call_soon_threadsafe(self.requests.answered, command)
            case _:
                self._workers.call_soon_threadsafe(self._start, command)

    def _feed(self) -> None:
        """Feed the watchdog unless the workers hang: a daemon that decides and does nothing must not stay.

        They are asked now and then, and have until the next feed to answer.
        """
        if not self._workers_answered:
            return
        self._watchdog.feed()
        now = now_s()
        if now >= self._ask_workers_at:
            self._workers_answered, self._ask_workers_at = False, now + _ASK_WORKERS_S
            self._workers.call_soon_threadsafe(self._answer_feed)

    # ---------------------------------------------------------------- in the asyncio loop

    def _answer_feed(self) -> None:
        self._workers_answered = True

    def _start(self, command: c.Work) -> None:
        self._tasks.create_task(self._perform(command))

    def _end_moves(self) -> None:
        """As a task, as every move is one: so it comes after those that were begun before it."""
        self._tasks.create_task(self._domains.end_moves())

    def _propose(self, command: c.ProposeWanted) -> None:
        self._tasks.create_task(self.life.propose(command))

    async def _perform(self, command: c.Work) -> None:
        self._hear(CommandDone(command, answered(command, await self._work(command))))

    def _hear(self, event: Event) -> None:
        """Take in what an adapter says: here, and nowhere else, its texts are filtered."""
        self._loop.put(self._mask.event(event))

    def _work(self, command: c.Work) -> Awaitable[Done]:  # noqa: C901 - one case for each command
        """Return the work of a command, for every command that has an outcome."""
        match command:
            case c.AskWitness() | c.TeachWitness():
                return witness_work(self._witnesses, command)
            case c.SaveRecord(record):
                return self._store.save(record)
            case c.SaveDefinitions(stand):
                return self._documents.save(stand)
            case c.HoldAddress():
                return self._network.hold_address()
            case c.ReleaseAddress():
                return self._network.release_address()
            case c.StartDomain() | c.DestroyDomain() | c.ShutdownDomain() | c.ReadDomain():
                return self._domains.work(command)
            case c.SendDomain() | c.ReceiveDomain() | c.ResumeDomain():
                return self._domains.work(command)
            case c.PauseVms():
                return self._pause_vms()
            case c.UnpauseVms():
                return self._unpause_vms()
            case c.ReadPeerPower() | c.CutPeerPower() | c.RestorePeerPower():
                return power_work(self._power, command)
            case c.ProbeNeighbours():
                return self._neighbours.probe()
            case c.KeepMirrorNote() | c.UseMirrorNote() | c.ReuseHalves() | c.TrustMirror():
                return mirror_work(self._mirror, command)
            case _:
                return self._disk_work_when_up(command)  # it names each of them

    async def _pause_vms(self) -> Done:
        """First off the wire, which takes no time; both have to succeed."""
        wires = self._wires.take_down()
        paused = await self._hypervisor.pause()
        return paused if wires.outcome is Outcome.OK else wires

    async def _unpause_vms(self) -> Done:
        unpaused = await self._hypervisor.unpause()
        return self._wires.bring_up() if unpaused.outcome is Outcome.OK else unpaused

    async def _disk_work_when_up(self, command: DiskCommand) -> Done:
        up = await self._network.wait_up()
        if isinstance(command, c.PrepareVolume) and up.outcome is Outcome.OK:
            up = await self._mirror.ready()
        return await disk_work(self._disks, command) if up.outcome is Outcome.OK else up

    # ---------------------------------------------------------------- definitions, status

    def _document_came(self, document: Document) -> None:
        """Look at a document for which this node asks; in the thread of the decisions."""
        agreement = self.engine.sight.agreement
        if document.key == agreement.asks:
            self._workers.call_soon_threadsafe(partial(self._look_at_document, document, taken=agreement.takes))

    def _look_at_document(self, document: Document, *, taken: bool) -> None:
        heard = self._documents.heard(document, taken=taken)
        if heard.problem or heard.key == heard.version.key:
            self._hear(heard)
        else:
            self._tasks.create_task(self._look_for_files(heard))

    async def _look_for_files(self, heard: DocumentHeard) -> None:
        """Look at a proposal once more: would its VMs start on this node?"""
        self._hear(replace(heard, problem=await self._documents.lacks(heard.version.hash)))

    def _send_document(self, key: str) -> None:
        datagram = self._documents.datagram(key)
        if datagram is not None:
            self._channel.send_document(datagram)

    def _peer_works_with(self, contents_hash: str) -> bool:
        with self._turning:
            peer, pair = self.engine.sight.peer, self.engine.pair
            return pair is PairState.PAIRED and peer is not None and peer.config_hash == contents_hash

    def _may_go(self, vm: VmId) -> MayGo:
        with self._turning:
            return self.engine.sight.may_go(vm, now_s())

    def definitions(self) -> dict[str, Any]:
        """Return which definitions this node holds, with their contents; what is secret in them is left out."""
        contents = self._documents.contents
        return {**self.status()["definitions"], "site": shown(contents.site), "vms": shown(contents.vms)}

    def _vms(self) -> dict[str, Any]:
        with self._turning:
            return vms_document(self.engine, now_s())

    def status(self) -> dict[str, Any]:
        """Return the status document (schema `avance/schema/status.json`)."""
        around = Around(
            boot=self._boot,
            alerts_queued=self.alerts.queued,
            alerts_dropped=self.alerts.dropped,
            alerts_refused=self.alerts.refused,
            journal_dropped=self._journal.dropped,
            rejected=self._rejected,
            watchdog_armed=self._watchdog.armed,
            watchdog_problem=self._watchdog.problem,
            gate_problem=self._gate.problem,
            drbd_version=self._module.version,
            drbd_problem=self._module.problem,
        )
        with self._turning:
            return document(self.config, self.engine, around, now_s())


class Daemon:
    """The process: unpaired until a site is known, then a PairedNode."""

    def __init__(self) -> None:
        self._node: PairedNode | None = None
        self._mirror = DataMirror(STATE_DIR)
        self._kept = Configuration(CONFIG_PATH, STATE_DIR / TWIN.name)
        self._broken = ""  # why this node, which is paired, can serve nothing
        self._paired = asyncio.Event()
        self._pairing = asyncio.Lock()

    async def run(self) -> None:
        """Run until the process is ended from outside."""
        self._start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(Path(avance.CONTROL_SOCKET), self._request))
            _notify_ready()
            tasks.create_task(self._mirror.run())
            tasks.create_task(asyncio.to_thread(warm_up))
            await self._paired.wait()
            assert self._node is not None
            await self._node.run()

    def _start(self) -> None:
        """Read what this node keeps; where that is impossible it serves nothing, and says why to whoever asks."""
        with contextlib.suppress(OSError):  # a disk that takes nothing: what is read or written there says so
            STATE_DIR.mkdir(parents=True, exist_ok=True)
        try:
            raw = self._kept.load(mend=True)
            if raw is not None:
                self._adopt(raw)
        except AvanceError as error:
            self._broken = str(error)
            print(f"avance: {error}", file=sys.stderr, flush=True)

    def _adopt(self, raw: dict[str, Any]) -> None:
        self._node = PairedNode(parse(raw["node"], raw["site"], raw["vms"]), raw, self._kept, self._mirror)
        self._paired.set()

    async def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._dispatch(request)
        except AvanceError as error:
            return {"error": str(error)}

    async def _dispatch(self, request: dict[str, Any]) -> dict[str, Any]:
        op = request["op"]
        if op == "status":
            if self._node is not None:
                await self._node.alerts.count()
            status = (
                self._node.status() if self._node is not None else unpaired(now_s(), self._mirror.view, self._broken)
            )
            return {"ok": status_text(status)} if request.get("words") is True else status
        if op == "pair":
            async with self._pairing:
                return await self._pair(request)
        if op in ASKED:
            return await self._paired_node().requests.asked(request)
        if op in LIFE:
            return await self._paired_node().life.asked(request)
        if op == "definitions":
            found = self._paired_node().definitions()
            return {"ok": definitions_text(found)} if request.get("words") is True else found
        if op == "health":
            health = self._paired_node().status()["health"]
            return {"ok": health_text(health)} if request.get("words") is True else health
        if op == "readiness":
            found = self._paired_node().status()["readiness"]
            return {"ok": readiness_text(found)} if request.get("words") is True else {"readiness": found}
        possible = ", ".join(("status", "health", "readiness", "pair", "definitions", *LIFE, *ASKED))
        return {"error": f"unknown request {op!r}; possible are {possible}"}

    def _paired_node(self) -> PairedNode:
        if self._broken:
            raise ConfigError(self._broken)
        if self._node is None:
            raise ConfigError("this node is not paired yet; run `avance pair` first")
        return self._node

    async def _pair(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._broken:
            raise ConfigError(f"{self._broken}; nothing was changed")
        if self._node is not None:
            raise ConfigError(f"this node is paired already, as {self._node.config.node}; nothing was changed")
        raw: dict[str, Any] = {"node": request.get("node"), "site": request.get("site"), "vms": []}
        raw |= {"number": 0, "history": [], "proposal": None}  # paired and never changed
        config = parse(str(raw["node"]), raw["site"], raw["vms"])
        missing = missing_device(config)
        if missing:
            raise ConfigError(f"{missing}; nothing was changed")
        await asyncio.to_thread(self._kept.save, raw)
        self._adopt(raw)
        return {"ok": f"this node is {config.node}; its peer is {config.peer}"}


def _notify_ready() -> None:
    print(f"avance {avance.__version__} listens on {avance.CONTROL_SOCKET}", flush=True)


def main() -> int:
    """Run the daemon."""
    os.umask(0o077)
    await_turn(warm_up)
    try:
        asyncio.run(Daemon().run())
    except* StartAnew:
        print("avance: the daemon starts anew, with the definitions that count now", flush=True)
    return 1  # reached only when the loop was ended from outside, or for a new start
