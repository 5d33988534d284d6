"""The demand for service while a fault stays: within 120 s somebody serves, or a node says what is missing.

Nothing of the fault is healed, and nobody presses a button. What a node says is its status, which every operator reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.status import waits

if TYPE_CHECKING:
    from tests.sim.world import World

SERVED_S = 120.0
STEADY_S = 5.0
GRACE_S = 30.0  # a restart for a cure, a damped link or a failure long after the first one may fall into the end


def is_served(world: World) -> bool:
    """Let up to 120 s pass; say whether every VM is served then, for some seconds in a row."""
    begun, steady_from = world.now, None
    while world.now - begun < SERVED_S + GRACE_S:
        if any(world.runner(vm) is None for vm in world.site.vms):
            steady_from = None
        elif steady_from is None:
            steady_from = world.now
        elif world.now - steady_from >= STEADY_S:
            return True
        world.run(1.0)
    return False


def said(world: World) -> tuple[str, ...]:
    """Return what the living nodes say of a service that does not run: what is missing, and who can give it."""
    found = []
    for name, machine in world.machines.items():
        daemon = machine.daemon
        if daemon is None or daemon.stopped or not machine.awake:
            continue
        text = waits(daemon.engine, machine.mono())
        if text is not None:
            found.append(f"{name}: {text}")
    return tuple(found)


def demand(world: World) -> tuple[str, ...]:
    """Make the demand; return what the nodes say where nobody serves.

    Raises:
        Violation: nobody serves, and nobody says why.
    """
    if is_served(world) or not any(machine.on for machine in world.machines.values()):
        return ()  # where nobody lives there is nobody to ask
    found = said(world)
    if not found and not world.judges.divided:
        world.judges.fail("I12", f"nobody serves within {SERVED_S:g} s, and nobody says why: {world.summary()}")
    return found


__all__ = ["SERVED_S", "demand", "is_served", "said"]
