"""The decision journal: one JSON line per decision (schema `avance/schema/journal.json`), in order, never blocking.

Lines are handed to one writer task, because the disk below may hang while decisions must go on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any, TextIO

from avance.clock import wall_text
from avance.core.commands import Command, SendHeartbeat
from avance.core.engine import Decision, Engine
from avance.core.events import Event
from avance.core.model import PairState, VmState

JOURNAL_PATH = Path("/var/log/avance/journal.jsonl")
_LINES_MAX = 10_000  # lines that may wait for a hanging disk; beyond that they are counted and dropped


@dataclasses.dataclass(frozen=True, slots=True)
class Before:
    """What the states were before an event, for the `before -> after` of the line."""

    pair: PairState
    vms: dict[str, VmState]

    @classmethod
    def of(cls, engine: Engine) -> Before:
        """Take the states of the engine now."""
        return cls(engine.pair, {name: unit.state for name, unit in engine.units.items()})


class Journal:
    """Numbers the lines of one daemon run and queues them for the file."""

    def __init__(self, path: Path, node: str, boot: str) -> None:
        self._path = path
        self._base = {"node": node, "boot": boot}
        self._seq = 0
        self._lines: asyncio.Queue[str] = asyncio.Queue(_LINES_MAX)
        self.dropped = 0

    def milestone(self, name: str, now: float, reason: str) -> None:
        """Note something that no decision produced, such as the start of the daemon."""
        self._put({"mono_s": now, "milestone": name, "reason": reason})

    def decision(self, event: Event, before: Before, engine: Engine, decision: Decision, now: float) -> None:
        """Note a decision, unless nothing but a heartbeat came of it; each further milestone gets a line of its own."""
        commands = [command for command in decision.commands if not isinstance(command, SendHeartbeat)]
        if not commands and not decision.reasons and not decision.milestones:
            return
        after = Before.of(engine)
        line = {
            "mono_s": now,
            "milestone": decision.milestones[0] if decision.milestones else None,
            "event": _plain(event),
            "pair": [before.pair, after.pair],
            "vms": {name: [before.vms.get(name), state] for name, state in after.vms.items()},
            "epoch": engine.record.epoch,
            "commands": [_plain(command) for command in commands],
            "reason": "; ".join(decision.reasons),
        }
        self._put(line)
        for name in decision.milestones[1:]:
            self._put({"mono_s": now, "milestone": name, "epoch": engine.record.epoch, "reason": "see the line before"})

    def _put(self, fields: dict[str, Any]) -> None:
        self._seq += 1
        text = json.dumps({"seq": self._seq, **self._base, "wall": wall_text(), **fields})
        if self._lines.full():
            self.dropped += 1
        else:
            self._lines.put_nowait(text)

    async def write(self) -> None:
        """Append queued lines to the file, for ever."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            while True:
                text = await self._lines.get()
                try:
                    await asyncio.to_thread(_append, file, text)
                except OSError:
                    self.dropped += 1  # a full or dying disk must not stop the decisions


def _append(file: TextIO, text: str) -> None:
    file.write(text + "\n")
    file.flush()


def _plain(value: Event | Command) -> dict[str, Any]:
    """Turn an event or command into plain JSON values, with its class name verbatim."""
    return {"type": type(value).__name__, **dataclasses.asdict(value)}
