"""Which case of its row a fault of a run is, which nodes it is about, and which words an alert must have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from faults import registry
from faults.alarms.finished import FinishedRun, PastFault
from faults.alarms.row import AlarmCase, AlarmDue, AlarmRow, Given, Kept, Spot, Teller
from testbed.topology import DISK_NAMES, NODES, PRIVATE

SYSTEM_DISK = DISK_NAMES[0]
REPLICATION_PORT, HEARTBEAT_PORT = 7789, 7780
BMC_PORT, WITNESS_PORT, WITNESS = "bmc-", "witness", "w"  # witness1 is the port of w1
MAC_OF_A_NODE = "52540077000"  # the first letters of the address of each node's public card


@cache
def _defaults(name: str) -> Mapping[str, object]:
    """The parameters of a fault that have a default; an unknown fault, of an older run, has none."""
    kind = registry.kinds().get(name)
    return {one.name: one.default for one in kind.parameters if not one.required} if kind is not None else {}


def parameters_of(fault: PastFault) -> dict[str, object]:
    """Return all parameters of a fault, those that nobody gave included."""
    return {**_defaults(fault.name), **dict(fault.parameters)}


def hit(fault: PastFault) -> frozenset[str]:
    """Return the nodes that it hits; both where it is aimed at a VM, a witness or the world outside."""
    owner = fault.target.partition(".")[0].removeprefix(BMC_PORT)
    return registry.nodes_of(owner) or frozenset(NODES)


def tellers(teller: Teller, fault: PastFault) -> frozenset[str]:
    """Return the nodes that may tell of it."""
    here = hit(fault)
    if teller is Teller.EITHER:
        return frozenset(NODES)
    if teller is Teller.HIT:
        return here
    return frozenset(NODES) - here or frozenset(NODES)


def spot_of(fault: PastFault, run: FinishedRun) -> Spot:
    """Return what of the bed it was aimed at."""
    family = fault.name.partition(".")[0]
    if family == "disk":
        return _disk_spot(fault, run)
    if family == "link":
        return _link_spot(fault.target)
    if family == "process":
        return Spot.DAEMON if fault.target.endswith("/daemon") else Spot.KERNEL
    return Spot.NODE


def _disk_spot(fault: PastFault, run: FinishedRun) -> Spot:
    own = parameters_of(fault).get("disk")
    if own == SYSTEM_DISK:
        return Spot.SYSTEM
    others = {
        parameters_of(one).get("disk")
        for one in run.faults
        if one is not fault and one.target == fault.target and one.name.startswith("disk.") and one.in_force(fault.at_s)
    }
    return Spot.MIRROR if others - {own, SYSTEM_DISK, None} else Spot.DATA


def _link_spot(port: str) -> Spot:
    owner, _, link = port.partition(".")
    if owner in NODES:
        return Spot.PRIVATE if link == PRIVATE else Spot.PUBLIC
    for word, spot in ((WITNESS_PORT, Spot.WITNESS), (BMC_PORT, Spot.BMC)):
        if owner.startswith(word):
            return spot
    return Spot.OUTSIDE


def kept_of(fault: PastFault) -> Kept:
    """Return which frames a fault of a link is about."""
    match = parameters_of(fault).get("match") or {}
    assert isinstance(match, Mapping)
    if match.get("port") == REPLICATION_PORT:
        return Kept.REPLICATION
    if match.get("port") == HEARTBEAT_PORT:
        return Kept.HEARTBEATS
    if str(match.get("payload", "")).startswith(MAC_OF_A_NODE):
        return Kept.PEER
    return Kept.SOME if match else Kept.ALL


def case_of(row: AlarmRow, fault: PastFault, run: FinishedRun) -> AlarmCase:
    """Return the first case whose circumstances are those of the fault."""
    return next((case for case in row.cases if _fits(case.given, fault, run)), row.cases[-1])


def _fits(given: Given, fault: PastFault, run: FinishedRun) -> bool:
    values = parameters_of(fault)
    if given.spots and spot_of(fault, run) not in given.spots:
        return False
    if given.kept and kept_of(fault) not in given.kept:
        return False
    if given.power is not None and given.power is not run.power:
        return False
    if any(values.get(name) != value for name, value in given.values.items()):
        return False
    if given.least is None:
        return True
    name, least = given.least
    value = values.get(name)
    return isinstance(value, int | float) and value >= least


def named(due: AlarmDue, fault: PastFault) -> str:
    """Return what the text of an alert must name; empty where it need not name anything."""
    owner, port = min(hit(fault)), fault.target.partition(".")[0]
    witness = f"{WITNESS}{port.removeprefix(WITNESS_PORT)}" if port.startswith(WITNESS_PORT) else fault.target
    return due.names.format_map({
        **parameters_of(fault), "link": fault.target.partition(".")[2], "node": owner, "vm": fault.target,
        "peer": min(frozenset(NODES) - {owner}), "witness": witness,
    })  # fmt: skip
