"""The decision journal, and beside it every input of the engine, so that a run can be decided again (`avance replay`).

`journal.jsonl` has one line for each decision that matters (schema `avance/schema/journal.json`); it is lean, because
the test bed streams it. `inputs.jsonl` has all that the engine was told (schema `avance/schema/inputs.json`). Both are
bounded: a full file becomes `NAME.1`, and inputs begin anew with the engine's whole state.

Lines are handed to one writer thread, because the disk below may hang while decisions go on: this must never block.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from pathlib import Path
from queue import SimpleQueue

import avance
from avance.clock import wall_text
from avance.core.engine import Decision, Engine
from avance.core.events import Event
from avance.line_file import LineFile
from avance.parsed import Json
from avance.wire.decision_lines import Before, decision_lines
from avance.wire.inputs import Batch, DecisionSum, Header

JOURNAL_PATH = Path("/var/log/avance/journal.jsonl")
JOURNAL_BYTES_MAX = 16 << 20  # months of quiet days; twice this is on disk
INPUTS_BYTES_MAX = 32 << 20  # two quiet days at some 150 bytes a second; twice this is on disk
_LINES_MAX = 10_000  # lines that may wait for a hanging disk; beyond that they are counted and dropped
_BATCH_S = 4.0  # inputs gather for so long, unless a decision is written: its inputs are written first
_BATCH_MAX = 256  # inputs in one line, however fast they come
_WITHOUT_JOURNAL = "all works, but nobody can read later why a node decided as it did. Make room, or look at the disk"
_END_S = 5.0  # for what is left when the daemon ends; a disk that hangs longer gets it no more


def inputs_path(journal: Path) -> Path:
    """Return where the inputs of a journal stand: beside it, with the word `journal` in its name replaced."""
    return journal.with_name(journal.name.replace("journal", "inputs", 1))


def core_hash() -> str:
    """Return a hash of the core's sources: another core may well decide otherwise."""
    total = hashlib.sha256()
    try:
        for path in sorted((Path(__file__).parent / "core").glob("*.py")):
            total.update(path.read_bytes())
    except OSError:
        return ""  # a dying disk: whether another core is the same is not known
    return total.hexdigest()[:16]


class Journal:
    """Numbers the lines of one daemon run and queues them for the files."""

    def __init__(self, path: Path, node: str, boot: str) -> None:
        self._node = node
        self._boot = boot
        self._seq = 0
        self._journal, self._inputs = LineFile(path), LineFile(inputs_path(path))
        self._sizes: dict[LineFile, int] = {self._journal: 0, self._inputs: 0}
        self._batch: Batch | None = None
        self._sum = DecisionSum()
        self._batch_from_s = 0.0
        self._core = ""
        self._lines: SimpleQueue[tuple[LineFile, str | None] | None] = SimpleQueue()
        self._writer: threading.Thread | None = None
        self.dropped = 0
        self.problem = ""  # why the last line was not written, for a person

    def begin(self, engine: Engine, now: float) -> None:
        """Begin to keep the inputs of an engine."""
        self._sizes = {file: file.size_bytes() for file in self._sizes}
        self._core = core_hash()
        if self._sizes[self._inputs] >= INPUTS_BYTES_MAX:
            self._rotate(self._inputs)
        self._begin_inputs(engine, now, fresh=engine.liveness.started_at is None)

    def milestone(self, name: str, now: float, reason: str) -> None:
        """Note something that no decision produced, such as the start of the daemon."""
        self._put({"mono_s": now, "milestone": name, "by": "daemon", "reason": reason})

    def heard(self, event: Event, now: float) -> None:
        """Note an input, before the engine decides: one that ends the daemon is in the file, too."""
        if self._batch is not None:
            if not self._batch.entries:
                self._batch_from_s = now
            self._batch.add(event, now)

    def decision(self, event: Event, before: Before, engine: Engine, decision: Decision, now: float) -> None:
        """Note a decision, its inputs first; a quiet one makes no line, but it counts in the sum of the inputs."""
        lines = decision_lines(event, before, engine, decision, now)
        if self._batch is not None:
            self._sum.add(decision)
            due = now - self._batch_from_s >= _BATCH_S or len(self._batch.entries) >= _BATCH_MAX
            if lines or due:
                self._queue(self._inputs, self._batch.line(self._sum))
        for line in lines:
            self._put(line)
        if self._batch is not None and not self._batch.entries and self._sizes[self._inputs] >= INPUTS_BYTES_MAX:
            self._rotate(self._inputs)
            self._begin_inputs(engine, now, fresh=False)

    def _begin_inputs(self, engine: Engine, now: float, *, fresh: bool) -> None:
        header = Header(
            boot=self._boot,
            node=self._node,
            version=avance.__version__,
            core=self._core,
            wall=wall_text(),
            mono_s=now,
            seq=self._seq,
            dropped=self.dropped,
        )
        try:
            line = header.line(engine, fresh=fresh)
        except ValueError:  # a state that cannot be kept: the decisions go on, and the gap is counted
            self._batch = None
            self.dropped += 1
            return
        self._queue(self._inputs, line)
        self._batch, self._sum = Batch(self._boot), DecisionSum()

    def _put(self, fields: Json) -> None:
        self._seq += 1
        head = {"seq": self._seq, "node": self._node, "boot": self._boot, "wall": wall_text()}
        if self._sizes[self._journal] >= JOURNAL_BYTES_MAX:
            self._rotate(self._journal)
        self._queue(self._journal, json.dumps({**head, **fields}))

    def _rotate(self, file: LineFile) -> None:
        self._sizes[file] = 0
        self._queue(file, None)

    def _queue(self, file: LineFile, text: str | None) -> None:
        if self._lines.qsize() >= _LINES_MAX:
            self.dropped += 1
            return
        self._sizes[file] += 0 if text is None else len(text) + 1
        self._lines.put((file, text))

    async def write(self) -> None:
        """Let a thread write queued lines, for ever; what is left when the daemon ends is written then."""
        self._writer = threading.Thread(target=self._write_queued, name="journal", daemon=True)
        self._writer.start()
        forever: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            await forever
        finally:
            self._finish()

    def _finish(self) -> None:
        """Write what the end of the daemon left: the inputs that led to it are the most wanted ones."""
        if self._batch is not None and self._batch.entries:
            self._queue(self._inputs, self._batch.line(self._sum))
        self._lines.put(None)
        if self._writer is None:
            self._write_queued()
        else:
            self._writer.join(_END_S)

    def _write_queued(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(*line)
        for file in (self._journal, self._inputs):
            file.close()

    def _write(self, file: LineFile, text: str | None) -> None:
        try:
            if text is None:
                file.rotate()
            else:
                file.append(text)
        except OSError as error:  # a full or dying disk must not stop the decisions
            self.dropped += 1
            self.problem = f"The journal cannot be written ({error.strerror or error}): {_WITHOUT_JOURNAL}"
        else:
            self.problem = ""
