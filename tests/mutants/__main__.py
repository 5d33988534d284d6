"""The command `python -m tests.mutants`: for each seeded defect of the product the test that kills it, and the score.

Each defect lives in a process of its own. First everything runs without any defect: what fails then kills nobody.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.mutants import worker
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import CatalogueError, Mutant
from tests.mutants.worker import Found

KILLED_MIN = 25  # by the simulator
HISTORIES = 400
_SHOWN = 100


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
    with _pool(given.jobs) as pool:
        broken = _without_defect(pool, chosen, seeds)
        verdicts = _try_all(pool, chosen, seeds, broken)
    if given.write is not None:
        given.write.write_text(document(verdicts, len(seeds)), encoding="utf-8")
    for name in sorted(broken):
        print(f"fails without any defect, so it counts for nothing: {name}")
    print(f"{score(verdicts)}; {time.monotonic() - begin_s:.0f} s with {given.jobs} jobs")
    enough = bool(given.names) or killed_by_simulator(verdicts) >= KILLED_MIN
    return 0 if enough and not broken and not any(verdict.survives for verdict in verdicts) else 1


def _pool(jobs: int) -> ProcessPoolExecutor:
    """Return a pool whose processes do one task each: a defect stays in the process into which it was imported."""
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1)


def _without_defect(pool: ProcessPoolExecutor, chosen: list[Mutant], seeds: range) -> frozenset[str]:
    none: frozenset[str] = frozenset()
    units = tuple(dict.fromkeys(path for mutant in chosen for path in mutant.unit_tests()))
    first = [
        pool.submit(worker.run_tests, None, (worker.ROWS,), none, every=True),
        pool.submit(worker.histories, None, seeds, none, every=True),
        pool.submit(worker.run_tests, None, units, none, every=True),
    ]
    return frozenset(name for future in first for name in future.result().failed)


def _try_all(pool: ProcessPoolExecutor, chosen: list[Mutant], seeds: range, broken: frozenset[str]) -> list[Verdict]:
    running: list[tuple[Mutant, Future[Found] | None, Future[Found]]] = []
    for mutant in chosen:
        simulator = None if mutant.beyond else pool.submit(worker.simulator, mutant, seeds, broken)
        running.append((mutant, simulator, pool.submit(worker.run_tests, mutant, tuple(mutant.unit_tests()), broken)))
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
    path, _, test = found.failed[0].rpartition("::")
    return f"{Path(path).name}::{test}" if path else found.failed[0][:_SHOWN]


def killed_by_simulator(verdicts: list[Verdict]) -> int:
    """Return how many mutants the simulator killed."""
    return sum(verdict.simulator is not None and bool(verdict.simulator.failed) for verdict in verdicts)


def score(verdicts: list[Verdict]) -> str:
    """Return the kill scores in one line."""
    tried = sum(verdict.simulator is not None for verdict in verdicts)
    units = sum(bool(verdict.units.failed) for verdict in verdicts)
    noticed = [one for one in verdicts if one.simulator is not None and not one.survives]
    only_units = [one.mutant.name for one in noticed if one.outlives]
    told = f"; only unit tests notice {', '.join(only_units)}" if only_units else ""
    survivors = [verdict.mutant.name for verdict in verdicts if verdict.survives]
    told += f"; survivors: {', '.join(survivors)}" if survivors else ""
    return (
        f"the simulator kills {killed_by_simulator(verdicts)} of {tried}, "
        f"the unit tests of the touched modules {units} of {len(verdicts)}{told}"
    )


def document(verdicts: list[Verdict], histories: int) -> str:
    """Return the table as a page."""
    rows = []
    for verdict in verdicts:
        mutant, units = verdict.mutant, _cell(killer(verdict.units))
        simulator = "cannot see it" if verdict.simulator is None else _cell(killer(verdict.simulator))
        rows.append(f"| {mutant.name} | {mutant.story} | {simulator} | {units} |")
    return "\n".join([
        "# Mutants",
        "",
        "Made by `make mutants`. Each row is a defect that [tests/mutants](../tests/mutants/catalogue.py) puts into",
        "the product in memory, and the first test that notices: of the simulator (the rows of the fault catalogue,",
        f"then {histories} random histories), and, apart from it, of the unit tests of the touched modules. What lies",
        "below the core has models of its own in the simulator, so there only unit tests can notice.",
        "",
        f"Score: {score(verdicts)}.",
        "",
        "| Mutant | Defect | Simulator | Unit tests |",
        "|---|---|---|---|",
        *rows,
        "",
    ])  # fmt: skip


def _cell(text: str) -> str:
    return "**survives**" if text == "-" else f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
