"""Turns the merged records of a run into what a person reads: printed rows, and the spans and markers of the picture.

Pure, so that yesterday's records can be told again. It must never judge: it shows what was recorded, and where nothing
was recorded it says "unknown" instead of filling the gap.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from testbed.history import HistoryRecord
from testbed.milestones import in_words
from testbed.vocabulary import Phase, VmState

Item: TypeAlias = Mapping[str, object]  # a line of the recorded history: t_s, source, kind and more

REASON_LENGTH_MAX = 110  # a printed row stays one line on a wide terminal
# Those that follow each other in a takeover; the end of the old node may come at any time.
PHASES: Mapping[Phase, str] = {
    "detect": "detect",
    "decide": "decide",
    "promote": "promote disk",
    "vm_start": "start VM",
    "guest_up": "guest boot",
    "service_up": "service back",
    "redundancy": "redundancy restored",
}
TAKEOVER_STEPS: tuple[Phase, ...] = ("decide", "promote", "vm_start", "guest_up")
NODE_ENDING_FAULTS = ("power", "kill", "crash", "reset", "panic")  # words in names of faults after which a node is down
MACHINE_EVENTS = ("SHUTDOWN", "RESET", "STOP", "RESUME", "GUEST_PANICKED", "WATCHDOG", "POWERDOWN", "SUSPEND", "WAKEUP")
MACHINE_ENDS = {"killed": "was killed", "died": "died", "quit": "was switched off"}
# What a node's lane says beside the states that the product publishes; a restored one also has the name of its stage.
OWN_STATES = ("down", "paused", "booting", "restored", "started")


@dataclass(frozen=True)
class TimelineRow:
    """One line of the printed timeline; time is relative to the injection."""

    t_s: float
    who: str
    text: str

    def __str__(self) -> str:
        return f"{self.t_s:+9.1f} s  {self.who:<7} {self.text}"


@dataclass(frozen=True)
class Span:
    """A stretch of time in which something had one state."""

    start_s: float
    end_s: float
    state: str


@dataclass(frozen=True)
class Marker:
    """A moment with a short name."""

    t_s: float
    text: str


def flat(records: Iterable[HistoryRecord]) -> list[Item]:
    """The records of a history in the form of its file, which the functions here take."""
    return [{"t_s": r.t_s, "source": r.source, "kind": r.kind, **r.fields} for r in records]


def told(records: Iterable[Item]) -> list[Item]:
    """The records by time, with the journal's own line unpacked: it travels as the field `entry`."""
    unpacked = []
    for item in records:
        entry = item.get("entry")
        unpacked.append({**entry, **item} if isinstance(entry, Mapping) else item)
    return sorted(unpacked, key=at)


def number(item: Item, key: str) -> float | None:
    """A number in an item, or None when it is absent or something else."""
    value = item.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def word(item: Item, key: str) -> str:
    """A text in an item, or the empty text."""
    value = item.get(key)
    return value if isinstance(value, str) else ""


def at(item: Item) -> float:
    """When an item was recorded; every item has a time."""
    time_s = number(item, "t_s")
    assert time_s is not None, f"a record without a time: {item}"
    return time_s


def host_points(records: Iterable[Item], zero_at_s: float) -> list[Item]:
    """The host's speed, pressure and steal as they were recorded, each at its time from `zero_at_s`."""
    found = [item for item in records if word(item, "source") == "host" and word(item, "kind") == "speed"]
    return [{**item, "t_s": at(item) - zero_at_s} for item in found]


def client_spans(records: Iterable[Item], zero_at_s: float) -> list[Span]:
    """What the client saw, as spans "served" and "outage".

    They are what the probe itself called up and down, so that they agree with its figures. Without a word of it an
    outage lasts from the last success to the next one.
    """
    items = list(records)
    probes = sorted(
        ((intended, word(r, "kind") == "ok") for r in items if word(r, "source") == "probe"
         if (intended := number(r, "intended_s")) is not None),
    )  # fmt: skip
    if probes:
        names = {"up": "served", "down": "outage"}
        found = level_spans(items, "probe", zero_at_s, probes[-1][0] - zero_at_s)
        if found:
            return [Span(span.start_s, span.end_s, names[span.state]) for span in found]
    spans: list[Span] = []
    for good, group in itertools.groupby(probes, key=lambda probe: probe[1]):
        times = [intended - zero_at_s for intended, _ in group]
        start = spans[-1].end_s if spans else times[0]
        if good and spans:  # the first success ends the outage
            spans[-1] = Span(spans[-1].start_s, times[0], "outage")
            start = times[0]
        spans.append(Span(start, times[-1], "served" if good else "outage"))
    return spans


def level_spans(records: Iterable[Item], source: str, zero_at_s: float, end_s: float) -> list[Span]:
    """The spans "up" and "down" of one level: each change counts from the answer that shows it, not from its record."""
    spans: list[Span] = []
    for item in records:
        kind = word(item, "kind")
        if word(item, "source") != source or kind not in ("up", "down"):
            continue
        edge_s = number(item, "first_ok_at_s" if kind == "up" else "last_ok_at_s")
        edge_s = (at(item) if edge_s is None else edge_s) - zero_at_s
        if spans:
            spans[-1] = Span(spans[-1].start_s, edge_s, spans[-1].state)
        spans.append(Span(edge_s, max(edge_s, end_s), kind))
    return spans


def node_spans(records: Iterable[Item], node: str, zero_at_s: float, end_s: float) -> list[Span]:
    """The states of a node as "PAIR VM" words from its journal, "down" after a fault that ends it, "paused" while its
    machine is; a node that was restored has the state in which it was saved until it speaks."""
    changes: list[tuple[float, str]] = []
    pair, vm, holder, was = "", "", "", ""
    for item in told(records):
        time_s, source, kind = at(item) - zero_at_s, word(item, "source"), word(item, "kind")
        if ends_node(item, node):
            pair, vm = "", ""
            changes.append((time_s, "down"))
        elif source == f"machine.{node}" and kind == "started":
            changes.append((time_s, "restored" if item.get("incoming") else "booting"))
        elif source == "switch" and kind == "claim" and "mac" in item:
            holder = word(item, "port").partition(".")[0]
        elif source == "bed" and item.get("restored") is True and changes and changes[-1][1] == "restored":
            serves: VmState = "RUNNING" if holder == node else "STANDBY"
            vm = serves if holder else ""
            changes.append((time_s, f"{word(item, 'stage')} {vm}".strip()))
        elif source == f"qmp.{node}" and word(item, "event") == "STOP" and changes:
            was = changes[-1][1]
            changes.append((time_s, "paused"))
        elif source == f"qmp.{node}" and word(item, "event") == "RESUME" and changes and changes[-1][1] == "paused":
            changes.append((time_s, was))
        elif source == f"journal.{node}":
            pair = after(item.get("pair")) or pair
            vms = item.get("vms")
            if isinstance(vms, Mapping) and vms:
                vm = after(next(iter(vms.values()))) or vm
            changes.append((time_s, f"{pair} {vm}".strip() or "started"))
    return joined(changes, end_s)


def joined(changes: Sequence[tuple[float, str]], end_s: float) -> list[Span]:
    """Spans from the moments at which a state began; equal neighbours are one."""
    spans: list[Span] = []
    for index, (start, state) in enumerate(changes):
        stop = changes[index + 1][0] if index + 1 < len(changes) else max(end_s, start)
        if spans and spans[-1].state == state:
            spans[-1] = Span(spans[-1].start_s, stop, state)
        else:
            spans.append(Span(start, stop, state))
    return spans


def ends_node(item: Item, node: str) -> bool:
    """Says whether this item is the end of the node's machine, or a fault that ends all that runs there."""
    if word(item, "source") == f"machine.{node}":
        return word(item, "kind") in MACHINE_ENDS
    name = f"{word(item, 'name')} {word(item, 'fault')}".lower()
    hit = word(item, "source") == "fault" and word(item, "kind") in ("injected", "confirmed")
    return hit and word(item, "target") == node and any(part in name for part in NODE_ENDING_FAULTS)


def after(change: object) -> str:
    """The second word of a [before, after] pair, or the empty text."""
    if isinstance(change, Sequence) and not isinstance(change, str) and len(change) == 2:
        return str(change[1])
    return str(change) if isinstance(change, str) else ""


def node_markers(records: Iterable[Item], node: str, zero_at_s: float) -> list[Marker]:
    """The milestones in a node's journal, by short name and time."""
    return [
        Marker(at(item) - zero_at_s, f"{word(item, 'milestone').replace('_', ' ')} {at(item) - zero_at_s:.1f}")
        for item in told(records)
        if word(item, "source") == f"journal.{node}" and word(item, "milestone")
    ]


def phase_spans(phases_s: object) -> list[Span]:
    """The phases of a recovery one after the other; one that nobody stamped is joined to the next known.

    Without any step of a takeover there was none, and nothing is joined to the return of service and redundancy.
    """
    known = phases_s if isinstance(phases_s, Mapping) else {}
    is_takeover = any(number(known, key) is not None for key in TAKEOVER_STEPS)
    spans: list[Span] = []
    start = 0.0
    names: list[str] = []
    for key, text in PHASES.items():
        names = [*names, text] if is_takeover else [text]
        end = number(known, key)
        if end is not None:
            spans.append(Span(start, max(start, end), " + ".join(names)))
            start, names = max(start, end), []
    return spans


def rows(records: Iterable[Item], zero_at_s: float) -> list[TimelineRow]:
    """The story of a run, one row for each thing that matters, in order of time."""
    items = told(records)
    story = [row for item in items if (row := tell(item, zero_at_s)) is not None]
    client = client_spans(items, zero_at_s)
    first_s = client[0].start_s if client else 0.0
    for span in client:
        if span.state == "outage":
            length = f"{span.end_s - span.start_s:.1f} s"
            story.append(TimelineRow(span.start_s, "client", f"last acknowledged write; no service for {length}"))
        elif span.start_s > first_s:
            story.append(TimelineRow(span.start_s, "client", "writes are acknowledged again"))
    return sorted(story, key=lambda row: row.t_s)


def tell(item: Item, zero_at_s: float) -> TimelineRow | None:
    """One item as a row, or None when it is detail: single probes, console lines, journal lines between milestones."""
    source, kind, time_s = word(item, "source"), word(item, "kind"), at(item) - zero_at_s
    area, _, node = source.partition(".")
    if area == "journal" and word(item, "milestone"):
        milestone, reason = word(item, "milestone"), word(item, "reason")
        text = in_words(milestone)
        return TimelineRow(time_s, node, f"{text}: {reason[:REASON_LENGTH_MAX]}" if reason else text)
    if area == "journal":
        pair = item.get("pair")
        changed = isinstance(pair, Sequence) and len(pair) == 2 and pair[0] != pair[1]
        return TimelineRow(time_s, node, f"pair state is now {after(pair)}") if changed else None
    if (source, kind) == ("bed", "broke_off"):
        return TimelineRow(time_s, "bed", f"the run broke off: {word(item, 'reason')[:REASON_LENGTH_MAX]}")
    if area == "fault":
        name, target = word(item, "name") or word(item, "fault") or "fault", word(item, "target")
        return TimelineRow(
            time_s, "fault", f"{name}{f' on {target}' if target else ''} {kind.replace('_', ' ')}{details(item)}"
        )
    if area == "machine" and kind in ("started", *MACHINE_ENDS):
        return TimelineRow(time_s, node, f"machine {MACHINE_ENDS.get(kind, kind)}")
    if area == "qmp" and word(item, "event") in MACHINE_EVENTS:
        return TimelineRow(time_s, node, f"machine reports {word(item, 'event').lower()}")
    if area == "switch" and kind in ("rule", "moved"):
        return TimelineRow(time_s, "switch", word(item, "text") or kind)
    if area == "probe" and node:
        return tell_level(node, item, zero_at_s)
    if (area, kind) == ("call_home", "received") and item.get("repeat") is not True:
        code = f"{word(item, 'code')} ({word(item, 'severity')})"
        return TimelineRow(time_s, "centre", f"alert from {word(item, 'node')}: {code}")
    return None


def details(item: Item) -> str:
    """What a record of a fault says beside its name: the step, how late it was, why it was not done."""
    step, late_s, reason = word(item, "step"), number(item, "late_s"), word(item, "reason")
    known = [f"step {step}" if step else "", "" if late_s is None else f"{late_s * 1000:.1f} ms late"]
    noted = ", ".join(part for part in known if part)
    return (f" ({noted})" if noted else "") + (f": {reason[:REASON_LENGTH_MAX]}" if reason else "")


def tell_level(level: str, item: Item, zero_at_s: float) -> TimelineRow | None:
    """One change of a level of the probe as a row, at the time of the answer that shows it."""
    kind, how = word(item, "kind"), word(item, "how") or word(item, "why")
    texts = {
        "up": f"{level} answers",
        "down": f"{level}: last answer",
        "connection_ended": f"the long connection has ended: {how}",
        "connection_opened": "the long connection is open",
        "not_available": f"no probe of this level, because {how}",
        "ended": f"no probe of this level from now on, because {how}",
    }
    edge_s = number(item, "first_ok_at_s") or number(item, "last_ok_at_s") or at(item)
    return TimelineRow(edge_s - zero_at_s, "client", texts[kind]) if kind in texts else None
