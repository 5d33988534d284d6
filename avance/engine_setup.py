"""What the decision core is told of the configuration and of this machine."""

from __future__ import annotations

from pathlib import Path

from avance.config import Config
from avance.core.conditions import BMC
from avance.core.model import LinkName, Stand
from avance.core.setup import Setup

MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")  # proc(5): a new one at each start of the kernel


def engine_setup(config: Config, boot: str, stand: Stand) -> Setup:
    """Return what the core of this node is told, for a boot of its daemon; `stand`: what it has of definitions."""
    return Setup(
        me=config.node,
        peer_id=config.peer,
        boot=boot,
        config_hash=config.config_hash,
        dilation=config.dilation,
        policy=config.policy,
        timers=config.timers,
        links=tuple(LinkName(link.name) for link in config.links),
        vms=config.vms,
        replication_link=config.replication_link,
        machine=MACHINE_BOOT.read_text().strip(),
        witnesses=tuple(witness.name for witness in config.witnesses),
        stays_without_disk=config.stay_without_disk,
        power=config.peer_bmc is not None,
        gateway=bool(config.gateways),
        watchdog=config.watchdog,
        crash_policy=config.crash_policy,
        crash_samples=config.crash_samples,
        removed=tuple(tombstone.name for tombstone in config.removed),
        stand=stand,
        sources=() if config.peer_bmc is None else (BMC,),  # a site names the BMCs of both nodes, or none
    )
