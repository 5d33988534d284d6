"""`avance replay`: decides a recorded run again, compares every decision with the journal, and says what it shows.

The inputs are read line by line and told to a fresh engine with their exact times. Everything that it decides must be
equal to what was written: the lines of the journal word by word, all the rest by a running sum. A journal with a gap is
refused, because nothing after a gap can be decided again. It must never touch the node that it runs on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from avance.core.engine import Decision, Engine
from avance.core.events import Event
from avance.errors import JournalError
from avance.explain import RunSummary, summary
from avance.journal import core_hash, inputs_path
from avance.line_file import earlier
from avance.parsed import Json
from avance.wire.decision_lines import Before, decision_lines
from avance.wire.frozen import freeze
from avance.wire.inputs import DecisionSum, Header, InputsReader, read_header

_HEAD = ("seq", "node", "boot", "wall")  # what a line has beside the decision


class Differs(Exception):
    """A decision is not what was recorded; the text names the first line that differs."""


@dataclass(slots=True)
class JournalLines:
    """The lines of a journal, by run and number."""

    lines: dict[tuple[str, int], Json] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> JournalLines:
        """Read a journal and what was rotated away from it.

        Raises:
            JournalError: there is none, or it is something else.
        """
        journal = cls()
        for place, line in _lines(path):
            try:
                boot, seq = str(line["boot"]), int(line["seq"])
            except (KeyError, TypeError, ValueError) as error:
                raise JournalError(f"{place} is no line of a journal ({error!r})") from error
            journal.lines[boot, seq] = line
            journal.first.setdefault(boot, seq)
            journal.last[boot] = seq
        return journal


def _lines(path: Path) -> Iterator[tuple[str, Json]]:
    """The place and content of every whole line; a power cut may have torn the last one of a run.

    Raises:
        JournalError: there is no such file, or it cannot be read.
    """
    files = [file for file in (earlier(path), path) if file.exists()]
    if not files:
        raise JournalError(f"{path} does not exist")
    for file in files:
        try:
            with file.open(encoding="utf-8", errors="replace") as text:
                for number, line in enumerate(text, 1):
                    try:
                        values = json.loads(line)
                    except (ValueError, RecursionError):
                        continue  # torn: the numbers of the next lines show whether anything is missing
                    yield f"{file.name}:{number}", values
        except OSError as error:
            raise JournalError(f"{file} cannot be read: {error.strerror}") from error


@dataclass(slots=True)
class ReplayedEngine:
    """One engine that is told a run again."""

    header: Header
    engine: Engine
    journal: JournalLines
    shows: Callable[[Event, Before, Engine, Decision, float], None]
    number: int = 0
    seq: int = 0
    compared: int = 0
    inputs: int = 0
    from_s: float | None = None
    until_s: float = 0.0
    _sum: DecisionSum = field(default_factory=DecisionSum)
    _reader: InputsReader = field(default_factory=InputsReader)

    def __post_init__(self) -> None:
        self.seq = self.header.seq

    def line(self, place: str, line: Json) -> None:
        """Tell the engine one line of inputs.

        Raises:
            JournalError: lines are missing before this one.
            Differs: what the engine decides is not what was recorded.
        """
        if line["n"] != self.number + 1:
            raise JournalError(
                f"{place}: line {line['n']} of run {self.header.boot} follows line {self.number}: what stood between "
                "was dropped, because the disk was full or too slow; nothing after it can be decided again"
            )
        self.number += 1
        for entry in line["in"]:
            self._input(place, entry)
        if self._sum.text != line["sum"]:
            raise Differs(f"{place}: one of the decisions that the journal does not name differs, such as a heartbeat")

    def _input(self, place: str, entry: Json) -> None:
        event, now = self._reader.event(entry)
        before = Before.of(self.engine)
        self.from_s = now if self.from_s is None else self.from_s
        try:
            decision = self.engine.handle(event, now)
        except AssertionError as error:
            raise Differs(f"{place}: the core ends itself at this input, an assertion fails: {error}") from error
        self._sum.add(decision)
        self.inputs, self.until_s = self.inputs + 1, now
        for fields in decision_lines(event, before, self.engine, decision, now):
            self._compare(place, json.loads(json.dumps(fields)))
        self.shows(event, before, self.engine, decision, now)

    def _compare(self, place: str, decided: Json) -> None:
        boot = self.header.boot
        self.seq += 1
        while self.journal.lines.get((boot, self.seq), {}).get("by") == "daemon":
            self.seq += 1
        recorded = self.journal.lines.get((boot, self.seq))
        if recorded is None:
            if self.journal.first.get(boot, sys.maxsize) < self.seq < self.journal.last[boot]:
                raise JournalError(
                    f"line {self.seq} of run {boot} is missing in the journal: it was dropped, because the disk was "
                    "full or too slow"
                )
            return  # rotated away, or never written because the machine stopped: the sum still tells
        plain = {key: value for key, value in recorded.items() if key not in _HEAD}
        if plain != decided:
            keys = sorted(key for key in plain.keys() | decided.keys() if plain.get(key) != decided.get(key))
            words = "; ".join(f"{key} was {plain.get(key)!r}, is now {decided.get(key)!r}" for key in keys)
            raise Differs(f"journal line {self.seq} of run {boot} ({place}) differs: {words}")
        self.compared += 1


def main(path: Path, *, why: bool, from_s: float, until_s: float) -> int:
    """Replay and explain; returns 0 when all is equal, 1 when something differs, 2 when it cannot be replayed."""
    try:
        for text in replay(path, why=why, from_s=from_s, until_s=until_s):
            print(text)
    except Differs as difference:
        print(f"DIFFERS: {difference}")
        return 1
    except JournalError as error:
        print(f"avance: {error}", file=sys.stderr)
        return 2
    return 0


def replay(path: Path, *, why: bool = False, from_s: float = 0.0, until_s: float = float("inf")) -> Iterator[str]:
    """Yield what there is to say, run by run.

    Raises:
        JournalError: the journal has a gap, or is of another version.
        Differs: a decision is not what was recorded.
    """
    journal, current, told = JournalLines.read(path), None, RunSummary()
    for place, line in _lines(inputs_path(path)):
        try:
            if "schema" in line:
                header, engine = read_header(line)
                if current is not None and current.header.boot == header.boot and current.number:
                    _same_state(place, current, engine)
                    told.pieces += 1
                else:
                    yield from _end(current, told)
                    told = RunSummary()
                    yield from _heading(header)
                current = ReplayedEngine(header, engine, journal, told.note, from_s=told.from_s)
            elif current is None:
                raise JournalError(f"{place}: the inputs begin without a header: the file's beginning is missing")
            elif line["boot"] != current.header.boot:
                raise JournalError(f"{place}: the header of run {line['boot']} is missing")
            else:
                current.line(place, line)
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(f"{place} is not understood ({error!r}): was it written by another version?") from error
        except (Differs, JournalError):
            yield from told.decisions(from_s, until_s) if why else ()
            raise
        if why:
            yield from told.decisions(from_s, until_s)
    if current is None:
        raise JournalError(f"{inputs_path(path)} holds no run: it is empty, damaged, or not what a daemon has recorded")
    yield from _end(current, told)


def _heading(header: Header) -> Iterator[str]:
    since = f"; what was before journal line {header.seq} is rotated away" if header.seq else ""
    yield f"run {header.boot} of node {header.node} from {header.wall} on (version {header.version}){since}"
    if header.core != core_hash():
        yield "  the core that decided then is not this one: differences may come from that"


def _same_state(place: str, before: ReplayedEngine, engine: Engine) -> None:
    if json.dumps(freeze(before.engine)) != json.dumps(freeze(engine)):
        raise Differs(f"{place}: the state that was written there is not the one that the inputs before it lead to")


def _end(current: ReplayedEngine | None, told: RunSummary) -> Iterator[str]:
    if current is None:
        return
    boot = current.header.boot
    yield from summary(told, current.engine)
    later = (line for (of, seq), line in current.journal.lines.items() if of == boot and seq > current.seq)
    unexplained = sum("event" in line for line in later)
    if unexplained:
        yield f"  {unexplained} journal lines at the end have no inputs: the machine stopped before they were on disk"
    yield f"  {told.inputs} inputs decided again; {told.lines} decisions are worth a line, and all are equal"


__all__ = ["Differs", "ReplayedEngine", "main", "replay"]
