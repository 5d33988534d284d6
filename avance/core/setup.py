"""What a node is told once, at its start: who it is, who its peer is, what the site wants."""

from __future__ import annotations

from dataclasses import dataclass, field

from avance.core.crashloop import SAMPLES_MIN, Policy
from avance.core.model import LinkName, NodeId, Stand, Timers, VmId, VmSpec


@dataclass(frozen=True, slots=True)
class Setup:
    """One node of a pair and its site; `machine` is the boot of the machine, `boot` the run of the daemon.

    `removed`: VMs that were removed, and of which something may still be here. `stand`: what is durable here of the
    definitions; `config_hash` is that of those in use. `sources`: the sources of sensors that this node has, which say
    something in each period (core/conditions.py).
    """

    me: NodeId
    peer_id: NodeId
    boot: str
    config_hash: str
    dilation: float
    policy: str
    timers: Timers
    links: tuple[LinkName, ...]
    vms: tuple[VmSpec, ...]
    replication_link: LinkName
    machine: str
    witnesses: tuple[str, ...] = ()
    power: bool = False
    gateway: bool = False
    watchdog: bool = False
    stays_without_disk: bool = False
    crash_policy: Policy = Policy.THRESHOLD
    crash_samples: int = SAMPLES_MIN
    removed: tuple[VmId, ...] = ()
    stand: Stand = field(default_factory=Stand)
    sources: tuple[str, ...] = ()


__all__ = ["Setup"]
