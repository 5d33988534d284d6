"""Proves that a constructor's parameters are read as they are, and that a file's value is never bent to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from faults.kinds.link.traffic import Loss
from faults.parameters import converted, nearest, parameters_of
from testbed.errors import UsageError
from testbed.switch.client import Direction


class Colour(StrEnum):
    """Something to choose from."""

    RED = "red"
    BLUE = "blue"


class Thing:
    """Takes one of each."""

    def __init__(
        self, target: str, size: int, *, weight_s: float = 1.0, colour: Colour = Colour.RED, path: Path | None = None,
        words: Sequence[str] = (), match: Mapping[str, object] | None = None, raw: bytes = b"", on: bool = True,
    ) -> None:  # fmt: skip
        self.given = (target, size, weight_s, colour, path, words, match, raw, on)


@dataclass
class Made:
    """Has a default that is made."""

    match: dict[str, object] = field(default_factory=lambda: {"port": 7})
    hidden: int = field(default=1, init=False)


KNOWN = parameters_of(Thing, without=("target",))


def test_each_type_is_said_in_words() -> None:
    """A list shows what may be given, and leaves out what a file cannot give."""
    assert {item.name: item.type_name for item in KNOWN} == {
        "size": "int", "weight_s": "float", "colour": "red, blue", "path": "path or null", "words": "list of str",
        "match": "object or null", "on": "bool",
    }  # fmt: skip
    assert [item.name for item in KNOWN if item.required] == ["size"]
    assert KNOWN[0].text() == "size (int, required)"
    assert KNOWN[2].text() == "colour=red (red, blue)"


def test_a_dataclass_is_read_through_its_bases() -> None:
    """A fault whose fields come from another module is as readable, and its made default is shown as it will be."""
    known = {item.name: item for item in parameters_of(Loss, without=("target",))}
    assert known["direction"].type_name == "in, out, both"
    assert known["direction"].default is Direction.BOTH
    assert parameters_of(Made)[0].default == {"port": 7}
    assert [item.name for item in parameters_of(Made)] == ["match"]


def test_right_values_are_converted() -> None:
    """The constructor gets its own types."""
    given = {"size": 3, "weight_s": 2, "colour": "blue", "path": "x/y", "words": ["a"], "match": {"p": 1}, "on": False}
    values = converted(KNOWN, given, owner="thing")
    assert values == {
        "size": 3, "weight_s": 2.0, "colour": Colour.BLUE, "path": Path("x/y"), "words": ("a",), "match": {"p": 1},
        "on": False,
    }  # fmt: skip
    assert isinstance(values["weight_s"], float)
    assert converted(KNOWN, {"size": 1, "path": None}, owner="thing")["path"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": "3"}, "thing: size must be int, not '3'"),
        ({"size": 3.0}, "size must be int"),
        ({"size": True}, "size must be int"),
        ({"size": 1, "weight_s": "1"}, "weight_s must be float"),
        ({"size": 1, "weight_s": False}, "weight_s must be float"),
        ({"size": 1, "weight_s": float("inf")}, "weight_s must be float"),
        ({"size": 1, "weight_s": 10**400}, "weight_s must be float"),
        ({"size": 1, "colour": "green"}, "colour must be red, blue, not 'green'"),
        ({"size": 1, "path": ""}, "path must be path or null"),
        ({"size": 1, "words": "abc"}, "words must be list of str"),
        ({"size": 1, "words": [1]}, "words must be list of str"),
        ({"size": 1, "match": {"a": {}}}, "match must be object or null"),
        ({"size": 1, "match": {"a": float("inf")}}, "match must be object or null"),
        ({"size": 1, "on": 1}, "on must be bool, not 1"),
        ({"size": 1, "raw": "x"}, "thing has no parameter 'raw'"),
        ({"size": 1, "wieght_s": 1}, "has no parameter 'wieght_s' (did you mean weight_s?); possible are size (int"),
        ({}, "thing needs size; possible are"),
    ],
)
def test_wrong_values_are_refused(given: dict[str, object], said: str) -> None:
    """Each refusal names the parameter and what is possible."""
    with pytest.raises(UsageError) as refused:
        converted(KNOWN, given, owner="thing")
    assert said in str(refused.value)


def test_nothing_is_possible_without_parameters() -> None:
    """A thing without parameters says so."""
    with pytest.raises(UsageError, match="it takes no parameter"):
        converted((), {"x": 1}, owner="thing")


def test_a_word_far_from_all_has_no_neighbour() -> None:
    """A suggestion is made only when it is one."""
    assert nearest("zzzz", ["abc"]) == ""
