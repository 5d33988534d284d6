"""The words of a picture never cover each other, and none runs out of it."""

from __future__ import annotations

import pytest

from testbed import picture_labels as picture
from testbed.timeline import Marker


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
