"""The floors of testbed and faults: which folder may import which. Functions from source text to complaints; pure.

A module imports from its own folder and from lower floors, never from another folder of its floor or from above. As
each single import goes down, so does every chain of them, and folders make no circle. Imports inside functions and for
types only count as well. It must never import the code it looks at.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from tests.repo.tidy import dotted, imports, own_name

# Folder, or a module that has a floor of its own -> its floor. CONTRIBUTING.md says what each is for.
FLOORS = {
    "testbed/__main__.py": 7,
    "testbed/fixtures.py": 7,
    "testbed/figures": 6,
    "testbed/judge/panel.py": 6,
    "testbed/report": 5,
    "testbed/bench": 5,
    "testbed/by_hand": 5,
    "testbed/judge/oracles": 5,
    "testbed/judge": 4,
    "testbed/bed": 4,
    "testbed/host": 3,
    "testbed/replica": 3,
    "testbed/world": 3,
    "testbed/world/service_centre": 3,
    "testbed/bmc": 3,
    "testbed/node": 2,
    "testbed/client": 2,
    "testbed/switch": 1,
    "testbed/disk": 1,
    "testbed/lan": 1,
    "testbed": 0,
    "faults/verbs": 7,
    "faults/bench": 6,
    "faults/run": 5,
    "faults/schedule": 4,
    "faults/alarms": 4,
    "faults/registry.py": 3,
    "faults/kinds/hardware": 2,
    "faults/kinds/link": 2,
    "faults/kinds/node": 2,
    "faults/kinds/process": 2,
    "faults/kinds": 1,
    "faults/kinds/evidence": 0,
    "faults": 0,
}
PACKAGES = ("testbed/", "faults/")
FACES = ("testbed/bed/__init__.py",)  # hand on what others want; every other __init__ is empty

Sources = Mapping[str, str]


def room_of(path: str) -> str:
    """The folder of a module, or the module itself when it has a floor of its own."""
    return path if path in FLOORS else path.rpartition("/")[0]


def late_imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Modules that are imported by a name in a text."""
    for node in nodes:
        if isinstance(node, ast.Call) and dotted(node.func).endswith("import_module") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield node.lineno, name.value


@cache
def all_imports(source: str) -> tuple[tuple[int, str], ...]:
    """Each module that a source imports, in whatever way, with the line; several rules want to know."""
    nodes = tuple(ast.walk(ast.parse(source)))
    return (*imports(nodes), *late_imports(nodes))


def imported_paths(path: str, sources: Sources) -> Iterator[tuple[int, str]]:
    """Each module of the same package that a module imports, by path, with the line."""
    names = {own_name(other).removesuffix(".__init__"): other for other in sources}
    for line, imported in all_imports(sources[path]):
        if not imported.startswith(f"{path.partition('/')[0]}."):
            continue
        name = imported
        while name not in names and "." in name:  # what is imported may be a name in the module
            name = name.rpartition(".")[0]
        if name in names:
            yield line, names[name]


def floor_complaints(sources: Sources) -> list[str]:
    """Imports that do not go down, folders without a floor, and floors without a folder."""
    complaints = []
    ours = [path for path in sources if path.startswith(PACKAGES)]
    rooms = {path: room_of(path) for path in ours}
    for path in ours:
        if rooms[path] not in FLOORS:
            complaints.append(f"{path}: its folder has no floor in tests/repo/floors.py")
            continue
        for line, other in imported_paths(path, sources):
            own, there = rooms[path], rooms[other]
            if own != there and there in FLOORS and FLOORS[there] >= FLOORS[own]:
                complaints.append(
                    f"{path}:{line}: {own} (floor {FLOORS[own]}) must not import {other} (floor {FLOORS[there]})"
                )
    return complaints + [f"{room} has a floor and no module" for room in FLOORS if room not in rooms.values()]


def circle_complaints(sources: Sources, packages: tuple[str, ...] = PACKAGES) -> list[str]:
    """Modules that import each other in a circle, also within a folder; the first circle of each start."""
    ours = [path for path in sources if path.startswith(packages)]
    graph = {path: sorted({other for _, other in imported_paths(path, sources)} - {path}) for path in ours}
    done: set[str] = set()
    complaints = []

    def visit(path: str, way: tuple[str, ...]) -> None:
        if path in way:
            complaints.append(f"circle: {' -> '.join((*way[way.index(path) :], path))}")
        elif path not in done:
            for other in graph[path]:
                visit(other, (*way, path))
            done.add(path)

    for path in ours:
        visit(path, ())
    return complaints


def face_complaints(sources: Sources) -> list[str]:
    """Folders whose `__init__` does something although they are no face; one that only says what it is for is empty."""
    return [
        f"{path}: only {', '.join(FACES)} hands anything on"
        for path, source in sources.items()
        if path.startswith(PACKAGES) and path.endswith("/__init__.py") and path not in FACES
        if any(not isinstance(part, ast.Expr) for part in ast.parse(source).body)
    ]


def rows(text: str) -> dict[str, int]:
    """The floors as a table of a document has them: `| 3 | testbed/host | what it is for |`."""
    below = text.partition("\n| Floor |")[2].partition("\n## ")[0]
    cells = (line.split("|") for line in below.splitlines() if line.startswith("| "))
    return {cell[2].strip().strip("`"): int(cell[1]) for cell in cells if len(cell) > 3 and cell[1].strip().isdecimal()}
