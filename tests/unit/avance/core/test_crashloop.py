"""A device that fails too often is kept out, by the published threshold and by the site's policy."""

from __future__ import annotations

import pytest

from avance.core.crashloop import SAMPLES_MIN, CrashLoop, Policy


def failing(loop: CrashLoop, times: list[float]) -> list[bool]:
    """Let a device fail at these times; returns what was said each time."""
    return [loop.failed(at) for at in times]


@pytest.mark.parametrize(
    ("between_s", "tripped"), [(60.0, True), (1439.9, True), (1440.0, False), (1440.1, False), (86400.0, False)]
)
def test_threshold_is_the_mean_time_between_failures(between_s: float, tripped: bool) -> None:
    """Six failures trip when the mean time between them is below 1440 s, and not at 1440 s."""
    loop = CrashLoop(1440.0)
    said = failing(loop, [1000.0 + between_s * index for index in range(SAMPLES_MIN)])
    assert said == [False] * (SAMPLES_MIN - 1) + [tripped]


def test_five_failures_are_never_enough() -> None:
    """Fewer samples than the rule asks for do not trip, however close together."""
    loop = CrashLoop(1440.0)
    assert failing(loop, [0.0, 0.1, 0.2, 0.3, 0.4]) == [False] * 5


def test_only_the_last_samples_count() -> None:
    """A bad week long ago is forgotten as soon as enough later failures are far apart."""
    loop = CrashLoop(1440.0)
    times = [0.0, 1.0, 2.0, 3.0, 4.0, *(10_000.0 * index for index in range(1, 7))]
    assert not any(failing(loop, times))


def test_mean_hides_no_burst_at_the_end() -> None:
    """The threshold is about the mean of the window: one long pause before five quick failures still trips."""
    loop = CrashLoop(1440.0)
    assert failing(loop, [0.0, 7000.0, 7001.0, 7002.0, 7003.0, 7004.0])[-1]


def test_a_site_may_choose_fewer_samples() -> None:
    """Three failures within ten minutes each trip a site that asks for three samples and 600 s."""
    assert failing(CrashLoop(600.0, 3), [0.0, 599.0, 1198.0]) == [False, False, True]
    assert failing(CrashLoop(600.0, 3), [0.0, 600.0, 1200.0]) == [False, False, False]


def test_quarantine_does_not_end_by_itself() -> None:
    """Once tripped, the device stays out, however long it then behaves; only a person resets it."""
    loop = CrashLoop(1440.0, 3)
    failing(loop, [0.0, 1.0, 2.0])
    assert loop.tripped
    assert loop.failed(1e9)
    loop.reset()
    assert failing(loop, [1e9 + 1, 1e9 + 2]) == [False, False]


def test_policy_never_keeps_it_out_at_once() -> None:
    """With policy `never` the first failure is one too many."""
    assert CrashLoop(1440.0, policy=Policy.NEVER).failed(5.0)


def test_policy_always_takes_it_back() -> None:
    """With policy `always` no number of failures trips."""
    loop = CrashLoop(1440.0, policy=Policy.ALWAYS)
    assert not any(failing(loop, [float(index) for index in range(100)]))
    assert not loop.tripped


def test_quarantine_of_an_earlier_run_is_kept() -> None:
    """A daemon that finds the quarantine in its record goes on with it."""
    loop = CrashLoop(1440.0)
    loop.trip()
    assert loop.tripped


def test_recent_counts_failures_within_the_threshold() -> None:
    """How often it failed lately decides how long the owner waits before it synchronises again."""
    loop = CrashLoop(100.0, 6)
    failing(loop, [0.0, 50.0, 90.0])
    assert [loop.recent(now) for now in (90.0, 99.9, 100.0, 150.0, 190.0)] == [3, 3, 2, 1, 0]
