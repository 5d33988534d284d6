"""The sites that are simulated: which arbiters, which policy, which VMs; and the set-up that an engine is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from avance.core.engine import Setup
from avance.core.model import NodeId, Stand, Timers, Version, VmId, Wanted
from tests.playbook import BIZ, PRIV, WEB, A, setup, spec

NODES = (NodeId("a"), NodeId("b"))
TIMERS = Timers()


@dataclass(frozen=True)
class SimSite:
    """One site: 0 to 2 witnesses, a BMC at each node or none, a gateway or none, policy, VMs, and mirrors or none."""

    witnesses: int = 0
    power: bool = False
    gateway: bool = True
    policy: str = "availability"
    vms: tuple[VmId, ...] = (WEB,)
    halves: bool = False  # the mirror of each node is simulated, too (tests/sim/mirror.py)

    @property
    def witness_names(self) -> tuple[str, ...]:
        """The names of the witnesses, the preferred one first."""
        return tuple(f"w{number}" for number in range(1, self.witnesses + 1))

    def setup(
        self,
        me: NodeId,
        *,
        boot: str,
        machine: str,
        config_hash: str,
        vms: tuple[VmId, ...],
        removed: tuple[VmId, ...] = (),
        stand: Stand | None = None,
        wanted: Mapping[VmId, Wanted] = MappingProxyType({}),
    ) -> Setup:
        """Return what the engine of a node is told at its start."""
        base = setup(me)
        return replace(
            base,
            boot=boot,
            machine=machine,
            config_hash=config_hash,
            policy=self.policy,
            timers=TIMERS,
            links=(PRIV, BIZ),
            vms=tuple(replace(spec(vm, index), wanted=wanted.get(vm, Wanted.RUNNING)) for index, vm in enumerate(vms)),
            witnesses=self.witness_names,
            power=self.power,
            gateway=self.gateway,
            watchdog=True,
            removed=removed,
            stand=stand or Stand(Version(0, config_hash)),
        )

    def text(self) -> str:
        """Return the site in a few words."""
        power, gateway = "power" if self.power else "no power", "gateway" if self.gateway else "no gateway"
        halves = ", halves" if self.halves else ""
        more = "" if len(self.vms) == 1 else f", {len(self.vms)} VMs"
        return f"{self.witnesses} witnesses, {power}, {gateway}, {self.policy}{more}{halves}"


def peer_of(node: NodeId) -> NodeId:
    """Return the other node."""
    return NODES[1] if node == A else NODES[0]
