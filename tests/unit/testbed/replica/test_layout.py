"""Tests of testbed.replica.layout: captured metadata of a real node, and what a damaged byte in each is called."""

from __future__ import annotations

import asyncio
import struct
import zlib

import pytest

from testbed.replica import layout
from testbed.replica.layout import Extent, ReplicaError
from tests.unit.testbed.replica.captured_disks import DATA_BYTES, DRBD_AT, VOLUME_BYTES, captured
from tests.unit.testbed.replica.md_block import md_block

MD_DATA_AT = 1 << 20
SEGMENT = 'segment1 { start_extent = 0 extent_count = 2 type = "striped" stripe_count = 1 stripes = [ "pv0", 5 ] }\n'


def piece(offset: int, count: int) -> bytes:
    """Bytes of a captured disk."""
    return asyncio.run(captured("a-vdb").read(offset, count))


def checksum(data: bytes | bytearray) -> int:
    """LVM's own CRC, counted bit by bit as its source does."""
    crc = 0xF597A6CF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 & -(crc & 1))
    return crc


def group(segments: str = SEGMENT, devices: str = "pv0 { pe_start = 2048 }") -> bytes:
    """An LVM text with one volume."""
    text = f"vg0 {{ extent_size = 8192 physical_volumes {{ {devices} }} logical_volumes {{ web {{ {segments} }} }} }}"
    return text.encode() + b"\n\0"


def extents_of(text: bytes) -> tuple[Extent, ...]:
    """The pieces of the volume in a text with a good checksum."""
    return layout.parse_lvm_text(text, checksum(text), "web", "here")


def test_a_real_superblock_tells_where_its_data_begin() -> None:
    """Offset, size, currency and members of the captured mirror."""
    member = layout.parse_md(md_block("a-vdb"), "vdb")
    assert (member.data_offset, member.data_size, member.events) == (MD_DATA_AT, 535_822_336, 7)
    assert (member.number, sorted(member.active_numbers)) == (0, [0, 1])
    assert (member.is_active, member.is_resynced) == (True, True)
    assert member.array == layout.parse_md(md_block("a-vdc"), "vdc").array


@pytest.mark.parametrize(
    ("at", "data", "complaint"),
    [
        (0, b"\0\0\0\0", "expected an md superblock of version 1.2"),
        (4, b"\0", "major 0"),
        (130, b"\x01", "expected checksum"),
        (220, b"\xff\xff", "expected at most 1920 md roles, found 65535"),
    ],
)
def test_a_damaged_superblock_is_refused(at: int, data: bytes, complaint: str) -> None:
    """Each says the disk, what was expected and what is there."""
    block = bytearray(md_block("a-vdb"))
    block[at : at + len(data)] = data
    with pytest.raises(ReplicaError, match=f"disk vdb, byte 4096.*{complaint}"):
        layout.parse_md(bytes(block), "vdb")


def test_another_raid_level_is_refused() -> None:
    """Only a mirror has its data in one piece on each disk."""
    with pytest.raises(ReplicaError, match="expected md level 1"):
        layout.parse_md(md_block("a-vdb", level=5), "vdb")


def test_an_odd_number_of_roles_counts_in_the_checksum() -> None:
    """The last half word is added by itself, as Linux does."""
    block = bytearray(md_block("a-vdb"))
    struct.pack_into("<I", block, 220, 127)
    with pytest.raises(ReplicaError, match="expected checksum") as error:
        layout.parse_md(bytes(block), "vdb")
    struct.pack_into("<I", block, 216, int(str(error.value).split("expected checksum ")[1].split()[0], 16))
    assert layout.parse_md(bytes(block), "vdb").is_active


def test_the_real_volume_lies_where_lvm_says() -> None:
    """From the label over the ring of texts to the extents of the VM's volume."""
    area = layout.parse_lvm_label(piece(MD_DATA_AT, layout.LVM_LABEL_BYTES), "here")
    pieces, stored = layout.parse_lvm_area(piece(MD_DATA_AT + area.offset, 512), area, "here")
    text = b"".join(piece(MD_DATA_AT + part.offset, part.count) for part in pieces)
    assert stored == checksum(text)
    assert layout.parse_lvm_text(text, stored, "avance-web", "here") == (Extent(1 << 20, VOLUME_BYTES),)
    assert layout.volumes_in(text, stored, "here") == ("avance-web",)
    with pytest.raises(ReplicaError, match=r"logical volume 'mail', found avance-web"):
        layout.parse_lvm_text(text, stored, "mail", "here")
    with pytest.raises(ReplicaError, match="expected LVM text with checksum"):
        layout.parse_lvm_text(text.replace(b"web", b"wxb"), stored, "web", "here")


@pytest.mark.parametrize("at", [512, 512 + 24, 512 + 40])
def test_a_damaged_label_is_refused(at: int) -> None:
    """Its name, its type or its content."""
    head = bytearray(piece(MD_DATA_AT, layout.LVM_LABEL_BYTES))
    head[at] ^= 1
    with pytest.raises(ReplicaError, match="expected an LVM label"):
        layout.parse_lvm_label(bytes(head), "here")


def test_a_label_without_metadata_is_refused() -> None:
    """A device can carry data only; then the text is elsewhere."""
    head = bytearray(layout.LVM_LABEL_BYTES)
    head[:8] = b"LABELONE"
    head[20:32] = struct.pack("<I", 32) + b"LVM2 001"
    struct.pack_into("<I", head, 16, checksum(head[20:512]))
    with pytest.raises(ReplicaError, match="expected an area of LVM metadata"):
        layout.parse_lvm_label(bytes(head), "here")


@pytest.mark.parametrize("at", [4, 40])
def test_a_damaged_area_header_is_refused(at: int) -> None:
    """It has a checksum of its own."""
    header = bytearray(piece(MD_DATA_AT + 4096, 512))
    header[at] ^= 1
    with pytest.raises(ReplicaError, match="expected the header of an LVM metadata area"):
        layout.parse_lvm_area(bytes(header), Extent(4096, 1 << 20), "here")


def area_header(offset: int, size: int) -> bytes:
    """A header that names a text at this place."""
    body = b" LVM2 x[5A%r0N*>" + struct.pack("<IQQQQII", 1, 4096, 10_000, offset, size, 77, 0)
    body = body.ljust(508, b"\0")
    return struct.pack("<I", checksum(body)) + body


def test_a_text_that_runs_over_the_end_of_its_ring_goes_on_behind_the_header() -> None:
    """After many changes of volumes every text wraps once."""
    area = Extent(4096, 10_000)
    pieces, stored = layout.parse_lvm_area(area_header(9_700, 1_000), area, "here")
    assert (pieces, stored) == ([Extent(4096 + 9_700, 300), Extent(4096 + 512, 700)], 77)
    for offset, size in ((10_000, 1), (600, 0), (600, 9_489)):
        with pytest.raises(ReplicaError, match="expected LVM text inside its area"):
            layout.parse_lvm_area(area_header(offset, size), area, "here")


def test_a_volume_that_was_extended_has_several_pieces_in_its_own_order() -> None:
    """The order of the volume counts, not that of the text."""
    second = SEGMENT.replace("segment1", "segment2").replace("start_extent = 0", "start_extent = 2")
    second = second.replace('"pv0", 5', '"pv0", 1')
    mib = 1 << 20
    assert extents_of(group(second + SEGMENT)) == (Extent(mib + 5 * 4 * mib, 8 * mib), Extent(mib + 4 * mib, 8 * mib))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (group("flags = []"), "expected at least one segment"),
        (group(SEGMENT.replace("striped", "raid1")), "expected linear segments of 'web', found type 'raid1'"),
        (group(SEGMENT.replace('"pv0", 5', '"pv0", "x"')), "expected the number of an extent"),
        (group(SEGMENT.replace("extent_count = 2", 'extent_count = "2"')), "whole number 'extent_count'"),
        (group(devices="pv0 { pe_start = 1 } pv1 { pe_start = 1 }"), "expected a volume group on one device"),
        (b"vg0 { extent_size = 1 logical_volumes { web { } } }", "section 'physical_volumes'"),
        (b"vg0 { extent_size = 1 }", "logical volume 'web', found none"),
        (b"vg0 { a = 1", "1 sections not closed"),
        (b"vg0 { } }", "a } too many"),
        (b"vg0 { a }", "found 'a'"),
        (b"vg0 { a = }", "expected a value of 'a'"),
        (b"vg0 { a = [ 1, 2", "expected the end of the list 'a'"),
        (b"vg0 { \xff }", "expected LVM text"),
    ],
)
def test_a_text_that_is_not_as_expected_is_refused(text: bytes, complaint: str) -> None:
    """A good checksum does not make a layout that this reader knows."""
    with pytest.raises(ReplicaError, match=complaint):
        extents_of(text)


def test_comments_strings_and_numbers_are_told_apart() -> None:
    """A brace inside a text or a comment is no section."""
    tree = layout.parse_lvm_values('a { # { not this\n b = "{ \\" }" c = -3 d = [ "x", 4 ] e = word.1 }', "here")
    assert tree == {"a": {"b": '{ \\" }', "c": -3, "d": ["x", 4], "e": "word.1"}}


def test_real_drbd_metadata_tell_the_size_and_the_state() -> None:
    """They stand in the last 4 KiB of the volume."""
    assert layout.drbd_metadata_at(VOLUME_BYTES) == VOLUME_BYTES - 4096
    assert layout.drbd_metadata_at(VOLUME_BYTES + 4095) == VOLUME_BYTES - 4096
    metadata = layout.parse_drbd(piece(DRBD_AT, layout.DRBD_BYTES), "here")
    assert (metadata.data_size, metadata.is_attached) == (DATA_BYTES, True)
    assert metadata.flags == ("consistent", "connected", "up_to_date", "crashed_primary")
    assert len(metadata.generation) == 16


def test_what_is_no_drbd_metadata_is_refused() -> None:
    """A volume without a replica is not taken for an empty one."""
    with pytest.raises(ReplicaError, match=r"here: expected DRBD 8.4 metadata .* found 0x0"):
        layout.parse_drbd(bytes(layout.DRBD_BYTES), "here")


def test_the_checksum_of_lvm_is_the_one_of_its_source() -> None:
    """The fast form and the one bit by bit agree."""
    data = bytes(range(256))
    assert zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF == checksum(data)
