"""Faults of the links: cuts, losses, delays, held frames, frames that slip through alone, one protocol that stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core import events as e
from avance.core.model import LinkName, NodeId
from tests.sim.links import LINKS
from tests.sim.site import NODES, peer_of

if TYPE_CHECKING:
    from tests.sim.inject import Fault
    from tests.sim.links import Port
    from tests.sim.world import World

CARRIER = ("link.carrier_loss",)


def _port(world: World, fault: Fault) -> tuple[Port, NodeId, LinkName]:
    node, _, link = fault.target.partition(".")
    return world.network.ports[NodeId(node), LinkName(link)], NodeId(node), LinkName(link)


def _cut(world: World, fault: Fault, by: int) -> None:
    port, node, link = _port(world, fault)
    way = str(fault.parameters.get("direction", "in" if fault.name == "link.cut_one_way" else "both"))
    port.cut_in += by if way in ("in", "both") else 0
    port.cut_out += by if way in ("out", "both") else 0
    port.cut_in, port.cut_out = max(0, port.cut_in), max(0, port.cut_out)
    if fault.name in CARRIER:
        before, port.no_carrier = port.no_carrier, max(0, port.no_carrier + by)
        daemon = world.machines[node].daemon
        if daemon is not None and bool(before) is not bool(port.no_carrier):
            world.machines[node].after(0.0, daemon.deliver, e.LinkChanged(link, by < 0))
    world.judges.placement_changed()


def cut_on(world: World, fault: Fault) -> None:
    """Stop what a port carries, in one direction or both."""
    _cut(world, fault, 1)


def cut_off(world: World, fault: Fault) -> None:
    """Let it pass again."""
    _cut(world, fault, -1)


def _apart(world: World, fault: Fault, by: int) -> None:
    link = LinkName(fault.target)
    way = fault.parameters.get("only_from")
    for node in NODES:
        if way in (None, node):
            world.network.apart[node, link] = max(0, world.network.apart[node, link] + by)


def apart_on(world: World, fault: Fault) -> None:
    """Stop a link between the nodes; everything else on it stays reachable."""
    _apart(world, fault, 1)


def apart_off(world: World, fault: Fault) -> None:
    """Join it again."""
    _apart(world, fault, -1)


def loss_on(world: World, fault: Fault) -> None:
    """Lose frames of a port at random."""
    _port(world, fault)[0].loss += float(fault.parameters.get("probability", 0.3))


def loss_off(world: World, fault: Fault) -> None:
    """Lose none."""
    _port(world, fault)[0].loss = 0.0


def delay_on(world: World, fault: Fault) -> None:
    """Let frames of a port be late."""
    _port(world, fault)[0].delay_s += float(fault.parameters.get("delay_s", 0.05))


def delay_off(world: World, fault: Fault) -> None:
    """Let them be in time."""
    _port(world, fault)[0].delay_s = 0.0


def double_on(world: World, fault: Fault) -> None:
    """Let frames of a port come twice."""
    _port(world, fault)[0].double += float(fault.parameters.get("probability", 0.3))


def double_off(world: World, fault: Fault) -> None:
    """Let them come once."""
    _port(world, fault)[0].double = 0.0


def hold_on(world: World, fault: Fault) -> None:
    """Hold the frames of a port back."""
    _port(world, fault)[0].held += 1


def hold_off(world: World, fault: Fault) -> None:
    """Let them go on, all at once."""
    port, _, _ = _port(world, fault)
    port.held = max(0, port.held - 1)
    release(world)


def release(world: World) -> None:
    """Let every frame that was held back arrive."""
    held, world.held = world.held, []
    for machine, link, cargo in held:
        world.after(0.01, world.arrive, machine, link, cargo)


def flap_on(world: World, fault: Fault) -> None:
    """Let a port go down and up until the fault is over."""
    _cut(world, fault, 1)
    world.after(float(fault.parameters.get("down_s", 2.0)), _Flap(world, fault).up)


class _Flap:
    """A port that goes down and up until its fault is over."""

    def __init__(self, world: World, fault: Fault) -> None:
        self.world, self.fault = world, fault
        self.end = world.now + (fault.for_s if fault.for_s is not None else 1e9)

    def up(self) -> None:
        """Carry again, and come down later."""
        _cut(self.world, self.fault, -1)
        self.world.poll()
        up_s = float(self.fault.parameters.get("up_s", 2.0))
        if self.world.now + up_s < self.end and self.world.elapsed_s < self.world.healed_at:
            self.world.after(up_s, self.down)

    def down(self) -> None:
        """Carry no more."""
        if self.world.elapsed_s < self.world.healed_at:
            _cut(self.world, self.fault, 1)
            self.world.poll()
            self.world.after(float(self.fault.parameters.get("down_s", 2.0)), self.up)


def crossing_on(world: World, fault: Fault) -> None:
    """Cut what goes to a node, and a moment later what comes from it, but for single frames."""
    crossing = _Crossing(world, fault)
    crossing.cut(inward=True)
    world.after(float(fault.parameters.get("lag_s", 0.0)), crossing.cut_outward)
    world.after(float(fault.parameters.get("first_s", 3.0)), crossing.open)


def crossing_off(world: World, fault: Fault) -> None:
    """Join them."""
    alone = None if fault.target == "both" else NodeId(fault.target)
    for link in LINKS:
        if alone is None:
            for node in NODES:
                world.network.apart[node, link] = max(0, world.network.apart[node, link] - 1)
        else:
            port = world.network.ports[alone, link]
            port.cut_in, port.cut_out = max(0, port.cut_in - 1), max(0, port.cut_out - 1)
    world.network.singles.clear()
    world.judges.placement_changed()


class _Crossing:
    """Single frames that slip through a cut: one way, a moment later the other way; then the other link's turn.

    Such a round comes again after `pause_s`, `rounds` times.
    """

    def __init__(self, world: World, fault: Fault) -> None:
        self.world, self.fault = world, fault
        self.end = world.now + (fault.for_s if fault.for_s is not None else 1e9)
        self.turn = 0

    def cut(self, *, inward: bool) -> None:
        """Cut one direction of both links, of a node or between the nodes."""
        world, whole = self.world, self.fault.target == "both"
        first = NodeId(str(self.fault.parameters.get("first", "a")) if whole else self.fault.target)
        for link in LINKS:
            port = world.network.ports[first, link]
            if whole:
                world.network.apart[peer_of(first) if inward else first, link] += 1
            elif inward:
                port.cut_in += 1
            else:
                port.cut_out += 1
        world.judges.placement_changed()
        world.poll()

    def cut_outward(self) -> None:
        """Cut the other direction, unless all is over by now."""
        if self.world.now < self.end and self.world.elapsed_s < self.world.healed_at:
            self.cut(inward=False)

    def open(self) -> None:
        """Let the next heartbeat of one node pass on one link."""
        world, given = self.world, self.fault.parameters
        over = self.turn >= 2 * int(given.get("rounds", 1000))
        if over or world.now >= self.end or world.elapsed_s >= world.healed_at:
            return
        first = NODES.index(NodeId(str(given.get("first", "a"))))
        node, link = NODES[(first + self.turn) % 2], LINKS[self.turn // 2 % 2]
        world.network.singles[node, link] = 1
        world.trace_line("!", f"one frame of {node} passes on {link}")
        self.turn += 1
        every_s = float(given.get("every_s", 1.0))
        world.after(every_s if self.turn % 2 else float(given.get("pause_s", every_s)), self.open)


def datagrams_on(world: World, fault: Fault) -> None:
    """Let heartbeats vanish while TCP passes."""
    _by_protocol(world.network.no_datagrams, fault, 1)


def datagrams_off(world: World, fault: Fault) -> None:
    """Let them pass."""
    _by_protocol(world.network.no_datagrams, fault, -1)


def streams_on(world: World, fault: Fault) -> None:
    """Let the replication stand while heartbeats pass."""
    _by_protocol(world.network.no_streams, fault, 1)


def streams_off(world: World, fault: Fault) -> None:
    """Let it pass."""
    _by_protocol(world.network.no_streams, fault, -1)


def large_on(world: World, fault: Fault) -> None:
    """Let only small frames pass: heartbeats, and the handshake of the replication, but no data (an MTU black hole)."""
    _by_protocol(world.network.no_large, fault, 1)


def large_off(world: World, fault: Fault) -> None:
    """Let data pass."""
    _by_protocol(world.network.no_large, fault, -1)


def _by_protocol(counts: dict[LinkName, int], fault: Fault, by: int) -> None:
    for link in LINKS if fault.target == "both" else (LinkName(fault.target),):
        counts[link] = max(0, counts[link] + by)
