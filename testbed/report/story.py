"""What became of a run's faults, of the levels of its probe and of its oracles, for people: bars, spans and tables.

Pure: it takes what `result.json` holds and the records of the history, so that yesterday's run can be told again. It
must never judge, and never turn "not known" into a figure or "not measured" into "no outage".
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.judge.verdict import Verdict
from testbed.report import timeline
from testbed.report.timeline import Item, Marker, Span, number, word

LEVELS = ("l2", "l2_service", "l3", "udp", "tcp_new", "tcp_long")
SCHEDULE = "schedule.jsonl"
UNKNOWN = "-"


@dataclass(frozen=True)
class FaultBar:
    """One fault from its proven injection to its heal, in seconds from the first injection; None is not known."""

    step: str
    name: str
    target: str
    verdict: str
    start_s: float | None
    end_s: float | None
    late_s: float | None
    problem: str

    @property
    def text(self) -> str:
        """The fault in a few words."""
        until = ", not healed" if self.start_s is not None and self.end_s is None else ""
        return f"{self.name} on {self.target}: {self.verdict}{until}"


@dataclass(frozen=True)
class LevelRow:
    """What one level of the probe saw: spans "up" and "down", moments, and why it was not measured, if so."""

    level: str
    spans: Sequence[Span]
    markers: Sequence[Marker]
    why_not: str = ""


def entries(result: Item, key: str) -> list[Item]:
    """The objects in a list of the result; what is not an object is left out."""
    value = result.get(key)
    there = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    return [entry for entry in there if isinstance(entry, Mapping)]


def again(out: Path) -> str:
    """The line with which a run can be run again."""
    return f"testbed replay {shlex.quote(str(out / SCHEDULE))}"


# ------------------------------------------------------------------ faults


def zero_of(result: Item) -> float:
    """The first proven injection on the clock of the run; 0, its start, when there is none."""
    proven = [at for fault in entries(result, "faults") if (at := number(fault, "injected_at_s")) is not None]
    return min(proven, default=0.0)


def zero_in_run(result: Item, records: Iterable[Item], zero_at_s: float) -> float:
    """The zero of a picture on the clock of the run, by the record of the run's start; else the first injection."""
    starts = [at for item in records if word(item, "source") == "history" and word(item, "kind") == "zero"
              if (at := number(item, "zero_at_s")) is not None]  # fmt: skip
    return zero_at_s - starts[-1] if starts else zero_of(result)


def fault_bars(result: Item, records: Sequence[Item] = (), zero_at_s: float | None = None) -> list[FaultBar]:
    """The faults in the order of the schedule; one that is not proven stands where it was ordered, if records tell."""
    zero_s = zero_of(result) if zero_at_s is None else zero_in_run(result, records, zero_at_s)
    bars = []
    for fault in entries(result, "faults"):
        start_s, end_s = number(fault, "injected_at_s"), number(fault, "healed_at_s")
        ordered = ordered_at(fault, records)
        if start_s is not None:
            start_s -= zero_s
        elif ordered is not None and zero_at_s is not None:
            start_s = ordered - zero_at_s
        bars.append(
            FaultBar(
                step=word(fault, "step"), name=word(fault, "name") or "fault", target=word(fault, "target"),
                verdict=word(fault, "verdict") or "no verdict", start_s=start_s,
                end_s=None if end_s is None else end_s - zero_s, late_s=number(fault, "late_s"),
                problem=word(fault, "problem"),
            )
        )  # fmt: skip
    return bars


def ordered_at(fault: Item, records: Iterable[Item]) -> float | None:
    """When the order to inject a fault had returned, on the clock of the records."""
    return next(
        (
            timeline.at(item)
            for item in records
            if word(item, "source") == "fault"
            and word(item, "kind") == "injected"
            and all(word(item, key) == word(fault, key) for key in ("name", "target", "step"))
        ),
        None,
    )


def fault_table(bars: Sequence[FaultBar]) -> list[str]:
    """The faults as a table, and below it what went wrong with one."""
    rows = [("fault", "target", "step", "verdict", "injected", "late", "healed")]
    rows += [
        (bar.name, bar.target, bar.step or UNKNOWN, bar.verdict, moment(bar.start_s), lateness(bar.late_s), healed(bar))
        for bar in bars
    ]
    said = [f"  {bar.step or bar.name}: {bar.problem}" for bar in bars if bar.problem]
    return [*columns(rows), *said] if bars else ["no fault was injected"]


def moment(t_s: float | None) -> str:
    """A time from the first injection."""
    return UNKNOWN if t_s is None else f"{round(t_s, 1) + 0.0:+.1f} s"  # the sum has no -0.0


def lateness(late_s: float | None) -> str:
    """How late an injection began; small, so in milliseconds."""
    return UNKNOWN if late_s is None else f"{late_s * 1000:.1f} ms"


def healed(bar: FaultBar) -> str:
    """When a fault was taken back, or that it never was."""
    if bar.end_s is not None:
        return moment(bar.end_s)
    return "never" if bar.start_s is not None else UNKNOWN


# ------------------------------------------------------------------ levels


def level_rows(records: Sequence[Item], zero_at_s: float, end_s: float) -> list[LevelRow]:
    """What each level of the probe saw until `end_s`, from its own records; a level without records is not there."""
    missing = {
        level: word(item, "how") or word(item, "why")
        for item in records
        if (level := level_of(item)) is not None and word(item, "kind") in ("not_available", "ended")
    }
    seen = {level for item in records if (level := level_of(item)) is not None and word(item, "kind") in ("up", "down")}
    rows = [level_row(records, level, zero_at_s, end_s) for level in LEVELS if level in seen]
    return rows + [LevelRow(level, (), (), why) for level, why in missing.items() if level not in seen]


def level_of(item: Item) -> str | None:
    """The level of the probe that a record is of, or None; the UDP probe has no level in its source."""
    area, _, level = word(item, "source").partition(".")
    return (level or "udp") if area == "probe" else None


def level_row(records: Sequence[Item], level: str, zero_at_s: float, end_s: float) -> LevelRow:
    """The spans of one level, and the moments at which its connection ended."""
    source = "probe" if level == "udp" else f"probe.{level}"
    markers = [
        Marker(timeline.at(item) - zero_at_s, word(item, "how"))
        for item in records
        if word(item, "source") == source and word(item, "kind") == "connection_ended"
    ]
    return LevelRow(level, timeline.level_spans(records, source, zero_at_s, end_s), markers)


def level_table(levels: object) -> list[str]:
    """The levels of the result as a small table, below it what is no figure: why not measured, what became of TCP."""
    known = levels if isinstance(levels, Mapping) else {}
    figures = {name: known[name] for name in LEVELS if isinstance(known.get(name), Mapping)}
    rows = [("level", "outage", "longest gap", "flaps", "slow")]
    for name, level in figures.items():
        gap_s, slow_s = number(level, "longest_gap_s"), number(level, "slow_s")
        rows.append(
            (
                name,
                level_outage(level),
                UNKNOWN if gap_s is None else f"{gap_s:.1f} s",
                count(level, "flaps"),
                count(level, "slow") + (f" ({slow_s:.1f} s)" if slow_s else ""),
            )
        )
    said = [f"  {name}: {text}" for name, text in known.items() if isinstance(text, str)]
    fate = connection(figures.get("tcp_long", {}))
    said += [f"  tcp_long: {fate}"] if fate else []
    return [*(columns(rows) if figures else ["no level of the probe was measured"]), *said]


def count(item: Item, key: str) -> str:
    """A count, or that it is not known."""
    value = number(item, key)
    return UNKNOWN if value is None else f"{value:.0f}"


def level_outage(level: Item) -> str:
    """The longest outage of one level and of how many; a bound when one had not ended; or that there was none."""
    length_s, least_s = number(level, "outage_s"), number(level, "outage_at_least_s")
    outages = number(level, "outages") or 0
    if length_s is not None:
        return f"{length_s:.1f} s" + (f", longest of {outages:.0f}" if outages > 1 else "")
    if not outages:
        return "none" if number(level, "good") else "never up"
    return UNKNOWN if least_s is None else f"> {least_s:.1f} s, not over"


def connection(level: Item) -> str:
    """What became of the TCP connection that met the fault."""
    fields = level.get("connection")
    fate = word(fields, "fate") if isinstance(fields, Mapping) else ""
    if not isinstance(fields, Mapping) or not fate:
        return ""
    ended_s, new_s = number(fields, "ended_s"), number(fields, "reconnected_s")
    text = f"the connection that met the first fault: {fate}"
    if ended_s is None:
        return text
    return f"{text} at {moment(ended_s)}, " + ("no other one came" if new_s is None else f"another at {moment(new_s)}")


def outage(result: Item) -> str:
    """The client's outage in words; "none seen" only when the probe itself says so."""
    length_s, limits = number(result, "outage_s"), result.get("limits_s")
    if length_s is not None:
        return f"outage {length_s:.1f} s"
    bound_s = number(limits, "outage") if isinstance(limits, Mapping) else None
    if bound_s is not None:
        return f"outage > {bound_s:.1f} s"
    levels = result.get("levels")
    udp = levels.get("udp") if isinstance(levels, Mapping) else None
    is_clean = isinstance(udp, Mapping) and number(udp, "outages") == 0 and number(udp, "good")
    return "no outage" if is_clean else "outage unknown"


# ------------------------------------------------------------------ oracles


def finding_table(result: Item) -> list[str]:
    """What the oracles say: those that pass in one line, each other one with its sentence."""
    found = entries(result, "findings")
    passed = [word(one, "oracle") for one in found if word(one, "verdict") == Verdict.PASS]
    rest = [one for one in found if word(one, "verdict") != Verdict.PASS]
    lines = [f"oracles: {len(passed)} of {len(found)} pass{': ' if passed else ''}{', '.join(passed)}"]
    lines += [
        f"  {word(one, 'verdict').upper():<12} {word(one, 'oracle')}: {word(one, 'text')}"
        for one in sorted(rest, key=lambda one: word(one, "verdict") != Verdict.FAIL)
    ]
    return lines if found else ["oracles: none was asked"]


def tables(result: Item, records: Sequence[Item] = (), zero_at_s: float | None = None) -> str:
    """Faults, levels and oracles as text; times count from the first injection."""
    bars = fault_bars(result, records, zero_at_s)
    parts = (fault_table(bars), level_table(result.get("levels")), finding_table(result))
    return "\n\n".join("\n".join(part) for part in parts)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of equally wide columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
