"""Faults of disks and of tools: what is gone, hangs, is slow or comes back as another disk; programs that never end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core.model import DiskState, NodeId
from tests.sim.drbd_side import Content
from tests.sim.mirror import DISKS
from tests.sim.site import peer_of

if TYPE_CHECKING:
    from tests.sim.drbd_side import Side
    from tests.sim.inject import Fault
    from tests.sim.machine import Machine
    from tests.sim.world import World


def _machine(world: World, fault: Fault) -> Machine:
    return world.machines[NodeId(fault.target.partition("/")[0])]


def _sides(world: World, machine: Machine) -> list[Side]:
    return [resource.sides[machine.name] for resource in world.resources.values()]


def _start_anew(machine: Machine) -> None:
    if machine.on and machine.detached:
        machine.reset("a dropped disk is used again only after a start")


def _pressed(fault: Fault) -> bool:
    """Somebody restarts the node whose disk is back, unless the plan says that nobody does."""
    return bool(fault.parameters.get("press", True))


def hang_on(world: World, fault: Fault) -> None:
    """Let a disk answer nothing: `vda` holds the node's records, any other the volumes."""
    _hang(world, fault, 1)


def hang_off(world: World, fault: Fault) -> None:
    """Let it answer again."""
    _hang(world, fault, -1)
    if _pressed(fault):
        _start_anew(_machine(world, fault))


def _hang(world: World, fault: Fault, by: int) -> None:
    machine = _machine(world, fault)
    if fault.parameters.get("disk", "vdb") == "vda":
        machine.store.hanging = max(0, machine.store.hanging + by)
        return
    for side in _sides(world, machine):
        side.hanging = max(0, side.hanging + by)


def gone_on(world: World, fault: Fault) -> None:
    """Take the disks of the volumes away; DRBD drops them."""
    machine = _machine(world, fault)
    for resource in world.resources.values():
        side, other = resource.pair(machine.name)
        side.gone += 1
        if fault.parameters.get("back") == "clone":
            machine.clones[resource.vm] = other.take_out()
        resource.detach(side, side.turn)


def gone_off(world: World, fault: Fault) -> None:
    """Put disks into their places again: the old ones, foreign ones, or a copy of the peer's from before."""
    machine = _machine(world, fault)
    back = str(fault.parameters.get("back", "old"))
    for vm, resource in world.resources.items():
        side = resource.sides[machine.name]
        side.gone = 0
        if back == "old" or side.has_disk:
            continue
        clone = machine.clones.pop(vm, None)
        if back == "foreign":
            found: Content | None = Content(stored=DiskState.UP_TO_DATE, made=True, current=resource.fresh())
        else:
            # A copy of the same generation could not be told from the disk itself by anything that DRBD knows.
            found = clone if clone is not None and clone.current != resource.pair(machine.name)[1].current else None
        if found is not None:
            machine.own_disks.setdefault(vm, side.take_out())
            side.put_in(found)
    if _pressed(fault):
        _start_anew(machine)


def half_gone(world: World, fault: Fault) -> None:
    """Take one half of a node's mirror away."""
    mirror = _machine(world, fault).mirror
    assert mirror is not None, "the site has no simulated mirrors"
    mirror.drop(str(fault.parameters.get("disk", "vdb")))


def half_back(world: World, fault: Fault) -> None:
    """Let it answer again."""
    machine = _machine(world, fault)
    assert machine.mirror is not None
    machine.mirror.back(str(fault.parameters.get("disk", "vdb")))
    if _pressed(fault):
        _start_anew(machine)


def half_on(world: World, fault: Fault) -> None:
    """Note the content of one half of a node's mirror, which from now on stays as it is."""
    machine = _machine(world, fault)
    for resource in world.resources.values():
        machine.clones[resource.vm] = resource.sides[machine.name].take_out()


def half_off(world: World, fault: Fault) -> None:
    """Let the other half die and start the node anew: md assembles the old half, and DRBD cannot know."""
    machine = _machine(world, fault)
    machine.reset("the newer half of the mirror died")
    for vm, resource in world.resources.items():
        side = resource.sides[machine.name]
        machine.own_disks.setdefault(vm, side.take_out())
        side.put_in(machine.clones.pop(vm))


def slow_on(world: World, fault: Fault) -> None:
    """Let each request of a disk take up to so long."""
    _slow(world, fault, float(fault.parameters.get("delay_s", 0.1)))


def slow_off(world: World, fault: Fault) -> None:
    """Let it be fast again."""
    _slow(world, fault, 0.0)
    _start_anew(_machine(world, fault))


def _slow(world: World, fault: Fault, delay_s: float) -> None:
    machine = _machine(world, fault)
    if fault.parameters.get("disk", "vda") == "vda":
        machine.store.slow_s = delay_s
        return
    for side in _sides(world, machine):
        side.slow_s = delay_s


def errors_on(world: World, fault: Fault) -> None:
    """Let writes of the record end with an error."""
    _machine(world, fault).store.failing = float(fault.parameters.get("share", 0.5))


def errors_off(world: World, fault: Fault) -> None:
    """Let them end well."""
    _machine(world, fault).store.failing = 0.0


def refuses_on(world: World, fault: Fault) -> None:
    """Let the disk with the record be read-only."""
    _machine(world, fault).store.refusing += 1


def refuses_off(world: World, fault: Fault) -> None:
    """Let it be written again."""
    store = _machine(world, fault).store
    store.refusing = max(0, store.refusing - 1)


# ---------------------------------------------------------------- tools


def _tools(fault: Fault) -> tuple[str, ...]:
    tool = fault.target.partition("/")[2]
    return ("xl", "drbd", "ip", "lvm") if tool == "all" else (tool,)


def tool_on(world: World, fault: Fault) -> None:
    """Let each run of a tool hang from now on: `xl`, `drbd`, `ip`, `lvm`, or `all`, as on a dead system disk."""
    hung = _machine(world, fault).hung
    for tool in _tools(fault):
        hung[tool] = hung.get(tool, 0) + 1


def tool_off(world: World, fault: Fault) -> None:
    """Let it work again; what waited in the kernel is done now."""
    machine = _machine(world, fault)
    for tool in _tools(fault):
        machine.hung[tool] = max(0, machine.hung.get(tool, 0) - 1)
        if not machine.hung[tool]:
            machine.do_late(tool)


def undead_on(world: World, fault: Fault) -> None:
    """Let no domain of a node be destroyed."""
    _machine(world, fault).undead += 1


def undead_off(world: World, fault: Fault) -> None:
    """Let them be destroyed again."""
    machine = _machine(world, fault)
    machine.undead = max(0, machine.undead - 1)


# ---------------------------------------------------------------- the healing


def heal_machine(world: World, machine: Machine) -> None:
    """Let nothing of a machine's disks and tools be broken; a disk that is not its own is taken out again."""
    machine.store.hanging = machine.store.refusing = 0
    machine.store.slow_s = machine.store.failing = 0.0
    swapped = False
    for vm, resource in world.resources.items():
        side = resource.sides[machine.name]
        side.hanging = side.gone = 0
        side.slow_s, side.busy_until = 0.0, -1.0
        own = machine.own_disks.pop(vm, None)
        # After the hole each disk holds what nobody else has: whoever heals it puts the node's own one back, too.
        if own is not None and (world.judges.fell_in or _foreign(side, resource.sides[peer_of(machine.name)])):
            machine.reset("its own disk is put back")
            side.put_in(own)
            swapped = True
    if machine.mirror is not None:
        for disk in DISKS:
            machine.mirror.back(disk)
    machine.clones.clear()
    machine.undead = 0
    for tool in list(machine.hung):
        machine.hung[tool] = 0
        if not swapped:
            machine.do_late(tool)


def _foreign(side: Side, other: Side) -> bool:
    """Say whether a disk is of no generation that the pair ever had."""
    mine, theirs = {*side.generations()} - {0}, {*other.generations()} - {0}
    return bool(mine) and not mine & theirs
