"""Definitions that a person gives to one daemon while the world lives; the real core of both nodes agrees on them.

Contents are known by their hash to everybody. What is durable, what was sent and what came is simulated; what apply.py
does with definitions that count is in definitions.py. It holds no rule.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import NodeId, Outcome, Stand, Version, VmId, Wanted
from tests.sim import definitions, guests
from tests.sim.definitions import Document
from tests.sim.drbd import Resource
from tests.sim.links import LINKS
from tests.sim.site import peer_of

if TYPE_CHECKING:
    from tests.sim.daemon import Daemon
    from tests.sim.machine import Machine
    from tests.sim.world import World

SAVES_S = (0.05, 0.3)
LOOKS_S = (0.02, 0.1)  # at a document: its devices, and what is left of removed VMs
DEADLINE_S = 10.0


def ask(world: World, node: NodeId, add: VmId | None = None, *, change: VmId | None = None, remove: VmId | None = None,
        wanted: tuple[VmId, Wanted] | None = None, alone: bool = False) -> int:  # fmt: skip
    """Let a person give a change on a node; returns the number of the question, 0 where nobody listens."""
    machine = world.machines[node]
    daemon = machine.daemon
    if daemon is None:
        return 0
    world._asks += 1
    now = _counting(world, machine)
    contents = (
        _with_wanted(now, *wanted, alone=alone)
        if wanted is not None
        else _changed(now, add=add, change=change, remove=remove, alone=alone)
    )
    new = replace(contents, number=1000 * world._asks + len(contents.vms))
    world.offers[new.hash] = new
    text = f"add {add}" if add else f"change {change}" if change else f"remove {remove}"
    text = text if wanted is None else f"{wanted[0]} is wanted {wanted[1]}"
    event = e.ChangeAsked(text, machine.stand.version, new.hash, f"id of {new.hash}", alone, world._asks)
    why = _why_not(daemon, new)
    if why:
        world.answers.append(c.AnswerOperator(world._asks, done=False, text=why))
    else:
        machine.after(0.0, daemon.deliver, event)
    return world._asks


def take(world: World, node: NodeId) -> int:
    """Let a person give up the definitions of a node."""
    daemon = world.machines[node].daemon
    if daemon is None:
        return 0
    world._asks += 1
    daemon.machine.after(0.0, daemon.deliver, e.TakeAsked(world._asks))
    return world._asks


def answered(world: World, number: int) -> c.AnswerOperator | None:
    """Return what the person was told, None while nothing was."""
    return next((answer for answer in world.answers if answer.ask == number), None)


def _changed(now: Document, *, add: VmId | None, change: VmId | None, remove: VmId | None, alone: bool) -> Document:
    kept = now if alone else replace(now, removed=())
    if add is not None:
        return replace(kept, vms={**kept.vms, add: 96})
    if change is not None:
        return replace(kept, vms={vm: memory + (vm == change) for vm, memory in kept.vms.items()})
    assert remove is not None, "a change is one of three"
    vms = {vm: memory for vm, memory in kept.vms.items() if vm != remove}
    off = {vm: what for vm, what in kept.wanted.items() if vm != remove}
    return replace(kept, vms=vms, removed=(*kept.removed, remove), wanted=off)


def _with_wanted(now: Document, vm: VmId, what: Wanted, *, alone: bool) -> Document:
    """Running is what is wanted of a VM of which nothing else is said."""
    off = {name: other for name, other in now.wanted.items() if name != vm}
    off |= {} if what is Wanted.RUNNING or vm not in now.vms else {vm: what}
    return replace(now if alone else replace(now, removed=()), wanted=off)


def _counting(world: World, machine: Machine) -> Document:
    first = Document(0, dict.fromkeys(world.first_vms, 96))
    return world.offers.get(machine.stand.version.hash, first)


def _why_not(daemon: Daemon, new: Document) -> str:
    """Say what avance/apply.py says."""
    for vm in daemon.leftovers.unfinished:
        if vm not in new.removed:
            return f"{vm} is still being removed"
    for vm in daemon.machine.vms:
        if vm not in new.vms and vm not in new.removed:
            return f"nothing is known of {vm}"
    return guests.room_lacks(daemon.machine, new.vms, new.wanted)


def begin(machine: Machine) -> None:
    """Let a daemon that starts read what is durable."""
    new = machine.world.offers.get(machine.stand.version.hash)
    if new is not None and machine.config_hash != new.hash:
        definitions._take(machine.world, machine, new)


def save(daemon: Daemon, command: c.SaveDefinitions) -> None:
    """Write the configuration: the system disk may refuse, hang or fail, as for the record."""
    machine, world = daemon.machine, daemon.world
    if machine.store.refusing:
        machine.after(0.01, daemon.done, command, Outcome.FAILED, "Read-only file system")
    elif machine.store.hanging:
        machine.after(DEADLINE_S, daemon.done, command, Outcome.UNKNOWN, "the disk did not answer")
    else:
        machine.after(world.random.uniform(*SAVES_S), _saved, daemon, command)


def _saved(daemon: Daemon, command: c.SaveDefinitions) -> None:
    """A daemon that was killed meanwhile has written it, or not."""
    world, store = daemon.world, daemon.machine.store
    if not daemon.alive and world.random.random() < 0.5:
        return
    fails = world.random.random() < max(store.failing, world.trouble)
    if not fails or world.random.random() < 0.5:
        daemon.machine.stand = command.stand
    daemon.done(command, Outcome.UNKNOWN if fails else Outcome.OK, "the world did not say" if fails else "")


def told(daemon: Daemon, command: c.UseDefinitions | c.SendDocument | c.ProposeWanted) -> None:
    """Do what the core says of definitions, and waits for in no other way."""
    match command:
        case c.UseDefinitions(version):
            use(daemon, version)
        case c.SendDocument(key):
            send(daemon, key)
        case c.ProposeWanted(vm, wanted, alone):
            ask(daemon.world, daemon.machine.name, wanted=(vm, wanted), alone=alone)


def use(daemon: Daemon, version: Version) -> None:
    """Take what counts into use."""
    world, new = daemon.world, daemon.world.offers[version.hash]
    for vm in new.vms:
        if vm not in world.site.vms:  # it is new, or another one of that name
            world.resources.setdefault(vm, Resource(world, vm, world.machines))
            world.judges.protect(vm)
    world.document, world.site = new, replace(world.site, vms=tuple(new.vms))
    definitions._take(world, daemon.machine, new)


def send(daemon: Daemon, key: str) -> None:
    """Send a document on every link."""
    world, stand, me = daemon.world, daemon.machine.stand, daemon.machine.name
    proposal = stand.proposal
    if proposal is not None and key == proposal.id:
        version = proposal.version
    elif key == stand.version.key:
        version = stand.version
    else:
        return
    for link in LINKS:
        for delay_s in world.network.carries(me, peer_of(me), link, world.random):
            world.after(delay_s, _arrived, world.machines[peer_of(me)], key, version, stand)


def _arrived(machine: Machine, key: str, version: Version, stand: Stand) -> None:
    daemon = machine.daemon
    if machine.awake and daemon is not None and not daemon.stopped:
        machine.after(machine.world.random.uniform(*LOOKS_S), _looked_at, daemon, key, version, stand)


def _looked_at(daemon: Daemon, key: str, version: Version, stand: Stand) -> None:
    if daemon.alive and key == daemon.engine.sight.agreement.asks:
        known = daemon.world.offers.get(version.hash)
        why = "" if known is None else _why_not(daemon, known)
        daemon.deliver(e.DocumentHeard(key, version, stand.history, why))


def holds_the_same(world: World) -> bool:
    """Say whether both nodes hold the same definitions, in use, and nothing is under way."""
    one, two = world.machines.values()
    if one.engine is None or two.engine is None or one.stand.version != two.stand.version:
        return False
    in_use = {machine.config_hash for machine in (one, two)} == {one.stand.version.hash}
    return in_use and all(engine.sight.agreement.rests for engine in (one.engine, two.engine))
