"""Values of the core as plain JSON values and back, by their type hints: exact, strict, and without a list of classes.

A dataclass becomes an object with its fields; where several classes are possible its class name stands beside them as
`type`. Floats keep every bit, because JSON is written with their shortest exact form. Only what the hints permit is
read: anything else is a ValueError, and nothing is converted on the way. It must never be given a secret.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from avance.core.events import Event
from avance.core.model import Record
from avance.parsed import Json


def to_plain(value: object) -> Json:
    """Return plain JSON values; a dataclass names its class."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, tuple | list):
        return [to_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): to_plain(part) for key, part in value.items()}
    assert value is None or isinstance(value, bool | int | float | str), f"{type(value).__name__} has no plain form"
    return value


def from_plain(kind: Any, value: Json) -> Any:  # noqa: ANN401 - the type is the argument
    """Return the value of a type, or of one of the classes of a union.

    Raises:
        ValueError: the plain value is not one of that type; the place is named.
    """
    return _reader(kind)(value, getattr(kind, "__name__", "value"))


def read_record(value: Json) -> Record:
    """Return a record; what is not given has its default.

    Raises:
        ValueError: the plain value is no record.
    """
    record: Record = from_plain(Record, value)
    return record


def read_event(value: Json) -> Event:
    """Return an event by its class name.

    Raises:
        ValueError: the plain value is no event.
    """
    event: Event = from_plain(Event, value)
    return event


_Reader = Callable[[Json, str], Any]


@cache
def _reader(kind: Any) -> _Reader:  # noqa: ANN401 - a type hint is any object
    """Choose how a hint is read; remembered, because resolving the hints of a class is slow."""
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, NewType):
        return _reader(kind.__supertype__)
    if origin in (Union, types.UnionType):
        return _one_of(args)
    if origin is tuple:
        return _tuple(args)
    if origin is dict:
        return _dict(_reader(args[0]), _reader(args[1]))
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enum(kind)
    return _scalar(kind)


def _scalar(kind: type) -> _Reader:
    allowed = {bool: (bool,), int: (int,), float: (int, float), str: (str,), type(None): (type(None),)}[kind]

    def read(value: Json, place: str) -> Json:
        if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{place} is {value!r}, not of type {kind.__name__}")
        return value

    return read


def _enum(kind: type[StrEnum]) -> _Reader:
    def read(value: Json, place: str) -> StrEnum:
        if value not in list(kind):
            raise ValueError(f"{place} is {value!r}, not a {kind.__name__}")
        return kind(value)

    return read


def _tuple(args: tuple[Any, ...]) -> _Reader:
    endless = len(args) == 2 and args[1] is Ellipsis
    parts = [_reader(arg) for arg in args if arg is not Ellipsis]

    def read(value: Json, place: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or not (endless or len(value) == len(parts)):
            raise ValueError(f"{place} is {value!r}, not a list of the right length")
        readers = parts * len(value) if endless else parts
        return tuple(part(item, f"{place}[{i}]") for i, (part, item) in enumerate(zip(readers, value, strict=True)))

    return read


def _dict(key: _Reader, item: _Reader) -> _Reader:
    def read(value: Json, place: str) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{place} is {value!r}, not an object")  # noqa: TRY004 - the value is wrong, not the call
        return {key(name, place): item(part, f"{place}.{name}") for name, part in value.items()}

    return read


def _dataclass(kind: Any) -> _Reader:  # noqa: ANN401 - any dataclass
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(kind)}

    def read(value: Json, place: str) -> object:
        if not isinstance(value, dict) or value.get("type", kind.__name__) != kind.__name__:
            raise ValueError(f"{place} is {value!r}, not a {kind.__name__}")
        unknown = value.keys() - readers.keys() - {"type"}
        if unknown:
            raise ValueError(f"{place} has unknown fields {', '.join(sorted(unknown))}")
        given = {name: read_one(value[name], f"{place}.{name}") for name, read_one in readers.items() if name in value}
        try:
            return kind(**given)
        except (TypeError, AssertionError) as error:  # a field is missing, or fields that do not belong together
            raise ValueError(f"{place}: {error}") from error

    return read


def _one_of(kinds: tuple[type, ...]) -> _Reader:
    """A union: by class name among dataclasses, else the first that fits."""
    classes: dict[str, _Reader] = {kind.__name__: _reader(kind) for kind in kinds if dataclasses.is_dataclass(kind)}
    others = [_reader(kind) for kind in kinds if not dataclasses.is_dataclass(kind)]

    def read(value: Json, place: str) -> object:
        if isinstance(value, dict) and value.get("type") in classes:
            return classes[value["type"]](value, place)
        if isinstance(value, dict) and len(classes) == 1 and "type" not in value:
            return next(iter(classes.values()))(value, place)
        for other in others:
            try:
                return other(value, place)
            except ValueError:
                continue
        raise ValueError(f"{place} is {value!r}, which is none of {[getattr(k, '__name__', str(k)) for k in kinds]}")

    return read


__all__ = ["from_plain", "read_event", "read_record", "to_plain"]
