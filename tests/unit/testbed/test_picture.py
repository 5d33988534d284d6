"""The picture is drawn from what was recorded, its labels do not cover each other, and gaps do not break it."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import picture
from testbed.picture import HistoryPoint
from testbed.statistics import Value
from testbed.timeline import Marker, Span
from tests.unit.testbed import crash_story

PNG_START = b"\x89PNG\r\n\x1a\n"


def test_crash_is_drawn(tmp_path: Path) -> None:
    """A whole run becomes a PNG of a size that a report can show."""
    out = picture.draw_timeline(
        crash_story.RESULT, crash_story.records(), tmp_path / "new" / "timeline.png", zero_at_s=crash_story.ZERO_AT_S
    )
    data = out.read_bytes()
    assert data.startswith(PNG_START)
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    assert width == round(picture.WIDTH_IN * picture.DPI)
    assert 600 < height < 2000


@pytest.mark.parametrize("result", [{}, {"verdict": "inconclusive", "phases_s": {"detect": None}, "outage_s": None}])
def test_empty_run_is_drawn(result: dict[str, object], tmp_path: Path) -> None:
    """A run that recorded nothing still yields a picture that says so."""
    out = picture.draw_timeline(result, [], tmp_path / "t.png", zero_at_s=0.0)
    assert out.read_bytes().startswith(PNG_START)


def test_labels_that_are_close_stand_on_different_levels() -> None:
    """An earlier label is lifted above the later ones that begin under it."""
    markers = [Marker(5.0, "peer lost"), Marker(5.1, "takeover decided"), Marker(5.2, "saved"), Marker(90.0, "far")]
    labels = picture.place_labels(markers, 0.0, 100.0)
    assert [label.level for label in labels] == [2, 1, 0, 0]


def test_labels_never_overlap() -> None:
    """No two labels of one level share time, and no line of a label runs through the text of another."""
    markers = [Marker(step * 0.7, "x" * (step % 9 + 3)) for step in range(40)]
    labels = picture.place_labels(markers, 0.0, 40.0)
    width = picture.CHARACTER_SHARE * 40.0
    for index, left in enumerate(labels):
        for right in labels[index + 1 :]:
            if right.t_s < left.t_s + len(left.text) * width:
                assert right.level < left.level


def test_late_redundancy_shortens_the_axis() -> None:
    """A long resynchronisation does not squeeze the takeover into a corner."""
    outage = [Span(0, 14, "outage")]
    _, near = picture.shown_range({"phases_s": {"service_up": 14.0, "redundancy": 30.0}}, outage)
    _, late = picture.shown_range({"phases_s": {"service_up": 14.0, "redundancy": 300.0}}, outage)
    assert near > 30
    assert 14 < late < 30


@pytest.mark.parametrize(
    ("state", "colour"),
    [
        ("down", picture.GREY),
        ("ALONE RUNNING", picture.GREEN),
        ("ALONE PROMOTING", picture.AMBER),
        ("PAIRED STANDBY", picture.BLUE),
        ("ISOLATED STANDBY", picture.RED),
        ("outage", picture.RED),
    ],
)
def test_state_has_its_colour(state: str, colour: str) -> None:
    """Colours carry one meaning each."""
    assert picture.state_colour(state) == colour


def test_fault_stands_at_its_confirmation() -> None:
    """The marker of a fault is where it took effect and shows its verdict."""
    (marker,) = picture.fault_markers(crash_story.RESULT, crash_story.records(), crash_story.ZERO_AT_S)
    assert marker == Marker(0.0, "FAULT: power cut on a (confirmed)")


def history_point(version: str, at: float, *, censored: bool = False, comparable: bool = True) -> HistoryPoint:
    """One run in a history."""
    return HistoryPoint(version, Value(at, censored), comparable)


def test_history_is_drawn_with_a_panel_for_each_series(tmp_path: Path) -> None:
    """Versions, bounds and runs that do not count come into one PNG that grows with the number of series."""
    points = [history_point("old", 20.0 + step) for step in range(6)]
    points += [history_point("new", 60.0, censored=True), history_point("new", 9.0, comparable=False)]
    heights = []
    for count in (1, 2):
        panels = {(f"series {number}", "s"): points for number in range(count)}
        data = picture.draw_history(panels, tmp_path / "new" / "history").read_bytes()
        assert data.startswith(PNG_START)
        heights.append(int.from_bytes(data[20:24], "big"))
    assert heights[1] - heights[0] == round(picture.PANEL_IN * picture.DPI)


@pytest.mark.parametrize("point", [history_point("x", 0.0), history_point("x", 9.0, censored=True, comparable=False)])
def test_history_of_one_run_is_drawn(point: HistoryPoint, tmp_path: Path) -> None:
    """One value has no spread and one that does not count has no median; neither breaks the picture."""
    assert picture.draw_history({("series", ""): [point]}, tmp_path / "h.png").read_bytes().startswith(PNG_START)


def test_words_of_short_lived_versions_stand_on_different_levels() -> None:
    """Three versions with one run each beside each other stay readable; a long one is at the bottom."""
    points = [history_point(version, 20.0) for version in ("a", "b", "c", *["d"] * 30)]
    labels = picture.version_labels(points, "s")
    assert [label.text.split("\n")[0] for label in labels] == ["a", "b", "c", "d"]
    assert [label.level for label in labels] == [3, 2, 1, 0]


def test_a_bound_is_an_arrow_and_what_does_not_count_is_hollow() -> None:
    """Each kind of value has its own mark, at the place of its run; none is left out."""
    axes = picture.Figure().subplots()  # type: ignore[attr-defined]  # matplotlib is walled behind that module
    picture.draw_points(
        axes,
        [history_point("x", 1.0), history_point("x", 60.0, censored=True), history_point("x", 3.0, comparable=False)],
    )
    marks = {tuple(line.get_xydata()[0]): (line.get_marker(), line.get_markerfacecolor()) for line in axes.get_lines()}  # type: ignore[index,arg-type]  # the stubs allow fewer kinds of arrays than there are
    assert set(marks) == {(1.0, 1.0), (2.0, 60.0), (3.0, 3.0)}
    assert "uparrow" in str(marks[2.0, 60.0][0])
    assert marks[3.0, 3.0] == ("o", "none")
