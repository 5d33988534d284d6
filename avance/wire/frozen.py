"""The state of a running engine as JSON and back, exactly: how a journal that begins in the middle can be replayed.

Every class of the core is known by name and nothing else is ever made, so a foreign file cannot run code. Values keep
their types: each container and object carries a one-letter tag. It must never be given a secret; the core has none.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from types import ModuleType
from typing import Any

from avance.core import (
    address,
    agreement,
    arbitration,
    care,
    circumstances,
    commands,
    conditions,
    crashloop,
    cure,
    damper,
    decision,
    durable,
    ends,
    engine,
    events,
    fence,
    guard,
    handover,
    health,
    leftover,
    liveness,
    migration,
    mirror,
    model,
    own_parts,
    pair,
    pairing,
    partner,
    pause,
    readiness,
    redundancy,
    restarts,
    rights,
    setup,
    sight,
    steadiness,
    strangers,
    takeover,
    unit,
    units,
    vm,
)
from avance.parsed import Json

_MODULES: tuple[ModuleType, ...] = (
    address, agreement, arbitration, care, circumstances, commands, conditions, crashloop, cure, damper, decision,
    durable, ends, engine, events, fence, guard, handover, health, leftover, liveness, migration, mirror, model,
    own_parts, pair, pairing, partner, pause, readiness, redundancy, restarts, rights, setup, sight, steadiness,
    strangers, takeover, unit, units, vm,
)  # fmt: skip
_CLASSES: dict[str, type] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in _MODULES
    for name, value in vars(module).items()
    if isinstance(value, type) and value.__module__ == module.__name__
}
_NAMES = {value: name for name, value in _CLASSES.items()}


def freeze(value: object) -> Json:
    """Return JSON values that `thaw` turns back into an equal value.

    Raises:
        ValueError: something in it is of a class that this module does not know.
    """
    if isinstance(value, Enum):
        return {"e": _name(value), "v": value.name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return {"t": [freeze(part) for part in value]}
    if isinstance(value, list):
        return {"l": [freeze(part) for part in value]}
    if isinstance(value, set):
        return {"s": [freeze(part) for part in sorted(value)]}
    if isinstance(value, dict):
        return {"d": [[freeze(key), freeze(part)] for key, part in value.items()]}
    return {"o": _name(value), "a": {name: freeze(part) for name, part in _attributes(value).items()}}


def thaw(value: Json) -> Any:  # noqa: ANN401 - it returns what was frozen
    """Return the value that was frozen.

    Raises:
        ValueError: it is not the frozen form of anything that this version knows.
    """
    if not isinstance(value, dict):
        return value
    match value:
        case {"e": name, "v": member}:
            return _enum(name, member)
        case {"t": parts}:
            return tuple(thaw(part) for part in parts)
        case {"l": parts}:
            return [thaw(part) for part in parts]
        case {"s": parts}:
            return {thaw(part) for part in parts}
        case {"d": pairs}:
            return {thaw(key): thaw(part) for key, part in pairs}
        case {"o": name, "a": attributes}:
            return _object(name, attributes)
    raise ValueError(f"{value!r} is not the state of an engine")


def _name(value: object) -> str:
    kind = type(value)
    if kind not in _NAMES:
        raise ValueError(f"a {kind.__name__} cannot be kept: its module is not one of those that are known here")
    return _NAMES[kind]


def _enum(name: str, member: str) -> Enum:
    kind = _CLASSES.get(name)
    if kind is None or not issubclass(kind, Enum) or member not in kind.__members__:
        raise ValueError(f"this version of the core knows no {name}.{member}")
    return kind[member]


def _attributes(value: object) -> dict[str, object]:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return dict(vars(value))


def _object(name: str, attributes: dict[str, Json]) -> object:
    kind = _CLASSES.get(name)
    if kind is None or issubclass(kind, Enum):
        raise ValueError(f"this version of the core has no {name}")
    if dataclasses.is_dataclass(kind) and attributes.keys() != {field.name for field in dataclasses.fields(kind)}:
        raise ValueError(f"{name} has other fields in this version of the core")
    made = kind.__new__(kind)
    for key, part in attributes.items():
        object.__setattr__(made, key, thaw(part))
    return made


__all__ = ["freeze", "thaw"]
