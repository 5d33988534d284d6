"""Where the words of a picture go, so that none covers another: pure, without the drawing library.

It must never drop or shorten a text to make room: a label is lifted, or the axis is made longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.report.timeline import Marker

GREEN, RED, AMBER, BLUE, GREY, INK = "#3a9d5d", "#d9423a", "#efaa3c", "#6f9fd8", "#c9ced6", "#20252c"
FAINT, QUIET = "#e6e9ee", "#8a929c"  # of grids, and of the thin lines of labels
WIDTH_IN, DPI = 15.0, 110
FONT = 9.5
CHARACTER_SHARE = 0.0063  # width of a character of a label as a share of the time axis; measured at FONT and WIDTH_IN
MARGIN_SHARE_MAX = 0.45  # the axis grows for words at its end, but never so far that the story is a corner of it


@dataclass(frozen=True)
class Label:
    """A text at a time, lifted to a level on which it overlaps no other."""

    t_s: float
    text: str
    level: int


def place_labels(markers: Sequence[Marker], start_s: float, end_s: float) -> list[Label]:
    """Lifts each label above all later ones that begin under it, so that neither texts nor their lines down cross."""
    labels: list[Label] = []
    for marker in sorted(markers, key=lambda m: m.t_s, reverse=True):
        right = marker.t_s + share(marker.text) * (end_s - start_s)
        level = max((label.level + 1 for label in labels if label.t_s < right), default=0)
        labels.append(Label(marker.t_s, marker.text, level))
    return labels[::-1]


def share(text: str) -> float:
    """The part of the axis that a text takes, with the space around it."""
    return (len(text) + 2) * CHARACTER_SHARE


def with_room(markers: Iterable[Marker], start_s: float, end_s: float) -> float:
    """The end that an axis needs so that each text which begins before `end_s` also ends on it."""
    wanted = end_s
    for marker in markers:
        taken = min(share(marker.text), MARGIN_SHARE_MAX)
        if start_s <= marker.t_s <= end_s:
            wanted = max(wanted, (marker.t_s - taken * start_s) / (1 - taken))
    return wanted


def beside_bar(left_s: float, right_s: float, text: str, start_s: float, end_s: float) -> tuple[float, str]:
    """Where the text of a bar goes that has its row to itself: inside, behind or before it; x and its alignment."""
    width = share(text) * (end_s - start_s)
    if right_s - left_s > width:
        return (left_s + right_s) / 2, "center"
    if right_s + width <= end_s:
        return right_s, "left"
    if left_s - width >= start_s:
        return left_s, "right"
    return start_s, "left"
