"""Definitions that have become the node's own take effect: VMs are added, changed and removed while the others go on.

Another site takes effect with a start of the daemon, which harms nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from avance.config import Config
from avance.core.events import Event, VmAdded, VmChanged, VmRemoved
from avance.core.model import VmId
from avance.leftovers import Leftovers
from avance.ports import Sink, VmKeeper


def why_not(before: Config, after: Config, unfinished: Collection[VmId], *, taken: bool = False) -> str:
    """Say why a node with the first definitions must not take the others, or "".

    `unfinished`: removed VMs of which something is left on this node. `taken`: the first ones are given up for others
    that do not come from them. Then whoever removed a VM there did not know what became of it here.
    """
    new, tombstones = {spec.name: spec for spec in after.vms}, {one.name: one for one in after.removed}
    for vm in unfinished:
        if vm not in tombstones:
            return f"node {before.node} still removes the VM {vm}; look at its status, and try again"
    for old in before.vms:
        spec, tombstone = new.get(old.name), tombstones.get(old.name)
        number = spec.minor if spec is not None else tombstone.minor if tombstone is not None else None
        if number is None:
            return (
                f"node {before.node} has a VM {old.name}, of which these definitions know nothing; remove it there"
                f" first (avance vm remove {old.name} --delete-volume --one-node)"
            )
        if taken and spec is None:
            return (
                f"these definitions remove the VM {old.name}, and its volume with all its data on node {before.node};"
                f" remove it there first if that is meant (avance vm remove {old.name} --delete-volume --one-node), or"
                f" let node {after.peer} take those of node {before.node}"
            )
        if number != old.minor or (spec is not None and spec.volume_mib != old.volume_mib):
            return (
                f"the VM {old.name} of these definitions is another one than that of node {before.node}: number"
                f" {number} instead of {old.minor}, or a volume of another size; remove one of them first"
            )
    return ""


def apply(before: Config, after: Config, put: Sink, keepers: Iterable[VmKeeper], leftovers: Leftovers) -> bool:
    """Tell the core, and everybody who keeps VMs, what has changed; returns whether the daemon has to start anew.

    Then nothing was told: until its end the daemon goes on with what it has, and says so to the peer. `why_not` must
    have said nothing.
    """
    if _site_of(before) != _site_of(after):
        return True
    keepers, told = tuple(keepers), False

    def tell(event: Event) -> None:
        nonlocal told
        put(event)
        told = True

    old, new = {spec.name: spec for spec in before.vms}, {spec.name: spec for spec in after.vms}
    kept = {one.name for one in before.removed}
    gone = [vm for vm in old if vm not in new] + [one.name for one in after.removed if one.name not in {*old, *kept}]
    for vm in gone:
        tell(VmRemoved(vm, after.config_hash))
        for keeper in keepers:
            keeper.remove(vm)
    for vm, spec in new.items():
        if vm not in old:
            tell(VmAdded(spec, after.config_hash))
            for keeper in keepers:
                keeper.add(spec)
        elif old[vm] != spec:
            tell(VmChanged(spec, after.config_hash))
            for keeper in keepers:
                keeper.change(spec)
    leftovers.take_on(after.removed)
    return after.config_hash != before.config_hash and not told


def _site_of(config: Config) -> Config:
    return replace(config, vms=(), removed=(), config_hash="")
