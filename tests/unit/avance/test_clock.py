"""Monotonic time rises in whole microseconds, and wall time is text for people."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from avance.clock import HardwareClock, now_s, wall_text


def test_time_never_goes_back() -> None:
    """Decisions see a time that only rises."""
    times = [now_s() for _ in range(100)]
    assert times == sorted(times)
    assert all(round(at_s * 1e6) / 1e6 == at_s for at_s in times), "the journal writes it as whole microseconds"


def test_wall_time_names_its_zone() -> None:
    """A time in a log can be read anywhere."""
    assert dt.datetime.fromisoformat(wall_text()).tzinfo is dt.UTC


def test_hardware_clock_is_read_anew(tmp_path: Path) -> None:
    """The file stays open and is read from its beginning each time; nonsense is no time."""
    path = tmp_path / "since_epoch"
    path.write_text("1764000000\n")
    with HardwareClock(path, tmp_path / "none") as clock:
        assert clock.descriptor is None
        assert clock.read_s() == 1764000000.0
        path.write_text("1764000009\n")
        assert clock.read_s() == 1764000009.0
        path.write_text("never")
        assert clock.read_s() is None
    assert clock.read_s() is None


def test_a_device_that_cannot_interrupt_is_not_waited_for(tmp_path: Path) -> None:
    """What is no clock is closed again, and the time can still be read."""
    path, device = tmp_path / "since_epoch", tmp_path / "rtc0"
    path.write_text("1764000000\n")
    device.write_text("x")
    with HardwareClock(path, device) as clock:
        assert clock.descriptor is None
        assert not clock.heard()
        assert clock.read_s() == 1764000000.0
