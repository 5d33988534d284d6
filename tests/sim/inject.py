"""Faults of the simulated world by name: the names of the bed's registry where the bed has such a fault.

What only the simulator can do has a name of its own (`SIM_ONLY`). Each fault is injected once and healed once; a heal
takes back only what its own injection did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from avance.core.model import NodeId, VmId
from tests.sim import inject_disks as disks
from tests.sim import inject_links as links
from tests.sim.site import peer_of

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.world import World

SIM_ONLY = frozenset({
    "node.deaf", "link.apart", "link.crossing", "link.no_datagrams", "link.no_streams", "link.no_large",
    "process.blocked", "bmc.deaf", "witness.down", "witness.pause", "witness.wiped", "witness.mute", "witness.late",
    "witness.cut", "witness.restart", "gateway.down", "gateway.cut", "store.errors", "store.refuses", "commands.odd",
    "tool.hang", "domain.undead", "disk.half", "half.gone", "gate.gone", "watchdog.dead", "address.gone",
})  # fmt: skip
ASKS_AGAIN_S = 1.0
DARK = frozenset({"power.cut", "power.cut_both", "node.kill", "bmc.dead_with_node"})  # the node stays off


@dataclass(frozen=True)
class Fault:
    """One fault of a plan: what, where, when, for how long (None: until the healing at the end).

    `stays`: no healing ends it.
    """

    name: str
    target: str
    at_s: float
    for_s: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stays: bool = False

    def text(self) -> str:
        """Return it in one phrase."""
        until = ", to stay" if self.stays else "" if self.for_s is None else f" for {self.for_s:g} s"
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


def heal_others(world: World, faults: tuple[Fault, ...]) -> None:
    """End every fault of a plan that does not stay; whatever else was switched off is switched on."""
    world.trace_line("!", "everything else is healed")
    lasting = [fault for fault in faults if fault.stays]
    for fault in faults:
        if not fault.stays and fault.for_s is None:
            heal(world, fault)
    dark = {node for fault in lasting if fault.name in DARK for node in fault.target.split("+")}
    for name, machine in world.machines.items():
        if name not in dark:
            machine.power_on()


def heal_all(world: World) -> None:
    """Let nothing be broken any more: networks, arbiters, disks, power, processes."""
    world.trace_line("!", "everything is healed")
    world.network.heal()
    world.trouble = 0.0
    links.release(world)
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
    disks.heal_machine(world, machine)
    machine.blocked_s = 0.0
    machine.useless.clear()
    machine.dying_vms.clear()
    machine.ungated = machine.unwatched = 0
    machine.guards_changed()
    machine.go_on()
    machine.power_on()
    if machine.daemon is not None:
        machine.after(0.0, machine.daemon.go_on)
    if machine.detached:
        machine.reset("a dropped disk is used again only after a start")


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


def _deaf_on(world: World, fault: Fault) -> None:
    _machine(world, fault).useless |= {"pause", "reset"}


def _deaf_off(world: World, fault: Fault) -> None:
    _machine(world, fault).useless -= {"pause", "reset"}


def _part(world: World, fault: Fault, by: int) -> None:
    machine = _machine(world, fault)
    if fault.name == "gate.gone":
        machine.ungated = max(0, machine.ungated + by)
    else:
        machine.unwatched = max(0, machine.unwatched + by)
    machine.guards_changed()
    world.judges.placement_changed()


def _part_on(world: World, fault: Fault) -> None:
    """Take the gate off the way out, and let nobody put it back; or let the watchdog be armed by nothing."""
    _part(world, fault, 1)


def _part_off(world: World, fault: Fault) -> None:
    _part(world, fault, -1)


def _address_gone(world: World, fault: Fault) -> None:
    """Somebody deletes the service address of a node."""
    _machine(world, fault).hold(address=False)


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
            if vm == fault.target and machine.awake and vm not in machine.half_made:
                machine.end_domain(vm, crashed=True)


def _crash_loop_on(world: World, fault: Fault) -> None:
    """The guest dies, and dies again some seconds after each start, on whichever node."""
    for machine in world.machines.values():
        machine.dying_vms[VmId(fault.target)] = float(fault.parameters.get("after_s", 15.0))
    _guest_crash(world, fault)


def _crash_loop_off(world: World, fault: Fault) -> None:
    for machine in world.machines.values():
        machine.dying_vms.pop(VmId(fault.target), None)


def _clock(world: World, fault: Fault) -> None:
    node = _machine(world, fault).name
    world.rtc_offset_s[node] += float(fault.parameters.get("by_s", 3600.0))


class _Person:
    """Somebody who wants something of a node, and asks again when it is refused."""

    def __init__(self, world: World, fault: Fault) -> None:
        self.world, self.node = world, NodeId(fault.target)
        self.order = str(fault.parameters.get("order", "move"))
        self.until = world.now + float(fault.parameters.get("patience_s", 60.0))
        self.ask = 0

    def asks(self) -> None:
        """Ask, and look a second later whether it was refused."""
        world = self.world
        done = any(answer.done for answer in world.answers if answer.ask == self.ask)
        if not done and world.now < self.until and world.elapsed_s < world.healed_at:
            self.ask = world.operator(self.node, self.order, peer_of(self.node))
            world.after(ASKS_AGAIN_S, self.asks)


def _orders(world: World, fault: Fault) -> None:
    _Person(world, fault).asks()


def _nothing(world: World, fault: Fault) -> None:
    """Nothing is left to heal."""


# ---------------------------------------------------------------- what stands outside


def _odd_on(world: World, fault: Fault) -> None:
    world.trouble = float(fault.parameters.get("share", 0.15))


def _odd_off(world: World, fault: Fault) -> None:
    world.trouble = 0.0


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
        case "witness.restart" if by > 0:
            host.restart()
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
    **dict.fromkeys(("link.cut", "link.cut_one_way", "link.carrier_loss"), (links.cut_on, links.cut_off)),
    "link.apart": (links.apart_on, links.apart_off),
    "link.loss": (links.loss_on, links.loss_off),
    "link.delay": (links.delay_on, links.delay_off),
    "link.duplicate": (links.double_on, links.double_off),
    "link.hold_and_release": (links.hold_on, links.hold_off),
    "link.flap": (links.flap_on, _nothing),
    "power.cut": (_power_cut, _power_back),
    "power.cut_both": (_power_cut, _power_back),
    "power.reset": (_reset, _nothing),
    "power.flicker": (_flicker, _power_back),
    "node.kill": (_node_kill, _power_back),
    "node.pause": (_pause, _continue),
    "node.freeze": (_pause, _continue),
    "node.deaf": (_deaf_on, _deaf_off),
    **dict.fromkeys(("gate.gone", "watchdog.dead"), (_part_on, _part_off)),
    "address.gone": (_address_gone, _nothing),
    "process.stop": (_stop, _go_on),
    "process.stop_for": (_stop, _go_on),
    "process.kill": (_kill, _nothing),
    "process.blocked": (_blocked_on, _blocked_off),
    "person.orders": (_orders, _nothing),
    "guest.crash": (_guest_crash, _nothing),
    "guest.crash_loop": (_crash_loop_on, _crash_loop_off),
    "clock.jump": (_clock, _nothing),
    "disk.hang": (disks.hang_on, disks.hang_off),
    "disk.gone": (disks.gone_on, disks.gone_off),
    "disk.half": (disks.half_on, disks.half_off),
    "half.gone": (disks.half_gone, disks.half_back),
    "disk.slow": (disks.slow_on, disks.slow_off),
    "store.errors": (disks.errors_on, disks.errors_off),
    "store.refuses": (disks.refuses_on, disks.refuses_off),
    "tool.hang": (disks.tool_on, disks.tool_off),
    "domain.undead": (disks.undead_on, disks.undead_off),
    "link.crossing": (links.crossing_on, links.crossing_off),
    "link.no_datagrams": (links.datagrams_on, links.datagrams_off),
    "link.no_streams": (links.streams_on, links.streams_off),
    "link.no_large": (links.large_on, links.large_off),
    "commands.odd": (_odd_on, _odd_off),
    **dict.fromkeys(("bmc.unreachable", "bmc.slow", "bmc.deaf", "bmc.dead_with_node"), (_bmc_on, _bmc_off)),
    **dict.fromkeys(
        (
            "witness.down",
            "witness.pause",
            "witness.wiped",
            "witness.mute",
            "witness.late",
            "witness.cut",
            "witness.restart",
        ),
        (_witness_on, _witness_off),
    ),
    **dict.fromkeys(("gateway.down", "gateway.cut"), (_gateway_on, _gateway_off)),
}
NAMES = tuple(_TABLE)
__all__ = ["NAMES", "SIM_ONLY", "Fault", "heal", "heal_all", "inject", "peer_of"]
