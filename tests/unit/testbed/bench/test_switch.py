"""Tests of testbed.bench.switch: that what it measures really was forwarded."""

from __future__ import annotations

import pytest

from testbed.bench.switch import added_latency, bench, cut_lateness, main, rule_lateness


@pytest.mark.parametrize("ruled", [False, True])
@pytest.mark.parametrize("watched", [False, True])
def test_the_benchmark_loses_nothing(watched: bool, ruled: bool) -> None:
    """A figure for frames that did not arrive would be worthless."""
    result = bench(200, 100, watched=watched, ruled=ruled)
    assert (result.frames, result.lost) == (200, 0)
    assert result.busy_s > 0
    assert result.bytes_per_s == result.frames_per_s * 100


def test_latencies_are_of_frames_and_cuts_that_happened() -> None:
    """As many values as asked for, each from the real process; a cut and a delayed frame cannot be early."""
    assert added_latency(5).count == 5
    for found in (cut_lateness(3), rule_lateness(3)):
        assert found.count == 3
        assert 0 <= found.median_s <= found.max_s


def test_the_command_prints_all_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """The plain path, with watched addresses, with a rule, jumbo frames; then the times."""
    assert main(["20"]) == 0
    told = capsys.readouterr().out
    assert told.count("frames/s of 1500 bytes") == 3
    assert told.count("frames/s of 9000 bytes") == 1
    assert told.count("median") == 3
