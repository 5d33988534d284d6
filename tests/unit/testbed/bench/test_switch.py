"""Tests of testbed.bench.switch: the switch's core by itself loses no frame while it is measured."""

from __future__ import annotations

import pytest

from testbed.bench.switch import bench


@pytest.mark.parametrize("ruled", [False, True])
@pytest.mark.parametrize("watched", [False, True])
def test_the_benchmark_loses_nothing(watched: bool, ruled: bool) -> None:
    """A figure for frames that did not arrive would be worthless."""
    result = bench(200, 100, watched=watched, ruled=ruled)
    assert (result.frames, result.lost) == (200, 0)
    assert result.busy_s > 0
    assert result.bytes_per_s == result.frames_per_s * 100
