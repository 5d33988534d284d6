"""Ticks come, monotonic time rises, and wall time is text for people."""

from __future__ import annotations

import datetime as dt

from avance.clock import now_s, tick, wall_text
from avance.core.events import Event, Tick
from tests.unit.avance.adapters.tools import beside, until


def test_time_never_goes_back() -> None:
    """Decisions see a time that only rises."""
    times = [now_s() for _ in range(100)]
    assert times == sorted(times)


def test_wall_time_names_its_zone() -> None:
    """A time in a log can be read anywhere."""
    assert dt.datetime.fromisoformat(wall_text()).tzinfo is dt.UTC


def test_ticks_keep_coming() -> None:
    """The first tick comes at once, and others follow."""
    events: list[Event] = []

    async def story() -> None:
        await until(lambda: len(events) >= 3)

    beside(tick(events.append), story)
    assert set(events) == {Tick()}
