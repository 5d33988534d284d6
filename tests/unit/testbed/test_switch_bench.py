"""Tests of testbed.switch_bench: that what it measures really was forwarded."""

from __future__ import annotations

import pytest

from testbed.switch_bench import bench, main


@pytest.mark.parametrize("watched", [False, True])
def test_the_benchmark_loses_nothing(watched: bool) -> None:
    """A figure for frames that did not arrive would be worthless."""
    result = bench(200, 100, watched=watched)
    assert (result.frames, result.lost) == (200, 0)
    assert result.busy_s > 0


def test_the_command_prints_both_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for the plain path, one with watched addresses."""
    assert main(["100"]) == 0
    assert capsys.readouterr().out.count("frames/s of 1500 bytes") == 2
