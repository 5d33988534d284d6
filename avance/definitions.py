"""The definitions of the VMs as a file holds them: the number of each, and who was removed. Pure.

The number of a VM's DRBD resource is given once by the product, kept with the definition, and never by order. A
definition that a person writes has none. Minor and port of DRBD follow from it, so a VM keeps both whatever becomes of
the other VMs (docs/safety.md, S42).

A VM is to run, or it says what is wanted of it otherwise (docs/safety.md, S47).

A VM that was removed leaves a *tombstone*, `{"name", "number", "removed": true}`, until nothing of it is left on either
node: name and number are not given again before (docs/safety.md, S44).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avance.checked import NAME
from avance.errors import ConfigError
from avance.parsed import Json

VMS_MAX = 8
NUMBERS = 16  # more than VMs, because a removed VM keeps its number for a while
NUMBER = "number"
WANTED = "wanted"  # what is wanted of the VM (core/model.py, Wanted); left out where it is to run
_REMOVED = "removed"


def numbered(vms: Json) -> list[Json]:
    """Return the definitions in the order of their numbers; one without a number gets the lowest that is free.

    A file of an earlier release has no numbers: there the order was the number, and stays so.

    Raises:
        ConfigError: a number is none, or two have the same; a name is that of a removed VM; or there are too many VMs,
            or no list of them.
    """
    if not isinstance(vms, list) or sum(not is_tombstone(entry) for entry in vms) > VMS_MAX:
        raise ConfigError(f"a site has at most {VMS_MAX} VMs")
    given = [entry[NUMBER] for entry in vms if isinstance(entry, dict) and NUMBER in entry]
    for number in given:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < NUMBERS:
            raise ConfigError(f"the number of a VM is {number!r}; it must be a whole number from 0 to {NUMBERS - 1}")
        if given.count(number) > 1:
            raise ConfigError(f"two VMs have the number {number}, and so the same device and port of DRBD")
    _check_tombstones(vms)
    free = iter(sorted(set(range(NUMBERS)) - set(given)))
    every = [_with_number(entry, free) for entry in vms]
    return sorted(every, key=lambda entry: entry[NUMBER] if isinstance(entry, dict) else NUMBERS)


def is_tombstone(entry: Json) -> bool:
    """Say whether this stands for a VM that was removed."""
    return isinstance(entry, dict) and _REMOVED in entry


def _check_tombstones(vms: list[Json]) -> None:
    names = [entry.get("name") for entry in vms if isinstance(entry, dict)]
    for entry in vms:
        if not is_tombstone(entry):
            continue
        name = entry.get("name")
        whole = entry.keys() == {"name", NUMBER, _REMOVED} and entry[_REMOVED] is True
        if not whole or not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigError(
                f"{entry!r} stands for no removed VM: it has `name`, `{NUMBER}`, and `{_REMOVED}` as true"
            )
        if names.count(name) > 1:
            raise ConfigError(
                f"a VM called {name} was removed, and its name is taken until nothing of it is left on either node;"
                " look at the status of both nodes, and try again, or take another name"
            )


def _with_number(entry: Json, free: Iterator[int]) -> Json:
    if not isinstance(entry, dict) or NUMBER in entry:
        return entry
    number = next(free, None)
    if number is None:
        raise ConfigError("all numbers belong to VMs, or to VMs that were removed and are still being taken away")
    return {**entry, NUMBER: number}


def added(vms: Json, definition: Json) -> list[Json]:
    """Return the definitions with another one, which has its number from now on.

    Raises:
        ConfigError: as `numbered`, or the definition brings what only the product gives.
    """
    for key in (NUMBER, _REMOVED):
        if isinstance(definition, dict) and key in definition:
            raise ConfigError(f"a definition must not say `{key}`: the product gives it; nothing was changed")
    return numbered([*numbered(vms), definition])


def removed(vms: Json, name: str) -> list[Json]:
    """Return the definitions with a tombstone in the place of a VM.

    Raises:
        ConfigError: as `numbered`, or there is no such VM.
    """
    every = numbered(vms)
    found = [entry for entry in every if not is_tombstone(entry) and entry["name"] == name]
    if not found:
        known = ", ".join(entry["name"] for entry in every if not is_tombstone(entry)) or "none"
        raise ConfigError(f"there is no VM {name!r}; there are: {known}; nothing was changed")
    return [_tombstone(entry) if entry in found else entry for entry in every]


def _tombstone(entry: dict[str, Any]) -> Json:
    return {"name": entry["name"], NUMBER: entry[NUMBER], _REMOVED: True}


def without_tombstones(vms: Json) -> list[Json]:
    """Return the definitions of the VMs that there are: what was removed is gone from both nodes."""
    return [entry for entry in numbered(vms) if not is_tombstone(entry)]
