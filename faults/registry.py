"""All faults by name: what each does, which parameters a file can give it, and how one is made.

A family is added by one line in `FAMILIES`. Nothing is changed anywhere by a look-up: what does not exist is refused
with a sentence that names what does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from faults.fault import Fault
from faults.kinds import clock, disk, guest, load, witness
from faults.kinds.hardware import bmc, sensors
from faults.kinds.link import cut
from faults.kinds.node import hypervisor, late, power, whole
from faults.kinds.process import stopped
from faults.parameters import Parameter, converted, nearest, parameters_of
from testbed import pace
from testbed.errors import UsageError

FAMILIES: tuple[tuple[Callable[..., Any], ...], ...] = (
    cut.FAULTS,
    disk.FAULTS,
    power.FAULTS,
    whole.FAULTS,
    hypervisor.FAULTS,
    late.FAULTS,
    stopped.FAULTS,
    guest.FAULTS,
    clock.FAULTS,
    sensors.FAULTS,
    bmc.FAULTS,
    load.FAULTS,
    witness.FAULTS,
)
# What a target is, by family; a family that is not named here breaks a node.
TARGETS = {
    "link": "port (a.priv0, primary.biz0)",
    "process": "node/process (a/daemon, primary/guest)",
    "guest": "VM (web)",
    "load": "node (a, primary) or host",
    "witness": "witness (w1)",
}
NODE_TARGET = "node (a, primary)"
PAIR_TARGET = "pair (a+b)"
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
    breaks_both: bool = False

    @property
    def family(self) -> str:
        """The first word of its name."""
        return self.name.partition(".")[0]

    @property
    def target(self) -> str:
        """What its target is, with examples."""
        return PAIR_TARGET if self.breaks_both else TARGETS.get(self.family, NODE_TARGET)

    @property
    def takes_seed(self) -> bool:
        """Says whether chance plays a part in it."""
        return any(parameter.name == "seed" for parameter in self.parameters)


@cache
def kinds() -> Mapping[str, FaultKind]:
    """Return every fault by its name, in order of the families."""
    found: dict[str, FaultKind] = {}
    for make in (make for family in FAMILIES for make in family):
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
    target = inspect.signature(make).parameters["target"].default
    breaks_both = "both" in name or (isinstance(target, str) and "+" in target)
    return FaultKind(name, _first_sentence(make), parameters, needs, make, breaks_both)


def find(name: str) -> FaultKind:
    """Return the fault of this name; raises UsageError naming the nearest ones, or all."""
    known = kinds()
    if name not in known:
        family = [other for other in known if other.partition(".")[0] == name.partition(".")[0]]
        listed = ", ".join(family or known)
        raise UsageError(f"There is no fault {name!r}{nearest(name, known)}; possible are {listed}.")
    return known[name]


def check(name: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters as the fault wants them, a missing `seed` as 0; raises UsageError as `build` does."""
    kind = find(name)
    given = {"seed": 0, **parameters} if kind.takes_seed else parameters
    return converted(kind.parameters, given, owner=name)


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


def _first_sentence(make: Callable[..., Any]) -> str:
    text = " ".join((inspect.getdoc(make) or "").split())
    head, dot, _ = text.partition(". ")
    return head + dot.strip()
