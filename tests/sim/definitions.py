"""Definitions that a person gives while the world lives: a VM is added, changed or removed, first on one node.

The other node takes them in as soon as the two hear each other. How they agree is not simulated here: a node that has
the older ones goes on with them, which is the worst that an agreement can leave.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from avance.core import events as e
from avance.core.model import NodeId, VmId, Wanted
from tests.playbook import spec
from tests.sim import guests
from tests.sim.drbd import Resource
from tests.sim.drbd_side import STANDALONE
from tests.sim.site import peer_of

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.world import World

HEARD_S = (0.1, 1.0)


@dataclass(frozen=True)
class Document:
    """The VMs with their memory, and the tombstones."""

    number: int
    vms: dict[VmId, int]
    removed: tuple[VmId, ...] = ()
    wanted: dict[VmId, Wanted] = field(default_factory=dict)  # of those that are not to run

    @property
    def hash(self) -> str:
        """What heartbeats say of it."""
        return f"document-{self.number}"


def document(world: World) -> Document:
    """Return the newest one."""
    return world.document or Document(0, dict.fromkeys(world.site.vms, 96))


def add(world: World, vm: VmId, first: NodeId) -> None:
    """Let a person add a VM; tombstones of VMs of which nothing is left are dropped."""
    resource = world.resources.setdefault(vm, Resource(world, vm, world.machines))
    assert not any(side.made for side in resource.sides.values()), f"something of an earlier {vm} is left"
    world.judges.protect(vm)
    now = document(world)
    kept = tuple(one for one in now.removed if one != vm and what_is_left(world, one))
    _give(world, Document(now.number + 1, {**now.vms, vm: 96}, kept, now.wanted), first)


def change(world: World, vm: VmId, first: NodeId) -> None:
    """Let a person give a VM more memory."""
    now = document(world)
    vms = {name: memory + (name == vm) for name, memory in now.vms.items()}
    _give(world, replace(now, number=now.number + 1, vms=vms), first)


def remove(world: World, vm: VmId, first: NodeId) -> None:
    """Let a person remove a VM."""
    now = document(world)
    vms = {name: memory for name, memory in now.vms.items() if name != vm}
    wanted = {name: what for name, what in now.wanted.items() if name != vm}
    _give(world, Document(now.number + 1, vms, (*now.removed, vm), wanted), first)


def _give(world: World, new: Document, first: NodeId) -> None:
    world.trace_line("!", f"{new.hash} is given on {first}: {' '.join(new.vms)}; removed: {' '.join(new.removed)}")
    world.document = new
    world.site = replace(world.site, vms=tuple(new.vms))
    _take(world, world.machines[first], new)
    world.after(world.random.uniform(*HEARD_S), _follow, world, peer_of(first), new)


def _follow(world: World, node: NodeId, new: Document) -> None:
    """Take the document in when the nodes hear each other, unless there is a newer one."""
    if world.document is not new:
        return
    if all(_hears(machine) for machine in world.machines.values()) and world.network.meets(*world.machines):
        _take(world, world.machines[node], new)
    else:
        world.after(world.random.uniform(*HEARD_S), _follow, world, node, new)


def _hears(machine: Machine) -> bool:
    return machine.awake and machine.daemon is not None and not machine.daemon.stopped


def _take(world: World, machine: Machine, new: Document) -> None:
    """Do what avance/apply.py does."""
    world.trace_line(machine.name, f"{new.hash} counts")
    before, machine.memory, off = machine.memory, dict(new.vms), machine.wanted
    guests.took(machine, new.wanted)
    had, kept = machine.vms, machine.removed
    machine.vms, machine.removed, machine.config_hash = tuple(new.vms), new.removed, new.hash
    gone = [vm for vm in had if vm not in new.vms] + [vm for vm in new.removed if vm not in {*had, *kept}]
    events: list[e.Event] = [e.VmRemoved(vm, new.hash) for vm in gone]
    for place, vm in enumerate(new.vms):
        given = replace(spec(vm, place), wanted=new.wanted.get(vm, Wanted.RUNNING))
        if vm not in had:
            events += [e.VmAdded(given, new.hash), e.DiskChanged(vm, machine.view(vm))]
        elif before.get(vm, 96) != new.vms[vm] or off.get(vm) != new.wanted.get(vm):
            events.append(e.VmChanged(given, new.hash))
    if machine.daemon is not None:
        for vm in gone:
            machine.daemon.reported.pop(vm, None)  # a later VM of that name is told of anew
        for event in events:
            machine.daemon.deliver(event)
        machine.daemon.leftovers.take_on(new.removed)


def what_is_left(world: World, vm: VmId) -> list[str]:
    """Return what is still there of a removed VM: domains, resources, volumes, and what the daemons know."""
    found = []
    for name, machine in world.machines.items():
        side, record, engine = world.resources[vm].sides[name], machine.record, machine.engine
        named = {*record.fresh, *record.discard, *record.behind, *(one for one, _ in record.generations)}
        found += [f"{name}: domain"] if machine.holds(vm) else []
        found += [f"{name}: resource"] if side.up or side.connection != STANDALONE else []
        found += [f"{name}: volume"] if side.made or side.data else []
        found += [f"{name}: record"] if vm in named else []
        found += [f"{name}: daemon"] if engine is None or vm in {*engine.units, *engine.sight.units.leftovers} else []
    return found
