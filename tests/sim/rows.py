"""What the rows of the catalogue share: a protected pair to begin with, faults in one line, and the usual demands.

A row states its outcome in the words of the catalogue; the invariants are judged by the world all the time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from avance.core import commands as c
from avance.core.model import NodeId, PairState
from tests.playbook import A, B
from tests.sim import inject as faults
from tests.sim.history import recover, split
from tests.sim.inject import Fault
from tests.sim.judges import STALL_S
from tests.sim.site import SimSite
from tests.sim.world import World

TICK_S = 0.25
WITNESS = SimSite(witnesses=1)
TWO = SimSite(witnesses=2)
PLAIN = SimSite()
SAFE = SimSite(policy="safety")
POWER = SimSite(witnesses=1, power=True)
SEEDS = (1, 2, 3, 4, 5)  # other phases of heartbeats, ticks and DRBD's timers
STALL_MAX_S = STALL_S + 2 * TICK_S
REBOOT_S = 15.0


@cache
def _frozen(site: SimSite) -> bytes:
    world = World.in_service(0, site=site, tick_s=TICK_S, tracing=False)
    world.commands.clear()
    world.milestones.clear()
    world.judges.starts.clear()
    return world.frozen_copy()


class Row:
    """A protected pair whose A is the primary, some time into its service."""

    def __init__(self, site: SimSite = WITNESS, seed: int = 1) -> None:
        self.world = World.thawed(_frozen(site), seed)
        self.world.tracing = True
        self.world.run(self.world.random.uniform(1.0, 5.0))
        self.world.judges.longest_stall_s = 0.0
        self.at = self.world.now

    # ------------------------------------------------------------ doing

    def breaks(self, name: str, target: str, **parameters: Any) -> Fault:  # noqa: ANN401 - any parameter of a fault
        """Inject a fault now; the row's time counts from it."""
        fault = Fault(name, target, self.world.elapsed_s, None, parameters)
        faults.inject(self.world, fault)
        self.at = self.world.now
        return fault

    def heals(self, *found: Fault) -> None:
        """Heal faults now."""
        for fault in found:
            faults.heal(self.world, fault)

    def apart(self) -> tuple[Fault, Fault]:
        """Cut all A-B links; everything else stays reachable."""
        return self.breaks("link.apart", "priv0"), self.breaks("link.apart", "biz0")

    def isolated(self, node: NodeId) -> tuple[Fault, Fault]:
        """Cut every cable of a node."""
        return self.breaks("link.cut", f"{node}.priv0"), self.breaks("link.cut", f"{node}.biz0")

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(seconds)

    def off(self, node: NodeId) -> Fault:
        """Cut the power of a node."""
        return self.breaks("power.cut", str(node))

    def misses_a_while(self, node: NodeId) -> None:
        """Let a node be away, come back and take what it lacked."""
        off = self.off(node)
        self.passes(40.0)
        self.heals(off)
        self.passes(60.0)

    def recovers(self, limit_s: float = 240.0) -> float:
        """Heal everything, demand protection and service, and that nothing was lost."""
        faults.heal_all(self.world)
        took_s = recover(self.world, limit_s)
        assert not split(self.world), "an operator would be needed"
        assert not self.world.judges.asked, "an operator had to choose a copy"
        self.world.judges.end()
        return took_s

    # ------------------------------------------------------------ seeing

    def since(self, node: NodeId, kind: type[c.Command]) -> list[float]:
        """Return when a node gave commands of a kind, in seconds after the last fault."""
        return [
            at - self.at
            for at, who, command in self.world.commands
            if who == node and isinstance(command, kind) and at >= self.at
        ]

    def alerts(self, node: NodeId | None = None) -> list[str]:
        """Return the codes of the alerts, of one node or of both."""
        return [code for at, who, code in self.world.alerts if node in (None, who)]

    def passed(self, node: NodeId, milestone: str) -> float:
        """Return when a node passed a milestone after the last fault."""
        times = [
            at - self.at
            for at, who, name in self.world.milestones
            if who == node and name == milestone and at >= self.at
        ]
        assert times, f"{node} never passed {milestone}; {self.world.summary()}"
        return times[0]

    def resets(self, node: NodeId) -> list[float]:
        """Return when a node was reset, by itself or by its watchdog, after the last fault."""
        return [at - self.at for at, _ in self.world.machines[node].resets if at >= self.at]

    def served_by(self) -> NodeId | None:
        """Return the node that runs the VM and may write."""
        return self.world.runner()

    def pair(self, node: NodeId) -> PairState:
        """Return where a node's view of the pair stands."""
        state: PairState = self.world.engine(node).pair
        return state

    def epoch(self, node: NodeId) -> int:
        """Return the durable epoch of a node."""
        return self.world.machines[node].record.epoch

    def acknowledged_by(self, node: NodeId) -> int:
        """Return how many writes a node acknowledged alone."""
        return len(self.world.judges.alone[node])

    # ------------------------------------------------------------ demands

    def untouched(self, *, stall_s: float = STALL_MAX_S) -> None:
        """The VM was not started anew anywhere, runs on A, and no write waited too long."""
        assert not self.world.judges.starts, self.world.trace[-20:]
        assert self.served_by() == A, self.world.summary()
        assert self.world.judges.longest_stall_s <= stall_s, self.world.judges.longest_stall_s

    def taken_over(self, *, by_s: float = 20.0, not_before_s: float = 0.0) -> None:
        """B promoted and started the VM in time, and it runs there."""
        promoted, started = self.since(B, c.PromoteDisk), self.since(B, c.StartDomain)
        assert promoted, self.world.summary()
        assert started, self.world.summary()
        assert not_before_s <= promoted[0], promoted
        assert started[0] <= by_s, started
        assert self.served_by() == B, self.world.summary()

    def never_on(self, node: NodeId) -> None:
        """A node did not promote, and did not start a VM, since the last fault."""
        assert not self.since(node, c.PromoteDisk), self.world.trace[-20:]
        assert not self.since(node, c.StartDomain), self.world.trace[-20:]
