"""Superblocks of md and notes of the mirror: read exactly, or not at all."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avance.core.halves import Half, Note
from avance.wire import md
from tests.unit.avance.superblocks import FAULTY, SPARE, superblock

ARRAY, X = "bfe1bb588f224723a1f86835ff760f51", "3c993be8d6927150d59770ac5fccdccb"

# Captured from a node (Linux 6.1, mdadm 4.2): a half of a whole mirror that is clean. All further roles are 0xffff.
_HEAD = (
    "fc4e2ba9010000000100000000000000bfe1bb588f224723a1f86835ff760f516e6f64653a30000000000000000000000000000000000000"
    "0000000000000000613a0c6b00000000010000000000000000f80f0000000000000000000200000008000000000000000000000000000000"
    "00000000000000000000000000000000000800000000000000f80f0000000000080000000000000000000000000000000000000000000000"
    "3c993be8d6927150d59770ac5fccdccb0000080010000000c93b0c6b000000002300000000000000ffffffffffffffffcf61479880000000"
    "000000000000000000000000000000000000000000000000000000000000000000000100ffffffff"
)
REAL = (bytes.fromhex(_HEAD) + b"\xff" * 248).ljust(4096, b"\0")


def test_a_real_superblock_is_read() -> None:
    """Names, count, and that nothing is missing."""
    assert md.parse_superblock(REAL) == Half(ARRAY, X, 0x23, complete=True, alone=False)


def test_the_superblocks_of_the_tests_are_like_real_ones() -> None:
    """Every field that is read lies where the kernel puts it, and the checksum is its."""
    made = superblock(ARRAY, X, 0x23, roles=(0, 1, *(SPARE,) * 126))
    for start, end in ((0, 32), (72, 76), (92, 96), (160, 164), (168, 184), (200, 208), (220, 224), (256, 512)):
        assert made[start:end] == REAL[start:end]
    assert md.parse_superblock(made) == md.parse_superblock(REAL)


@pytest.mark.parametrize(
    ("roles", "number", "features", "complete", "alone"),
    [
        ((0, 1), 1, 0x1, True, False),
        ((FAULTY, 1), 1, 0x1, True, True),
        ((0, SPARE), 0, 0x1, True, True),
        ((0, 1), 0, 0x83, False, False),
        ((SPARE, 1, 0), 2, 0x3, False, False),
        ((SPARE, 1), 0, 0x1, False, False),
        ((0, 1), 7, 0x1, False, False),
    ],
)
def test_what_a_half_says_of_itself_and_of_the_other(
    roles: tuple[int, ...], number: int, features: int, complete: bool, alone: bool
) -> None:
    """Seen on a real kernel: a survivor names the other as faulty; a half that is rebuilt has a recovery offset."""
    half = md.parse_superblock(superblock(ARRAY, X, 9, roles=roles, number=number, features=features))
    assert half == Half(ARRAY, X, 9, complete=complete, alone=alone)


@pytest.mark.parametrize("at", [0, 4, 16, 72, 92, 168, 200, 216, 220, 256, 511])
def test_a_damaged_superblock_is_none(at: int) -> None:
    """One flipped bit anywhere that counts: nothing of it is believed."""
    raw = bytearray(REAL)
    raw[at] ^= 1
    assert md.parse_superblock(bytes(raw)) is None


@given(st.binary(max_size=4200))
def test_arbitrary_bytes_are_no_half(raw: bytes) -> None:
    """A foreign disk may hold anything."""
    assert md.parse_superblock(raw) is None
    assert md.parse_superblock(struct.pack("<2I", 0xA92B4EFC, 1) + raw.ljust(4200, b"\xff")) is None


_NAME = st.text("0123456789abcdef", min_size=32, max_size=32)
_NAMES = st.lists(_NAME, max_size=4).map(tuple)


@given(st.builds(Note, st.integers(0), _NAME, _NAMES, st.integers(0), st.booleans(), _NAMES))
def test_a_note_survives_as_text_and_as_a_file(note: Note) -> None:
    """What is read is what was written."""
    text = md.note_text(note)
    assert md.parse_note(text) == note
    assert md.read_note(md.note_bytes(text)) == text


@pytest.mark.parametrize("text", ["", "-", "1 a 2 0 b", "1 a 2 0 b - -", "x a 2 0 b -", "1 a 2 7 b -", "01 a 2 0 b -"])
def test_what_is_no_note_is_none(text: str) -> None:
    """A peer of another version, or nothing at all."""
    assert md.parse_note(text) is None


@pytest.mark.parametrize("cut", [0, 10, 64, 70, 100])
def test_a_torn_note_is_as_none(cut: int) -> None:
    """The checksum decides; the node then asks its peer."""
    raw = md.note_bytes(md.note_text(Note(1, ARRAY, (X,), 9)))
    assert md.read_note(raw[:cut]) == ""
    assert md.read_note(raw[:cut] + b"!" + raw[cut + 1 :]) == ""


def test_commands_name_exactly_what_may_be_touched() -> None:
    """The array by its identifier, and only the disks that were chosen."""
    assert md.assemble_argv(ARRAY, ("/dev/vdc",)) == [
        "mdadm", "--assemble", "--run", "--uuid=bfe1bb58:8f224723:a1f86835:ff760f51", "/dev/md0", "/dev/vdc",
    ]  # fmt: skip
    assert md.create_argv(ARRAY, ("/dev/vdb",))[-2:] == ["/dev/vdb", "missing"]
    assert md.create_argv(ARRAY, ("/dev/vdb", "/dev/vdc"))[-2:] == ["/dev/vdb", "/dev/vdc"]
    assert md.manage_argv("re-add", "/dev/vdb") == ["mdadm", "/dev/md0", "--re-add", "/dev/vdb"]
    assert md.zero_argv("/dev/vdb") == ["mdadm", "--zero-superblock", "/dev/vdb"]
    assert md.member_name("/dev/vdb") == "dev-vdb"
