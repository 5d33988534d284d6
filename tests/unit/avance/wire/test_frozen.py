"""A frozen engine goes on as if nothing had happened, and a foreign file can make nothing but values of the core."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path

import pytest

from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import PairState, Record
from avance.parsed import Json
from avance.wire import frozen
from avance.wire.frozen import freeze, thaw
from avance.wire.plain import to_plain
from tests.playbook import TICK_S, WEB, A, B, Playbook, paired, setup


def again(engine: Engine) -> Engine:
    """Return the engine after a passage through a file."""
    made = thaw(json.loads(json.dumps(freeze(engine))))
    assert isinstance(made, Engine)
    return made


@pytest.mark.parametrize("me", [A, B])
@pytest.mark.parametrize("silent_s", [0.0, 3.0, 10.0, 16.9])
def test_thawed_engine_decides_alike(me: str, silent_s: float) -> None:
    """At whatever moment of a takeover: the thawed engine gives the very decisions of the one that went on."""
    book = paired(A if me == A else B)
    book.pass_time(silent_s)
    other = again(book.engine)
    for number in range(1, 120):
        now = book.now + number * TICK_S
        event = e.FencePeerAsked(WEB, 1) if number == 60 else e.Tick(1000.0 + number // 10)
        assert other.handle(event, now) == book.engine.handle(event, now)
    assert freeze(other) == freeze(book.engine)


def mutable(value: object) -> Iterator[object]:
    """Yield every object inside that can change."""
    if isinstance(value, Enum | type):
        return
    if isinstance(value, dict | list | set) or is_dataclass(value):
        yield value
    inner: list[object] = []
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list | tuple | set):
        inner = list(value)
    elif is_dataclass(value):
        inner = [getattr(value, name) for name in value.__dataclass_fields__]
    for part in inner:
        yield from mutable(part)


def test_nothing_that_changes_is_shared() -> None:
    """No changing object hangs on the engine twice: thawed, it would be two."""
    engine = paired(A).engine
    found = [id(part) for part in mutable(vars(engine)) if not _frozen(part)]
    assert len(found) == len(set(found))


def _frozen(value: object) -> bool:
    """Values that cannot change may be shared."""
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen


@pytest.mark.parametrize(
    "value",
    [
        {"o": "os.system", "a": {}},
        {"o": "engine.Nothing", "a": {}},
        {"o": "model.PairState", "a": {}},
        {"o": "model.Record", "a": {"epoch": 1}},
        {"e": "model.PairState", "v": "GONE"},
        {"e": "model.Record", "v": "epoch"},
        {"x": 1},
    ],
)
def test_foreign_state_is_refused(value: Json) -> None:
    """Only what this version of the core knows is ever made."""
    with pytest.raises(ValueError, match=r"core|state"):
        thaw(value)


def test_every_class_of_the_core_is_known() -> None:
    """A module of the core that defines a class is in the list, so that no state is ever lost at a rotation."""
    directory = Path(frozen.__file__).parents[1] / "core"
    trees = {path.stem: ast.parse(path.read_text()) for path in directory.glob("*.py")}
    defining = {name for name, tree in trees.items() if any(isinstance(part, ast.ClassDef) for part in tree.body)}
    known = {module.__name__.rpartition(".")[2] for module in frozen._MODULES}
    beside = {"register", "halves", "operator", "results", "grouping", "rehearsal"}
    assert defining - known == beside, "they are not the engine's state"


def test_foreign_object_is_not_kept() -> None:
    """An object of a class that would not come back is named, not lost."""
    with pytest.raises(ValueError, match="Playbook"):
        freeze(Playbook(Engine(setup(A), Record())))


def test_every_kind_of_container_survives() -> None:
    """Containers keep their kind and their order."""
    value = {"a": [1, 2.5, None], 3: (True, "x"), "s": {"b", "a"}, "e": PairState.SPLIT, "r": Record(1, A)}
    assert thaw(json.loads(json.dumps(freeze(value)))) == value
    assert to_plain(Record(1, A))["owner"] == "a"
