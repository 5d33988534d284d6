"""Draws the timeline of a run (what the client saw, what each node did, the phases, the latency of each write), and the
history of a metric over many runs.

The only file that imports matplotlib. A person should see in five seconds when it broke, for how long, and which step
took the time. It must never smooth, interpolate or hide a sample; what was not recorded is not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from testbed import timeline
from testbed.statistics import Value, summarise
from testbed.timeline import Item, Marker, Span

GREEN, RED, AMBER, BLUE, GREY, INK = "#3a9d5d", "#d9423a", "#efaa3c", "#6f9fd8", "#c9ced6", "#20252c"
PHASE_COLOURS = ("#8e6bbf", "#5d78c9", "#3f9bb5", "#efaa3c", "#58a55c", "#9aa3ad")
VERDICT_COLOURS = {"pass": GREEN, "fail": RED}
WIDTH_IN, DPI = 15.0, 110
FONT = 9.5
CHARACTER_SHARE = 0.0063  # width of a character of a label as a share of the time axis; measured at FONT and WIDTH_IN
LEVEL = 0.36  # distance of two levels of labels, in lane units
LANE_IN = 0.72  # inches of one lane unit
LEGEND = "nodes: green runs the VM, blue stands by, amber is in transition, grey is down"
BAR = 0.5  # height of a lane's bar
PANEL_IN = 3.0  # inches of one series of a history
VERSION_LEVELS = 4  # more versions than that on one spot are not readable anyway
LATE_REDUNDANCY = 2.5  # when redundancy took this much longer than service, the axis ends earlier and says so


@dataclass(frozen=True)
class Lane:
    """One row of the picture: a bar of spans with moments above it."""

    name: str
    spans: Sequence[Span]
    markers: Sequence[Marker]


@dataclass(frozen=True)
class Label:
    """A text at a time, lifted to a level on which it overlaps no other."""

    t_s: float
    text: str
    level: int


def place_labels(markers: Sequence[Marker], start_s: float, end_s: float) -> list[Label]:
    """Lifts each label above all later ones that begin under it, so that neither texts nor their lines down cross."""
    character_s = CHARACTER_SHARE * (end_s - start_s)
    labels: list[Label] = []
    for marker in sorted(markers, key=lambda m: m.t_s, reverse=True):
        right = marker.t_s + (len(marker.text) + 2) * character_s
        level = max((label.level + 1 for label in labels if label.t_s < right), default=0)
        labels.append(Label(marker.t_s, marker.text, level))
    return labels[::-1]


def state_colour(state: str) -> str:
    """The colour of a node's state: green serves, amber works on it, blue stands by, grey is down."""
    if state == "down":
        return GREY
    if "RUNNING" in state or state == "served":
        return GREEN
    if any(working in state for working in timeline.WORKING_STATES) or "SUSPECT" in state:
        return AMBER
    if "FAILED" in state or "ISOLATED" in state or state == "outage":
        return RED
    return BLUE


def shown_range(result: Item, spans: Sequence[Span]) -> tuple[float, float]:
    """The stretch of time that is drawn, in seconds from the injection."""
    phases = timeline.phase_spans(result.get("phases_s"))
    service = max((p.end_s for p in phases if timeline.PHASES["redundancy"] not in p.state), default=0.0)
    outage = max((s.end_s for s in spans if s.state == "outage"), default=0.0)
    core = max(service, outage, 1.0)
    last = max((p.end_s for p in phases), default=0.0)
    end = last if last <= LATE_REDUNDANCY * core else 1.6 * core
    return -max(0.14 * end, 1.0), max(end, core) * 1.08


def draw_timeline(result: Item, records: Sequence[Item], out_png: Path, *, zero_at_s: float) -> Path:
    """Draws one run into a PNG and returns its path; `zero_at_s` is the injection on the clock of the records."""
    client = timeline.client_spans(records, zero_at_s)
    start_s, end_s = shown = shown_range(result, client)
    phases = timeline.phase_spans(result.get("phases_s"))
    lanes = [Lane("phases", phases, phase_markers(phases, end_s))]
    for node in ("b", "a"):
        spans = timeline.node_spans(records, node, zero_at_s, end_s)
        lanes.append(Lane(f"node {node}", spans, timeline.node_markers(records, node, zero_at_s)))
    lanes.append(Lane("client", client, fault_markers(result, records, zero_at_s)))
    placed = [place_labels([m for m in lane.markers if start_s <= m.t_s <= end_s], start_s, end_s) for lane in lanes]
    heights = [1.0 + LEVEL * (1 + max((label.level for label in labels), default=0)) for labels in placed]
    figure = Figure(figsize=(WIDTH_IN, 3.2 + LANE_IN * sum(heights)), dpi=DPI, layout="constrained")
    story, latency = figure.subplots(2, 1, sharex=True, height_ratios=[LANE_IN * sum(heights), 2.1])
    bases = [sum(heights[:index]) for index in range(len(lanes))]
    for lane, labels, base in zip(lanes, placed, bases, strict=True):
        if lane.name == "phases":
            draw_phases(story, lane.spans, base, shown)
        else:
            draw_states(story, lane.spans, base, shown)
        draw_labels(story, labels, base, marker=None if lane.name == "phases" else "v")
    story.set_yticks(bases, [lane.name for lane in lanes], fontsize=12, fontweight="bold")
    story.set_ylim(-0.5, sum(heights) - 0.25)
    story.tick_params(length=0, labelbottom=False)
    story.text(end_s, sum(heights) - 0.3, LEGEND, ha="right", va="top", fontsize=FONT, color="#5d6672")
    draw_latency(latency, records, zero_at_s)
    for axes in (story, latency):
        draw_frame(axes, shown)
    latency.set_xlabel("seconds since the confirmed injection", fontsize=11)
    draw_title(figure, result)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_png)
    return out_png


def draw_frame(axes: Axes, shown: tuple[float, float]) -> None:
    """The grid, and the dashed line at the injection, both behind everything else."""
    axes.set_xlim(*shown)
    axes.axvline(0, color=RED, linewidth=1.4, linestyle=(0, (4, 2)), zorder=1)
    axes.grid(axis="x", color="#e6e9ee", zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def draw_states(axes: Axes, spans: Sequence[Span], base: float, shown: tuple[float, float]) -> None:
    """A bar of coloured states, with their names where they fit."""
    start_s, end_s = shown
    for span in spans:
        left, right = max(span.start_s, start_s), min(span.end_s, end_s)
        if right <= left:
            continue
        colour, down = state_colour(span.state), span.state == "down"
        bar = axes.barh(base, right - left, left=left, height=BAR, color=colour, edgecolor="white", zorder=2)
        if down:
            bar.patches[0].set_hatch("///")
        text = f"no service {span.end_s - span.start_s:.1f} s" if span.state == "outage" else span.state
        if right - left > (len(text) + 1) * CHARACTER_SHARE * 1.15 * (end_s - start_s):
            ink = INK if colour in (GREY, AMBER) else "white"
            box = {"boxstyle": "round,pad=0.15", "facecolor": GREY, "linewidth": 0} if down else None
            axes.text(
                (left + right) / 2, base, text,
                ha="center", va="center", color=ink, fontsize=FONT, weight="bold", bbox=box,
            )  # fmt: skip


def draw_labels(axes: Axes, labels: Sequence[Label], base: float, *, marker: str | None) -> None:
    """The texts above a bar, each with a thin line down to its moment."""
    for label in labels:
        y = base + BAR / 2 + LEVEL * (label.level + 0.62)
        axes.plot([label.t_s, label.t_s], [base + BAR / 2, y + 0.1], color="#8a929c", linewidth=0.8, zorder=2)
        if marker:
            axes.plot([label.t_s], [base + BAR / 2], marker=marker, color=INK, markersize=5, zorder=3)
        axes.text(label.t_s, y, f" {label.text}", ha="left", va="center", fontsize=FONT, color=INK)


def phase_markers(phases: Sequence[Span], end_s: float) -> list[Marker]:
    """Each phase's name and duration, at its beginning."""
    return [Marker(p.start_s, f"{p.state} {p.end_s - p.start_s:.1f} s") for p in phases if p.start_s < end_s]


def draw_phases(axes: Axes, phases: Sequence[Span], base: float, shown: tuple[float, float]) -> None:
    """The phases as one bar of consecutive pieces."""
    for colour, phase in zip(PHASE_COLOURS, phases, strict=False):
        right = min(phase.end_s, shown[1])
        if right > phase.start_s:
            length = right - phase.start_s
            axes.barh(base, length, left=phase.start_s, height=BAR, color=colour, edgecolor="white", zorder=2)
        if phase.end_s > shown[1] > phase.start_s:
            note = f"until +{phase.end_s:.0f} s \N{RIGHTWARDS ARROW} "
            axes.text(shown[1], base, note, ha="right", va="center", fontsize=FONT, color="white", weight="bold")
    if not phases:
        axes.text(0, base, " no phase was stamped: durations unknown", va="center", fontsize=FONT, color=RED)


def fault_markers(result: Item, records: Sequence[Item], zero_at_s: float) -> list[Marker]:
    """The faults with their verdicts, at the time of their first record, else at the injection."""
    faults = result.get("faults")
    markers: list[Marker] = []
    for fault in faults if isinstance(faults, Sequence) else ():
        if not isinstance(fault, Mapping):
            continue
        name = timeline.word(fault, "name")
        times = [
            timeline.at(r) - zero_at_s
            for r in records
            if timeline.word(r, "source") == "fault"
            and name in (timeline.word(r, "name"), timeline.word(r, "fault"))
            and timeline.word(r, "kind") in ("injected", "confirmed")
        ]
        target, verdict = timeline.word(fault, "target"), timeline.word(fault, "verdict") or "no verdict"
        text = f"FAULT: {name.replace('_', ' ')} on {target} ({verdict})"
        markers.append(Marker(max(times, default=0.0), text))
    return markers


def draw_latency(axes: Axes, records: Sequence[Item], zero_at_s: float) -> None:
    """Every write as a dot at its intended time: latency when it was acknowledged, a cross when it was not."""
    probes = [(r, at) for r in records if timeline.word(r, "source") == "probe"
              and (at := timeline.number(r, "intended_s")) is not None]  # fmt: skip
    answered = [
        (intended - zero_at_s, latency * 1000)
        for r, intended in probes
        if timeline.word(r, "kind") == "ok" and (latency := timeline.number(r, "latency_s")) is not None
    ]
    silent = [intended - zero_at_s for r, intended in probes if timeline.word(r, "kind") != "ok"]
    axes.set_yscale("log")
    top = max([latency for _, latency in answered] or [100.0])
    if answered:
        axes.plot(*zip(*answered, strict=True), ".", color=GREEN, markersize=4, label=f"acknowledged ({len(answered)})")
    if silent:
        axes.plot(silent, [top * 3] * len(silent), "x", color=RED, markersize=4, label=f"no answer ({len(silent)})")
    axes.set_ylabel("write latency, ms", fontsize=11)
    axes.grid(axis="y", color="#e6e9ee")
    if probes:
        axes.legend(loc="upper right", fontsize=FONT, framealpha=0.9, ncols=2)
        axes.set_ylim(top=top * 12)


def draw_title(figure: Figure, result: Item) -> None:
    """The verdict and the numbers that qualify it, above everything."""
    verdict = timeline.word(result, "verdict") or "no verdict"
    outage, ledger = timeline.number(result, "outage_s"), result.get("ledger")
    lost = timeline.number(ledger, "lost") if isinstance(ledger, Mapping) else None
    facts = [
        f"outage {outage:.1f} s" if outage is not None else "outage unknown",
        f"{lost:.0f} acknowledged writes lost" if lost is not None else "lost writes unknown",
        f"accelerator {timeline.word(result, 'accel') or 'unknown'}",
        f"time dilation {timeline.number(result, 'dilation') or 'unknown'}",
    ]
    heading = f"{timeline.word(result, 'scenario') or 'run'}:  {verdict.upper()}      {'   |   '.join(facts)}"
    figure.suptitle(heading, fontsize=14.5, fontweight="bold", color=VERDICT_COLOURS.get(verdict, "#a86400"))


@dataclass(frozen=True)
class HistoryPoint:
    """One run in the history of a metric; a run that is not comparable is shown and not counted."""

    version: str
    value: Value
    comparable: bool


def draw_history(panels: Mapping[tuple[str, str], Sequence[HistoryPoint]], out_png: Path) -> Path:
    """Draws one panel per series, by heading and unit, with its runs in their order; returns the path of the PNG."""
    figure = Figure(figsize=(WIDTH_IN, 0.6 + PANEL_IN * len(panels)), dpi=DPI, layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False)
    for (heading, unit), axes in zip(panels, grid[:, 0], strict=True):
        points = panels[heading, unit]
        axes.set_title(heading, loc="left", fontsize=11.5, fontweight="bold")
        axes.set_ylabel(unit or "count", fontsize=11)
        axes.set_xlim(0.4, max(len(points), 6) + 0.6)
        labels = version_labels(points, unit)
        top = max(point.value.at for point in points)
        low = min(point.value.at for point in points)
        room = (top - low) or abs(top) or 1.0
        levels = 1 + max(label.level for label in labels)
        axes.set_ylim(low - 0.15 * room, top + (0.15 + 0.33 * levels) * room)  # room for arrows and for the words
        draw_versions(axes, points)
        for label in labels:
            axes.annotate(
                label.text, (label.t_s, 1.0), xycoords=("data", "axes fraction"), textcoords="offset points",
                xytext=(2, -3 - 3.6 * FONT * (levels - 1 - label.level)), ha="left", va="top", fontsize=FONT - 1,
                color=INK,
            )  # fmt: skip
        draw_points(axes, points)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color="#e6e9ee")
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=FONT, frameon=False)
    grid[-1, 0].set_xlabel("runs in the order in which they were made", fontsize=11)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_png, format="png")
    return out_png


def stretches(points: Sequence[HistoryPoint]) -> list[tuple[int, Sequence[HistoryPoint]]]:
    """The runs cut where the version changes, each piece with the place of its first run."""
    starts = [index for index, p in enumerate(points) if index == 0 or p.version != points[index - 1].version]
    return [(start, points[start:end]) for start, end in zip(starts, [*starts[1:], len(points)], strict=True)]


def version_labels(points: Sequence[HistoryPoint], unit: str) -> list[Label]:
    """What is said of each version, at the place of its first run, on one of a few levels so that texts stay apart."""
    texts: dict[float, str] = {}
    for start, runs in stretches(points):
        values = [point.value for point in runs if point.comparable]
        said = summarise(values).text(unit, 2).replace(", p90", "\np90", 1) if values else "no comparable run"
        texts[start + 0.6] = f"{runs[0].version}\n{said}"
    widest = [Marker(left, max(text.split("\n"), key=len)) for left, text in texts.items()]
    placed = place_labels(widest, 0.4, max(len(points), 6) + 0.6)
    return [Label(label.t_s, texts[label.t_s], label.level % VERSION_LEVELS) for label in placed]


def draw_versions(axes: Axes, points: Sequence[HistoryPoint]) -> None:
    """For each stretch of runs of one version its median, and the interval of the median as a band."""
    for start, runs in stretches(points):
        left, right = start + 0.6, start + len(runs) + 0.4
        if start:
            axes.axvline(start + 0.5, color="#8a929c", linewidth=0.8, linestyle=(0, (3, 3)))
        values = [point.value for point in runs if point.comparable]
        if not values:
            continue
        summary = summarise(values)
        style = (0, (2, 1)) if summary.median.censored else "solid"
        axes.plot([left, right], [summary.median.at] * 2, color=BLUE, linewidth=2, linestyle=style)
        if summary.interval is not None:
            low, high = summary.interval
            top = axes.get_ylim()[1] if high.censored else high.at
            axes.fill_between([left, right], low.at, max(top, low.at), color=BLUE, alpha=0.25, linewidth=0)


def draw_points(axes: Axes, points: Sequence[HistoryPoint]) -> None:
    """Each run as a dot, as an arrow upwards when it is only known to be more, hollow when it is not comparable."""
    kinds = {
        (True, False): ("o", GREEN, "measured"),
        (True, True): ("$\\uparrow$", RED, "at least (not reached in time)"),
        (False, False): ("o", "none", "not comparable"),
        (False, True): ("$\\uparrow$", GREY, "at least, not comparable"),
    }
    for (comparable, censored), (marker, colour, label) in kinds.items():
        chosen = [
            (number, point.value.at)
            for number, point in enumerate(points, 1)
            if (point.comparable, point.value.censored) == (comparable, censored)
        ]
        if chosen:
            edge = "#8a929c" if colour == "none" else colour
            axes.plot(
                *zip(*chosen, strict=True), linestyle="none", marker=marker, markersize=15 if censored else 6,
                markerfacecolor=colour, markeredgecolor=edge, label=label,
            )  # fmt: skip
