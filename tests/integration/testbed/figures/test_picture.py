"""The history of a metric is drawn with every run. To draw takes long."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.figures import picture
from testbed.figures.picture import HistoryPoint
from testbed.report import labels as picture_labels
from testbed.report.picture import empty_figure
from tests.unit.testbed.figures.test_picture import history_point

PNG_START = b"\x89PNG\r\n\x1a\n"


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
    assert heights[1] - heights[0] == round(picture.PANEL_IN * picture_labels.DPI)


@pytest.mark.parametrize("point", [history_point("x", 0.0), history_point("x", 9.0, censored=True, comparable=False)])
def test_history_of_one_run_is_drawn(point: HistoryPoint, tmp_path: Path) -> None:
    """One value has no spread and one that does not count has no median; neither breaks the picture."""
    assert picture.draw_history({("series", ""): [point]}, tmp_path / "h.png").read_bytes().startswith(PNG_START)


def test_a_bound_is_an_arrow_and_what_does_not_count_is_hollow() -> None:
    """Each kind of value has its own mark, at the place of its run; none is left out."""
    axes = empty_figure(5.0).subplots()
    picture.draw_points(
        axes,
        [history_point("x", 1.0), history_point("x", 60.0, censored=True), history_point("x", 3.0, comparable=False)],
    )
    marks = {tuple(line.get_xydata()[0]): (line.get_marker(), line.get_markerfacecolor()) for line in axes.get_lines()}  # type: ignore[index,arg-type]  # the stubs allow fewer kinds of arrays than there are
    assert set(marks) == {(1.0, 1.0), (2.0, 60.0), (3.0, 3.0)}
    assert "uparrow" in str(marks[2.0, 60.0][0])
    assert marks[3.0, 3.0] == ("o", "none")
