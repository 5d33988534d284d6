"""Proves the rows of the benchmark: every promised number is one, and a target shows on which side it lies."""

from __future__ import annotations

import pytest

from faults.bench.rows import PROMISES, Area, Better, Row, disk_ratio, loads_text, table
from testbed.bench.guest_disk import KINDS
from testbed.figures.statistics import Value, summarise


@pytest.mark.parametrize(
    ("name", "target", "better"),
    [
        ("switch: frames of 1,500 bytes", 20_000.0, Better.HIGHER),
        ("switch: with frames of 9,000 bytes", 100.0, Better.HIGHER),
        ("switch: added latency when idle", 200.0, Better.LOWER),
        ("switch: own lateness, as it exports it", None, Better.LOWER),
        ("switch: lateness of a timed cut", 5.0, Better.LOWER),
        ("link.cut by the director: due to cut", 5.0, Better.LOWER),
        *((disk_ratio(kind.name, is_fresh=fresh), 0.7, Better.HIGHER) for kind in KINDS for fresh in (True, False)),
    ],
)
def test_a_promised_number_has_its_target_on_the_right_side(name: str, target: float | None, better: Better) -> None:
    """Less is better for a time, more for a speed or a share of one."""
    promise = PROMISES[name]
    assert (promise.target, promise.better) == (target, better)


def row(better: Better, target: float | None, *values: float, digits: int = 1, note: str = "here") -> Row:
    """A row with these values."""
    found = summarise([Value(value) for value in values]) if values else None
    return Row("x", "u", target, better, note, found, digits)


@pytest.mark.parametrize(
    ("better", "target", "text"),
    [
        (Better.LOWER, 60.0, "<= 60.0"),
        (Better.HIGHER, 0.7, ">= 0.7"),
        (Better.HIGHER, 20_000.0, ">= 20000"),
        (Better.LOWER, None, "-"),
    ],
)
def test_the_table_shows_the_side_of_the_target(better: Better, target: float | None, text: str) -> None:
    """A figure without a target has a dash, not a zero."""
    assert table([row(better, target, 1.0)]).splitlines()[1].split(" 1.0 ")[-1].strip() == text


def test_each_row_has_its_own_digits() -> None:
    """A ratio needs two, a count of frames none."""
    assert " 0.75 " in table([row(Better.HIGHER, 0.7, 0.754, digits=2)])
    assert " 131234 " in table([row(Better.HIGHER, 20_000.0, 131_234.4, digits=0)])


def test_a_row_as_json_says_which_side_is_better() -> None:
    """Who reads the file need not know the rows by heart; a missing target is null."""
    assert {key: row(Better.HIGHER, None, 2.0).as_json()[key] for key in ("better", "target", "median", "n")} == {
        "better": "higher",
        "target": None,
        "median": 2.0,
        "n": 1,
    }


def test_conditions_stand_once_below_the_table() -> None:
    """Rows of the same conditions share the line."""
    rows = [row(Better.LOWER, 1.0, note=note) for note in ("here", "there", "here")]
    assert table(rows).splitlines()[-2:] == ["here", "there"]


def test_the_load_of_the_host_is_told_by_part() -> None:
    """The least and the most of each part; a part without any is not named."""
    text = loads_text({Area.SWITCH: [0.5, 2.0], Area.DISK: [], Area.PAIR: [1.0]})
    assert text.endswith("measurement: switch 0.5 to 2.0, pair 1.0 to 1.0")
    assert loads_text({}).endswith("unknown")
