"""The inputs of a daemon run as lines: everything that its engine was told, with its exact times, and nothing secret.

A file consists of runs. A run begins with a header: the setup and either the record that was durable at the start, or,
in a file that was begun in the middle of a run, the engine's whole state. Each further line holds some inputs in order
(schema `avance/schema/inputs.json`) and a sum over every decision since the header, so that a replay which differs in
anything, be it one heartbeat, is noticed. What repeats is left out: of ten ticks and four heartbeats a second there
remain about 600 bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from avance.core.engine import Decision, Engine, Setup
from avance.core.events import Event, HeartbeatSeen, Tick
from avance.core.model import LinkName, PeerView, Record
from avance.parsed import Json
from avance.wire.frozen import freeze, thaw
from avance.wire.plain import from_plain, read_event, to_plain

SCHEMA = "avance.inputs/1"


@dataclass(frozen=True, slots=True)
class Header:
    """Where a replay can begin. `seq` is the number of the journal's last line before it."""

    boot: str
    node: str
    version: str
    core: str
    wall: str
    mono_s: float
    seq: int
    dropped: int

    def line(self, engine: Engine, *, fresh: bool) -> str:
        """Return the header's line; `fresh`: the engine has handled nothing yet, so its record tells all."""
        state = {"record": to_plain(engine.record)} if fresh else {"state": freeze(engine)}
        fields = {key: value for key, value in to_plain(self).items() if key != "type"}
        return _compact({"schema": SCHEMA, **fields, "setup": to_plain(engine.setup), **state})


def read_header(line: Json) -> tuple[Header, Engine]:
    """Return a header and the engine that stood there.

    Raises:
        ValueError: the line is no header, or not of this version.
    """
    values = dict(line)
    if values.pop("schema") != SCHEMA:
        raise ValueError(f"the inputs are not of schema {SCHEMA}")
    setup, record, state = values.pop("setup"), values.pop("record", None), values.pop("state", None)
    header: Header = from_plain(Header, values)
    if state is not None:
        engine = thaw(state)
        if not isinstance(engine, Engine):
            raise ValueError("the state in the header is not that of an engine")
        return header, engine
    started: Setup = from_plain(Setup, setup)
    was: Record = from_plain(Record, record)
    return header, Engine(started, was)


@dataclass(slots=True)
class DecisionSum:
    """A running sum over all decisions of a run, the quiet ones included."""

    count: int = 0
    _text: str = ""

    def add(self, decision: Decision) -> None:
        """Take one more decision in; one that says nothing costs nothing, but it counts."""
        self.count += 1
        if decision.commands or decision.reasons or decision.milestones:
            said = _compact([self.count, self._text, to_plain(decision)])
            self._text = hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """The sum so far; empty while nothing was decided."""
        return self._text


@dataclass(slots=True)
class Batch:
    """Inputs on their way to a line; it remembers what need not be said again."""

    boot: str
    entries: list[Json] = field(default_factory=list)
    number: int = 0
    _view: PeerView | None = None

    def add(self, event: Event, now: float) -> None:
        """Take one more input in."""
        if isinstance(event, Tick):
            self.entries.append([now] if event.rtc_s is None else [now, event.rtc_s])
        elif isinstance(event, HeartbeatSeen):
            entry: list[Json] = [now, event.link, event.echoed_sent_s]
            if event.view != self._view:
                self._view = event.view
                entry.append(to_plain(event.view))
            self.entries.append(entry)
        else:
            self.entries.append([now, to_plain(event)])

    def line(self, decisions: DecisionSum) -> str:
        """Return the line of all inputs since the last one; lines are numbered from 1 in each run."""
        self.number += 1
        entries, self.entries = self.entries, []
        return _compact({"boot": self.boot, "n": self.number, "in": entries, "sum": decisions.text})


@dataclass(slots=True)
class Reader:
    """Turns the entries of one run back into events."""

    _view: PeerView | None = None

    def event(self, entry: Json) -> tuple[Event, float]:
        """Return an input and its time.

        Raises:
            ValueError: the entry is none.
        """
        if not isinstance(entry, list) or not entry or isinstance(entry[0], bool) or not isinstance(entry[0], float):
            raise ValueError(f"{entry!r} is no input")
        now = entry[0]
        match entry[1:]:
            case []:
                return Tick(), now
            case [int() | float() as rtc_s]:
                return Tick(rtc_s), now
            case [dict() as event]:
                return read_event(event), now
            case [str() as link, echoed, *view]:
                if view:
                    self._view = from_plain(PeerView, view[0])
                if self._view is None or not (echoed is None or isinstance(echoed, float)):
                    raise ValueError(f"{entry!r} is no heartbeat")
                return HeartbeatSeen(LinkName(link), self._view, echoed), now
        raise ValueError(f"{entry!r} is no input")


def _compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))


__all__ = ["Batch", "DecisionSum", "Header", "Reader", "read_header"]
