"""Proves the IPMI client: what counts as a reading, and that silence and refusal are errors."""

from __future__ import annotations

import pytest

from testbed.bmc.client import IpmiFailed, SensorReading, parse_reading, reading_command


@pytest.mark.parametrize(
    ("sensor", "text", "expected"),
    [
        ("Fan 1", " 64 c0 00 00\n", SensorReading(6000, 0)),
        ("Fan 1", " 00 c0 c3 00\n", SensorReading(0, 0b11)),  # the two highest bits mean nothing
        ("PSU 2", " 00 c0 03 80\n", SensorReading(0, 0b11)),
        ("Memory", " 02 c0 02\n", SensorReading(0, 0b10)),
    ],
)
def test_the_bytes_of_a_reading(sensor: str, text: str, expected: SensorReading) -> None:
    """Value in the sensor's unit, and its states."""
    assert parse_reading(sensor, text) == expected


@pytest.mark.parametrize(("text", "what"), [("", "no reading"), ("Unable to", "no reading"), ("00 e0 00", "cannot be")])
def test_what_is_no_reading_is_an_error(text: str, what: str) -> None:
    """Silence is not zero, nor is a sensor that has not been polled yet."""
    with pytest.raises(IpmiFailed, match=what):
        parse_reading("Fan 1", text)


def test_a_reading_is_one_raw_command() -> None:
    """The same words work in the node."""
    assert reading_command("CPU Temp") == ["raw", "0x04", "0x2d", "0x05"]
