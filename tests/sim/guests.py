"""Guests that end by themselves: asked to shut down, switched off from inside, or restarted from inside.

Xen lists what is left of such a domain, with the reason, until somebody destroys it (tests/sim/machine.py, `dead`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core.model import DomainEnd, VmId, Wanted

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.world import World

SHUTS_S = (1.0, 8.0)  # a guest takes so long to shut down
AGAIN_S = 1.0
BESIDE_MIB = 8
STARTED_YET_S = 10.0  # a start that was under way when the other node took the definition in


def ends(machine: Machine, vm: VmId, end: DomainEnd) -> None:
    """Let a guest end its domain."""
    if vm in machine.domains:
        machine.world.trace_line("!", f"the guest of {vm} on {machine.name} ends: {end}")
        machine.end_domain(vm, crashed=True)
        machine.ended[vm] = end


def end_of(machine: Machine, vm: VmId) -> DomainEnd:
    """Return what Xen says of a domain that is there no more."""
    return machine.ended.get(vm, DomainEnd.UNKNOWN) if vm in machine.dead else DomainEnd.UNKNOWN


def begun(machine: Machine, vm: VmId) -> None:
    """A domain was created: nothing is left of an earlier one."""
    machine.ended.pop(vm, None)
    machine.lives[vm] = machine.lives.get(vm, 0) + 1


def ask(machine: Machine, vm: VmId) -> bool:
    """Ask a guest to shut down; a stubborn one was asked, and does nothing."""
    if vm not in machine.domains:
        return False
    if vm not in machine.world.stubborn:
        machine.after(machine.world.random.uniform(*SHUTS_S), _shuts, machine, vm, machine.lives.get(vm, 0))
    return True


def _shuts(machine: Machine, vm: VmId, life: int) -> None:
    if vm not in machine.domains or machine.lives.get(vm, 0) != life:
        return
    if machine.runs(vm):
        ends(machine, vm, DomainEnd.POWEROFF)
    else:
        machine.after(AGAIN_S, _shuts, machine, vm, life)  # its processors stand still


def is_off(world: World, vm: VmId) -> bool:
    """Say whether both nodes hold that a VM is to be off."""
    return all(machine.wanted.get(vm) is not None for machine in world.machines.values())


def took(machine: Machine, wanted: dict[VmId, Wanted]) -> None:
    """Note what counts on a node from now on."""
    for vm in wanted:
        if machine.wanted.get(vm) is None:
            machine.off_from[vm] = machine.world.now
    machine.wanted = dict(wanted)


def started(machine: Machine, vm: VmId) -> None:
    """Judge a start: nobody starts a VM that both nodes hold to be off (S47)."""
    world = machine.world
    if not is_off(world, vm):
        return
    since = max(one.off_from[vm] for one in world.machines.values())
    if world.now - since > STARTED_YET_S:
        world.judges.fail("I15", f"{vm} starts on {machine.name}, and both nodes hold that it is to be off")


def room_lacks(machine: Machine, vms: dict[VmId, int], wanted: dict[VmId, Wanted]) -> str:
    """Say what avance/documents.py says of the memory."""
    need, had = (
        sum(memory + BESIDE_MIB for vm, memory in those.items() if vm not in off)
        for those, off in ((vms, wanted), (machine.memory or dict.fromkeys(machine.vms, 96), machine.wanted))
    )
    return f"{machine.name} has no room for {need} MiB" if need > max(had, machine.room_mib) else ""
