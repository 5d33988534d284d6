"""What was ever reached of the rules of docs/safety.md and the transitions of the core: in histories, on the real pair.

`python -m tests.sim.reach --seeds 0..999 --journals DIRECTORY --write docs/measurements/rules.md` makes the page, and
notes for `plan.py` which histories took a rare transition. A rule names the functions or files of the core that hold it
("Held by"); it is reached as far as their lines were executed. On the pair nothing is traced: the journals that its
nodes have left are decided again.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import coverage

from avance.core import pair, vm
from avance.errors import JournalError
from avance.replay import Differs, replay
from tests.sim.history import run
from tests.sim.plan import RARE, draw, leans

ROOT = Path(__file__).parents[2]
CORE = ROOT / "avance" / "core"
SAFETY = ROOT / "docs" / "safety.md"
CHUNK = 25
RARE_SHARE = 0.02  # of the histories: what fewer of them take is rare
SEEDS_KEPT = 8  # of each rare transition
SHOWN_MAX = 12  # lines that were never reached, in a row of the page
_RULE = re.compile(r"^### (S\d+): (.+)$", re.MULTILINE)
_HELD = re.compile(r"^\* Held by (.+?)(?=\n\n|\n\* |\n#|\Z)", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"((?:(?:the codes|`[\w.]+`)(?:, | and )?)*)(?: in )?\[[\w/.]+\]\(\.\./avance/core/(\w+\.py)\)")

Line = tuple[str, int]  # a file of the core, and a line of it
K = TypeVar("K", bound=tuple[str, str])
V = TypeVar("V")


@dataclass
class Reached:
    """What some runs reached: lines of the core; for each transition the seeds (or places) of the runs that took it."""

    runs: int = 0
    lines: set[Line] = field(default_factory=set)
    by: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: Reached) -> None:
        """Take in what other runs reached."""
        self.runs += other.runs
        self.lines |= other.lines
        for name, which in other.by.items():
            self.by.setdefault(name, []).extend(which)


class _Noted(dict[K, V]):
    """A table of transitions that notes which of its rows are asked for."""

    def __init__(self, kind: str, rows: dict[K, V], seen: set[str]) -> None:
        super().__init__(rows)
        self._kind, self._seen = kind, seen

    def __getitem__(self, key: K) -> V:
        self._seen.add(_named(self._kind, key))
        return super().__getitem__(key)


def _named(kind: str, key: tuple[str, str]) -> str:
    return f"{kind}: {key[0]} + {key[1]}"


def transitions() -> list[str]:
    """Return the names of all transitions of the core."""
    return [*(_named("pair", key) for key in pair.ROWS), *(_named("vm", key) for key in vm.ROWS)]


class Watch:
    """Watches the core while runs are made, one after the other."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._reached = Reached()
        self._cover = coverage.Coverage(data_file=None, include=[f"{CORE}/*"], config_file=False)
        self._tables = pair.ROWS, vm.ROWS

    def __enter__(self) -> Self:
        pair.ROWS = _Noted("pair", pair.ROWS, self._seen)
        vm.ROWS = _Noted("vm", vm.ROWS, self._seen)
        self._cover.start()
        return self

    def ran(self, which: str) -> None:
        """Note that a run has ended; `which` says how it is made again."""
        self._reached.runs += 1
        for name in self._seen:
            self._reached.by.setdefault(name, []).append(which)
        self._seen.clear()

    def __exit__(self, *_: object) -> None:
        self._cover.stop()
        pair.ROWS, vm.ROWS = self._tables

    @property
    def reached(self) -> Reached:
        """Return what was reached."""
        data = self._cover.get_data()
        for file in data.measured_files():
            self._reached.lines |= {(Path(file).name, line) for line in data.lines(file) or ()}
        return self._reached


def in_histories(seeds: range) -> Reached:
    """Return what the histories of these seeds reach."""
    with Watch() as watch:
        for seed in seeds:
            run(draw(seed))
            watch.ran(str(seed))
    return watch.reached


def in_journals(journals: list[Path]) -> tuple[Reached, list[str]]:
    """Return what the recorded runs reached when they are decided again, and which journals cannot be."""
    left: list[str] = []
    with Watch() as watch:
        for journal in journals:
            try:
                for _ in replay(journal):
                    pass
            except (Differs, JournalError) as error:
                left.append(f"{journal}: {error}")
            else:
                watch.ran(str(journal))
    return watch.reached, left


# ---------------------------------------------------------------- the rules


@dataclass(frozen=True)
class Rule:
    """A rule of docs/safety.md with the lines of the core that hold it."""

    number: str
    title: str
    lines: frozenset[Line]


def rules(text: str) -> list[Rule]:
    """Return the rules that the core holds, each with the lines of its holders.

    Raises:
        ValueError: a holder that the document names is not in its file.
    """
    heads = list(_RULE.finditer(text))
    found = []
    for head, after in zip(heads, [*heads[1:], None], strict=True):
        part = text[head.end() : after.start() if after else len(text)]
        lines: set[Line] = set()
        for held in _HELD.finditer(part):
            for holders, file in _FILE.findall(" ".join(held[1].split())):
                names = re.findall(r"`([\w.]+)`", holders)
                lines |= _lines_of(file, names)
        if lines:
            found.append(Rule(head[1], head[2], frozenset(lines)))
    return found


def _lines_of(file: str, names: list[str]) -> set[Line]:
    """The statements of these functions and classes of a file, or of all of its functions."""
    tree = ast.parse((CORE / file).read_text())
    wanted = {name.rpartition(".")[2] for name in names}
    kinds = (ast.FunctionDef, ast.ClassDef)
    holders = [node for node in ast.walk(tree) if isinstance(node, kinds) and node.name in wanted]
    missing = wanted - {node.name for node in holders}
    if missing:
        raise ValueError(f"docs/safety.md names {', '.join(sorted(missing))}, which is not in {file}")
    within = holders or [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {(file, line) for node in within for line in _statements(node)}


def _statements(node: ast.FunctionDef | ast.ClassDef) -> set[int]:
    """The first lines of the statements of functions; a docstring is none, nor is what runs at the import."""
    functions = [one for one in ast.walk(node) if isinstance(one, ast.FunctionDef)]
    return {
        one.lineno
        for function in functions
        for top in function.body
        for one in ast.walk(top)
        if isinstance(one, ast.stmt)
        and not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        and not isinstance(one, ast.FunctionDef | ast.ClassDef)
    }


# ---------------------------------------------------------------- the page


def page(text: str, histories: Reached, on_pair: Reached) -> str:
    """Return the page: one row for each rule, one for each transition."""
    told = [
        "# Which rules were reached",
        "",
        f"Made by `python -m tests.sim.reach`: {histories.runs} random histories of the simulator, and the journals of",
        f"{on_pair.runs} runs of a node on the real pair, decided again. A rule of [safety](../safety.md) is reached",
        "as far as the lines of the core that hold it were executed. Rules that only adapters hold are not here.",
        "",
        "| Rule | Lines | In histories | On the pair | Never in histories |",
        "|---|---|---|---|---|",
    ]
    for rule in rules(text):
        never = sorted(rule.lines - histories.lines)
        shown = ", ".join(f"{file}:{line}" for file, line in never[:SHOWN_MAX])
        more = f" and {len(never) - SHOWN_MAX} more" if len(never) > SHOWN_MAX else ""
        shares = (_share(rule.lines, histories), _share(rule.lines, on_pair))
        told.append(f"| {rule.number}: {rule.title} | {len(rule.lines)} | {' | '.join(shares)} | {shown}{more} |")
    told += ["", "| Transition | Of the histories | Runs on the pair |", "|---|---|---|"]
    for name in transitions():
        share = 100 * len(histories.by.get(name, ())) / max(histories.runs, 1)
        told.append(f"| {name} | {share:.1f} % | {len(on_pair.by.get(name, ()))} |")
    return "\n".join([*told, ""])


def _share(lines: frozenset[Line], reached: Reached) -> str:
    return f"{100 * len(lines & reached.lines) / len(lines):.0f} %"


def rare(histories: Reached) -> dict[str, list[int]]:
    """Return the rare transitions, each with some seeds of freshly drawn histories that took it."""
    few = max(1, int(histories.runs * RARE_SHARE))
    taken = {name: [int(s) for s in histories.by.get(name, ()) if not leans(int(s))] for name in transitions()}
    return {name: seeds[:SEEDS_KEPT] for name, seeds in taken.items() if 0 < len(seeds) <= few}


def main(argv: list[str] | None = None) -> int:
    """Make the page; 1 when a transition was reached by no history."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.reach", description=__doc__)
    parser.add_argument("--seeds", default="0..999", help="a range of seeds, both ends included")
    parser.add_argument("--journals", type=Path, help="a directory: the journals below it are decided again")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--write", type=Path, help="a file for the page; without it the page is printed")
    parser.add_argument("--note-rare", action="store_true", help=f"write {RARE.name}, from which plans are drawn")
    given = parser.parse_args(argv)
    first, _, last = given.seeds.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    histories, on_pair = Reached(), Reached()
    with ProcessPoolExecutor(given.jobs) as pool:
        for part in pool.map(in_histories, [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]):
            histories.add(part)
    if given.journals is not None:
        on_pair, left = in_journals(sorted(given.journals.rglob("journal*.jsonl")))
        print("\n".join(left), file=sys.stderr)
    text = page(SAFETY.read_text(), histories, on_pair)
    if given.write is None:
        print(text)
    else:
        given.write.write_text(text)
    if given.note_rare:
        RARE.write_text(json.dumps(rare(histories), indent=1) + "\n")
    never = [name for name in transitions() if name not in histories.by]
    print(f"{histories.runs} histories; never taken: {', '.join(never) or 'none'}", file=sys.stderr)
    return 1 if never else 0


if __name__ == "__main__":
    sys.exit(main())
