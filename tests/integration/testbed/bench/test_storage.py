"""Proves that the measurement of the disks measures: both ways write, and the ratio is theirs."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from testbed.bench.storage import DiskBench, bench


def test_the_ratio_compares_the_server_with_the_plain_file() -> None:
    """Half the speed is 0.5."""
    assert DiskBench(4096, 1, server=50.0, plain=100.0).ratio == 0.5


def test_both_ways_write_the_whole_disk() -> None:
    """The images have their data afterwards; nothing is said about how fast it went."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        found = asyncio.run(bench(Path(name), disk_mib=4, repeats=1))
        assert (Path(name) / "image.raw").stat().st_size == 4 * 2**20
        assert (Path(name) / "image.qcow2").stat().st_size > 4 * 2**20
    assert min(found.server, found.plain) > 0
