"""Which VMs there are: one is added, changed or removed, and what is still told of one that is gone is ignored."""

from __future__ import annotations

from typing import assert_never

from avance.core import events as e
from avance.core.decision import Draft
from avance.core.fence import Fence
from avance.core.model import LinkState
from avance.core.restarts import Restarts
from avance.core.sight import Sight


def changed(
    event: e.VmAdded | e.VmChanged | e.VmRemoved, sight: Sight, fence: Fence, restarts: Restarts, draft: Draft
) -> str:
    """Take in other definitions of the VMs; returns their hash, which counts from now on."""
    match event:
        case e.VmAdded(spec):
            sight.units.add(spec, draft)
        case e.VmChanged(spec):
            known = sight.units.by_name.get(spec.name)
            if known is not None and spec.runs and not known.spec.runs:
                restarts.forget(spec.name, draft)  # a person wants to try it again
            sight.units.change(spec, draft)
        case e.VmRemoved(vm):
            sight.units.remove(vm, draft)
            restarts.forget(vm, draft)
            fence.deny(vm, draft)
        case _:
            assert_never(event)
    return event.config_hash


def disk_changed(event: e.DiskChanged, sight: Sight, fence: Fence, draft: Draft, now: float) -> None:
    """Let the VM note what DRBD says of its disk."""
    units, vm, view = sight.units, event.vm, event.view
    if vm not in units.by_name:
        return
    carries = sight.private_link() is LinkState.UP
    before = units.disk_changed(vm, view, draft, now, carries=carries)
    if view is not None and view.connection == "Connected":
        fence.deny(vm, draft)  # it ignores the answer by now, but waits for one
    units.tell_of_disk(vm, before, draft, both_fresh=sight.both_fresh(vm))


__all__ = ["changed", "disk_changed"]
