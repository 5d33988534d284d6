"""Records engines with the real journal, as the daemon does, for tests of what can be made of the files."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import pytest

from avance import journal as journal_module
from avance.core.engine import Decision, Engine
from avance.core.events import Event
from avance.journal import Journal
from avance.parsed import Json
from avance.replay import replay
from avance.wire.decision_lines import Before
from tests.sim import inject
from tests.sim.inject import Fault
from tests.sim.site import SimSite
from tests.sim.world import World

_HANDLE = Engine.handle  # the original, however often it is replaced


class Tape:
    """Writes the journals of any number of engines into a directory, each node into its own files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runs: dict[int, tuple[Engine, Journal]] = {}

    def journal(self, node: str) -> Path:
        """Return the journal of a node."""
        return self.directory / f"journal-{node}.jsonl"

    def handle(self, engine: Engine, event: Event, now: float) -> Decision:
        """Let an engine decide, and write it down at once."""
        if id(engine) not in self._runs:
            setup = engine.setup
            self._runs = {key: run for key, run in self._runs.items() if run[0].setup.me != setup.me}  # died unfinished
            self._runs[id(engine)] = (engine, Journal(self.journal(setup.me), setup.me, setup.boot))
            self._runs[id(engine)][1].begin(engine, now)
            self._runs[id(engine)][1].milestone("daemon_started", now, "a recorded run begins")
        journal, before = self._runs[id(engine)][1], Before.of(engine)
        journal.heard(event, now)
        decision = _HANDLE(engine, event, now)
        journal.decision(event, before, engine, decision, now)
        while not journal._lines.empty():
            line = journal._lines.get_nowait()
            assert line is not None, "it has not ended"
            journal._write(*line)
        return decision

    def end(self) -> None:
        """End every run as the daemon does."""
        for _, journal in self._runs.values():
            journal._finish()

    def over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Record every engine of this test from now on."""

        def handle(engine: Engine, event: Event, now: float) -> Decision:
            return self.handle(engine, event, now)

        monkeypatch.setattr(Engine, "handle", handle)


def lines(path: Path) -> list[Json]:
    """Return the lines of a file as values."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@cache
def recorded(site: SimSite, fault: str, target: str, bound: int = 1 << 25) -> dict[str, bytes]:
    """Return the files of both nodes of a simulated pair that was broken and healed, by name."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(journal_module, "INPUTS_BYTES_MAX", bound)
        tape = Tape(Path(name))
        tape.over(patch)
        world = World.in_service(3, site=site, tracing=False)
        broken = Fault(fault, target, world.elapsed_s, None, {})
        inject.inject(world, broken)
        world.run(30.0)
        inject.heal(world, broken)
        world.run(15.0)
        tape.end()
        return {path.name: path.read_bytes() for path in Path(name).iterdir()}


def unpacked(directory: Path, files: dict[str, bytes], node: str = "b") -> Path:
    """Put recorded files into a directory and return the journal of a node."""
    for name, raw in files.items():
        (directory / name).write_bytes(raw)
    return directory / f"journal-{node}.jsonl"


def said(journal: Path, *, why: bool = False) -> str:
    """Return all that a replay says."""
    return "\n".join(replay(journal, why=why))
