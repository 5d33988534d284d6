"""All faults by name: what each does, what it can be aimed at, which parameters a file can give it, how one is made.

They are found: every module below `faults/kinds` that has `FAULTS` adds what it names there. A target is a text, in
which a role may stand for a node: `primary.priv0`. A look-up changes nothing. What does not exist is refused with a
sentence that names what there is.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any, assert_never

import faults.kinds
from faults.fault import Aim, Fault, Trait
from faults.parameters import Parameter, converted, nearest, parameters_of
from testbed import pace
from testbed.errors import UsageError
from testbed.topology import DISK_NAMES, NODES, Topology

ROLES = ("primary", "backup")
BOTH = "+"
INNER = ("daemon", "guest", "replication")  # what runs in a node and can be broken by itself
HOST = "host"
# Jumps of a clock are no durations; limits of waits are scaled by the waits themselves.
UNDILATED = frozenset({"by_s", "apart_s", "timeout_s", "patience_s"})
SEED_BITS = 31
SEED_DEFAULT = "from the schedule"


@dataclass(frozen=True)
class FaultKind:
    """One fault that can be ordered by name."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    needs: tuple[str, ...]
    make: Callable[..., Fault]
    aim: Aim = Aim.NODE
    traits: frozenset[Trait] = frozenset()

    @property
    def family(self) -> str:
        """The first word of its name."""
        return self.name.partition(".")[0]

    @property
    def takes_seed(self) -> bool:
        """Says whether chance plays a part in it."""
        return any(parameter.name == "seed" for parameter in self.parameters)

    def targets(self, topology: Topology) -> tuple[str, ...]:
        """Return what it can be aimed at, on a bed of this topology."""
        nodes = (*ROLES, *NODES)
        match self.aim:
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
        assert_never(self.aim)


@cache
def kinds() -> Mapping[str, FaultKind]:
    """Return every fault by its name, in the order of the modules below `faults/kinds`."""
    found: dict[str, FaultKind] = {}
    modules = pkgutil.walk_packages(faults.kinds.__path__, f"{faults.kinds.__name__}.")
    for make in (make for module in modules for make in getattr(importlib.import_module(module.name), "FAULTS", ())):
        kind = kind_of(make)
        assert kind.name not in found, f"two faults are called {kind.name}"
        found[kind.name] = kind
    return found


def kind_of(make: Callable[..., Any]) -> FaultKind:
    """Return what a fault's class says of itself."""
    name = getattr(make, "name", None)
    assert isinstance(name, str), f"{make} has no name"
    parameters = tuple(
        replace(item, required=False, default=SEED_DEFAULT) if item.name == "seed" else item
        for item in parameters_of(make, without=("target",))
    )
    needs = tuple(getattr(make, "needs", ()))
    aim: Aim = getattr(make, "aim", Aim.NODE)
    traits: frozenset[Trait] = getattr(make, "traits", frozenset())
    return FaultKind(name, _first_sentence(make), parameters, needs, make, aim, traits)


def find(name: str) -> FaultKind:
    """Return the fault of this name; raises UsageError naming the nearest ones, or all."""
    known = kinds()
    if name not in known:
        family = [other for other in known if other.partition(".")[0] == name.partition(".")[0]]
        listed = ", ".join(family or known)
        raise UsageError(f"There is no fault {name!r}{nearest(name, known)}; possible are {listed}.")
    return known[name]


def check(name: str, target: object, parameters: Mapping[str, object], topology: Topology) -> FaultKind:
    """Return the fault of this name; a `seed` may be missing.

    Raises UsageError for an unknown fault, a wrong parameter, or a target that a bed of this topology does not have.
    """
    kind = find(name)
    given = {"seed": 0, **parameters} if kind.takes_seed else parameters
    converted(kind.parameters, given, owner=name)
    known = kind.targets(topology)
    disk = given.get("disk", DISK_NAMES[0])
    if "disk" in {parameter.name for parameter in kind.parameters} and disk not in DISK_NAMES:
        raise UsageError(f"{kind.name}: a node has no disk {disk!r}; possible are {', '.join(DISK_NAMES)}.")
    if target not in known:
        listed = ", ".join(known) or "none"
        raise UsageError(f"{kind.name} breaks a {kind.aim}; there is no {target!r}; possible are {listed}.")
    return kind


def build(name: str, target: str, parameters: Mapping[str, object], *, seed: int) -> Fault:
    """Make a fault; a `seed` that is not given is the one given here (see `step_seed`).

    Raises UsageError for an unknown fault, an unknown, missing or wrong parameter, or a value that the fault refuses.
    """
    kind = find(name)
    given = {"seed": seed, **parameters} if kind.takes_seed else parameters
    values = dilated(kind, converted(kind.parameters, given, owner=name), pace.dilation())
    try:
        return kind.make(target, **values)
    except (ValueError, AssertionError) as error:
        raise UsageError(f"{name} refuses its parameters {dict(parameters)}: {error}") from error


def dilated(kind: FaultKind, values: Mapping[str, object], dilation: float) -> dict[str, object]:
    """Return the parameters of a fault for a pair whose times are multiplied by this, defaults included.

    Times (`seconds`, `..._s`) become longer and rates (`..._per_s`) smaller, as the product's own do, so that the fault
    is the same to it. `UNDILATED` says what stays.
    """
    made = dict(values)
    for parameter in kind.parameters if dilation != 1 else ():
        value = values.get(parameter.name, parameter.default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_time = parameter.name.endswith("_s") or parameter.name == "seconds"
        if is_time and is_number and parameter.name not in UNDILATED:
            factor = 1 / dilation if parameter.name.endswith("_per_s") else dilation
            made[parameter.name] = value * factor  # type: ignore[operator] # a number, as was just asked
    return made


def step_seed(seed: int, number: int) -> int:
    """Return the seed of one step of a schedule, so that two steps do not roll the same dice."""
    return Random(f"{seed}/{number}").getrandbits(SEED_BITS)


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


def _first_sentence(make: Callable[..., Any]) -> str:
    text = " ".join((inspect.getdoc(make) or "").split())
    head, dot, _ = text.partition(". ")
    return head + dot.strip()
