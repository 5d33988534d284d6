"""What may be written in a file for a constructor: read from its signature, checked value by value; pure.

A value is refused with a sentence that says what is possible. Nothing is guessed or rounded: `true` is no number, and
a text is never read as one.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from testbed.errors import UsageError

SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, its type in words, and its default unless it is required."""

    name: str
    type_name: str
    required: bool
    default: object
    hint: Any

    def text(self) -> str:
        """Return it as a person reads it: `direction=both (in, out, both)` or `offset (int, required)`."""
        if self.required:
            return f"{self.name} ({self.type_name}, required)"
        default = self.default.value if isinstance(self.default, Enum) else self.default
        return f"{self.name}={default} ({self.type_name})"


def parameters_of(make: Callable[..., object], *, without: Iterable[str] = ()) -> tuple[Parameter, ...]:
    """Return the parameters of a constructor that a file can give; the others must have defaults."""
    hints, skipped = _hints(make), set(without)
    found = []
    for name, given in inspect.signature(make).parameters.items():
        type_name = _type_name(hints.get(name, Any))
        if name in skipped or type_name is None:
            continue
        required = given.default is inspect.Parameter.empty
        default = None if required else _default(make, name, given.default)
        found.append(Parameter(name, type_name, required, default, hints[name]))
    return tuple(found)


def converted(known: Sequence[Parameter], given: Mapping[str, object], *, owner: str) -> dict[str, object]:
    """Return the values as the constructor wants them; raises UsageError for an unknown, missing or wrong one."""
    by_name = {parameter.name: parameter for parameter in known}
    for name in given:
        if name not in by_name:
            raise UsageError(f"{owner} has no parameter {name!r}{nearest(name, by_name)}; {possible(known)}")
    missing = [parameter.name for parameter in known if parameter.required and parameter.name not in given]
    if missing:
        raise UsageError(f"{owner} needs {' and '.join(missing)}; {possible(known)}")
    values = {}
    for name, value in given.items():
        parameter = by_name[name]
        try:
            values[name] = _convert(parameter.hint, value)
        except (ValueError, OverflowError):
            shown = repr(value) if len(repr(value)) < 60 else repr(value)[:60] + " ..."
            raise UsageError(f"{owner}: {name} must be {parameter.type_name}, not {shown}") from None
    return values


def possible(known: Sequence[Parameter]) -> str:
    """Return the sentence that names what is possible."""
    return f"possible are {', '.join(item.text() for item in known)}." if known else "it takes no parameter."


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` for a misspelled word, or the empty text."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _hints(make: Callable[..., object]) -> dict[str, Any]:
    """The resolved annotations of a constructor; those of a dataclass belong to the modules of its bases."""
    if not inspect.isclass(make):
        return typing.get_type_hints(make)
    owner = next(base for base in make.__mro__ if "__init__" in vars(base))
    if "__dataclass_fields__" in vars(owner):
        return typing.get_type_hints(owner)
    return typing.get_type_hints(owner.__init__)  # type: ignore[misc] # it is the constructor that is looked at


def _default(make: Callable[..., object], name: str, found: object) -> object:
    fields = {field.name: field for field in dataclasses.fields(make)} if dataclasses.is_dataclass(make) else {}
    factory = fields[name].default_factory if name in fields else dataclasses.MISSING
    return found if factory is dataclasses.MISSING else factory()


def _type_name(hint: Any) -> str | None:  # noqa: ANN401 - an annotation is anything
    """The type in words, or None when a file cannot give it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        names = [_type_name(item) for item in inner if item is not types.NoneType]
        if None in names or not names:
            return None
        return " or ".join([*(str(name) for name in names), *(["null"] if types.NoneType in inner else [])])
    if origin is typing.Literal:
        return ", ".join(str(item) for item in inner)
    if origin in (tuple, list, Sequence):
        return "list of str" if inner[:1] == (str,) else None
    if hint in SCALARS:
        return str(hint.__name__)
    if hint is Path:
        return "path"
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return ", ".join(str(item.value) for item in hint)
    return "object" if origin in (dict, Mapping) else None


def _convert(hint: Any, value: object) -> object:  # noqa: ANN401 - an annotation is anything
    """The value as this type; raises ValueError when it is none."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_one_of(inner, value)
    if origin is typing.Literal:
        return _require(value, value in inner)
    if origin in (tuple, list, Sequence):
        _require(value, isinstance(value, list) and all(isinstance(item, str) for item in value))
        return tuple(typing.cast(list[str], value))  # checked in the line above
    if origin in (dict, Mapping):
        return _require(value, isinstance(value, dict) and all(_is_scalar(item) for item in value.values()))
    if hint is float:
        _require(value, isinstance(value, int | float) and not isinstance(value, bool))
        number = float(typing.cast(float, value))  # checked in the line above
        return _require(number, math.isfinite(number))
    if hint is Path:
        _require(value, isinstance(value, str) and value != "")
        return Path(str(value))
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return hint(value)
    return _require(value, isinstance(value, hint) and (hint is bool or not isinstance(value, bool)))


def _convert_one_of(hints: tuple[Any, ...], value: object) -> object:
    if value is None and types.NoneType in hints:
        return None
    for hint in hints:
        try:
            if hint is not types.NoneType:
                return _convert(hint, value)
        except ValueError:
            continue
    raise ValueError(value)


def _is_scalar(value: object) -> bool:
    return isinstance(value, SCALARS) and not (isinstance(value, float) and not math.isfinite(value))


def _require(value: object, holds: bool) -> object:  # noqa: FBT001 - says what must hold
    if not holds:
        raise ValueError(value)
    return value
