"""The table of conditions is sound, and an unsound one is refused with its reason."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from avance.core import conditions
from avance.core.conditions import SOUND, TABLE, Condition, HealthSensor
from avance.core.model import AilmentSeverity

FAN_SLOW = next(row for row in TABLE if row.code == "fan_slow")
FAN_FAILED = next(row for row in TABLE if row.code == "fan_failed")


def test_the_table_in_use_is_sound() -> None:
    """The engine asks the same at each start."""
    assert conditions.unsound_reason() is None


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ((FAN_SLOW, FAN_SLOW), "two conditions are called fan_slow"),
        ((FAN_FAILED, replace(FAN_SLOW, code="worse")), "worse is worse than fan_failed and called less severe"),
        ((FAN_SLOW, replace(FAN_FAILED, hold_s=11.0)), "fan_failed is worse than fan_slow and counts later"),
        ((replace(FAN_SLOW, reading=SOUND),), "fan_slow is what a sound fan reads"),
        ((replace(FAN_SLOW, clear_s=-1.0),), "fan_slow has a negative time"),
    ],
)
def test_an_unsound_table_is_told(table: tuple[Condition, ...], why: str) -> None:
    """Each rule of the table bites."""
    assert conditions.unsound_reason(table) == why


def test_rows_are_found_by_reading_and_by_code() -> None:
    """What nobody knows means nothing."""
    assert conditions.of(HealthSensor.FAN, "lost") is FAN_FAILED
    assert conditions.named("fan_failed") is FAN_FAILED
    assert conditions.of(HealthSensor.FAN, "purple") is None
    assert conditions.of(HealthSensor.FAN, SOUND) is None
    assert conditions.named("of a later version") is None


def test_severities_are_ranked() -> None:
    """Bad is worse than degraded, and that is worse than potential."""
    assert [one.rank for one in AilmentSeverity] == [3, 2, 1]


@pytest.mark.parametrize("row", TABLE, ids=[row.code for row in TABLE])
def test_each_row_says_what_to_do(row: Condition) -> None:
    """A sentence without its full stop, an action and a part; the over-code is another word."""
    assert row.text[0].isupper() or row.text.startswith("{subject}")
    assert not row.text.endswith(".")
    assert row.action[0].isupper()
    assert row.part
    assert row.over != row.code
    assert row.text.format(subject="Fan 1")


PAGE = Path(__file__).resolve().parents[4] / "docs" / "health.md"
HEAD = """# What counts for the health of a node

Each row is a condition of [the table](../avance/core/conditions.py) that decides about health
([S45](safety.md#s45-vms-move-only-to-a-node-in-better-health-and-never-because-health-says-so-against-another-rule)).
It counts when the sensor has read it for the *hold*, and is over when it has not been read for *clear after*; twice as
long each time that it comes again within an hour, at most an hour.
"Moves" says what it is a reason for on the primary: a restart on the backup, a live move,
or nothing here, because a rule of its own moves the VMs. The page is made by
[its test](../tests/unit/avance/core/test_conditions.py); run that with `AVANCE_REGENERATE=1` after a change.

| Code | HealthSensor | Reads | AilmentSeverity | Moves | Hold, s | Clear after, s | What is wrong | Part | What to do |
|---|---|---|---|---|---|---|---|---|---|
"""


def test_the_page_shows_the_table() -> None:
    """Row by row, in its order."""
    lines = [
        " | ".join((
            f"| `{row.code}`", row.sensor, row.reading, row.severity, row.moves, f"{row.hold_s:g}", f"{row.clear_s:g}",
            row.text.format(subject="X"), row.part, row.action,
        ))
        for row in TABLE
    ]  # fmt: skip
    text = HEAD + "".join(f"{line} |\n" for line in lines)
    if os.environ.get("AVANCE_REGENERATE"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "AVANCE_REGENERATE=1 writes the page anew"
