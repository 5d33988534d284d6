"""The daemon of one machine, without its process: mailbox, ticks, heartbeats, and the commands of a real Engine.

It may be stopped, killed or slow. It does what the engine commands, after the time that such a thing takes, and hands
back the outcome; it holds no rule.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import DiskView, LinkName, NodePart, Outcome, VmId
from avance.wire.derived import of_heartbeats
from avance.wire.heartbeat import Heartbeat, Receiver, Unproven, encode
from avance.wire.rejected import Rejected
from tests.playbook import ended
from tests.sim import agreed, guests, moves, work
from tests.sim.leftovers import Leftovers
from tests.sim.links import LINKS
from tests.sim.site import peer_of

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.mirror import Mirror

KEY = of_heartbeats(b"a secret of the simulated site")
FIRST_REPORT_S = 0.05
LOOK_AT_PARTS_S = 5.0  # as in avance/parts.py
LOOK_SOON_S = 0.5
BMC_MISSED_S = 150.0
LOOK_AT_MIRROR_S = 5.0  # as in avance/adapters/mirror.py


@dataclass(slots=True)
class Arrived:
    """A heartbeat in the socket's queue; a daemon that stands still reads it late."""

    link: LinkName
    beat: Heartbeat | bytes


class Daemon:
    """One run of the daemon."""

    def __init__(self, machine: Machine, boot: str, machine_boot: str) -> None:
        self.machine = machine
        self.world = machine.world
        self.boot = boot
        agreed.begin(machine)
        site = self.world.site
        setup = site.setup(
            machine.name, boot=boot, machine=machine_boot, config_hash=machine.config_hash, vms=machine.vms,
            removed=machine.removed, stand=machine.stand, wanted=machine.wanted,
        )  # fmt: skip
        self.engine = Engine(setup, machine.store.record)
        self.receiver = Receiver(KEY, machine.name, peer_of(machine.name), boot)
        self.echo: dict[LinkName, tuple[str, float]] = {}
        self.reported: dict[VmId, DiskView | int | None] = {}
        self.alive = True
        self.stopped: bool = False
        self.busy_until = -1.0
        self.nonces: dict[tuple[str, str], bool] = {}
        self.parts: dict[NodePart, str] = {}  # what was told of gate and watchdog
        self.held: bool | None = None  # where the last command left the service address
        self.leftovers = Leftovers(self)
        self.free_mib: int | None = None  # what was told
        self._bmc_at = self.world.now  # when it answered last
        self._armed = False
        self._seq = 0
        self._box: deque[e.Event | Arrived] = deque()
        self._tick_due = False
        self._second = -1.0  # of the hardware clock, as the core knows it

    def start(self) -> None:
        """Begin to tick, and read the world anew."""
        self.machine.after(0.01, self._tick)
        self.machine.after(FIRST_REPORT_S, self._first_report)
        self.machine.after(FIRST_REPORT_S, self._look_at_parts)
        self.machine.after(FIRST_REPORT_S, self._look_at_links)
        if self.machine.mirror is not None:
            self.machine.after(FIRST_REPORT_S, self._first_look_at_mirror, self.machine.mirror)
        self.leftovers.take_on(self.machine.removed)

    def die(self) -> None:
        """The process is gone."""
        self.alive = False
        self._box.clear()

    def stop(self) -> None:
        """SIGSTOP."""
        self.stopped = True

    def go_on(self) -> None:
        """SIGCONT: what waited is read now."""
        was, self.stopped = self.stopped, False
        self.machine.daemon_at = self.world.now
        if self.alive and was:
            if self._tick_due:
                self._tick_due = False
                self._tick()
            self._drain()

    # ------------------------------------------------------------ events in

    def deliver(self, event: e.Event | Arrived) -> None:
        """Put an event into the mailbox; it is handled at once when the loop is free."""
        if not self.alive:
            return
        if self.stopped or self._box or self.world.now < self.busy_until:
            self._box.append(event)
            return
        self._take(event)

    def deliver_domain(self, vm: VmId) -> None:
        """Say whether a domain is there, as it is now."""
        if vm in self.engine.units:
            self.deliver(self.domain(vm))

    def domain(self, vm: VmId) -> e.DomainChanged:
        """Return what Xen says of a VM: there or not, whether its processors stand still, and whether it ever ran."""
        domains = self.machine.domains
        new = vm in self.machine.half_made
        end = guests.end_of(self.machine, vm)
        return e.DomainChanged(vm, vm in domains, paused=not domains.get(vm, True), never_ran=new, ended=end)

    def _drain(self) -> None:
        while self._box and self.alive and not self.stopped and self.world.now >= self.busy_until:
            self._take(self._box.popleft())

    def _first_report(self) -> None:
        if self.alive and self.machine.hung.get("drbd"):  # a daemon that has just started has no stream of events yet
            self.machine.after(1.0, self._first_report)
        elif self.alive:
            for vm in self.machine.vms:
                self.reported[vm] = self.machine.view(vm)
                self.deliver(e.DiskChanged(vm, self.machine.view(vm)))

    def _look_at_links(self) -> None:
        """Tell of the devices that have no carrier, as the first look of avance/adapters/netlink.py does."""
        for link in LINKS:
            if self.world.network.ports[self.machine.name, link].no_carrier:
                self.deliver(e.LinkChanged(link, carrier=False))

    def _first_look_at_mirror(self, mirror: Mirror) -> None:
        if self.alive:
            mirror.begin()
            self.machine.after(LOOK_AT_MIRROR_S, self._look_at_mirror, mirror)

    def _look_at_mirror(self, mirror: Mirror) -> None:
        if self.alive:
            if not self.stopped:
                mirror.again()
            self.machine.after(LOOK_AT_MIRROR_S, self._look_at_mirror, mirror)

    def _look_at_parts(self) -> None:
        """Do what avance/parts.py and avance/adapters/netlink.py do: tell what has changed of what stands around."""
        if not self.alive:
            return
        machine = self.machine
        told = {NodePart.GATE: "its program is gone" if machine.ungated else ""}
        if self.world.site.power and (problem := self._problem_of_bmc()) is not None:
            told[NodePart.BMC] = problem
        if self._armed or machine.unwatched:
            told[NodePart.WATCHDOG] = "no such device" if machine.unwatched else ""
        for part, problem in told.items():
            if self.parts.get(part) != problem:
                self.parts[part] = problem
                self.deliver(e.PartSeen(part, problem))
        if self.free_mib != machine.free_mib:
            self.free_mib = machine.free_mib
            self.deliver(e.MemorySeen(self.free_mib))
        if self.held is not None and self.held is not machine.address:
            self.deliver(e.AddressSeen(machine.address))
        machine.after(LOOK_AT_PARTS_S if NodePart.WATCHDOG in self.parts else LOOK_SOON_S, self._look_at_parts)

    def _problem_of_bmc(self) -> str | None:
        """As avance/adapters/power.py: it is told when looks have been in vain for long; None: not known yet."""
        bmc, me = self.world.bmc_of_peer(self.machine.name), self.machine.name
        if bmc.hears(me) and bmc.answers(me):
            self._bmc_at = self.world.now
            return ""
        return "it does not answer" if self.world.now - self._bmc_at >= BMC_MISSED_S else None

    def _tick(self) -> None:
        if not self.alive:
            return
        if self.stopped:
            self._tick_due = True
            return
        machine = self.machine
        if self.world.now < self.busy_until:
            machine.after(self.busy_until - self.world.now, self._tick)
            return
        self._drain()
        machine.after(self.world.tick_s, self._tick)
        second = float(floor(self.world.now + machine.world.rtc_offset_s.get(machine.name, 0.0)))
        fresh, self._second = second != self._second, second  # told once, as avance/loop.py does
        self._take(e.Tick(second if fresh else None))
        if machine.blocked_s:
            self.busy_until = self.world.now + machine.blocked_s
            machine.after(machine.blocked_s, self._drain)

    def _take(self, event: e.Event | Arrived) -> None:
        if isinstance(event, Arrived):
            seen = self._judge(event)
            if seen is None:
                return
            event = seen
        world, machine = self.world, self.machine
        note = world.note_before(self) if world.tracing else None
        try:
            decision = self.engine.handle(event, machine.mono())
        except AssertionError as error:
            machine.crash_daemon(f"{error!r} at {event}")
            raise
        if note is not None:
            world.note_after(self, note, event, decision)
        for name in decision.milestones:
            world.milestones.append((world.now, machine.name, name))
        for command in decision.commands:
            if not self.alive:
                return
            self._perform(command)

    # ------------------------------------------------------------ commands out

    def _perform(self, command: c.Command) -> None:
        machine, world = self.machine, self.world
        if isinstance(command, c.SendHeartbeat):
            self._send(command)
            return
        world.commands.append((world.now, machine.name, command))
        match command:
            case c.AnswerFencePeer(ask, code):
                machine.after(0.02, machine.fence_answered, ask, code)
            case c.OpenGate(until_s):
                machine.open_gate(until_s)
            case c.FeedWatchdog():
                machine.feed()
                self._armed = True
            case c.ResetNode(reason):
                if "reset" not in machine.useless:
                    machine.reset(reason)
            case c.AnswerOperator():
                world.answers.append(command)
            case c.EndMove():
                moves.break_off(machine)
            case c.UseDefinitions() | c.SendDocument() | c.ProposeWanted():
                agreed.told(self, command)
            case c.SendAlert(alert):
                world.alerts.append((world.now, machine.name, alert.code))
            case _:
                work.begin(self, command)

    def done(self, command: c.Work, outcome: Outcome, detail: str = "") -> None:
        """Hand back the outcome of a command."""
        self.deliver(ended(command, outcome, detail))

    # ------------------------------------------------------------ heartbeats

    def _send(self, command: c.SendHeartbeat) -> None:
        world, me = self.world, self.machine.name
        peer = world.machines[peer_of(me)]
        if command.view.moves:
            world.judges.moves_said()
        self._seq += 1
        now = self.machine.mono()
        for link in LINKS:
            delays = world.network.carries(me, peer.name, link, world.random)
            if not delays:
                continue
            beat = Heartbeat(link, self._seq, now, self.echo.get(link) if command.echoing else None, command.view)
            cargo = encode(KEY, beat) if world.wire else beat
            held = world.network.ports[me, link].held or world.network.ports[peer.name, link].held
            if held:
                world.held.append((peer, link, cargo))
                continue
            if world.wire:
                world.recorded.append((peer.name, link, cargo))
            for delay_s in delays:
                world.after(delay_s, world.arrive, peer, link, cargo)

    def _judge(self, arrived: Arrived) -> e.HeartbeatSeen | e.HeartbeatUnproven | None:
        """Do what adapters/heartbeat.py does with a datagram."""
        link, cargo = arrived.link, arrived.beat
        receiver = self.receiver
        # The same rules either way; bytes cost ten times as much.
        judged = receiver.accept(link, cargo) if isinstance(cargo, bytes) else receiver._judge(link, cargo)
        if isinstance(judged, Rejected):
            return None
        if isinstance(judged, Unproven):
            self.echo[link] = (judged.beat.view.boot, judged.beat.sent_s)
            return e.HeartbeatUnproven(link)
        self.echo[link] = (judged.view.boot, judged.sent_s)
        echoed = judged.echo[1] if judged.echo is not None and judged.echo[0] == self.boot else None
        return e.HeartbeatSeen(link, judged.view, echoed)
