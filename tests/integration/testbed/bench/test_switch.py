"""Tests of testbed.bench.switch: that what it measures really was forwarded by a real switch."""

from __future__ import annotations

import pytest

from testbed.bench.switch import added_latency, cut_lateness, main, rule_lateness


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
