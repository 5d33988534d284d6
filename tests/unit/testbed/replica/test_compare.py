"""Tests of testbed.replica.compare on the captured disks of a real pair: equal as they are, and with differences."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.replica import layout
from testbed.replica.compare import BLOCK_BYTES, RANGES_MAX, RawFile, ReplicaReport, compare, kept_volumes, open_replica
from testbed.replica.layout import Extent, ReplicaError
from tests.unit.testbed.replica.captured_disks import (
    DATA_BYTES,
    DRBD_AT,
    KEPT_AT,
    RECORDS,
    VOLUME_AT,
    MemoryDisk,
    Pair,
    captured,
    with_kept_version,
    write_image,
)
from tests.unit.testbed.replica.md_block import md_block


def compared(pair: Pair) -> ReplicaReport:
    """The report on a pair."""
    return asyncio.run(compare(pair.both()))


def test_the_replicas_of_a_real_pair_are_equal_in_every_byte() -> None:
    """After crash, takeover and resynchronisation both nodes hold the same, and so do the halves of each mirror."""
    report = compared(Pair(quick=False))
    assert report.is_equal
    assert report.sha256["a"] == report.sha256["b"]
    assert [(c.size, c.differing_blocks) for c in (*report.nodes, *report.halves)] == [(DATA_BYTES, 0)] * 3
    assert (report.problems, report.dirty) == ((), ())
    assert report.generations["a"] == report.generations["b"]
    assert f"equal in all {DATA_BYTES} bytes" in str(report.nodes[0])


def test_one_flipped_byte_in_one_copy_is_found_and_placed() -> None:
    """The planted violation: unequal replicas, with the block that differs."""
    pair = Pair()
    pair.write("b", 700_001, b"\x01")
    report = compared(pair)
    (nodes,) = report.nodes
    assert not report.is_equal
    assert (nodes.differing_blocks, nodes.ranges) == (1, ((700_001 // BLOCK_BYTES * BLOCK_BYTES, BLOCK_BYTES),))
    assert report.sha256["a"] != report.sha256["b"]
    assert all(half.is_equal for half in report.halves)
    assert "differ in 1 blocks of 4096 bytes: 696320+4096" in str(nodes)


def test_a_difference_inside_one_mirror_is_told_apart() -> None:
    """A bit that rotted on one disk is no difference between the nodes, as long as the other half is read."""
    pair = Pair()
    pair.write("a", 700_001, b"\x01", disks=("vdc",))
    report = compared(pair)
    assert report.is_equal
    assert [half.differing_blocks for half in report.halves] == [1, 0]
    assert "on vdb and on vdc differ" in str(report.halves[0])


def test_neighbouring_differences_are_one_range_and_many_are_counted() -> None:
    """The list stays readable; the count stays right."""
    pair = Pair()
    pair.write("a", 600_000, b"\xff" * 3 * BLOCK_BYTES)
    for number in range(RANGES_MAX + 5):
        pair.write("a", 700_000 + number * 2 * BLOCK_BYTES, b"\xff")
    (nodes,) = compared(pair).nodes
    assert nodes.ranges[0] == (598_016, 4 * BLOCK_BYTES)
    assert len(nodes.ranges) == RANGES_MAX
    assert nodes.differing_blocks == 4 + RANGES_MAX + 5


def test_differences_behind_the_replicated_data_do_not_count() -> None:
    """DRBD's metadata differ between the nodes on a healthy pair."""
    pair = Pair(quick=False)
    a, b = (asyncio.run(pair.disks[node]["vdb"].read(DRBD_AT, 64)) for node in ("a", "b"))
    assert a != b
    assert pair.open("a").size == DATA_BYTES


def test_a_disk_that_is_behind_is_left_out_and_said() -> None:
    """A half that was thrown out of its mirror keeps old data: it must not be taken for the replica."""
    pair = Pair()
    pair.disks["a"]["vdb"].write(layout.MD_OFFSET_BYTES, md_block("a-vdb", events=3))
    pair.write("a", 0, b"old", disks=("vdb",))
    report = compared(pair)
    assert report.is_equal
    assert [half.left for half in report.halves] == ["replica b of VM web on vdb"]
    assert report.problems == ("disk vdb of node a is behind its mirror: event 3 of 7",)


def test_a_disk_that_its_other_half_calls_faulty_is_left_out() -> None:
    """The one that went on alone knows; the faulty one cannot know."""
    pair = Pair()
    pair.disks["a"]["vdb"].write(layout.MD_OFFSET_BYTES, md_block("a-vdb", events=8, roles=(0, 0xFFFE)))
    replica = pair.open("a")
    assert [half.disk for half in replica.halves] == ["vdb"]
    assert "vdc of node a is behind" in replica.problems[0]


def test_a_disk_of_another_mirror_and_a_spare_are_no_halves() -> None:
    """A wrong disk in the slot is said, not read."""
    pair = Pair()
    pair.disks["a"]["vdc"] = captured("b-vdc")
    pair.disks["a"]["vdc"].write(layout.MD_OFFSET_BYTES, md_block("b-vdc", events=2))
    pair.disks["b"]["vdc"].write(layout.MD_OFFSET_BYTES, md_block("b-vdc", roles=(0, 0xFFFF)))
    assert pair.open("a").problems == ("disk vdc of node a belongs to another mirror",)
    assert "no active half" in pair.open("b").problems[0]


def test_of_two_mirrors_the_one_that_is_in_use_counts() -> None:
    """A node that emptied its old half made a new array, whose events begin anew; the other half is not the newer."""
    pair = Pair()
    new = layout.parse_md(md_block("a-vdb"), "vdb").used_s + 60
    pair.disks["a"]["vdb"].write(
        layout.MD_OFFSET_BYTES, md_block("a-vdb", events=1, used_s=new, roles=(0, 0xFFFE), array=b"n" * 16)
    )
    pair.write("a", 0, b"old", disks=("vdc",))
    replica = pair.open("a")
    assert [half.disk for half in replica.halves] == ["vdb"]
    assert replica.problems == ("disk vdc of node a belongs to another mirror",)
    assert compared(pair).is_equal


def test_one_readable_disk_is_enough_and_none_is_an_error() -> None:
    """What cannot be read is named, with what was expected."""
    pair = Pair()
    pair.disks["a"]["vdb"] = MemoryDisk({}, size=100)
    replica = pair.open("a")
    assert [half.disk for half in replica.halves] == ["vdc"]
    assert "vdb of node a cannot be used: the disk ends at 100" in replica.problems[0]
    pair.disks["a"]["vdc"] = MemoryDisk({})
    with pytest.raises(ReplicaError, match=re.escape("expected a usable half of its mirror, found none")):
        pair.open("a")


def test_a_mirror_that_is_being_written_says_so() -> None:
    """Then equality of its halves cannot be demanded."""
    pair = Pair()
    pair.disks["b"]["vdc"].write(layout.MD_OFFSET_BYTES, md_block("b-vdc", resync=0))
    assert compared(pair).dirty == ("b",)


def test_replicas_of_different_sizes_are_refused() -> None:
    """They are not two copies of one thing."""
    pair, whole = Pair(), Pair(quick=False)
    with pytest.raises(ReplicaError, match="expected replicas of one size"):
        asyncio.run(compare([pair.open("a"), whole.open("b")]))


def test_a_size_that_does_not_fit_the_volume_is_refused() -> None:
    """DRBD's metadata carry no checksum, so their one number is checked against the volume."""
    pair = Pair()
    pair.write("a", DRBD_AT - VOLUME_AT, b"\x7f")
    with pytest.raises(ReplicaError, match="expected DRBD data of 1 to 37744640 bytes"):
        pair.open("a")


def test_reading_stops_at_the_ends() -> None:
    """Neither the replica nor the mirror is read beyond its end, and a read that fails names the place."""
    pair = Pair()
    replica = pair.open("a")
    with pytest.raises(ReplicaError, match="expected bytes below 1048576"):
        asyncio.run(replica.read(replica.size - 1, 2))
    for half in pair.disks["a"].values():
        half.size = VOLUME_AT + 4096
    with pytest.raises(ReplicaError, match="expected 1 bytes at 1052672 of the mirror"):
        asyncio.run(replica.read(4096, 1))
    for disk in ("vdb", "vdc"):
        pair.disks["b"][disk].write(layout.MD_OFFSET_BYTES, md_block(f"b-{disk}", data_sectors=8))
    with pytest.raises(ReplicaError, match="of the mirror, which has 4096"):
        pair.open("b")


def test_a_volume_in_several_pieces_reads_in_its_own_order() -> None:
    """A read that goes over the border of two pieces takes from both."""
    whole = Pair(quick=False).open("a")
    start, mib = whole.extents[0].offset, 1 << 20
    parted = replace(whole, extents=(Extent(start + mib, mib), Extent(start, mib), Extent(start + 2 * mib, mib)))
    there, here = asyncio.run(parted.read(0, 2 * mib)), asyncio.run(whole.read(0, 2 * mib))
    assert there == here[mib:] + here[:mib]
    assert asyncio.run(parted.read(mib - 8, 24)) == here[2 * mib - 8 :] + here[:16]
    assert asyncio.run(parted.read(mib + 5, 3)) == here[5:8] == b"OG1"


def test_a_raw_file_is_a_disk(tmp_path: Path) -> None:
    """Yesterday's image can be read without any server; one that is too short is an error."""
    image = tmp_path / "vdb.raw"
    write_image("a-vdb", image)
    with RawFile(image) as disk:
        replica = asyncio.run(open_replica("a", {"vdb": disk}, "web"))
        assert asyncio.run(replica.read((RECORDS - 1) * 512, 8)) == b"WORKLOG1"
        with pytest.raises(OSError, match="ends before byte"):
            asyncio.run(disk.read(100 << 20, 1))


def test_a_kept_version_is_a_volume_of_its_own() -> None:
    """It is found by its name, and read from its own place; the volume of another VM is none."""
    disks = {disk: with_kept_version(f"a-{disk}") for disk in ("vdb", "vdc")}
    assert asyncio.run(kept_volumes("a", disks, "web")) == ("avance-web.kept-2",)
    assert asyncio.run(kept_volumes("a", disks, "we")) == ()
    assert asyncio.run(kept_volumes("a", Pair().disks["a"], "web")) == ()
    for disk in disks.values():
        disk.write(KEPT_AT + 700_001, b"\x01")
    kept = asyncio.run(open_replica("a", disks, "web", volume="avance-web.kept-2"))
    used = asyncio.run(open_replica("a", disks, "web"))
    assert asyncio.run(kept.read(700_001, 1)) == b"\x01" != asyncio.run(used.read(700_001, 1))
    assert asyncio.run(kept.read(0, 4096)) == asyncio.run(used.read(0, 4096))
