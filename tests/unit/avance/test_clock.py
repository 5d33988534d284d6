"""Ticks come, monotonic time rises, and wall time is text for people."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from avance.clock import HardwareClock, now_s, tick, wall_text
from avance.core.events import Event, Tick
from tests.unit.avance.adapters.tools import beside, until


def test_time_never_goes_back() -> None:
    """Decisions see a time that only rises."""
    times = [now_s() for _ in range(100)]
    assert times == sorted(times)


def test_wall_time_names_its_zone() -> None:
    """A time in a log can be read anywhere."""
    assert dt.datetime.fromisoformat(wall_text()).tzinfo is dt.UTC


def test_ticks_keep_coming(tmp_path: Path) -> None:
    """The first tick comes at once, and others follow; without a hardware clock they carry nothing."""
    events: list[Event] = []

    async def story() -> None:
        await until(lambda: len(events) >= 2)

    beside(tick(events.append, tmp_path / "absent"), story)
    assert set(events) == {Tick()}


def test_hardware_clock_is_read_now_and_then(tmp_path: Path) -> None:
    """The first tick carries the hardware's seconds, the next one, a tenth later, does not ask again."""
    path = tmp_path / "since_epoch"
    path.write_text("1764000000\n")
    events: list[Event] = []

    async def story() -> None:
        await until(lambda: len(events) >= 2)

    beside(tick(events.append, path), story)
    assert events[:2] == [Tick(1764000000.0), Tick()]


def test_hardware_clock_is_read_anew(tmp_path: Path) -> None:
    """The file stays open and is read from its beginning each time; nonsense is no time."""
    path = tmp_path / "since_epoch"
    path.write_text("1764000000\n")
    with HardwareClock(path) as clock:
        assert clock.read_s() == 1764000000.0
        path.write_text("1764000009\n")
        assert clock.read_s() == 1764000009.0
        path.write_text("never")
        assert clock.read_s() is None
    assert clock.read_s() is None
