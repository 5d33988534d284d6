"""Tests of the archive writer; they must never need a kernel."""

from pathlib import Path

import pytest

from images import cpio, process


def test_the_archive_is_read_by_the_usual_tool(tmp_path: Path) -> None:
    """cpio lists and unpacks what was written: directory, file and link."""
    if process.find("cpio") is None:
        pytest.skip("this host has no cpio")
    entries = [cpio.directory("d"), cpio.file("d/f", b"hello", executable=True), cpio.link("l", "/d/f")]
    path = tmp_path / "archive"
    path.write_bytes(cpio.archive(entries))
    process.output_of(["cpio", "-i", "--quiet", "-D", str(tmp_path), "-F", str(path)])
    assert (tmp_path / "d" / "f").read_bytes() == b"hello"
    assert (tmp_path / "d" / "f").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "l").readlink() == Path("/d/f")


def test_every_part_starts_at_a_multiple_of_four() -> None:
    """The kernel reads headers and contents at multiples of four bytes."""
    content = cpio.archive([cpio.file("name", b"12345")])
    assert len(content) % 4 == 0
    assert content.index(b"12345") % 4 == 0
    assert content.rindex(b"070701") % 4 == 0


def test_the_same_entries_give_the_same_bytes() -> None:
    """No date and no owner of the host gets into an archive."""
    entries = [cpio.directory("d"), cpio.file("f", b"x")]
    assert cpio.archive(entries) == cpio.archive(entries)
    assert b"TRAILER!!!" in cpio.archive([])
