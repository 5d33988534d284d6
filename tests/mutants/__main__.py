"""The command `python -m tests.mutants`: for each seeded defect of the product the test that kills it, and the score.

Each defect lives in a process of its own. What the page names as its killer is tried first, and is enough. Where it
does not kill, unit tests and simulator are searched; with `--thorough` they are searched for every defect. What is run
with a defect is run without any defect before: what fails then kills nobody.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from tests.mutants import worker
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, CatalogueError, Mutant
from tests.mutants.worker import Found

KILLED_MIN = 25  # by the simulator
HISTORIES = 400
PAGE = ROOT / "docs" / "mutants.md"
_SHOWN = 100
_LAST = "The last run of all mutants:"
_BEYOND, _SURVIVES = "cannot see it", "**survives**"


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant."""

    mutant: Mutant
    simulator: Found | None
    units: Found

    @property
    def survives(self) -> bool:
        """Nothing noticed it at all."""
        return not self.units.failed and self.outlives

    @property
    def outlives(self) -> bool:
        """The simulator tried it and noticed nothing, or cannot see it."""
        return self.simulator is None or not self.simulator.failed


def main(argv: list[str] | None = None) -> int:
    """Try the mutants; 0 when none survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these mutants")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--histories", type=int, default=HISTORIES, help="how many random histories are tried")
    parser.add_argument("--write", type=Path, help="a file for the table")
    parser.add_argument("--thorough", action="store_true", help="search for all of them, in both columns; hours")
    given = parser.parse_args(argv)
    unknown = sorted({*given.names} - {mutant.name for mutant in MUTANTS})
    if unknown:
        parser.error(f"there is no mutant {', '.join(unknown)}; there are: {', '.join(m.name for m in MUTANTS)}")
    chosen = [mutant for mutant in MUTANTS if mutant.name in given.names or not given.names]
    try:
        for mutant in chosen:
            mutant.sources()
    except CatalogueError as error:
        print(error, file=sys.stderr)
        return 2
    begin_s = time.monotonic()
    seeds = range(given.histories)
    known = read_page(PAGE.read_text(encoding="utf-8"))
    with _pool(given.jobs) as pool:
        broken, lines = (frozenset[str](), {}) if given.thorough else ask_named(pool, chosen, known)
        rest = [mutant for mutant in chosen if mutant.name not in lines]
        searched: dict[str, Line] = {}
        if rest:
            broken |= _without_defect(pool, rest, seeds)
            searched = lines_of(_try_all(pool, rest, seeds, broken, known))
    lines |= searched
    if given.write is not None:
        told = "" if given.names else verified(lines, [*searched])
        write(given.write, lines, HISTORIES if given.names else len(seeds), told)
    for name in sorted(broken):
        print(f"fails without any defect, so it counts for nothing: {name}")
    survivors = [name for name, line in lines.items() if line.survives]
    print(
        f"{len(lines) - len(survivors)} of {len(lines)} mutants are noticed, {len(searched)} of them searched for anew"
    )
    print(f"as the page says now: {score(lines)}; {time.monotonic() - begin_s:.0f} s with {given.jobs} jobs")
    enough = bool(given.names) or not given.thorough or killed_by_simulator(lines) >= KILLED_MIN
    return 0 if enough and not broken and not survivors else 1


def _pool(jobs: int) -> ProcessPoolExecutor:
    """Return a pool whose processes do one task each: a defect stays in the process into which it was imported."""
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1)


def ask_named(pool: Executor, chosen: list[Mutant], known: dict[str, Line]) -> tuple[frozenset[str], dict[str, Line]]:
    """Try each mutant with the one killer that the page names, the unit test rather than the simulator's.

    Returns:
        what fails without any defect, and the lines of the mutants that were noticed.
    """
    asked = [mutant for mutant in chosen if mutant.name in known and known[mutant.name].chosen]
    names = frozenset(known[mutant.name].chosen for mutant in asked)
    none: frozenset[str] = frozenset()
    sound = pool.submit(worker.named, None, names, (worker.UNITS, worker.ROWS), none)
    broken = frozenset(sound.result().failed)
    running = []
    for mutant in asked:
        line = known[mutant.name]
        folder = worker.UNITS if line.killer(line.units) else worker.ROWS
        running.append((mutant, pool.submit(worker.named, mutant, frozenset({line.chosen}), (folder,), broken)))
    lines = {}
    for mutant, future in running:
        found, line = future.result(), known[mutant.name]
        said = f"killed    {mutant.name}: {mutant.story}" if found.failed else f"not yet   {mutant.name}: {line.chosen}"
        print(f"{said}\n          {found.seconds:5.1f} s  {killer(found)}", flush=True)
        if found.failed:
            cell = {"units" if line.killer(line.units) else "simulator": _cell(killer(found))}
            lines[mutant.name] = replace(line, story=mutant.story, **cell)
    return broken, lines


def _without_defect(pool: ProcessPoolExecutor, chosen: list[Mutant], seeds: range) -> frozenset[str]:
    none: frozenset[str] = frozenset()
    units = tuple(dict.fromkeys(path for mutant in chosen for path in mutant.unit_tests()))
    first = [
        pool.submit(worker.run_tests, None, (worker.ROWS,), none, every=True),
        pool.submit(worker.histories, None, seeds, none, every=True),
        pool.submit(worker.run_tests, None, units, none, every=True),
    ]
    return frozenset(name for future in first for name in future.result().failed)


def _try_all(
    pool: ProcessPoolExecutor, chosen: list[Mutant], seeds: range, broken: frozenset[str], known: dict[str, Line]
) -> list[Verdict]:
    """Try each mutant; what noticed it the last time, as the page knows, is tried first."""
    running: list[tuple[Mutant, Future[Found] | None, Future[Found]]] = []
    for mutant in chosen:
        last = known.get(mutant.name, Line("", "", ""))
        rows = (
            None if mutant.beyond else pool.submit(worker.simulator, mutant, seeds, broken, last.killer(last.simulator))
        )
        paths = tuple(mutant.unit_tests())
        units = pool.submit(worker.run_tests, mutant, paths, broken, first=last.killer(last.units))
        running.append((mutant, rows, units))
    verdicts = []
    for mutant, simulator, units in running:
        verdicts.append(Verdict(mutant, None if simulator is None else simulator.result(), units.result()))
        print(line(verdicts[-1]), flush=True)
    return verdicts


def line(verdict: Verdict) -> str:
    """Return what became of a mutant, for the terminal."""
    parts = [f"{'SURVIVES' if verdict.survives else 'killed':8}  {verdict.mutant.name}: {verdict.mutant.story}"]
    if verdict.simulator is not None:
        parts.append(f"          simulator {verdict.simulator.seconds:5.1f} s  {killer(verdict.simulator)}")
    parts.append(f"          units     {verdict.units.seconds:5.1f} s  {killer(verdict.units)}")
    return "\n".join(parts)


def killer(found: Found) -> str:
    """Return the name of what killed a mutant, as short as it is unique."""
    if not found.failed:
        return "-"
    name = worker.short(found.failed[0])
    return name if "::" in name else name[:_SHOWN]


@dataclass(frozen=True)
class Line:
    """One line of the page: a defect and what noticed it, as the cells of the table say it."""

    story: str
    simulator: str
    units: str

    @property
    def tried(self) -> bool:
        """The simulator can see such a defect."""
        return self.simulator != _BEYOND

    @property
    def outlives(self) -> bool:
        """The simulator does not notice it."""
        return not self.simulator.startswith("`")

    @property
    def survives(self) -> bool:
        """Nothing noticed it at all."""
        return self.outlives and self.units == _SURVIVES

    @property
    def chosen(self) -> str:
        """The killer that is asked first: the unit test, which takes less, or what the simulator has; or nothing."""
        return self.killer(self.units) or self.killer(self.simulator)

    @staticmethod
    def killer(cell: str) -> str:
        """Return the name that stands in a cell, as pytest knows it; empty when there is none."""
        return cell.strip("`").replace("\\|", "|") if cell.startswith("`") else ""


def lines_of(verdicts: list[Verdict]) -> dict[str, Line]:
    """Return the lines of the page by the names of the mutants."""
    found = {}
    for verdict in verdicts:
        simulator = _BEYOND if verdict.simulator is None else _cell(killer(verdict.simulator))
        found[verdict.mutant.name] = Line(verdict.mutant.story, simulator, _cell(killer(verdict.units)))
    return found


def read_page(page: str) -> dict[str, Line]:
    """Return the lines of a page that was written before."""
    cells = (line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| "))
    return {name: Line(*rest) for name, *rest in cells if name != "Mutant"}


def killed_by_simulator(lines: dict[str, Line]) -> int:
    """Return how many mutants the simulator killed."""
    return sum(not line.outlives for line in lines.values())


def score(lines: dict[str, Line]) -> str:
    """Return the kill scores in one line."""
    units = sum(line.units != _SURVIVES for line in lines.values())
    only_units = [name for name, line in lines.items() if line.tried and line.outlives and not line.survives]
    told = f"; only unit tests notice {', '.join(only_units)}" if only_units else ""
    survivors = [name for name, line in lines.items() if line.survives]
    told += f"; survivors: {', '.join(survivors)}" if survivors else ""
    return (
        f"the simulator kills {killed_by_simulator(lines)} of {sum(line.tried for line in lines.values())}, "
        f"the unit tests of the touched modules {units} of {len(lines)}{told}"
    )


def verified(lines: dict[str, Line], searched: list[str]) -> str:
    """Return which cells a run of all mutants has seen itself."""
    noticed = sum(not line.survives for line in lines.values())
    told = f"{_LAST} {noticed} of {len(lines)} are noticed."
    if len(searched) == len(lines):
        return f"{told} It searched for all of them in both columns."
    told += " It asked the unit test that a row names, or the simulator's killer where no unit test notices."
    told += " The other cell of a row is as an earlier run left it."
    return f"{told} These it searched for anew, in both columns: {', '.join(searched)}." if searched else told


def document(lines: dict[str, Line], histories: int, told: str) -> str:
    """Return the table as a page; `told` says what the last run of all mutants has seen."""
    rows = [f"| {name} | {line.story} | {line.simulator} | {line.units} |" for name, line in lines.items()]
    return "\n".join([
        "# Mutants",
        "",
        "Made by `make mutants`. Each row is a defect that [tests/mutants](../tests/mutants/catalogue.py) puts into",
        "the product in memory, and the first test that notices: of the simulator (the rows of the fault catalogue,",
        f"then {histories} random histories), and, apart from it, of the unit tests of the touched modules. What lies",
        "below the core has models of its own in the simulator, so there only unit tests can notice.",
        "",
        told,
        "Since then single rows may have been tried again.",
        "",
        f"Score: {score(lines)}.",
        "",
        "| Mutant | Defect | Simulator | Unit tests |",
        "|---|---|---|---|",
        *rows,
        "",
    ])  # fmt: skip


def write(path: Path, lines: dict[str, Line], histories: int, told: str) -> None:
    """Write the page, in the order of the catalogue; mutants that were not tried keep the line that they had.

    Without a word of its own (`told`) the run leaves that of the last run of all mutants.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    known = read_page(page) | lines
    before = next((line for line in page.splitlines() if line.startswith(_LAST)), f"{_LAST} none yet.")
    ordered = {mutant.name: known[mutant.name] for mutant in MUTANTS if mutant.name in known}
    path.write_text(document(ordered, histories, told or before), encoding="utf-8")


def _cell(text: str) -> str:
    return _SURVIVES if text == "-" else f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
