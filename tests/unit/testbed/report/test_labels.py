"""The words of a picture never cover each other, and none runs out of it."""

from __future__ import annotations

import pytest

from testbed.report import labels as picture
from testbed.report.timeline import Marker


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


def test_the_axis_grows_for_words_at_its_end() -> None:
    """The last label ends on the axis; one that begins behind it, or ends before its end, changes nothing."""
    assert picture.with_room([Marker(1.0, "a"), Marker(101.0, "late")], 0.0, 100.0) == 100.0
    end = picture.with_room([Marker(98.0, "resync started 98.0")], 0.0, 100.0)
    assert end > 100.0
    assert 98.0 + picture.share("resync started 98.0") * end == pytest.approx(end)


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        (10.0, 90.0, (50.0, "center")),
        (10.0, 12.0, (12.0, "left")),
        (95.0, 97.0, (95.0, "right")),
        (2.0, 9.0, (9.0, "left")),
    ],
)
def test_words_of_a_bar_go_where_there_is_room(left: float, right: float, found: tuple[float, str]) -> None:
    """Inside, else behind, else before."""
    assert picture.beside_bar(left, right, "x" * 40, 0.0, 100.0) == found


def test_words_that_fit_nowhere_begin_at_the_axis() -> None:
    """They are never left out."""
    assert picture.beside_bar(40.0, 60.0, "x" * 120, 0.0, 100.0) == (0.0, "left")
