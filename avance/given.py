"""A JSON file that a person has written, read strictly: of a key that is there twice, nobody knows which one counts."""

from __future__ import annotations

import json
from pathlib import Path

from avance.parsed import Json


def read_given(path: Path) -> Json:
    """Return what the file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON in UTF-8, a key is given twice in one object, or a number is none (NaN, Infinity).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is given twice in one object")
        found[key] = value
    return found


def _no_number(text: str) -> Json:
    raise ValueError(f"{text} is no number")
