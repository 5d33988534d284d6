"""What is wrong with a JSON value by a published schema of the product. The only file that imports jsonschema.

The product itself checks what it reads by hand (avance/config.py and avance/wire): this is for the tests alone.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

SCHEMAS = Path(__file__).resolve().parents[1] / "avance" / "schema"
_ABOUT = {"$schema", "$id", "$defs", "title", "description", "default"}  # they forbid nothing
KEYWORDS = frozenset(jsonschema.Draft202012Validator.VALIDATORS) | _ABOUT


def load(name: str) -> Any:  # noqa: ANN401 - a JSON document
    """Return a published schema by its file name without ending."""
    return json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))


def complaints(name: str, value: object) -> list[str]:
    """Say where a value differs from a published schema; enumerations are compared as they go over the wire."""
    found = _validator(name).iter_errors(json.loads(json.dumps(value)))
    return [f"{error.json_path}: {error.message}" for error in found]


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = load(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)
