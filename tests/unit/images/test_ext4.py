"""Tests of writing into an image through debugfs; they must never mount anything."""

import re
from pathlib import Path, PurePosixPath

import pytest

from images import process
from images.errors import BuildError
from images.ext4 import Link, Listing, Placed, parse_listing, put, script

EMPTY = Listing({"/", "/lost+found"}, set())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty file system image."""
    if process.find("mke2fs") is None:
        pytest.skip("this host has no mke2fs (package e2fsprogs)")
    made = tmp_path / "image"
    process.output_of(["mke2fs", "-q", "-t", "ext4", str(made), "8M"])
    return made


def stat_of(image: Path, path: str) -> str:
    """Return what debugfs tells about a path, with single spaces."""
    return re.sub(r" +", " ", process.combined_output(["debugfs", "-R", f"stat {path}", str(image)]))


def test_a_listing_knows_directories_and_files() -> None:
    """The two kinds of lines are told apart, also with spaces in names."""
    assert parse_listing("d /etc\nf /etc/a b\n") == Listing({"/etc"}, {"/etc/a b"})


def test_missing_directories_are_made_once_and_before_their_content(tmp_path: Path) -> None:
    """Parents come first, and existing ones are not made again."""
    source = tmp_path / "source"
    items = [Placed(source, PurePosixPath("/a/b/two")), Placed(source, PurePosixPath("/a/b/one"))]
    lines = [line for line in script(items, Listing({"/", "/a"}, set())).splitlines() if not line.startswith("sif")]
    assert lines == ["mkdir /a/b", f'write "{source}" /a/b/one', f'write "{source}" /a/b/two']


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    """A file of the base is removed before the new one is written."""
    lines = script([Placed(tmp_path / "s", PurePosixPath("/f"))], Listing({"/"}, {"/f"})).splitlines()
    assert lines[0] == "rm /f"


def test_written_files_belong_to_root_with_the_given_mode(image: Path, tmp_path: Path) -> None:
    """Owner and mode in the image do not depend on the host's file."""
    source = tmp_path / "source"
    source.write_text("hello\n")
    source.chmod(0o600)
    items: list[Placed | Link] = [Placed(source, PurePosixPath("/usr/bin/tool"), 0o755)]
    items.append(Link(PurePosixPath("/tool"), "usr/bin/tool"))
    put(image, items, EMPTY, tmp_path / "log")
    told = stat_of(image, "/usr/bin/tool")
    assert "Mode: 0755" in told
    assert re.search(r"User: 0\s+Group: 0", told)
    assert process.combined_output(["debugfs", "-R", "cat /usr/bin/tool", str(image)]).endswith("hello\n")
    assert "usr/bin/tool" in stat_of(image, "/tool")
    assert "Mode: 0755" in stat_of(image, "/usr/bin")


def test_a_file_that_is_replaced_can_be_kept(image: Path, tmp_path: Path) -> None:
    """The old content stands beside the new one, and the file system is whole: `put` has it checked."""
    for name, text in (("old", "old\n"), ("new", "new\n")):
        (tmp_path / name).write_text(text)
    place = PurePosixPath("/f")
    put(image, [Placed(tmp_path / "old", place)], EMPTY, tmp_path / "log")
    put(image, [Placed(tmp_path / "new", place, kept=".dist")], Listing({"/"}, {"/f"}), tmp_path / "log")
    told = [process.combined_output(["debugfs", "-R", f"cat {path}", str(image)]) for path in ("/f", "/f.dist")]
    assert [text.splitlines()[-1] for text in told] == ["new", "old"]


def test_a_missing_source_is_an_error(image: Path, tmp_path: Path) -> None:
    """debugfs reports failures only in words; they must not be lost."""
    with pytest.raises(BuildError, match="failed"):
        put(image, [Placed(tmp_path / "absent", PurePosixPath("/x"))], EMPTY, tmp_path / "log")


def test_a_full_image_is_an_error(image: Path, tmp_path: Path) -> None:
    """A file that does not fit is reported, and not written in part without a word."""
    source = tmp_path / "big"
    source.write_bytes(b"x" * (16 << 20))
    with pytest.raises(BuildError):
        put(image, [Placed(source, PurePosixPath("/big"))], EMPTY, tmp_path / "log")
