"""The picture is drawn from what was recorded, with its words, and gaps do not break it. To draw takes long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.report import labels, picture, story
from testbed.report.timeline import Span
from tests.unit.testbed.report import crash_story

PNG_START = b"\x89PNG\r\n\x1a\n"


def test_crash_is_drawn(tmp_path: Path) -> None:
    """A whole run becomes a PNG of a size that a report can show."""
    out = picture.draw_timeline(
        crash_story.RESULT, crash_story.records(), tmp_path / "new" / "timeline.png", zero_at_s=crash_story.ZERO_AT_S
    )
    data = out.read_bytes()
    assert data.startswith(PNG_START)
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    assert width == round(labels.WIDTH_IN * labels.DPI)
    assert 600 < height < 2000


def test_the_host_is_drawn_where_its_speed_was_recorded() -> None:
    """Speed times dilation, pressure and steal are lines of their own; a figure that is missing has none."""
    axes = picture.empty_figure(5.0).subplots()
    picture.draw_host(axes, [{"t_s": 1.0, "speed": 0.3, "pressure": 0.5}, {"t_s": 5.0, "speed": 0.25}], 4.0)
    lines: list[Any] = list(axes.lines)
    drawn = {line.get_label(): list(line.get_ydata()) for line in lines}
    assert drawn["speed x dilation 4"] == [1.2, 1.0]
    assert drawn["pressure"] == [0.5]
    assert "steal" not in drawn


@pytest.mark.parametrize("result", [{}, {"verdict": "inconclusive", "phases_s": {"detect": None}, "outage_s": None}])
def test_empty_run_is_drawn(result: dict[str, object], tmp_path: Path) -> None:
    """A run that recorded nothing still yields a picture that says so."""
    out = picture.draw_timeline(result, [], tmp_path / "t.png", zero_at_s=0.0)
    assert out.read_bytes().startswith(PNG_START)


def test_a_short_outage_has_its_words_above() -> None:
    """What does not fit into the bar is not left out; a flapping service has words at its longest outages only."""
    flaps = [Span(10.0 * n, 10.0 * n + 0.1 * n, "outage") for n in range(1, 10)]
    lane = picture.client_lane([Span(-5, 10, "served"), *flaps, Span(95, 300, "outage")], (-5.0, 300.0))
    axes = picture.empty_figure(5.0).subplots()
    picture.draw_lanes(axes, [lane])
    words = [text.get_text().strip() for text in axes.texts]
    assert sorted(words) == [
        "no service 0.6 s", "no service 0.7 s", "no service 0.8 s", "no service 0.9 s", "no service 205.0 s",
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 4])
def test_faults_and_levels_are_drawn(count: int, tmp_path: Path) -> None:
    """From no fault to four, with verdicts of all kinds, levels and reasons; each fault makes the picture higher."""
    result = {**crash_story.MANY, "faults": crash_story.FAULTS[:count]}
    data = picture.draw_timeline(
        result, crash_story.many_records(), tmp_path / "t.png", zero_at_s=crash_story.ZERO_AT_S
    ).read_bytes()
    assert data.startswith(PNG_START)
    rows = max(count - 1, 0) * picture.FAULT_ROW * picture.LANE_IN * labels.DPI
    assert 1100 + rows < int.from_bytes(data[20:24], "big") < 1500


def test_words_stand_in_the_lanes_of_their_story() -> None:
    """Each fault has a row with its name, target and verdict; a level that was not measured says why."""
    axes = picture.empty_figure(5.0).subplots()
    records = [*crash_story.many_records(), {"t_s": 0.0, "source": "probe.tcp", "kind": "not_available", "why": "no"}]
    bars = story.fault_bars(crash_story.MANY, records, crash_story.ZERO_AT_S)
    levels = story.level_rows(records, crash_story.ZERO_AT_S, 34.0)
    shown = (-5.0, 40.0)
    picture.draw_lanes(axes, [picture.fault_lane(bars, shown, 34.0), *picture.level_lanes(levels, shown)])
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [
        "fault dead", "fault daemon", "fault slow", "fault cut", "l2", "l3", "udp", "tcp_new", "tcp_long", "tcp",
    ]  # fmt: skip
    words = [text.get_text().strip() for text in axes.texts]
    for expected in ("node.kill on a: confirmed, 16.0 s", "disk.slow on b: confirmed, not healed",
                     "link.cut on b.priv0: not injected", "not measured: no", "reset"):  # fmt: skip
        assert expected in words


def test_a_run_without_a_takeover_says_so() -> None:
    """No phases are an error where a takeover was to come, and nothing to complain about where none was."""
    texts = []
    for expect in ("takeover", "stay"):
        axes = picture.empty_figure(5.0).subplots()
        picture.draw_lanes(axes, [picture.phase_lane({"expect": expect}, [], [], (0.0, 9.0), (0.0, 9.0))])
        texts.append(axes.texts[0].get_text().strip())
    assert texts == ["no phase was stamped: durations unknown", "no takeover in this run"]
