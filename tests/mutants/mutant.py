"""What a mutant is: a defect of the product as a small edit of its source, applied in memory while it is imported.

The product knows nothing of it: no switch stands in its code. It must never write a file of the product.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[2]


class CatalogueError(Exception):
    """An edit does not fit the product as it is; the text names the place."""


@dataclass(frozen=True)
class Edit:
    """One place: `old` stands exactly once in the file and is replaced by `new`."""

    path: str
    old: str
    new: str

    @property
    def module(self) -> str:
        """The dotted name of the module."""
        return self.path.removesuffix(".py").replace("/", ".")

    def applied(self, source: str) -> str:
        """Return the source with the defect in it.

        Raises:
            CatalogueError: the old text is not there, or more than once.
        """
        found = source.count(self.old)
        if found != 1:
            raise CatalogueError(f"{self.path}: this text is there {found} times, not once:\n{self.old}")
        return source.replace(self.old, self.new)


@dataclass(frozen=True)
class Mutant:
    """A defect: its story in one sentence, and the edits that make it; two where two checks guard the same.

    `beyond` says why the simulator cannot see it: then a unit test has to. `units` are tests beside those of the edited
    modules.
    """

    name: str
    story: str
    edits: tuple[Edit, ...]
    beyond: str = ""
    units: tuple[str, ...] = ()

    def sources(self) -> dict[str, str]:
        """Return the edited source of each module that it changes."""
        made: dict[str, str] = {}
        for edit in self.edits:
            before = made.get(edit.module, (ROOT / edit.path).read_text(encoding="utf-8"))
            made[edit.module] = edit.applied(before)
        for edit in self.edits:
            compile(made[edit.module], edit.path, "exec")
        return made

    def unit_tests(self) -> list[str]:
        """Return the files with the unit tests of what it changes."""
        mirrors = [f"tests/unit/{path.parent}/test_{path.name}" for path in (Path(edit.path) for edit in self.edits)]
        return list(dict.fromkeys([*mirrors, *self.units]))


class _Loader(SourceFileLoader):
    """Compiles the edited source; the cache of compiled files is neither read nor written."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the edited source."""
        code: CodeType = self.source_to_code(self._source.encode(), self.path)
        return code


class Finder(MetaPathFinder):
    """Finds the edited modules before Python finds those on disk."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of an edited module, None for any other."""
        if fullname not in self._sources:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            raise CatalogueError(f"{fullname} cannot be imported")
        loader = _Loader(fullname, found.origin, self._sources[fullname])
        return importlib.machinery.ModuleSpec(fullname, loader, origin=found.origin)


def install(mutant: Mutant) -> None:
    """Let this process import the product with the defect, for the rest of its life.

    Raises:
        CatalogueError: an edit does not fit, or a module that it changes is there already.
    """
    sources = mutant.sources()
    early = sorted(sources.keys() & sys.modules.keys())
    if early:
        raise CatalogueError(f"{mutant.name}: imported already, without the defect: {', '.join(early)}")
    sys.meta_path.insert(0, Finder(sources))
