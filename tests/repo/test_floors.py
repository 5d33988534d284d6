"""Testbed and faults keep their floors, and each rule is proved to bite on a planted violation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo import floors, tidy

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "testbed/wait.py": "",
    "testbed/lan/endpoint.py": "from testbed import wait",
    "testbed/lan/packets.py": "",
    "testbed/switch/core.py": "",
    "testbed/bed/__init__.py": "from testbed.bed.bed import Bed",
    "testbed/bed/bed.py": "from testbed.lan.endpoint import Endpoint",
    "testbed/__main__.py": "from testbed.bed import Bed",
}


@pytest.fixture(scope="module")
def sources() -> floors.Sources:
    """Every module of the project."""
    return tidy.modules(ROOT)


def test_every_import_goes_down(sources: floors.Sources) -> None:
    """No module imports from another folder of its floor, or from above."""
    complaints = floors.floor_complaints(sources)
    assert not complaints, "\n".join(complaints)


def test_no_modules_import_each_other_in_a_circle(sources: floors.Sources) -> None:
    """A reader can begin at the ground; it holds within a folder too."""
    complaints = floors.circle_complaints(sources)
    assert not complaints, "\n".join(complaints)


def test_folders_have_no_face_but_one(sources: floors.Sources) -> None:
    """What is imported stands where its name says."""
    complaints = floors.face_complaints(sources)
    assert not complaints, "\n".join(complaints)


def test_the_document_has_the_same_floors_in_the_same_order() -> None:
    """Who reads it reads what is enforced."""
    told = floors.rows((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert list(told.items()) == list(floors.FLOORS.items())


def about(complaints: list[str], path: str) -> list[str]:
    """Those of one module: the small trees here lack most folders."""
    return [complaint for complaint in complaints if complaint.startswith(path)]


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        ("testbed/wait.py", "import testbed.lan.endpoint", "(floor 0) must not import testbed/lan/endpoint.py (fl"),
        ("testbed/lan/packets.py", "from testbed.switch import core", "must not import testbed/switch/core.py"),
        ("testbed/lan/packets.py", "from testbed.bed import Bed", "must not import testbed/bed/__init__.py"),
        ("testbed/lan/packets.py", "def f():\n    from testbed.bed.bed import Bed", "packets.py:2"),
        ("testbed/lan/packets.py", "if TYPE_CHECKING:\n    from testbed.bed.bed import Bed", "packets.py:2"),
        ("testbed/lan/packets.py", "import importlib\nimportlib.import_module('testbed.bed.bed')", "packets.py:2"),
        ("testbed/other/x.py", "", "no floor"),
    ],
)
def test_an_import_that_does_not_go_down_is_found(path: str, code: str, expected: str) -> None:
    """However it is written."""
    assert about(floors.floor_complaints(GOOD), "testbed/lan/packets.py:") == []
    (complaint,) = about(floors.floor_complaints(GOOD | {path: code}), path)
    assert expected in complaint


def test_a_floor_without_a_folder_is_found() -> None:
    """The table is no longer than the tree."""
    assert "testbed/disk has a floor and no module" in floors.floor_complaints(GOOD)


def test_a_circle_is_found() -> None:
    """Two modules of one folder that need each other are one module, or want a third."""
    assert floors.circle_complaints(GOOD) == []
    both = GOOD | {
        "testbed/lan/endpoint.py": "from testbed.lan.packets import Frame",
        "testbed/lan/packets.py": "from testbed.lan import endpoint",
    }
    (complaint,) = floors.circle_complaints(both)
    assert complaint == "circle: testbed/lan/endpoint.py -> testbed/lan/packets.py -> testbed/lan/endpoint.py"


def test_a_second_face_is_found() -> None:
    """A sentence is allowed, code is not."""
    assert floors.face_complaints(GOOD | {"testbed/lan/__init__.py": '"""Wires."""\n'}) == []
    (complaint,) = floors.face_complaints(GOOD | {"testbed/lan/__init__.py": "from testbed.lan import packets\n"})
    assert complaint.startswith("testbed/lan/__init__.py: only testbed/bed/__init__.py")
