"""Proves the file behind a disk: an overlay shows what was written, else what is below, and never writes below."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.disk.image import BLOCK, DiskImage

SIZE = 5 * BLOCK + 512  # the last block is not whole


def sound(path: Path) -> bytes:
    """Make an image to lie below."""
    content = Random(7).randbytes(SIZE)
    path.write_bytes(content)
    return content


def test_a_plain_image_is_its_file(tmp_path: Path) -> None:
    """What is written is in the file, and what was never written is zeros."""
    image = DiskImage(tmp_path / "disk", SIZE)
    image.write(b"abc", 5000)
    assert image.read(5, 4999) == b"\0abc\0"
    image.close()
    assert (tmp_path / "disk").read_bytes() == bytes(5000) + b"abc" + bytes(SIZE - 5003)


WRITES = st.lists(st.tuples(st.integers(0, SIZE - 1), st.binary(max_size=3 * BLOCK)), max_size=12)


@given(writes=WRITES)
def test_an_overlay_reads_as_if_it_were_a_copy(
    writes: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any writes, in any place and of any length, give what a full copy would hold; below nothing changes."""
    directory = tmp_path_factory.mktemp("image")
    below = sound(directory / "below")
    copy = bytearray(below)
    image = DiskImage(directory / "over", SIZE, directory / "below")
    for offset, data in writes:
        part = data[: SIZE - offset]
        image.write(part, offset)
        copy[offset : offset + len(part)] = part
    assert image.read(SIZE, 0) == copy
    for first in (0, 100, BLOCK - 1, 4 * BLOCK + 3):
        assert image.read(BLOCK + 7, first) == copy[first : first + BLOCK + 7].ljust(BLOCK + 7, b"\0")
    image.close()
    again = DiskImage(directory / "over", SIZE, directory / "below")
    assert again.read(SIZE, 0) == copy
    again.close()
    assert (directory / "below").read_bytes() == below
    assert (directory / "over").stat().st_size == SIZE


def test_zeros_that_were_written_hide_what_is_below(tmp_path: Path) -> None:
    """Zeros are content: they are not taken for a hole."""
    sound(tmp_path / "below")
    image = DiskImage(tmp_path / "over", SIZE, tmp_path / "below")
    image.write(bytes(2 * BLOCK), BLOCK)
    assert image.read(2 * BLOCK, BLOCK) == bytes(2 * BLOCK)
    image.close()


@pytest.mark.parametrize("is_overlay", [True, False])
def test_a_saved_image_comes_back_into_an_open_one(tmp_path: Path, is_overlay: bool) -> None:
    """Save takes content and map, load puts them into another file that is in use, and later writes touch no save."""
    sound(tmp_path / "below")
    below = tmp_path / "below" if is_overlay else None
    one, other = DiskImage(tmp_path / "one", SIZE, below), DiskImage(tmp_path / "other", SIZE, below)
    one.write(b"one", 3 * BLOCK)
    other.write(b"other", BLOCK)
    whole = bytes(one.read(SIZE, 0))
    one.save(tmp_path / "saved")
    other.load(tmp_path / "saved")
    assert other.read(SIZE, 0) == whole
    other.write(b"later", 3 * BLOCK)
    one.load(tmp_path / "saved")
    assert one.read(SIZE, 0) == whole
    one.close()
    other.close()


def test_a_map_of_another_disk_is_refused(tmp_path: Path) -> None:
    """A map whose length is wrong says so instead of showing blocks from the wrong side."""
    sound(tmp_path / "below")
    image = DiskImage(tmp_path / "over", SIZE, tmp_path / "below")
    image.save(tmp_path / "saved")
    (tmp_path / "saved.map").write_bytes(b"\1")
    with pytest.raises(OSError, match="belongs to another disk"):
        image.load(tmp_path / "saved")
    image.close()
