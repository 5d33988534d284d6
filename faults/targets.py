"""Targets of faults as text: what each kind of fault can be aimed at on the bed, and nodes in place of roles; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from faults.fault import Aim
from faults.registry import FaultKind
from testbed.errors import UsageError
from testbed.topology import NODES, Topology

ROLES = ("primary", "backup")
BOTH = "+"
INNER = ("daemon", "guest", "replication")  # what runs in a node and can be broken by itself
HOST = "host"


def check_target(target: object, kind: FaultKind, topology: Topology) -> None:
    """Raise UsageError when a bed of this topology has no such target for this fault."""
    known = possible_targets(kind, topology)
    if target not in known:
        listed = ", ".join(known) or "none"
        raise UsageError(f"{kind.name} breaks a {kind.aim}; there is no {target!r}; possible are {listed}.")


def possible_targets(kind: FaultKind, topology: Topology) -> tuple[str, ...]:
    """Return what a fault can be aimed at, on a bed of this topology."""
    nodes = (*ROLES, *NODES)
    match kind.aim:
        case Aim.NODE:
            return nodes
        case Aim.PAIR:
            return tuple(BOTH.join(pair) for names in (ROLES, NODES) for pair in (names, names[::-1]))
        case Aim.PORT:
            links = [f"{node}.{link}" for node in ROLES for link in topology.links]
            return (*links, *(port for ports in topology.segments.values() for port in ports))
        case Aim.PROCESS:
            return tuple(f"{node}/{inner}" for node in nodes for inner in INNER)
        case Aim.VM:
            return tuple(vm.name for vm in topology.guests)
        case Aim.WITNESS:
            return tuple(topology.witness_hosts)
        case Aim.HOST:
            return (HOST,)
    assert_never(kind.aim)


def nodes_of(target: str) -> frozenset[str]:
    """Return the nodes (or roles) that a target belongs to; a VM and the host belong to none."""
    nodes = target.partition(".")[0].partition("/")[0].split(BOTH)
    return frozenset(nodes) & frozenset((*ROLES, *NODES))


def resolve_node(word: str, roles: Mapping[str, str]) -> str:
    """Return the node that has a role; a node's own name stays."""
    if word in ROLES and word not in roles:
        raise UsageError(f"There is no {word} now; the roles are {dict(roles)}. Bring the pair to protected first.")
    return roles.get(word, word)


def resolve_target(target: str, roles: Mapping[str, str]) -> str:
    """Return the target with nodes in place of roles: `primary.priv0` becomes `a.priv0`."""
    for mark in (".", "/"):
        node, found, rest = target.partition(mark)
        if found:
            return f"{resolve_node(node, roles)}{found}{rest}"
    return BOTH.join(resolve_node(node, roles) for node in target.split(BOTH))
