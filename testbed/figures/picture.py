"""Draws the history of a metric over many runs: a dot for each run, median and interval of each version.

It must never hide a run: one that only has a bound is an arrow, one that is not comparable is hollow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.figures.statistics import Value, summarise
from testbed.report.labels import BLUE, FONT, GREEN, GREY, INK, RED, Label, place_labels
from testbed.report.picture import empty_figure
from testbed.report.timeline import Marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_IN = 3.0  # inches of one series of a history
VERSION_LEVELS = 4  # more versions than that on one spot are not readable anyway


@dataclass(frozen=True)
class HistoryPoint:
    """One run in the history of a metric; a run that is not comparable is shown and not counted."""

    version: str
    value: Value
    comparable: bool


def draw_history(panels: Mapping[tuple[str, str], Sequence[HistoryPoint]], out_png: Path) -> Path:
    """Draws one panel per series, by heading and unit, with its runs in their order; returns the path of the PNG."""
    figure = empty_figure(0.6 + PANEL_IN * len(panels))
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
