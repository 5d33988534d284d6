"""A damper lets something happen so often within a time, and begins anew when the time has passed."""

from __future__ import annotations

from math import inf

import pytest

from avance.core.damper import Damper, doubled


def after(damper: Damper, *times: float) -> Damper:
    """Return what a damper is after it has happened at these times."""
    for at in times:
        damper = damper.counted(at)
    return damper


def test_it_is_full_at_its_number_and_no_sooner() -> None:
    """The third time within the window is the last one."""
    damper = Damper(3, 60.0)
    assert [after(damper, *times).full(30.0) for times in ((), (0.0,), (0.0, 10.0), (0.0, 10.0, 20.0))] == [
        False, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(("now", "full"), [(59.9, True), (60.0, False), (1000.0, False)])
def test_it_begins_anew_when_the_window_has_passed(now: float, full: bool) -> None:
    """The oldest of the last three falls out of the window after its length."""
    assert after(Damper(3, 60.0), 0.0, 10.0, 20.0).full(now) is full


def test_never_more_than_its_number_within_any_window() -> None:
    """However it is tried, no stretch of the window's length holds more than the number."""
    damper, done = Damper(3, 60.0), []
    for second in range(1000):
        if not damper.full(float(second)):
            damper = damper.counted(float(second))
            done.append(second)
    assert len(done) > 3
    assert all(later - first >= 60 for first, later in zip(done, done[3:], strict=False))


def test_it_keeps_no_more_than_it_needs() -> None:
    """What repeats for a year needs no more memory than what repeats for a minute."""
    assert after(Damper(3, 60.0), *(float(second) for second in range(1000))).times == (997.0, 998.0, 999.0)


def test_it_is_a_value() -> None:
    """Counting changes nothing in what was counted before; a person's word makes it as it was at first."""
    before = Damper(1, 60.0)
    full = before.counted(5.0)
    assert not before.full(5.0)
    assert full.full(5.0)
    assert full.anew() == before


def test_when_it_may_happen_again() -> None:
    """At any time while there is room, else when the oldest one leaves the window."""
    damper = Damper(2, 60.0)
    assert damper.free_at == -inf
    assert after(damper, 5.0, 9.0).free_at == 65.0


def test_recent_counts_what_is_within_the_window() -> None:
    """Only what happened less than one window ago."""
    damper = after(Damper(5, 60.0), 0.0, 30.0, 50.0)
    assert [damper.recent(now) for now in (50.0, 60.0, 90.0, 110.0)] == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("times", "pause_s"), [(-1, 10.0), (0, 10.0), (1, 20.0), (4, 160.0), (5, 160.0), (1025, 160.0), (10**9, 160.0)]
)
def test_a_pause_doubles_up_to_its_limit(times: int, pause_s: float) -> None:
    """A link that has fallen more than a thousand times is no number too large."""
    assert doubled(10.0, times, 160.0) == pause_s
