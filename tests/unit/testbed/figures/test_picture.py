"""The marks of a history: the words of its versions stay apart. That it is drawn is an integration test."""

from __future__ import annotations

from testbed.figures import picture
from testbed.figures.picture import HistoryPoint
from testbed.figures.statistics import Value


def history_point(version: str, at: float, *, censored: bool = False, comparable: bool = True) -> HistoryPoint:
    """One run in a history."""
    return HistoryPoint(version, Value(at, censored), comparable)


def test_words_of_short_lived_versions_stand_on_different_levels() -> None:
    """Three versions with one run each beside each other stay readable; a long one is at the bottom."""
    points = [history_point(version, 20.0) for version in ("a", "b", "c", *["d"] * 30)]
    labels = picture.version_labels(points, "s")
    assert [label.text.split("\n")[0] for label in labels] == ["a", "b", "c", "d"]
    assert [label.level for label in labels] == [3, 2, 1, 0]
