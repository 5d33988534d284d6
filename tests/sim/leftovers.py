"""What avance/leftovers.py does, in the simulated world: a daemon takes away what is left of removed VMs.

What may go when is asked of the real engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core import events as e
from avance.core.leftover import MayGo
from avance.core.model import VmId

if TYPE_CHECKING:
    from tests.sim.daemon import Daemon

LOOK_S = 1.0
AGAIN_S = 60.0
USUAL_S = (0.1, 0.5)
DEADLINES_S = {"xl": 10.0, "drbd": 20.0, "lvm": 20.0}


class Leftovers:
    """The removed VMs of which something may be left on a machine, during one run of its daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._stopped: dict[VmId, bool] = {}  # is its domain gone? its disk is not
        self._cleared: set[VmId] = set()
        self._again_at: dict[VmId, float] = {}
        self._works = self._looks = False
        self.failures = 0

    @property
    def unfinished(self) -> tuple[VmId, ...]:
        """Those of which something is left here."""
        return tuple(vm for vm in self._stopped if vm not in self._cleared or not self._may(vm).forgotten)

    def take_on(self, removed: tuple[VmId, ...]) -> None:
        """Take away what is left of these."""
        for vm in removed:
            self._stopped.setdefault(vm, False)
        if self._stopped and not self._looks:
            self._looks = True
            self._look()

    def _may(self, vm: VmId) -> MayGo:
        return self._daemon.engine.sight.may_go(vm, self._daemon.machine.mono())

    def _look(self) -> None:
        daemon, machine = self._daemon, self._daemon.machine
        if not daemon.alive:
            return
        machine.after(LOOK_S, self._look)
        if self._works or daemon.stopped:
            return
        for vm, stopped in self._stopped.items():
            if vm in self._cleared or machine.mono() < self._again_at.get(vm, 0.0):
                continue
            if not stopped and self._may(vm).domain:
                self._begin(("xl",) if machine.holds(vm) else (), self._end_domain, vm)
                return
            if stopped and self._may(vm).disk:
                self._begin(("drbd", "lvm"), self._clear_disk, vm)
                return

    def _begin(self, tools: tuple[str, ...], act: object, vm: VmId) -> None:
        self._works, machine = True, self._daemon.machine
        hung = [tool for tool in tools if machine.hung.get(tool)]
        if hung:
            machine.after(DEADLINES_S[hung[0]], self._failed, vm)
        else:
            machine.after(machine.world.random.uniform(*USUAL_S), act, vm)  # type: ignore[arg-type]

    def _end_domain(self, vm: VmId) -> None:
        if not self._daemon.alive:
            return
        if not self._daemon.machine.end_domain(vm):
            self._failed(vm)
            return
        self._works, self._stopped[vm] = False, True
        self._daemon.deliver(e.DomainChanged(vm, running=False))

    def _clear_disk(self, vm: VmId) -> None:
        machine = self._daemon.machine
        if not machine.world.resources[vm].clear(machine.name):
            self._failed(vm)
            return
        self._works = False
        self._cleared.add(vm)

    def _failed(self, vm: VmId) -> None:
        self._works, self._stopped[vm] = False, False
        self.failures += 1
        self._again_at[vm] = self._daemon.machine.mono() + AGAIN_S
