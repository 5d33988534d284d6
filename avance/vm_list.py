"""The VMs as this node knows them of both nodes, as a document (schema `avance/schema/vms.json`) and in words. Pure.

It says the same on either node, as long as the two hear each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avance.core import copies
from avance.core.engine import Engine
from avance.core.model import DiskRole, DiskState, NodeId, VmId, VmState, Wanted
from avance.core.unit import VmUnit

SCHEMA = "avance.vms/1"
WHY_OFF = {
    Wanted.RUNNING: "",
    Wanted.SHUT_DOWN: "stopped by a person",
    Wanted.OFF: "stopped by a person",
    Wanted.OFF_BY_GUEST: "switched off by its guest",
}
# What a VM does, by what it does on either node; the first that fits.
_DOES: tuple[tuple[str, tuple[VmState, ...]], ...] = (
    ("moving", (VmState.SENDING, VmState.RECEIVING, VmState.RECEIVED)),
    ("running", (VmState.RUNNING,)),
    ("starting", (VmState.STARTING, VmState.PROMOTING)),
    ("stopping", (VmState.STOPPING, VmState.DEMOTING)),
    ("failing", (VmState.FAILED,)),
    ("unknown", (VmState.CHECKING,)),
)
_HAS_IT = (VmState.SENDING, VmState.RUNNING, VmState.STARTING, VmState.PROMOTING, VmState.STOPPING)
_COLUMNS = ("NAME", "STATE", "NODE", "WANTED", "MEMORY", "VOLUME", "COPIES")


def vms_document(engine: Engine, now: float) -> dict[str, Any]:
    """Return what is known of each VM."""
    return {"schema": SCHEMA, "vms": [_entry(engine, vm, unit, now) for vm, unit in engine.units.items()]}


def _entry(engine: Engine, vm: VmId, unit: VmUnit, now: float) -> dict[str, Any]:
    sight, me, other = engine.sight, engine.setup.me, engine.setup.peer_id
    peer = sight.peer if sight.liveness.peer_alive(now) else None
    states: dict[NodeId, VmState] = {me: unit.state}
    held: dict[NodeId, DiskState] = {me: sight.copy(vm).disk, other: DiskState.UNKNOWN}
    if peer is not None:
        states |= {other: peer.vms[vm]} if vm in peer.vms else {}
        held[other] = copies.peer_copy(peer, vm).disk
    return {
        "name": vm,
        "state": _does(unit, tuple(states.values())),
        "node": next((node for node, state in sorted(states.items()) if state in _HAS_IT), None),
        "wanted": unit.spec.wanted,
        "why_off": WHY_OFF[unit.spec.wanted] or None,
        "memory_mib": unit.spec.memory_mib,
        "volume_mib": unit.spec.volume_mib,
        "copies": dict(sorted(held.items())),
    }


def _does(unit: VmUnit, states: Sequence[VmState]) -> str:
    for word, those in _DOES:
        if any(state in those for state in states):
            return word
    disk = unit.disk
    writes = disk is not None and DiskRole.PRIMARY in (disk.role, disk.peer_role)
    return "stopping" if writes else "off"


def vms_text(found: dict[str, Any]) -> str:
    """Return the same as a table for people."""
    rows = [_COLUMNS, *(_row(vm) for vm in found["vms"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines) if found["vms"] else "there is no VM; `avance vm add` adds one"


def _row(vm: dict[str, Any]) -> tuple[str, ...]:
    why = f" ({vm['why_off']})" if vm["why_off"] else ""
    held = ", ".join(f"{node} {disk}" for node, disk in vm["copies"].items())
    wanted = "running" if vm["wanted"] == Wanted.RUNNING else "off"
    memory, volume = f"{vm['memory_mib']} MiB", f"{vm['volume_mib']} MiB"
    return vm["name"], vm["state"], vm["node"] or "-", wanted + why, memory, volume, held


__all__ = ["WHY_OFF", "vms_document", "vms_text"]
