"""The published schemas are well-formed, and the check that the tests use finds what breaks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import schema_check

NAMES = sorted(path.stem for path in schema_check.SCHEMAS.glob("*.json"))


def keywords(schema: Any) -> Iterator[str]:  # noqa: ANN401 - a part of a JSON document
    """Every keyword of a schema and of the schemas inside it."""
    if not isinstance(schema, dict):
        return
    for word, value in schema.items():
        yield word
        if word in ("properties", "$defs"):
            inner = list(value.values())
        else:
            inner = value if isinstance(value, list) else [value]
        if word not in ("const", "enum", "default"):
            for part in inner:
                yield from keywords(part)


@pytest.mark.parametrize("name", NAMES)
def test_no_keyword_is_passed_over(name: str) -> None:
    """A keyword that the check does not know would forbid nothing, and nobody would notice."""
    assert set(keywords(schema_check.load(name))) - schema_check.KEYWORDS == set()


@pytest.mark.parametrize("name", NAMES)
def test_what_breaks_a_schema_is_found(name: str) -> None:
    """Neither an empty object nor a list is a document of any schema."""
    assert schema_check.complaints(name, {})
    assert schema_check.complaints(name, [])


def test_a_complaint_says_where() -> None:
    """A missing, an unknown and an ill-formed member are each found, with their place."""
    found = schema_check.complaints("site", {"secret": "xyz", "colour": "red"})
    assert any("$.secret: 'xyz' does not match" in text for text in found)
    assert any("'colour' was unexpected" in text for text in found)
    assert any("'nodes' is a required property" in text for text in found)
