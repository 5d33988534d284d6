"""Faults of the simulated world by name: the names of the bed's registry where the bed has such a fault.

What only the simulator can do has a name of its own (`SIM_ONLY`). Each fault is injected once and healed once; a heal
takes back only what its own injection did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from avance.core import events as e
from avance.core.model import LinkName, NodeId
from tests.sim.site import NODES, peer_of

if TYPE_CHECKING:
    from tests.sim.links import Port
    from tests.sim.machine import Machine
    from tests.sim.world import World

SIM_ONLY = frozenset({
    "link.apart", "process.blocked", "bmc.deaf", "witness.down", "witness.pause", "witness.wiped", "witness.mute",
    "witness.late", "witness.cut", "gateway.down", "gateway.cut", "store.errors", "commands.odd",
})  # fmt: skip
CARRIER = ("link.carrier_loss",)


@dataclass(frozen=True)
class Fault:
    """One fault of a plan: what, where, when, for how long (None: until the healing at the end)."""

    name: str
    target: str
    at_s: float
    for_s: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return it in one phrase."""
        until = "" if self.for_s is None else f" for {self.for_s:g} s"
        given = "".join(f", {key} {value}" for key, value in self.parameters.items())
        return f"{self.name} {self.target}{given} at {self.at_s:g} s{until}"


def inject(world: World, fault: Fault) -> None:
    """Let the fault be there."""
    world.trace_line("!", fault.text())
    _TABLE[fault.name][0](world, fault)
    world.poll()


def heal(world: World, fault: Fault) -> None:
    """Take the fault back."""
    world.trace_line("!", f"healed: {fault.name} {fault.target}")
    _TABLE[fault.name][1](world, fault)
    world.poll()


def heal_all(world: World) -> None:
    """Let nothing be broken any more: networks, arbiters, disks, power, processes."""
    world.trace_line("!", "everything is healed")
    world.network.heal()
    world.trouble = 0.0
    _release(world)
    for bmc in world.bmcs.values():
        bmc.cut_off = bmc.dead = bmc.lying = 0
        bmc.slow_s = 0.0
    world.network.gateway_up = True
    for witness in world.arbiters.values():
        witness.down = witness.mute = 0
        witness.late_s = 0.0
        if witness.paused:
            witness.paused = 0
            witness.go_on()
    for machine in world.machines.values():
        _heal_machine(world, machine)
    world.poll()


def _heal_machine(world: World, machine: Machine) -> None:
    machine.store.hanging, machine.store.slow_s, machine.store.failing = 0, 0.0, 0.0
    machine.blocked_s = 0.0
    machine.useless.clear()
    for resource in world.resources.values():
        side = resource.sides[machine.name]
        side.hanging = side.gone = 0
    machine.go_on()
    machine.power_on()
    if machine.daemon is not None:
        machine.after(0.0, machine.daemon.go_on)
    if machine.detached:
        machine.reset("a dropped disk is used again only after a start")


# ---------------------------------------------------------------- links


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
        daemon = world.machines[node].daemon
        if daemon is not None:
            world.machines[node].after(0.0, daemon.deliver, e.LinkChanged(link, by < 0))
    world.judges.placement_changed()


def _cut_on(world: World, fault: Fault) -> None:
    _cut(world, fault, 1)


def _cut_off(world: World, fault: Fault) -> None:
    _cut(world, fault, -1)


def _apart(world: World, fault: Fault, by: int) -> None:
    link = LinkName(fault.target)
    way = fault.parameters.get("only_from")
    for node in NODES:
        if way in (None, node):
            world.network.apart[node, link] = max(0, world.network.apart[node, link] + by)


def _apart_on(world: World, fault: Fault) -> None:
    _apart(world, fault, 1)


def _apart_off(world: World, fault: Fault) -> None:
    _apart(world, fault, -1)


def _loss_on(world: World, fault: Fault) -> None:
    _port(world, fault)[0].loss += float(fault.parameters.get("probability", 0.3))


def _loss_off(world: World, fault: Fault) -> None:
    _port(world, fault)[0].loss = 0.0


def _delay_on(world: World, fault: Fault) -> None:
    _port(world, fault)[0].delay_s += float(fault.parameters.get("delay_s", 0.05))


def _delay_off(world: World, fault: Fault) -> None:
    _port(world, fault)[0].delay_s = 0.0


def _double_on(world: World, fault: Fault) -> None:
    _port(world, fault)[0].double += float(fault.parameters.get("probability", 0.3))


def _double_off(world: World, fault: Fault) -> None:
    _port(world, fault)[0].double = 0.0


def _hold_on(world: World, fault: Fault) -> None:
    _port(world, fault)[0].held += 1


def _hold_off(world: World, fault: Fault) -> None:
    port, _, _ = _port(world, fault)
    port.held = max(0, port.held - 1)
    _release(world)


def _release(world: World) -> None:
    held, world.held = world.held, []
    for machine, link, cargo in held:
        world.after(0.01, world.arrive, machine, link, cargo)


def _flap_on(world: World, fault: Fault) -> None:
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


# ---------------------------------------------------------------- machines and processes


def _machine(world: World, fault: Fault) -> Machine:
    return world.machines[NodeId(fault.target.partition("/")[0])]


def _power_cut(world: World, fault: Fault) -> None:
    for node in fault.target.split("+"):
        world.machines[NodeId(node)].power_off()


def _power_back(world: World, fault: Fault) -> None:
    for node in fault.target.split("+"):
        world.machines[NodeId(node)].power_on()


def _node_kill(world: World, fault: Fault) -> None:
    world.kill(_machine(world, fault).name)


def _reset(world: World, fault: Fault) -> None:
    _machine(world, fault).reset("power.reset")


def _flicker(world: World, fault: Fault) -> None:
    off_s, on_s = float(fault.parameters.get("off_s", 0.5)), float(fault.parameters.get("on_s", 2.0))
    machine = _machine(world, fault)
    for turn in range(int(fault.parameters.get("times", 3))):
        world.after(turn * (off_s + on_s), machine.power_off)
        world.after(turn * (off_s + on_s) + off_s, machine.power_on)


def _pause(world: World, fault: Fault) -> None:
    _machine(world, fault).stand_still("pause" if fault.name == "node.pause" else "freeze")


def _continue(world: World, fault: Fault) -> None:
    _machine(world, fault).go_on()


def _stop(world: World, fault: Fault) -> None:
    daemon = _machine(world, fault).daemon
    if daemon is not None:
        daemon.machine.after(0.0, daemon.stop)  # a signal waits while its machine stands still


def _go_on(world: World, fault: Fault) -> None:
    daemon = _machine(world, fault).daemon
    if daemon is not None:
        daemon.machine.after(0.0, daemon.go_on)


def _kill(world: World, fault: Fault) -> None:
    machine = _machine(world, fault)
    machine.after(0.0, machine.kill_daemon)


def _blocked_on(world: World, fault: Fault) -> None:
    _machine(world, fault).blocked_s = float(fault.parameters.get("blocked_s", 0.1))


def _blocked_off(world: World, fault: Fault) -> None:
    _machine(world, fault).blocked_s = 0.0


def _guest_crash(world: World, fault: Fault) -> None:
    for machine in world.machines.values():
        for vm in list(machine.domains):
            if vm == fault.target and machine.awake:
                machine.end_domain(vm)


def _clock(world: World, fault: Fault) -> None:
    node = _machine(world, fault).name
    world.rtc_offset_s[node] += float(fault.parameters.get("by_s", 3600.0))


def _nothing(world: World, fault: Fault) -> None:
    """Nothing is left to heal."""


# ---------------------------------------------------------------- disks


def _disk(world: World, fault: Fault, by: int) -> None:
    machine = _machine(world, fault)
    if fault.parameters.get("disk", "vdb") == "vda":
        machine.store.hanging = max(0, machine.store.hanging + by)
        return
    for resource in world.resources.values():
        side = resource.sides[machine.name]
        side.hanging = max(0, side.hanging + by)


def _hang_on(world: World, fault: Fault) -> None:
    _disk(world, fault, 1)


def _hang_off(world: World, fault: Fault) -> None:
    _disk(world, fault, -1)
    machine = _machine(world, fault)
    if machine.on and machine.detached:
        machine.reset("a dropped disk is used again only after a start")


def _gone_on(world: World, fault: Fault) -> None:
    for resource in world.resources.values():
        side = resource.sides[_machine(world, fault).name]
        side.gone += 1
        resource.detach(side, side.turn)


def _gone_off(world: World, fault: Fault) -> None:
    for resource in world.resources.values():
        resource.sides[_machine(world, fault).name].gone = 0
    machine = _machine(world, fault)
    if machine.on and machine.detached:
        machine.reset("a dropped disk is used again only after a start")


def _slow_on(world: World, fault: Fault) -> None:
    _machine(world, fault).store.slow_s = float(fault.parameters.get("delay_s", 0.1))


def _slow_off(world: World, fault: Fault) -> None:
    _machine(world, fault).store.slow_s = 0.0


def _errors_on(world: World, fault: Fault) -> None:
    _machine(world, fault).store.failing = float(fault.parameters.get("share", 0.5))


def _errors_off(world: World, fault: Fault) -> None:
    _machine(world, fault).store.failing = 0.0


def _odd_on(world: World, fault: Fault) -> None:
    world.trouble = float(fault.parameters.get("share", 0.15))


def _odd_off(world: World, fault: Fault) -> None:
    world.trouble = 0.0


# ---------------------------------------------------------------- what stands outside


def _bmc(world: World, fault: Fault, by: int) -> None:
    bmc = world.bmcs[NodeId(fault.target)]
    match fault.name:
        case "bmc.unreachable":
            bmc.cut_off = max(0, bmc.cut_off + by)
        case "bmc.slow":
            bmc.slow_s = float(fault.parameters.get("delay_s", 5.0)) if by > 0 else 0.0
        case "bmc.deaf":
            bmc.lying = max(0, bmc.lying + by)
        case "bmc.dead_with_node":
            bmc.dead = max(0, bmc.dead + by)
            if by > 0:
                world.machines[bmc.node].power_off()
            else:
                world.machines[bmc.node].power_on()


def _bmc_on(world: World, fault: Fault) -> None:
    _bmc(world, fault, 1)


def _bmc_off(world: World, fault: Fault) -> None:
    _bmc(world, fault, -1)


def _witness(world: World, fault: Fault, by: int) -> None:
    if fault.name == "witness.cut":
        node, _, name = fault.target.partition("/")
        key = (NodeId(node), name)
        world.network.far_cut[key] = max(0, world.network.far_cut.get(key, 0) + by)
        return
    host = world.arbiters[fault.target]
    match fault.name:
        case "witness.down":
            host.down = max(0, host.down + by)
            if by < 0:
                host.restart()
        case "witness.pause":
            host.paused = max(0, host.paused + by)
            if by < 0 and not host.paused:
                host.go_on()
        case "witness.wiped":
            host.down = max(0, host.down + by)
            host.restart(forgetting=True)
        case "witness.mute":
            host.mute = max(0, host.mute + by)
        case "witness.late":
            host.late_s = float(fault.parameters.get("late_s", 30.0)) if by > 0 else 0.0


def _witness_on(world: World, fault: Fault) -> None:
    _witness(world, fault, 1)


def _witness_off(world: World, fault: Fault) -> None:
    _witness(world, fault, -1)


def _gateway(world: World, fault: Fault, by: int) -> None:
    if fault.name == "gateway.down":
        world.network.gateway_up = by < 0
        return
    key = (NodeId(fault.target), "gateway")
    world.network.far_cut[key] = max(0, world.network.far_cut.get(key, 0) + by)


def _gateway_on(world: World, fault: Fault) -> None:
    _gateway(world, fault, 1)


def _gateway_off(world: World, fault: Fault) -> None:
    _gateway(world, fault, -1)


Act = Callable[["World", Fault], None]
_TABLE: dict[str, tuple[Act, Act]] = {
    **dict.fromkeys(("link.cut", "link.cut_one_way", "link.carrier_loss"), (_cut_on, _cut_off)),
    "link.apart": (_apart_on, _apart_off),
    "link.loss": (_loss_on, _loss_off),
    "link.delay": (_delay_on, _delay_off),
    "link.duplicate": (_double_on, _double_off),
    "link.hold_and_release": (_hold_on, _hold_off),
    "link.flap": (_flap_on, _nothing),
    "power.cut": (_power_cut, _power_back),
    "power.cut_both": (_power_cut, _power_back),
    "power.reset": (_reset, _nothing),
    "power.flicker": (_flicker, _power_back),
    "node.kill": (_node_kill, _power_back),
    "node.pause": (_pause, _continue),
    "node.freeze": (_pause, _continue),
    "process.stop": (_stop, _go_on),
    "process.stop_for": (_stop, _go_on),
    "process.kill": (_kill, _nothing),
    "process.blocked": (_blocked_on, _blocked_off),
    "guest.crash": (_guest_crash, _nothing),
    "clock.jump": (_clock, _nothing),
    "disk.hang": (_hang_on, _hang_off),
    "disk.gone": (_gone_on, _gone_off),
    "disk.slow": (_slow_on, _slow_off),
    "store.errors": (_errors_on, _errors_off),
    "commands.odd": (_odd_on, _odd_off),
    **dict.fromkeys(("bmc.unreachable", "bmc.slow", "bmc.deaf", "bmc.dead_with_node"), (_bmc_on, _bmc_off)),
    **dict.fromkeys(
        ("witness.down", "witness.pause", "witness.wiped", "witness.mute", "witness.late", "witness.cut"),
        (_witness_on, _witness_off),
    ),
    **dict.fromkeys(("gateway.down", "gateway.cut"), (_gateway_on, _gateway_off)),
}
NAMES = tuple(_TABLE)
__all__ = ["NAMES", "SIM_ONLY", "Fault", "heal", "heal_all", "inject", "peer_of"]
