"""A tiny world for two engines: links, clock, DRBD and Xen, just true enough to judge decisions by their effect.

Time is simulated; the same seed gives the same history. Writes of the VM are numbered, so the world can tell whether
an acknowledged write was lost or two nodes wrote. The world must never help an engine: it only does what it is told.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import DiskRole, DiskState, DiskView, LinkName, NodeId, Outcome, Record, VmId, VmState
from tests.playbook import BIZ, PRIV, WEB, A, B, setup

LATENCY_S = 0.002
DRBD_NOTICES_S = (0.5, 6.0)  # a dead peer is noticed by DRBD after this time, depending on its traffic
RESYNC_S = 3.0
HANDLER_S = 20.0
GOOD = (DiskState.UP_TO_DATE, DiskState.CONSISTENT, DiskState.OUTDATED)


@dataclass
class Machine:
    """One node: what survives its death (record, disk, log of writes) and what does not."""

    name: NodeId
    record: Record = field(default_factory=Record)
    boots: int = 0
    engine: Engine | None = None
    echo: dict[LinkName, tuple[str, float]] = field(default_factory=dict)
    prepared: bool = False
    disk: DiskState = DiskState.DISKLESS
    stored: DiskState = DiskState.INCONSISTENT
    peer_outdated: bool = False
    log: list[int] = field(default_factory=list)
    attached: bool = False
    net: bool = False
    role: DiskRole = DiskRole.SECONDARY
    suspended: bool = False
    domain: bool = False
    address: bool = False
    ask: int = 0
    reported: DiskView | None = None

    @property
    def writes(self) -> bool:
        """A VM runs here and its writes are let through."""
        return self.domain and self.role is DiskRole.PRIMARY and not self.suspended


class World:
    """Two machines and everything between them; `trace` keeps one line per decision."""

    def __init__(self, seed: int = 0, *, tick_s: float = 0.25, trouble: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.tick_s = tick_s
        self.trouble = trouble
        self.machines = {A: Machine(A), B: Machine(B)}
        self.links = {PRIV: True, BIZ: True}
        self.connected = False
        self.syncing: Machine | None = None
        self.acknowledged: list[int] = []
        self.trace: list[str] = []
        self.commands: list[tuple[float, NodeId, c.Command]] = []
        self.milestones: list[tuple[float, NodeId, str]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._asked: dict[tuple[NodeId, int], Callable[[int], None]] = {}

    # ------------------------------------------------------------ time

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Let something happen later."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay_s, self._count, act))

    def run(self, seconds: float) -> None:
        """Let time pass; the invariants are checked after every happening."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, act = heapq.heappop(self._queue)
            act()
            self.check()
        self.now = end

    def run_until(self, what: Callable[[], bool], limit_s: float) -> float:
        """Let time pass until something holds; returns how long it took."""
        start = self.now
        while not what():
            assert self.now - start < limit_s, f"not within {limit_s} s; last: {self.trace[-5:]}"
            self.run(self.tick_s)
        return self.now - start

    def check(self) -> None:
        """Never two writers, never two service addresses, never a write without a durable right."""
        writers = [machine for machine in self.machines.values() if machine.writes]
        assert len(writers) <= 1, self.trace[-20:]
        assert sum(machine.address for machine in self.machines.values()) <= 1, self.trace[-20:]
        for machine in writers:
            assert machine.record.owner == machine.name, self.trace[-20:]

    # ------------------------------------------------------------ nodes

    def boot(self, name: NodeId) -> None:
        """Switch a node on; it knows only what was durable."""
        machine = self.machines[name]
        assert machine.engine is None
        machine.boots += 1
        machine.engine = Engine(setup(name, boot=f"{name}-boot-{machine.boots}"), machine.record)
        self._tick(machine, machine.boots)
        self.after(0.05, lambda: self._report(machine, force=True))

    def kill(self, name: NodeId) -> None:
        """Switch a node off: its VM, its role and everything in flight are gone."""
        machine = self.machines[name]
        assert machine.engine is not None
        machine.engine = None
        machine.domain = machine.address = machine.attached = machine.net = machine.suspended = False
        machine.role, machine.reported = DiskRole.SECONDARY, None
        machine.echo.clear()
        if machine.disk in (DiskState.UP_TO_DATE, DiskState.CONSISTENT):
            machine.stored = DiskState.CONSISTENT
        elif machine.disk is not DiskState.DISKLESS:
            machine.stored = machine.disk
        machine.disk = DiskState.DISKLESS
        if self.syncing is machine or self.other(machine).domain is False:
            self.syncing = self.syncing if self.syncing is not machine else None
        noticed_s = self.random.uniform(*DRBD_NOTICES_S)
        self.after(noticed_s, self._settle_disks)

    def other(self, machine: Machine) -> Machine:
        """Return the peer of a machine."""
        return self.machines[B if machine.name == A else A]

    def protected(self) -> bool:
        """Say whether both engines call the pair protected and exactly one runs the VM."""
        engines = [machine.engine for machine in self.machines.values()]
        return all(engine is not None and engine.protected for engine in engines) and self.runner() is not None

    def runner(self) -> NodeId | None:
        """Return the node on which the VM runs and may write."""
        return next((machine.name for machine in self.machines.values() if machine.writes), None)

    def _tick(self, machine: Machine, boots: int) -> None:
        if machine.engine is None or machine.boots != boots:
            return
        self.after(self.tick_s, lambda: self._tick(machine, boots))
        self.tell(machine, e.Tick())
        if machine.writes:
            self._write(machine)

    def _write(self, machine: Machine) -> None:
        """Acknowledge one write of the VM, if DRBD would."""
        other = self.other(machine)
        if self.connected and other.engine is None:
            return  # sent, not acknowledged: DRBD has not noticed yet that the peer is dead
        number = len(self.acknowledged)
        machine.log.append(number)
        if self.connected and self.syncing is None:
            other.log.append(number)
        self.acknowledged.append(number)

    # ------------------------------------------------------------ events and commands

    def tell(self, machine: Machine, event: e.Event) -> None:
        """Give one event to an engine and perform what it commands."""
        engine = machine.engine
        if engine is None:
            return
        pair, vms = engine.pair, {name: unit.state for name, unit in engine.units.items()}
        decision = engine.handle(event, self.now)
        acted = [command for command in decision.commands if not isinstance(command, c.SendHeartbeat)]
        if acted or decision.reasons:
            self._note(machine, event, pair, vms, acted, decision.reasons)
        self.milestones += [(self.now, machine.name, name) for name in decision.milestones]
        for command in decision.commands:
            if isinstance(command, c.SendHeartbeat):
                self._send(machine, command)
            elif isinstance(command, c.AnswerFencePeer):
                self._answered(machine, command.ask, command.code)
            elif not isinstance(command, c.SendAlert):
                self._begin(machine, command)

    def _note(
        self,
        machine: Machine,
        event: e.Event,
        pair: str,
        vms: dict[VmId, VmState],
        acted: Sequence[c.Command],
        reasons: tuple[str, ...],
    ) -> None:
        engine = machine.engine
        assert engine is not None
        self.commands += [(self.now, machine.name, command) for command in acted]
        changes = [f"pair {pair}->{engine.pair}"] if pair != engine.pair else []
        changes += [f"{vm} {vms[vm]}->{u.state}" for vm, u in engine.units.items() if vms.get(vm) is not u.state]
        words = [_word(command) for command in acted]
        parts = [_event_word(event), *changes, *([f"=> {', '.join(words)}"] if words else [])]
        why = f"  # {'; '.join(reasons)}" if reasons else ""
        self.trace.append(f"{self.now - 1000.0:7.2f} s  {machine.name}  {' | '.join(parts)}{why}")

    def _send(self, machine: Machine, command: c.SendHeartbeat) -> None:
        sent_s, boot = self.now, command.view.boot
        echoes = dict(machine.echo)

        def arrive(link: LinkName) -> None:
            peer = self.other(machine)
            if peer.engine is None or not self.links[link]:
                return
            peer.echo[link] = (boot, sent_s)
            echo = echoes.get(link)
            echoed = echo[1] if echo is not None and echo[0] == peer.engine.setup.boot else None
            self.tell(peer, e.HeartbeatSeen(link, command.view, echoed))

        for link, up in self.links.items():
            if up:
                self.after(LATENCY_S, lambda link=link: arrive(link))  # type: ignore[misc]  # binds the loop variable

    def _begin(self, machine: Machine, command: c.Command) -> None:
        boots = machine.boots
        delay_s = self.random.uniform(0.05, 3.0) if self.trouble else 0.2
        dice = self.random.random() if self.trouble else 1.0
        vm = getattr(command, "vm", None)
        word = type(command).__name__

        def finish(outcome: Outcome, detail: str) -> None:
            if machine.boots == boots:
                self.tell(machine, e.CommandDone(word, vm, outcome, detail))

        def act() -> None:
            if machine.engine is None or machine.boots != boots:
                return
            if dice < self.trouble / 2:
                finish(Outcome.FAILED if word != "SaveRecord" else Outcome.UNKNOWN, "the world said no")
            elif dice < self.trouble:
                self._do(machine, command, lambda _outcome, detail: finish(Outcome.UNKNOWN, detail))
            else:
                self._do(machine, command, finish)

        self.after(delay_s, act)

    def _do(self, machine: Machine, command: c.Command, finish: Callable[[Outcome, str], None]) -> None:
        detail = ""
        match command:
            case c.SaveRecord(record):
                machine.record = record
            case c.HoldAddress():
                machine.address = True
            case c.ReleaseAddress():
                machine.address = False
            case c.PrepareVolume():
                detail = "" if machine.prepared else "fresh"
                machine.prepared = True
            case c.StartDomain():
                assert machine.role is DiskRole.PRIMARY, "a domain without a writable disk"
                machine.domain = True
            case c.DestroyDomain():
                machine.domain = False
            case c.ReadDomain():
                self.tell(machine, e.DomainChanged(WEB, machine.domain))
            case c.PromoteDisk():
                self._promote(machine, finish)
                return
            case _:
                if not self._do_disk(machine, command):
                    finish(Outcome.FAILED, "refused by DRBD")
                    return
        finish(Outcome.OK, detail)

    # ------------------------------------------------------------ DRBD

    def _do_disk(self, machine: Machine, command: c.Command) -> bool:
        other = self.other(machine)
        match command:
            case c.AttachDisk():
                assert not machine.attached, "attached twice"
                machine.attached = True
                machine.disk = machine.stored
                if machine.stored is DiskState.CONSISTENT and machine.peer_outdated:
                    machine.disk = DiskState.UP_TO_DATE
            case c.ConnectDisk():
                assert machine.attached
                assert not machine.net, "connected twice"
                machine.net = True
            case c.InitialiseDisk():
                if not (self.connected and machine.disk is other.disk is DiskState.INCONSISTENT):
                    return False
                assert machine.log == other.log == [], "initialised over data"
                machine.disk = other.disk = DiskState.UP_TO_DATE
            case c.DemoteDisk():
                if machine.domain:
                    return False
                machine.role = DiskRole.SECONDARY
            case c.ResumeDisk():
                machine.suspended, machine.peer_outdated = False, True
        self._settle_disks()
        return True

    def _promote(self, machine: Machine, finish: Callable[[Outcome, str], None]) -> None:
        other = self.other(machine)
        if machine.disk is not DiskState.UP_TO_DATE or (self.connected and other.role is DiskRole.PRIMARY):
            finish(Outcome.FAILED, "refused by DRBD")
            return

        def go(code: int) -> None:
            if code not in (4, 5, 7):
                finish(Outcome.FAILED, f"fence-peer said {code}")
                return
            machine.role, machine.peer_outdated = DiskRole.PRIMARY, True
            self._report(machine)
            finish(Outcome.OK, "")

        if machine.role is DiskRole.PRIMARY:
            finish(Outcome.OK, "")
        elif self.connected or machine.peer_outdated:
            machine.role = DiskRole.PRIMARY
            self._settle_disks()
            finish(Outcome.OK, "")
        else:
            self._fence(machine, go)

    def _fence(self, machine: Machine, answered: Callable[[int], None]) -> None:
        machine.ask += 1
        key = (machine.name, machine.ask)
        boots = machine.boots
        self._asked[key] = answered
        self.after(HANDLER_S, lambda: self._answered(machine, key[1], 1) if machine.boots == boots else None)
        self.tell(machine, e.FencePeerAsked(WEB, machine.ask))

    def _answered(self, machine: Machine, ask: int, code: int) -> None:
        answered = self._asked.pop((machine.name, ask), None)
        if answered is not None and machine.engine is not None:
            if code == 5:
                assert machine.record.owner == machine.name, "fence-peer was told yes before the record was durable"
                assert machine.record.peer_outdated
            answered(code)

    def _settle_disks(self) -> None:
        """Connect or disconnect DRBD as things are now, and report what changed."""
        a, b = self.machines[A], self.machines[B]
        able = all(m.engine is not None and m.attached and m.net for m in (a, b)) and self.links[PRIV]
        if self.connected and not able:
            self.connected, self.syncing = False, None
            for machine in (a, b):
                if machine.engine is not None and machine.role is DiskRole.PRIMARY:
                    self._freeze(machine)
        elif able and not self.connected:
            self._connect(a, b)
        self._report(a)
        self._report(b)

    def _freeze(self, machine: Machine) -> None:
        machine.suspended = True

        def thaw(code: int) -> None:
            if code in (4, 5, 7) and not self.connected and machine.disk is DiskState.UP_TO_DATE:
                machine.suspended, machine.peer_outdated = False, True
                self._report(machine)

        self._fence(machine, thaw)

    def _connect(self, a: Machine, b: Machine) -> None:
        assert not (a.role is b.role is DiskRole.PRIMARY), "split brain: two writers connect"
        self.connected = True
        a.suspended = b.suspended = a.peer_outdated = b.peer_outdated = False
        if a.disk is b.disk is DiskState.INCONSISTENT:
            return
        if a.disk in GOOD and b.disk in GOOD and a.log == b.log:
            a.disk = b.disk = DiskState.UP_TO_DATE
            return
        source = self._source(a, b)
        target = self.other(source)
        assert target.role is not DiskRole.PRIMARY, "the writer would be overwritten"
        source.disk, target.disk = DiskState.UP_TO_DATE, DiskState.INCONSISTENT
        self.syncing = target
        self.after(RESYNC_S, lambda: self._synced(source, target))

    def _source(self, a: Machine, b: Machine) -> Machine:
        if DiskState.INCONSISTENT in (a.disk, b.disk):
            return a if b.disk is DiskState.INCONSISTENT else b
        longer, shorter = (a, b) if len(a.log) >= len(b.log) else (b, a)
        assert longer.log[: len(shorter.log)] == shorter.log, "split brain: both sides wrote alone"
        return longer

    def _synced(self, source: Machine, target: Machine) -> None:
        if self.syncing is target and self.connected and source.engine is not None and target.engine is not None:
            self.syncing, target.disk, target.log = None, DiskState.UP_TO_DATE, list(source.log)
            self._report(source)
            self._report(target)

    def view(self, machine: Machine) -> DiskView | None:
        """Return what DRBD says on a node."""
        if not machine.attached:
            return None
        other = self.other(machine)
        if not self.connected:
            peer = DiskState.OUTDATED if machine.peer_outdated else DiskState.UNKNOWN
            connection = "Connecting" if machine.net else "StandAlone"
            return DiskView(machine.role, machine.disk, connection, peer_disk=peer, suspended=machine.suspended)
        replication = "Established"
        if self.syncing is not None:
            replication = "SyncTarget" if self.syncing is machine else "SyncSource"
        return DiskView(
            machine.role, machine.disk, "Connected", other.role, other.disk, replication, machine.suspended
        )

    def _report(self, machine: Machine, *, force: bool = False) -> None:
        view = self.view(machine)
        if machine.engine is not None and (force or view != machine.reported):
            machine.reported = view
            self.after(0.01, lambda: self.tell(machine, e.DiskChanged(WEB, view)))


def _word(command: c.Command) -> str:
    """Return a command as a person would note it."""
    match command:
        case c.SaveRecord(record):
            worth = ", peer outdated" if record.peer_outdated else ""
            fresh = f", fresh {' '.join(record.fresh)}" if record.fresh else ""
            return f"SaveRecord(epoch {record.epoch}, owner {record.owner}{worth}{fresh})"
        case c.SendAlert(alert):
            return f"SendAlert({alert.code})"
        case c.AnswerFencePeer(code=code):
            return f"AnswerFencePeer({code})"
    return type(command).__name__


def _event_word(event: e.Event) -> str:
    """Return an event as a person would note it."""
    match event:
        case e.CommandDone(command, _, outcome):
            return f"{command} {outcome}"
        case e.DiskChanged(_, view):
            if view is None:
                return "DiskChanged(none)"
            return f"DiskChanged({view.role} {view.disk}/{view.peer_disk} {view.connection})"
        case e.HeartbeatSeen(link, view):
            return f"HeartbeatSeen({link}, peer {view.pair}, epoch {view.record.epoch})"
        case e.DomainChanged(_, running):
            return f"DomainChanged({'running' if running else 'gone'})"
    return type(event).__name__
