"""The state of the core has owners, and the rule is proved to bite on planted violations."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.repo import floors, owners, tidy

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
class Owner:
    held: bool = False
    def take(self) -> None:
        self.held = True
"""


@pytest.fixture(scope="module")
def core() -> dict[str, str]:
    """The modules of the core."""
    return {path: source for path, source in tidy.modules(ROOT).items() if path.startswith(owners.CORE)}


def test_state_has_one_owner(core: dict[str, str]) -> None:
    """No module of the core but the engine changes what another one holds."""
    complaints = [found for path, source in core.items() for found in owners.ownership_complaints(path, source)]
    assert not complaints, "\n".join(complaints)


def test_nobody_in_the_core_knows_the_engine(core: dict[str, str]) -> None:
    """Owners return what they decide; also for type hints they need nobody who asks them."""
    complaints = []
    for path, source in core.items():
        complaints += owners.engine_complaints(path, [name for _, name in tidy.imports(ast.walk(ast.parse(source)))])
    assert not complaints, "\n".join(complaints)


def test_the_product_has_no_circle() -> None:
    """Its modules can be read from the ground up, type hints included."""
    assert floors.circle_complaints(tidy.modules(ROOT), ("avance/",)) == []


@pytest.mark.parametrize(
    "code",
    [
        "def take(owner):\n    owner.held = True\n",
        "def take(owner):\n    owner.held += 1\n",
        "def take(owner):\n    owner.one, x = 1, 2\n",
        "def take(owner):\n    del owner.held\n",
        "def take(owner):\n    for owner.held in (1, 2):\n        pass\n",
        "class Mine:\n    def take(self, owner):\n        owner.held = True\n",
        "class Mine:\n    held: bool\n    def take(self):\n        self.other.held = True\n",
        "def take(owner):\n    setattr(owner, 'held', True)\n",
    ],
)
def test_a_change_behind_the_owners_back_is_found(code: str) -> None:
    """In any form."""
    assert owners.ownership_complaints("avance/core/x.py", code)


def test_an_owner_changes_itself_and_what_it_made() -> None:
    """So do functions beside it, and the engine, which applies what is returned; other packages are free."""
    beside = f"{OWNER}\ndef take(one: Owner) -> None:\n    one.held = True\n"
    assert owners.ownership_complaints("avance/core/x.py", beside) == []
    foreign = "def take(one):\n    one.held = True\n"
    assert owners.ownership_complaints("avance/core/engine.py", foreign) == []
    assert owners.ownership_complaints("avance/daemon.py", foreign) == []


def test_an_import_of_the_engine_is_found() -> None:
    """Also under a condition."""
    assert owners.engine_complaints("avance/core/x.py", ["avance.core.engine.Engine"])
    assert owners.engine_complaints("avance/daemon.py", ["avance.core.engine.Engine"]) == []


def test_a_circle_is_found() -> None:
    """Two modules that import each other, the second one for a type hint only."""
    sources = {
        "avance/core/x.py": "from avance.core.y import Y",
        "avance/core/y.py": "if TYPE_CHECKING:\n    from avance.core.x import X",
    }
    assert "x.py -> avance/core/y.py" in floors.circle_complaints(sources, ("avance/",))[0]
