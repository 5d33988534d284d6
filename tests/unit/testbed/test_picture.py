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
