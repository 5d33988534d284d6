"""The simulated world: two machines with real engines, and everything between and around them.

Time and chance come from one seed, so the same seed gives the same history. The world does what it is told by engines
and by faults; it never helps an engine, and only `settled` and the judges look into one.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Decision
from avance.core.model import LinkName, NodeId, VmId
from avance.wire.heartbeat import Heartbeat
from tests.playbook import BIZ, WEB, A, B, spec
from tests.sim import guests, story
from tests.sim.arbiters import Bmc, WitnessHost
from tests.sim.clock import START_S, Clock
from tests.sim.daemon import Arrived, Daemon
from tests.sim.definitions import Document
from tests.sim.drbd import Resource
from tests.sim.drbd_side import CONNECTED
from tests.sim.judges import Judges
from tests.sim.links import Network
from tests.sim.machine import Machine
from tests.sim.site import NODES, SimSite, peer_of
from tests.sim.writes import block_of

SERVICE = "10.77.0.10"
LOOK_S = 1.0


class World(Clock):
    """Two machines, their networks, arbiters and disks; `trace` keeps one line per decision while `tracing`."""

    public = BIZ

    def __init__(
        self, seed: int = 0, *, site: SimSite | None = None, tick_s: float = 0.25, tracing: bool = True
    ) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.site = site or SimSite()
        self.document: Document | None = None  # the newest definitions, when a person has given any
        self.offers: dict[str, Document] = {}  # all that was ever given to be agreed on, by hash
        self.first_vms = self.site.vms
        self.tick_s = tick_s
        self.tracing = tracing
        self.wire = False  # real bytes for heartbeats
        self.trouble = 0.0  # share of commands that end oddly
        self.resync_factor = 1.0
        self.boot_s = (6.0, 10.0)  # from reset or power to the daemon
        self.command_s: dict[type, tuple[float, float]] = {}  # commands that take another time than usual
        self.supervisor_s = (1.5, 7.0)  # from the end of a daemon to the next one
        self.rtc_offset_s: dict[NodeId, float] = {A: 4711.0, B: -1234.0}
        self.trace: list[str] = []
        self.commands: list[tuple[float, NodeId, c.Command]] = []
        self.milestones: list[tuple[float, NodeId, str]] = []
        self.alerts: list[tuple[float, NodeId, str]] = []
        self.answers: list[c.AnswerOperator] = []
        self.stubborn: set[VmId] = set()  # guests that do not shut down when they are asked
        self.held: list[tuple[Machine, LinkName, Heartbeat | bytes]] = []
        self.recorded: list[tuple[NodeId, LinkName, Heartbeat | bytes]] = []
        self.network = Network()
        self.resources: dict[VmId, Resource] = {}
        self.judges = Judges(self)
        self.machines = {name: Machine(self, name) for name in NODES}
        for vm in self.site.vms:
            self.resources[vm] = Resource(self, vm, self.machines)
        self.bmcs = {name: Bmc(self, name) for name in NODES}
        self.arbiters = {name: WitnessHost(self, name) for name in self.site.witness_names}
        self._written = 0
        self._asks = 0
        self.started_at = self.now
        self.healed_at = 1e9  # seconds of the history; no fault acts by itself after it
        self.after(self.tick_s, self._guests)
        self.after(LOOK_S, self._look)

    # ------------------------------------------------------------ a protected pair

    @classmethod
    def in_service(
        cls, seed: int = 0, *, site: SimSite | None = None, tick_s: float = 0.25, tracing: bool = True
    ) -> World:
        """Return a world whose pair has elected itself and is protected."""
        world = cls(seed, site=site, tick_s=tick_s, tracing=tracing)
        for node in NODES:
            world.boot(node)
        world.run_until(world.protected, 60.0)
        world.run(8.0)
        return world

    def frozen_copy(self) -> bytes:
        """Return the whole world as bytes, from which `thawed` makes equal worlds cheaply."""
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def thawed(frozen: bytes, seed: int) -> World:
        """Return a copy of a frozen world that goes on with its own chance."""
        world: World = pickle.loads(frozen)
        world.random = random.Random(seed)
        world.started_at = world.now
        return world

    @property
    def elapsed_s(self) -> float:
        """Seconds since the history began."""
        return self.now - self.started_at

    def run_until(self, what: Callable[[], bool], limit_s: float) -> float:
        """Let time pass until something holds; returns how long it took."""
        start = self.now
        while not what():
            assert self.now - start < limit_s, f"not within {limit_s} s; {self.summary()}"
            self.run(self.tick_s)
        return self.now - start

    def summary(self) -> str:
        """Return where both nodes stand, in one line."""
        return "; ".join(story.summary(self, machine) for machine in self.machines.values())

    # ------------------------------------------------------------ nodes, by name

    def boot(self, name: NodeId) -> None:
        """Switch a node on; it is up at once."""
        self.machines[name].power_on(now=True)
        self.run(0.0)

    def kill(self, name: NodeId) -> None:
        """Let a node be gone; its disks keep what they had, and it stays off."""
        machine = self.machines[name]
        machine._die(power=False)
        machine.powered = False

    def engine(self, name: NodeId) -> Any:  # noqa: ANN401 - the engine's own type would say nothing more to a test
        """Return the engine of a node that must live."""
        engine = self.machines[name].engine
        assert engine is not None, f"no daemon lives on {name}"
        return engine

    def protected(self) -> bool:
        """Say whether both engines call the pair protected and each VM runs on exactly one node."""
        engines = [machine.engine for machine in self.machines.values()]
        if not all(engine is not None and engine.protected for engine in engines):
            return False
        return all(self.runner(vm) is not None for vm in self.site.vms if not guests.is_off(self, vm))

    def runner(self, vm: VmId = WEB) -> NodeId | None:
        """Return the node on which a VM runs, may write and reaches its clients."""
        for name, machine in self.machines.items():
            side = self.resources[vm].sides[name]
            data = side.has_disk or side.connection == CONNECTED
            if machine.runs(vm) and machine.reaches_clients and side.primary and data and not side.suspended:
                return name
        return None

    @property
    def acknowledged(self) -> list[int]:
        """Every acknowledged write of the first VM, in order."""
        return self.judges.by_vm[self.site.vms[0]]

    def log(self, name: NodeId, vm: VmId = WEB) -> list[int]:
        """Return the writes of a VM that are on a node's copy, or that a later write there has replaced."""
        data = self.resources[vm].sides[name].data
        return [number for number in self.judges.by_vm[vm] if data.get(block_of(number), 0) >= number]

    def loses(self, name: NodeId, number: int, vm: VmId = WEB) -> None:
        """Let a node's copy silently lose a block, as no disk should."""
        self.resources[vm].sides[name].data.pop(block_of(number))

    def next_write(self) -> int:
        """Return the number of the next write."""
        self._written += 1
        return self._written

    def operator(self, node: NodeId, request: str, typed: NodeId) -> int:
        """Let a person ask a node for something; returns the number of the question."""
        self._asks += 1
        daemon = self.machines[node].daemon
        if daemon is not None:
            daemon.machine.after(0.0, daemon.deliver, e.OperatorAsked(request, typed, self._asks))
        return self._asks

    # ------------------------------------------------------------ what goes on by itself

    def _guests(self) -> None:
        self.after(self.tick_s, self._guests)
        for machine in self.machines.values():
            if machine.awake:
                machine.write()

    def _look(self) -> None:
        self.after(LOOK_S, self._look)
        self.judges.look()

    def poll(self) -> None:
        """The wires or a machine changed: every resource looks."""
        for resource in self.resources.values():
            resource.poll()

    def arrive(self, machine: Machine, link: LinkName, cargo: Heartbeat | bytes) -> None:
        """A heartbeat reaches a machine; a kernel that runs puts it into the socket's queue."""
        if machine.on and machine.daemon is not None:
            if machine.still is None:
                machine.daemon.deliver(Arrived(link, cargo))
            else:
                machine.after(0.0, self._read_late, machine, link, cargo)

    def _read_late(self, machine: Machine, link: LinkName, cargo: Heartbeat | bytes) -> None:
        if machine.daemon is not None:
            machine.daemon.deliver(Arrived(link, cargo))

    def neighbours(self, node: NodeId) -> e.NeighboursSeen:
        """Return what a look at the public network shows on a node."""
        gateway = self.network.gateway(node) if self.site.gateway else None
        other = self.machines[peer_of(node)]
        claimed: list[str] = []
        if other.awake and self.network.both_ways(node, other.name, BIZ):
            claimed += [SERVICE] if other.address else []
            claimed += [spec(vm, place).address for place, vm in enumerate(other.vms) if other.runs(vm)]
        return e.NeighboursSeen(gateway, tuple(claimed))

    def bmc_of_peer(self, node: NodeId) -> Bmc:
        """Return the controller that a node asks."""
        return self.bmcs[peer_of(node)]

    # ------------------------------------------------------------ what is kept for people

    def trace_line(self, who: str, text: str) -> None:
        """Keep a line of the story, if anybody wants it."""
        if self.tracing:
            self.trace.append(f"{self.now - START_S:7.2f} s  {who}  {text}")

    def note_before(self, daemon: Daemon) -> story.Before:
        """Note a daemon's state before it handles an event."""
        return story.before(daemon.engine)

    def note_after(self, daemon: Daemon, note: story.Before, event: e.Event, decision: Decision) -> None:
        """Tell what it did with the event."""
        line = story.line(daemon.engine, note, event, decision)
        if line:
            self.trace_line(daemon.machine.name, line)


__all__ = ["World"]
