"""The inputs of a daemon run as lines: everything that its engine was told, with its exact times, and nothing secret.

A file consists of runs. A run begins with a header: the setup and either the record that was durable at the start, or,
in a file that was begun in the middle of a run, the engine's whole state. Each further line holds some inputs in order
(schema `avance/schema/inputs.json`) and a sum over every decision since the header, so that a replay which differs in
anything, be it one heartbeat, is noticed.

What repeats is left out, and times are counted from the input before. A time that is a whole number of microseconds, as
the daemon's clock gives them, is written as such and comes back exactly; any other one is written whole. An unchanged
heartbeat costs some 25 bytes, a quiet second about 150.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from avance.core.commands import Command, SendHeartbeat
from avance.core.engine import Decision, Engine, Setup
from avance.core.events import Event, HeartbeatSeen, Tick
from avance.core.model import LinkName, PeerView, Record
from avance.errors import JournalError
from avance.parsed import Json
from avance.wire.frozen import freeze, thaw
from avance.wire.plain import from_plain, read_event, to_plain

SCHEMA = "avance.inputs/3"
_US_PER_S = 1e6


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
        ValueError: the line is no header.
        JournalError: it is of another version; the text names that version.
    """
    values = dict(line)
    schema = values.pop("schema")
    if schema != SCHEMA:
        wrote = f"avance {values.get('version', 'of an unknown version')}, core {values.get('core', 'unknown')}"
        raise JournalError(f"the inputs are of {schema}, not of {SCHEMA}: only {wrote}, which wrote them, replays them")
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
    _view: PeerView | None = None
    _view_sum: str = ""

    def add(self, decision: Decision) -> None:
        """Take one more decision in; one that says nothing costs nothing, but it counts."""
        self.count += 1
        if decision.commands or decision.reasons or decision.milestones:
            commands = [self._said(command) for command in decision.commands]
            self._text = _sum([self.count, self._text, commands, decision.reasons, decision.milestones])

    def _said(self, command: Command) -> Json:
        """A heartbeat stands by the sum of its view, which is made once as long as the view is the same."""
        if not isinstance(command, SendHeartbeat):
            return to_plain(command)
        if self._view is not command.view:
            self._view, self._view_sum = command.view, _sum(to_plain(command.view))
        return self._view_sum

    @property
    def text(self) -> str:
        """The sum so far; empty while nothing was decided."""
        return self._text


def _sum(value: Json) -> str:
    return hashlib.sha256(_compact(value).encode()).hexdigest()[:16]


def _exact_us(value_s: float) -> int | None:
    """Return a time in microseconds where that loses nothing, else None."""
    value_us = round(value_s * _US_PER_S)
    return value_us if value_us / _US_PER_S == value_s else None


@dataclass(slots=True)
class Batch:
    """Inputs on their way to a line; it remembers what need not be said again."""

    boot: str
    entries: list[Json] = field(default_factory=list)
    number: int = 0
    _view: PeerView | None = None
    _at_us: int | None = None

    def add(self, event: Event, now: float) -> None:
        """Take one more input in."""
        before_us, at_us = self._at_us, _exact_us(now)
        self._at_us = at_us
        at: Json = now if before_us is None or at_us is None else at_us - before_us
        if isinstance(event, Tick):
            self.entries.append([at] if event.rtc_s is None else [at, event.rtc_s])
        elif isinstance(event, HeartbeatSeen):
            entry: list[Json] = [at, event.link, _echo(event.echoed_sent_s, at_us)]
            if event.view is not self._view and event.view != self._view:
                entry.append(to_plain(event.view))
            self._view = event.view
            self.entries.append(entry)
        else:
            self.entries.append([at, to_plain(event)])

    def line(self, decisions: DecisionSum) -> str:
        """Return the line of all inputs since the last one; lines are numbered from 1 in each run."""
        self.number += 1
        entries, self.entries = self.entries, []
        return _compact({"boot": self.boot, "n": self.number, "in": entries, "sum": decisions.text})


def _echo(echoed_s: float | None, at_us: int | None) -> Json:
    """Return an echoed time as its age in microseconds, or whole."""
    echoed_us = None if echoed_s is None or at_us is None else _exact_us(echoed_s)
    return echoed_s if echoed_us is None or at_us is None else at_us - echoed_us


@dataclass(slots=True)
class InputsReader:
    """Turns the entries of one run back into events."""

    _view: PeerView | None = None
    _at_us: int | None = None

    def event(self, entry: Json) -> tuple[Event, float]:
        """Return an input and its time.

        Raises:
            ValueError: the entry is none.
        """
        if not isinstance(entry, list) or not entry:
            raise ValueError(f"{entry!r} is no input")
        now = self._time(entry)
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
                if self._view is None:
                    raise ValueError(f"{entry!r} is no heartbeat: nobody has said anything yet")
                return HeartbeatSeen(LinkName(link), self._view, self._echoed(echoed)), now
        raise ValueError(f"{entry!r} is no input")

    def _time(self, entry: list[Json]) -> float:
        at = entry[0]
        if isinstance(at, bool) or not isinstance(at, int | float) or (isinstance(at, int) and self._at_us is None):
            raise ValueError(f"{entry!r} has no time")
        if isinstance(at, float):
            self._at_us = _exact_us(at)
            return at
        assert self._at_us is not None, "looked at above"
        self._at_us += at
        return self._at_us / _US_PER_S

    def _echoed(self, echoed: Json) -> float | None:
        if echoed is None or isinstance(echoed, float):
            return echoed
        if isinstance(echoed, bool) or not isinstance(echoed, int) or self._at_us is None:
            raise ValueError(f"{echoed!r} is no echo")
        return (self._at_us - echoed) / _US_PER_S


def _compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))


__all__ = ["Batch", "DecisionSum", "Header", "InputsReader", "read_header"]
