"""One process for one mutant: run the rows, the random histories or the unit tests until one of them fails.

It must not import the product before the defect is in it.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import pytest

from tests.mutants.mutant import CatalogueError, Mutant, install

ROWS = "tests/sim"
UNITS = "tests/unit"
TWINS = "tests/sim/twins"  # compare an engine with itself, and a defect is in both; they would only take time
VARIANTS = 3  # of each test; more differ by a seed only, and the random histories have enough of those
TEST_LIMIT_S = 60  # a defect may make a test endless; that kills it too
SEED = re.compile(r"seed (\d+): ")  # so the page names a random history
_DEFECT_ERRORS = (LookupError, TypeError, ValueError, AttributeError, RecursionError, TimeoutError)
WORLDS = "tests/sim/test_agreed_worlds.py"  # minutes; test_agreed_small.py sees the same
YEAR = "tests/sim/test_year_of_daemons.py"  # hours of a sound product, to see whether anything grows
_USUAL = (
    "-q", "-p", "no:tests.shuffled", "-p", "no:cacheprovider", f"--timeout={TEST_LIMIT_S}",
    f"--ignore={TWINS}", f"--ignore={YEAR}", f"--ignore={WORLDS}",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What failed, the first one first, and how long it took; nothing when the mutant survives."""

    failed: tuple[str, ...]
    seconds: float


@dataclass(eq=False)
class _Watcher:
    """A plugin of pytest: the known killer comes first, then the first variant of each test; what fails is noted."""

    excluded: frozenset[str]
    first: str = ""
    only: frozenset[str] = frozenset()  # when it is given: no other test
    failed: list[str] = field(default_factory=list)

    def pytest_configure(self) -> None:
        """Let generated examples be the same each time, and leave none behind."""
        from hypothesis import settings  # noqa: PLC0415 - pytest must be the first to import its plugins

        settings.register_profile("mutants", database=None, derandomize=True)
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the first variants of all tests before the second ones: what fails in one mostly fails in all."""
        seen: Counter[str] = Counter()
        turn: dict[str, int] = {}
        for item in items:
            test = item.nodeid.partition("[")[0]
            turn[item.nodeid] = seen[test]
            seen[test] += 1
        chosen = [i for i in items if i.nodeid not in self.excluded and self._wanted(i.nodeid, turn[i.nodeid])]
        items[:] = sorted(chosen, key=lambda i: (short(i.nodeid) != self.first, turn[i.nodeid]))

    def _wanted(self, test: str, turn: int) -> bool:
        return short(test) in self.only if self.only else turn < VARIANTS

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what failed, in whatever phase."""
        if report.failed and report.nodeid not in self.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot even be imported has failed."""
        if report.failed:
            self.failed.append(report.nodeid)


def short(name: str) -> str:
    """Return the name of a test without its folders, or what else it is as it is."""
    path, _, test = name.rpartition("::")
    return f"{Path(path).name}::{test}" if path else name


def run_tests(
    mutant: Mutant | None,
    paths: tuple[str, ...],
    excluded: frozenset[str],
    *,
    every: bool = False,
    first: str = "",
    only: frozenset[str] = frozenset(),
) -> Found:
    """Run tests with the defect in the product, up to the first that fails; `every`: all of them.

    The test called `first` comes before the others: it noticed the defect the last time. When `only` names tests, no
    other test is run.
    """
    begin_s = time.monotonic()
    if mutant is not None:
        install(mutant)
    watcher = _Watcher(excluded, first, only)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        ended = pytest.main([*_USUAL, *([] if every else ["-x"]), *paths], plugins=[watcher])
    if only and ended is pytest.ExitCode.NO_TESTS_COLLECTED:
        return Found((), time.monotonic() - begin_s)  # nobody has this name any more
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not watcher.failed:
        raise CatalogueError(f"pytest ended with {ended}: {said.getvalue()[-2000:]}")
    return Found(tuple(watcher.failed), time.monotonic() - begin_s)


def histories(mutant: Mutant | None, seeds: range, excluded: frozenset[str], *, every: bool = False) -> Found:
    """Run random histories with the defect in the product, up to the first that does not hold."""
    begin_s = time.monotonic()
    if mutant is not None:
        install(mutant)
    from tests.sim.history import run  # noqa: PLC0415 - it imports the product
    from tests.sim.plan import draw  # noqa: PLC0415

    failed = []
    signal.signal(signal.SIGALRM, _too_long)
    for seed in seeds:
        name = f"seed {seed}"
        if name in excluded:
            continue
        signal.alarm(TEST_LIMIT_S)
        try:
            violation = run(draw(seed)).violation
        except _DEFECT_ERRORS as error:
            violation = repr(error)
        signal.alarm(0)
        if violation is not None:
            failed.append(f"{name}: {violation.partition(':')[0]}" if not every else name)
            if not every:
                break
    return Found(tuple(failed), time.monotonic() - begin_s)


def _too_long(_: int, __: FrameType | None) -> None:
    raise TimeoutError("the history does not end")


def named(mutant: Mutant | None, names: frozenset[str], folders: tuple[str, ...], excluded: frozenset[str]) -> Found:
    """Run nothing but the tests of these names below these folders, and the histories of these seeds.

    Without a defect all of them are run, with one up to the first test that fails.
    """
    begin_s = time.monotonic()
    failed: tuple[str, ...] = ()
    every = mutant is None
    files = {name.partition("::")[0] for name in names if "::" in name}
    paths = [str(path) for folder in folders for path in sorted(Path(folder).rglob("test_*.py")) if path.name in files]
    if paths:
        failed = run_tests(mutant, tuple(paths), excluded, every=every, only=names).failed
        mutant = None  # the defect is in this process already
    for seed in sorted(int(found[1]) for name in names if (found := SEED.match(name))):
        failed += histories(mutant, range(seed, seed + 1), excluded, every=every).failed
        mutant = None
    return Found(failed, time.monotonic() - begin_s)


def simulator(mutant: Mutant, seeds: range, excluded: frozenset[str], first: str = "") -> Found:
    """Try the rows of the fault catalogue, then random histories; `first`, a row or a seed, noticed it before."""
    begin_s = time.monotonic()
    tried: Mutant | None = mutant
    if seed := SEED.match(first):
        found = histories(mutant, range(int(seed[1]), int(seed[1]) + 1), excluded)
        if found.failed:
            return found
        tried = None  # the defect is in this process already
    found = run_tests(tried, (ROWS,), excluded, first=first)
    if not found.failed:
        found = histories(None, seeds, excluded)
    return Found(found.failed, time.monotonic() - begin_s)
