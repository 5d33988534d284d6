"""Both daemons live through hours of trouble: neither files nor memory grow with the hours (year.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.year import FILES_BYTES_MAX, HourEnd, Trouble, complaint

HOURS = 3


def test_no_hour_of_trouble_leaves_more_than_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journals are full several times over, and the engines keep what they kept after the first hour."""
    trouble = Trouble(tmp_path, monkeypatch)
    hours = [trouble.hour() for _ in range(HOURS)]
    assert complaint(hours) == ""
    assert {path.name for path in tmp_path.iterdir()} >= {"inputs-a.jsonl.1", "inputs-b.jsonl.1"}, "they were full"
    assert all(hour.alerts for hour in hours), "it was told of"


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (HourEnd(FILES_BYTES_MAX + 1, {"a": 1000}, 1), "after hour 2 the files hold"),
        (HourEnd(1, {"a": 1040}, 1), "a keeps in memory grew from 1000 to 1040 values in 1 hours"),
        (HourEnd(FILES_BYTES_MAX, {"a": 1010}, 1), ""),
    ],
)
def test_growth_is_found_out(last: HourEnd, said: str) -> None:
    """A file over its bound, or an engine that keeps a little of each fall of a cable."""
    assert said in complaint([HourEnd(1, {"a": 1000}, 1), last])
    assert bool(said) is bool(complaint([HourEnd(1, {"a": 1000}, 1), last]))
