"""Draws the timeline of a run: its faults, what the client and each level of the probe saw, what each node did, the
phases of a takeover, the latency of each write, and how fast the host was.

It alone loads matplotlib, and only when it draws. A person should see in five seconds when it
broke, for how long, and which step took the time. It must never smooth, interpolate or hide a sample; what was not
recorded is not drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.report import story, timeline
from testbed.report.labels import (
    AMBER,
    BLUE,
    CHARACTER_SHARE,
    DPI,
    FAINT,
    FONT,
    GREEN,
    GREY,
    INK,
    QUIET,
    RED,
    WIDTH_IN,
    Label,
    beside_bar,
    place_labels,
    with_room,
)
from testbed.report.story import FaultBar, LevelRow
from testbed.report.timeline import Item, Marker, Span
from testbed.vocabulary import PairState, Phase, VmState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHASE_COLOURS: Mapping[Phase, str] = {
    "detect": "#8e6bbf", "decide": "#5d78c9", "promote": "#3f9bb5", "vm_start": "#d98a2b", "guest_up": "#efaa3c",
    "service_up": "#58a55c", "redundancy": "#9aa3ad",
}  # fmt: skip
PAIR_COLOURS: Mapping[PairState, str] = {
    "UNPAIRED": AMBER, "STARTING": AMBER, "PAIRED": BLUE, "WAITING": AMBER, "ALONE": BLUE, "FENCED": RED, "SPLIT": RED,
}  # fmt: skip
VM_COLOURS: Mapping[VmState, str] = {
    "CHECKING": AMBER, "STANDBY": BLUE, "PROMOTING": AMBER, "STARTING": AMBER, "RUNNING": GREEN, "SENDING": GREEN,
    "RECEIVING": AMBER, "RECEIVED": AMBER, "STOPPING": AMBER, "DEMOTING": AMBER, "FAILED": RED,
}  # fmt: skip
OWN_COLOURS = {
    "down": GREY, "paused": GREY, "booting": AMBER, "restored": AMBER, "started": AMBER,  # of a node
    "BOOTED": AMBER, "PROTECTED": BLUE,  # stages of a restored one; PAIRED is as above
    "served": GREEN, "outage": RED,  # of the client
}  # fmt: skip
STATE_COLOURS: Mapping[str, str] = OWN_COLOURS | {
    word: colour for words in (VM_COLOURS.items(), PAIR_COLOURS.items()) for word, colour in words
}
STRONGEST_FIRST = (GREY, RED, GREEN, AMBER, QUIET, BLUE)  # of the words of a state, which colour it has
VERDICT_COLOURS = {"pass": GREEN, "fail": RED}
FAULT_COLOURS = {"confirmed": "#4b4453", "mismatch": RED, "inconclusive": AMBER}  # any other was not injected: hollow
LEVEL_COLOURS = {"up": GREEN, "down": RED}
LIFT = 0.36  # distance of two levels of labels, in lane units
LANE_IN = 0.72  # inches of one lane unit
HOST_IN = 1.3  # inches of the host's speed
LEGEND = (
    "nodes: green runs the VM, blue stands by, amber is in transition or waits, red is fenced, split or failed, "
    "grey is down or paused"
)
BAR = 0.5  # height of a lane's bar
FAULT_ROW, LEVEL_ROW = 0.44, 0.27  # heights of a row in the lanes that have several
LATE_REDUNDANCY = 2.5  # when redundancy took this much longer than service, the axis ends earlier and says so
NARROW_OUTAGES_SHOWN = 4  # a service that flaps would fill the picture with words
REASONS_SHOWN, REASON_LENGTH_MAX = 2, 170


@dataclass(frozen=True)
class Swimlane:
    """A stripe of the picture: the names of its rows with their heights above its base, and how it is drawn."""

    rows: Mapping[str, float]
    height: float
    draw: Callable[[Axes, float], None]


def state_colour(state: str) -> str:
    """The colour of a state of one or two words; a word that nobody publishes is not taken for one that stands by."""
    colours = {STATE_COLOURS.get(word, QUIET) for word in state.split()}
    return next((colour for colour in STRONGEST_FIRST if colour in colours), QUIET)


def shown_range(result: Item, spans: Sequence[Span], bars: Sequence[FaultBar] = ()) -> tuple[float, float]:
    """The stretch of time that is drawn, in seconds from the injection: all faults and outages, mostly all of it."""
    phases = timeline.phase_spans(result.get("phases_s"))
    service = max((p.end_s for p in phases if timeline.PHASES["redundancy"] not in p.state), default=0.0)
    outage = max((s.end_s for s in spans if s.state in ("outage", "down")), default=0.0)
    moments = [at for bar in bars for at in (bar.start_s, bar.end_s) if at is not None]
    core = max(service, outage, *moments, 1.0)
    last = max([p.end_s for p in phases] + [s.end_s for s in spans], default=0.0)
    is_late = last > LATE_REDUNDANCY * core and core > 1.0
    end = 1.6 * core if is_late else last
    return min(-max(0.14 * end, 1.0), *moments, 0.0), max(end, core) * (1.08 if end > last or is_late else 1.02)


def empty_figure(height_in: float) -> Figure:
    """An empty sheet of the width of a report."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second to import; many look without drawing

    return Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained")


def draw_timeline(result: Item, records: Sequence[Item], out_png: Path, *, zero_at_s: float) -> Path:
    """Draws one run into a PNG and returns its path; `zero_at_s` is the injection on the clock of the records."""
    client = timeline.client_spans(records, zero_at_s)
    bars = story.fault_bars(result, records, zero_at_s)
    asked_s = client[-1].end_s if client else max((timeline.at(r) - zero_at_s for r in records), default=0.0)
    levels = story.level_rows(records, zero_at_s, asked_s)
    start_s, end_s = shown_range(
        result, [*client, *(s for row in levels for s in row.spans if s.end_s < asked_s)], bars
    )
    phases = timeline.phase_spans(result.get("phases_s"))
    markers = {node: timeline.node_markers(records, node, zero_at_s) for node in ("a", "b")}
    steps = phase_markers(phases, end_s)
    start_s = max(start_s, client[0].start_s) if client and client[0].start_s < 0 else start_s
    end_s = with_room([*markers["a"], *markers["b"], *steps], start_s, end_s)
    drawn_s = min(end_s, max([timeline.at(r) - zero_at_s for r in records] or [end_s]))
    shown = (start_s, end_s)
    lanes = [fault_lane(bars, shown, drawn_s), client_lane(client, shown), *level_lanes(levels, shown)]
    for node in ("a", "b"):
        spans = timeline.node_spans(records, node, zero_at_s, drawn_s)
        lanes.append(node_lane(node, spans, markers[node], shown))
    lanes.append(phase_lane(result, phases, steps, (start_s, drawn_s), shown))
    height_in = LANE_IN * sum(lane.height for lane in lanes)
    host = timeline.host_points(records, zero_at_s)
    host_in = HOST_IN if host else 0.0
    figure = empty_figure(3.4 + height_in + host_in)
    heights = [height_in, 2.1, *([HOST_IN] if host else [])]
    upper, latency, *below = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    draw_lanes(upper, lanes)
    draw_latency(latency, records, zero_at_s)
    for axes in below:
        draw_host(axes, host, timeline.number(result, "dilation") or 1.0)
    for axes in (upper, latency, *below):
        draw_frame(axes, shown)
        draw_moments(axes, bars)
    (below or [latency])[-1].set_xlabel(f"seconds since the {'first fault' if bars else 'start'}", fontsize=11)
    draw_title(figure, upper, result)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_png)
    return out_png


def draw_lanes(axes: Axes, lanes: Sequence[Swimlane]) -> None:
    """All lanes below each other, with the names of their rows at the left."""
    total = base = sum(lane.height for lane in lanes)
    names: list[tuple[float, str, bool]] = []
    for lane in lanes:
        base -= lane.height
        lane.draw(axes, base)
        names += [(base + offset, name, len(lane.rows) == 1) for name, offset in lane.rows.items()]
    axes.set_yticks([y for y, _, _ in names], [name for _, name, _ in names])
    for text, (_, _, is_alone) in zip(axes.get_yticklabels(), names, strict=True):
        text.set_fontsize(12 if is_alone else FONT)
        text.set_fontweight("bold" if is_alone else "normal")
    axes.set_ylim(-0.15, total)
    axes.tick_params(length=0, labelbottom=False)


def fault_lane(bars: Sequence[FaultBar], shown: tuple[float, float], drawn_s: float) -> Swimlane:
    """A row for each fault, from its injection to its heal; one that was not injected has its words only."""
    names = [bar.step or str(number) for number, bar in enumerate(bars, start=1)]
    count = max(len(bars), 1)
    offsets = [FAULT_ROW * (count - index - 0.5) + 0.2 for index in range(count)]

    def draw(axes: Axes, base: float) -> None:
        for bar, offset in zip(bars, offsets, strict=False):
            draw_fault(axes, bar, base + offset, shown, drawn_s)
        if not bars:
            axes.text(shown[0], base + offsets[0], " no fault is in the result", va="center", fontsize=FONT, color=RED)

    if len(bars) < 2:
        return Swimlane({"fault": offsets[0]}, FAULT_ROW + 0.3, draw)
    rows = {f"fault {name}": offset for name, offset in zip(names, offsets, strict=True)}
    return Swimlane(rows, FAULT_ROW * count + 0.3, draw)


def draw_fault(axes: Axes, bar: FaultBar, y: float, shown: tuple[float, float], drawn_s: float) -> None:
    """One fault's bar, coloured by its verdict, with its words inside, behind or before it."""
    colour = FAULT_COLOURS.get(bar.verdict, "none")
    if bar.start_s is None:
        axes.text(0, y, f" {bar.text}", va="center", fontsize=FONT, color=RED, weight="bold")
        return
    end_s = drawn_s if bar.end_s is None else bar.end_s
    least_s = 0.003 * (shown[1] - shown[0])  # a fault of a moment is still seen
    width = max(end_s - bar.start_s, least_s)
    edge = INK if colour == "none" else colour
    is_sure = bar.verdict == "confirmed"  # what nobody saw is drawn hollow
    axes.barh(
        y, width, left=bar.start_s, height=0.34, color=colour if is_sure else "white", edgecolor=edge, zorder=3,
        hatch=None if is_sure else "////",
    )  # fmt: skip
    length = "" if bar.end_s is None else f", {bar.end_s - bar.start_s:.1f} s"
    text = f"{bar.text}{length}"
    x, side = beside_bar(bar.start_s, bar.start_s + width, text, *shown)
    ink = "white" if side == "center" and is_sure else INK
    box = (
        {"boxstyle": "round,pad=0.1", "facecolor": "white", "linewidth": 0}
        if side == "center" and not is_sure
        else None
    )
    space = "" if side == "center" else " "
    axes.text(
        x, y, f"{space}{text}{space}", ha=side, va="center", fontsize=FONT, color=ink, weight="bold", zorder=4,
        bbox=box,
    )  # fmt: skip


def client_lane(spans: Sequence[Span], shown: tuple[float, float]) -> Swimlane:
    """What the client's writes saw; the longest outages that are too short for words inside have them above."""
    narrow = [s for s in spans if s.state == "outage" and not fits(outage_text(s), s.end_s - s.start_s, shown)]
    longest = sorted(narrow, key=lambda s: s.start_s - s.end_s)[:NARROW_OUTAGES_SHOWN]
    markers = [Marker(s.start_s, outage_text(s)) for s in longest if shown[0] <= s.start_s <= shown[1]]
    labels = place_labels(markers, *shown)

    def draw(axes: Axes, base: float) -> None:
        draw_states(axes, spans, base + 0.4, shown)
        draw_labels(axes, labels, base + 0.4, marker=None)

    return Swimlane({"client": 0.4}, labelled_height(labels), draw)


def outage_text(span: Span) -> str:
    """The words of one outage."""
    return f"no service {span.end_s - span.start_s:.1f} s"


def fits(text: str, length_s: float, shown: tuple[float, float]) -> bool:
    """Says whether bold words fit into a bar of this length."""
    return length_s > (len(text) + 1) * CHARACTER_SHARE * 1.15 * (shown[1] - shown[0])


def level_lanes(rows: Sequence[LevelRow], shown: tuple[float, float]) -> list[Swimlane]:
    """The levels of the probe as thin rows; none when nothing of them was recorded but the client's own."""
    if {row.level for row in rows} <= {"udp"}:
        return []
    offsets = {row.level: LEVEL_ROW * (len(rows) - index - 0.5) + 0.15 for index, row in enumerate(rows)}

    def draw(axes: Axes, base: float) -> None:
        for row in rows:
            draw_level(axes, row, base + offsets[row.level], shown)

    return [Swimlane(offsets, LEVEL_ROW * len(rows) + 0.25, draw)]


def draw_level(axes: Axes, row: LevelRow, y: float, shown: tuple[float, float]) -> None:
    """One level: green while it answers, red while it does not, and how its long connection ended."""
    start_s, end_s = shown
    for span in row.spans:
        left, right = max(span.start_s, start_s), min(span.end_s, end_s)
        if right > left:
            axes.barh(y, right - left, left=left, height=0.18, color=LEVEL_COLOURS[span.state], zorder=2)
        length = f"{span.end_s - span.start_s:.1f} s"
        if span.state == "down" and right - left > (len(length) + 2) * CHARACTER_SHARE * (end_s - start_s):
            axes.text(
                (left + right) / 2, y, length,
                ha="center", va="center", zorder=4, fontsize=FONT - 1.5, color="white", weight="bold",
            )  # fmt: skip
    for marker in row.markers:
        if start_s <= marker.t_s <= end_s:
            axes.plot([marker.t_s], [y], marker="x", color=INK, markersize=6, zorder=4)
            axes.text(marker.t_s, y, f"  {marker.text}", va="center", fontsize=FONT - 1.5, color=INK, zorder=4)
    if row.why_not:
        axes.text(start_s, y, f" not measured: {row.why_not}", va="center", fontsize=FONT - 1, color=RED)


def labelled_height(labels: Sequence[Label]) -> float:
    """The height of a lane that has one bar with labels above it."""
    return 0.9 + LIFT * (1 + max((label.level for label in labels), default=-1))


def node_lane(node: str, spans: Sequence[Span], markers: Sequence[Marker], shown: tuple[float, float]) -> Swimlane:
    """The states of a node with the milestones of its journal."""
    labels = place_labels([m for m in markers if shown[0] <= m.t_s <= shown[1]], *shown)

    def draw(axes: Axes, base: float) -> None:
        draw_states(axes, spans, base + 0.4, shown)
        draw_labels(axes, labels, base + 0.4, marker="v")
        if node == "b":
            axes.text(shown[0], base - 0.02, LEGEND, va="center", fontsize=FONT - 1, color="#5d6672")

    return Swimlane({f"node {node}": 0.4}, labelled_height(labels), draw)


def phase_lane(
    result: Item,
    phases: Sequence[Span],
    steps: Sequence[Marker],
    drawn: tuple[float, float],
    shown: tuple[float, float],
) -> Swimlane:
    """The steps of the takeover one after the other, and when the old node's machine ended, which may be any time."""
    labels = place_labels([step for step in steps if step.t_s <= drawn[1]], *shown)
    known = result.get("phases_s")
    fence_s = timeline.number(known, "fence") if isinstance(known, Mapping) else None

    def draw(axes: Axes, base: float) -> None:
        y = base + 0.45
        draw_phases(axes, phases, y, drawn, expected=timeline.word(result, "expect") in ("", "takeover"))
        draw_labels(axes, labels, y, marker=None)
        if fence_s is not None and shown[0] <= fence_s <= drawn[1]:
            axes.plot([fence_s], [y - BAR / 2], marker="D", color=INK, markersize=6, zorder=5, clip_on=False)
            note = f"  old node ended {fence_s:.1f}"
            axes.text(fence_s, y - BAR / 2 - 0.17, note, va="center", fontsize=FONT - 1, color=INK)

    return Swimlane({"phases": 0.45}, labelled_height(labels) + 0.1, draw)


def draw_frame(axes: Axes, shown: tuple[float, float]) -> None:
    """The grid behind everything else."""
    axes.set_xlim(*shown)
    axes.axvline(0, color=RED, linewidth=1.4, linestyle=(0, (4, 2)), zorder=1)
    axes.grid(axis="x", color=FAINT, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def draw_moments(axes: Axes, bars: Sequence[FaultBar]) -> None:
    """A thin red line down at each injection and a thin grey one at each heal, behind everything else."""
    for bar in bars:
        for at_s, colour in ((bar.start_s, RED), (bar.end_s, QUIET)):
            if at_s is not None and at_s != 0:
                axes.axvline(at_s, color=colour, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)


def draw_states(axes: Axes, spans: Sequence[Span], base: float, shown: tuple[float, float]) -> None:
    """A bar of coloured states, with their names where they fit."""
    start_s, end_s = shown
    for span in spans:
        left, right = max(span.start_s, start_s), min(span.end_s, end_s)
        if right <= left:
            continue
        colour, down = state_colour(span.state), span.state in ("down", "paused")
        bar = axes.barh(base, right - left, left=left, height=BAR, color=colour, edgecolor="white", zorder=2)
        if down:
            bar.patches[0].set_hatch("///")
        text = outage_text(span) if span.state == "outage" else span.state
        if fits(text, right - left, shown):
            ink = INK if colour in (GREY, AMBER) else "white"
            box = {"boxstyle": "round,pad=0.15", "facecolor": GREY, "linewidth": 0} if down else None
            axes.text(
                (left + right) / 2, base, text,
                ha="center", va="center", color=ink, fontsize=FONT, weight="bold", bbox=box,
            )  # fmt: skip


def draw_labels(axes: Axes, labels: Sequence[Label], base: float, *, marker: str | None) -> None:
    """The texts above a bar, each with a thin line down to its moment."""
    for label in labels:
        y = base + BAR / 2 + LIFT * (label.level + 0.62)
        axes.plot([label.t_s, label.t_s], [base + BAR / 2, y + 0.1], color=QUIET, linewidth=0.8, zorder=2)
        if marker:
            axes.plot([label.t_s], [base + BAR / 2], marker=marker, color=INK, markersize=5, zorder=3)
        axes.text(label.t_s, y, f" {label.text}", ha="left", va="center", fontsize=FONT, color=INK)


def phase_markers(phases: Sequence[Span], end_s: float) -> list[Marker]:
    """Each phase's name and duration, at its beginning."""
    return [Marker(p.start_s, f"{p.state} {p.end_s - p.start_s:.1f} s") for p in phases if p.start_s < end_s]


def draw_phases(axes: Axes, phases: Sequence[Span], base: float, drawn: tuple[float, float], *, expected: bool) -> None:
    """The phases as one bar of consecutive pieces."""
    names = {text: key for key, text in timeline.PHASES.items()}
    for phase in phases:
        colour = PHASE_COLOURS[names[phase.state.rpartition(" + ")[2]]]
        right = min(phase.end_s, drawn[1])
        if right > phase.start_s:
            length = right - phase.start_s
            axes.barh(base, length, left=phase.start_s, height=BAR, color=colour, edgecolor="white", zorder=2)
        if phase.end_s > drawn[1] > phase.start_s:
            note = f"until +{phase.end_s:.0f} s \N{RIGHTWARDS ARROW} "
            axes.text(drawn[1], base, note, ha="right", va="center", fontsize=FONT, color="white", weight="bold")
    if not phases:
        text = " no phase was stamped: durations unknown" if expected else " no takeover in this run"
        axes.text(0, base, text, va="center", fontsize=FONT, color=RED if expected else INK)


def draw_latency(axes: Axes, records: Sequence[Item], zero_at_s: float) -> None:
    """Every write as a dot at its intended time: latency when it was acknowledged, a cross when it was not."""
    probes = [
        (r, at)
        for r in records
        if timeline.word(r, "source") == "probe" and (at := timeline.number(r, "intended_s")) is not None
    ]
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
    axes.grid(axis="y", color=FAINT)
    if probes:
        axes.legend(loc="upper right", fontsize=FONT, framealpha=0.9, ncols=2)
        axes.set_ylim(bottom=0.5 * min([latency for _, latency in answered] or [10.0]), top=top * 12)


def draw_host(axes: Axes, points: Sequence[Item], dilation: float) -> None:
    """The host: its speed times the dilation, which has to stay at 1 or above, and pressure and steal in percent."""
    for key, factor, colour, text in (
        ("speed", dilation, INK, f"speed x dilation {dilation:g}" if dilation != 1 else "speed"),
        ("pressure", 1.0, AMBER, "pressure"),
        ("steal", 1.0, RED, "steal"),
    ):
        known = [(timeline.at(one), timeline.number(one, key)) for one in points]
        seen = [(at_s, value * factor) for at_s, value in known if value is not None]
        if seen:
            axes.plot(*zip(*seen, strict=True), ".-", color=colour, markersize=4, linewidth=1.0, label=text)
    axes.axhline(1.0, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("host", fontsize=11)
    axes.grid(axis="y", color=FAINT)
    axes.legend(loc="upper right", fontsize=FONT, framealpha=0.9, ncols=3)


def draw_title(figure: Figure, axes: Axes, result: Item) -> None:
    """The verdict and the numbers that qualify it, above everything; below it the reasons, when there are any."""
    verdict, ledger = timeline.word(result, "verdict") or "no verdict", result.get("ledger")
    lost = timeline.number(ledger, "lost") if isinstance(ledger, Mapping) else None
    facts = [
        story.outage(result),
        f"{lost:.0f} acknowledged writes lost" if lost is not None else "lost writes unknown",
        f"accelerator {timeline.word(result, 'accel') or 'unknown'}",
        f"time dilation {timeline.number(result, 'dilation') or 'unknown'}",
    ]
    colour = VERDICT_COLOURS.get(verdict, "#a86400")
    heading = f"{timeline.word(result, 'scenario') or 'run'}:  {verdict.upper()}      {'   |   '.join(facts)}"
    figure.suptitle(heading, fontsize=14.5, fontweight="bold", color=colour)
    given = result.get("reasons")
    reasons = [str(one) for one in given] if isinstance(given, Sequence) and not isinstance(given, str) else []
    lines = [textwrap.shorten(f"because {one}", REASON_LENGTH_MAX, placeholder=" ...") for one in reasons]
    more = [f"and {len(lines) - REASONS_SHOWN} more"] if len(lines) > REASONS_SHOWN else []
    if lines:
        axes.set_title("\n".join(lines[:REASONS_SHOWN] + more), loc="left", fontsize=FONT + 0.5, color=colour)
