"""A small structural check of JSON values against the published schemas: just the keywords that they use.

It must never pass over a keyword in silence: one that it does not know is an error.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from avance.parsed import Json

SCHEMAS = Path(__file__).resolve().parents[3] / "avance" / "schema"
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_WORDS = {"$schema", "$id", "$defs", "title", "description", "default"}


def load(name: str) -> Json:
    """Return a published schema by its file name without ending."""
    return json.loads((SCHEMAS / f"{name}.json").read_text())


def complaints(name: str, value: Json) -> list[str]:
    """Say where a value differs from a published schema; enumerations are compared as they go over the wire."""
    root = load(name)
    return _check(root, root, json.loads(json.dumps(value)), "$")


def _check(root: Json, schema: Json, value: Json, place: str) -> list[str]:
    found: list[str] = []
    for word, wanted in schema.items():
        if word == "$ref":
            found += _check(root, root["$defs"][wanted.rsplit("/", maxsplit=1)[1]], value, place)
        elif word == "anyOf":
            if all(_check(root, option, value, place) for option in wanted):
                found.append(f"{place}: {value!r} fits no option")
        elif word not in _WORDS and not _fits(root, schema, word, wanted, value, place, found):
            found.append(f"{place}: {value!r} breaks {word} {wanted!r}")
    return found


def _fits(
    root: Json, schema: Json, word: str, wanted: Json, value: Json, place: str, found: list[str]
) -> bool:
    match word:
        case "type":
            names = wanted if isinstance(wanted, list) else [wanted]
            return any(isinstance(value, _TYPES[n]) and (n == "boolean" or not isinstance(value, bool)) for n in names)
        case "const":
            return bool(value == wanted)
        case "enum":
            return value in wanted
        case "pattern":
            return not isinstance(value, str) or re.search(wanted, value) is not None
        case "minimum" | "maximum" | "exclusiveMinimum":
            if word == "exclusiveMinimum":
                return bool(value > wanted)
            return value is None or bool(value >= wanted if word == "minimum" else value <= wanted)
        case "minItems" | "minProperties":
            return value is None or len(value) >= wanted
        case "maxItems" | "maxProperties":
            return value is None or len(value) <= wanted
        case "required":
            return value is None or set(wanted) <= value.keys()
    return _fits_inside(root, schema, word, wanted, value, place, found)


def _fits_inside(
    root: Json, schema: Json, word: str, wanted: Json, value: Json, place: str, found: list[str]
) -> bool:
    if value is None:
        return True
    match word:
        case "properties":
            for key in wanted.keys() & value.keys():
                found += _check(root, wanted[key], value[key], f"{place}.{key}")
        case "additionalProperties":
            more = value.keys() - schema.get("properties", {}).keys()
            if wanted is False:
                return not more
            for key in more:
                found += _check(root, wanted, value[key], f"{place}.{key}")
        case "propertyNames":
            found += [text for key in value for text in _check(root, wanted, key, f"{place} name")]
        case "items":
            found += [text for i, item in enumerate(value) for text in _check(root, wanted, item, f"{place}[{i}]")]
        case "prefixItems":
            pairs = enumerate(zip(wanted, value, strict=False))
            found += [text for i, (part, item) in pairs for text in _check(root, part, item, f"{place}[{i}]")]
        case _:
            raise ValueError(f"the check does not know the keyword {word!r}")
    return True
