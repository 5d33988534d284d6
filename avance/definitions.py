"""The number of each VM's DRBD resource: given once by the product, kept with the definition, and never by order.

A definition that a person writes has none. Minor and port of DRBD follow from it, so a VM keeps both whatever
becomes of the other VMs (docs/safety.md, S42). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from avance.errors import ConfigError
from avance.parsed import Json

VMS_MAX = 8
NUMBER = "number"


def numbered(vms: Json) -> Json:
    """Return the definitions in the order of their numbers; one without a number gets the lowest that is free.

    A file of an earlier release has no numbers: there the order was the number, and stays so.

    Raises:
        ConfigError: a number is none, or two VMs have the same; or there are too many VMs, or no list of them.
    """
    if not isinstance(vms, list) or len(vms) > VMS_MAX:
        raise ConfigError(f"a site has at most {VMS_MAX} VMs")
    given = [entry[NUMBER] for entry in vms if isinstance(entry, dict) and NUMBER in entry]
    for number in given:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < VMS_MAX:
            raise ConfigError(f"the number of a VM is {number!r}; it must be a whole number from 0 to {VMS_MAX - 1}")
        if given.count(number) > 1:
            raise ConfigError(f"two VMs have the number {number}, and so the same device and port of DRBD")
    free = iter(sorted(set(range(VMS_MAX)) - set(given)))
    every = [_with_number(entry, free) for entry in vms]
    return sorted(every, key=lambda entry: entry[NUMBER] if isinstance(entry, dict) else VMS_MAX)


def _with_number(entry: Json, free: Iterator[int]) -> Json:
    return {**entry, NUMBER: next(free)} if isinstance(entry, dict) and NUMBER not in entry else entry


def added(vms: Json, definition: Json) -> Json:
    """Return the definitions with another one, which has its number from now on.

    Raises:
        ConfigError: as `numbered`, or the definition brings a number.
    """
    if isinstance(definition, dict) and NUMBER in definition:
        raise ConfigError(f"a definition must not say `{NUMBER}`: the product gives it; nothing was changed")
    return numbered([*numbered(vms), definition])
