"""Tests of testbed.switch.pcapng: read back by an independent reader (scapy)."""

from __future__ import annotations

from pathlib import Path

from testbed.lan import packets
from testbed.switch.pcapng import PcapngWriter


def test_frames_come_back_with_interface_time_and_comment(tmp_path: Path) -> None:
    """Every field that was written is read again by scapy, to the nanosecond."""
    writer = PcapngWriter(tmp_path / "x", ["a.biz0", "b"])
    writer.write(0, 5_000_000_123, b"x" * 61, inbound=True)
    writer.write(1, 1 << 40, b"y" * 60, inbound=False, comment="dropped: why")
    writer.close()
    first, second = packets.read_capture(tmp_path / "x")
    assert (first.interface, first.frame, first.comment) == ("a.biz0", b"x" * 61, "")
    assert round(first.t_s * 1e9) == 5_000_000_123
    assert (second.interface, second.frame, second.comment) == ("b", b"y" * 60, "dropped: why")
    assert round(second.t_s * 1e9) == 1 << 40


def test_a_full_capture_refuses_and_counts(tmp_path: Path) -> None:
    """A forgotten capture does not fill the disk, and says what it left out."""
    writer = PcapngWriter(tmp_path / "x", ["a"], size_bytes_max=400)
    for _ in range(4):
        writer.write(0, 1, bytes(100), inbound=True)
    writer.close()
    assert (writer.frames, writer.refused) == (2, 2)
    assert len(packets.read_capture(tmp_path / "x")) == 2
