"""What the picture shows: its range and its colours. That it is drawn is an integration test."""

from __future__ import annotations

from typing import get_args

import pytest

from testbed.bed import Stage
from testbed.report import labels, picture, story, timeline
from testbed.report.timeline import Span
from testbed.vocabulary import PHASES, PairState, VmState
from tests.unit.testbed.report import crash_story


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
        ("down", labels.GREY),
        ("ALONE RUNNING", labels.GREEN),
        ("ALONE PROMOTING", labels.AMBER),
        ("PAIRED STANDBY", labels.BLUE),
        ("STARTING RUNNING", labels.GREEN),
        ("PAIRED CHECKING", labels.AMBER),
        ("WAITING STANDBY", labels.AMBER),
        ("SPLIT STANDBY", labels.RED),
        ("FENCED RUNNING", labels.RED),
        ("ALONE FAILED", labels.RED),
        ("PROTECTED STANDBY", labels.BLUE),
        ("booting", labels.AMBER),
        ("elsewhere STANDBY", labels.QUIET),
        ("", labels.QUIET),
        ("outage", labels.RED),
    ],
)
def test_state_has_its_colour(state: str, colour: str) -> None:
    """Colours carry one meaning each."""
    assert picture.state_colour(state) == colour


def test_every_state_has_a_colour_and_no_colour_is_for_a_state_that_nobody_publishes() -> None:
    """Exactly the product's states, the bed's own words for a node, its stages, and what the client sees."""
    published = {*get_args(PairState), *get_args(VmState)}
    stages = {stage.name for stage in Stage if stage is not Stage.COLD}
    assert set(picture.STATE_COLOURS) == published | stages | set(timeline.OWN_STATES) | {"served", "outage"}
    assert set(picture.STATE_COLOURS.values()) <= set(picture.STRONGEST_FIRST)


def test_every_phase_that_is_drawn_has_its_colour() -> None:
    """All but the end of the old node, which may come at any time and is a mark of its own."""
    assert set(picture.PHASE_COLOURS) == set(timeline.PHASES) == set(PHASES) - {"fence"}
    assert set(timeline.TAKEOVER_STEPS) < set(timeline.PHASES)


def test_a_run_in_which_nothing_happened_is_shown_as_a_whole() -> None:
    """Without an outage or a phase the axis ends with what the client saw."""
    _, end = picture.shown_range({}, [Span(-4, 60, "served")])
    assert 60 <= end < 70


def test_every_fault_is_within_the_shown_range() -> None:
    """A fault long after the takeover, and a level that was down longer than the client, are not cut off."""
    bars = story.fault_bars(crash_story.MANY, crash_story.many_records(), crash_story.ZERO_AT_S)
    start, end = picture.shown_range({"phases_s": {"service_up": 14.0, "redundancy": 300.0}}, [], bars)
    assert start <= 0
    assert 28.5 < end < 100
    assert picture.shown_range({}, [Span(0, 50, "down"), Span(50, 400, "up")])[1] > 50
