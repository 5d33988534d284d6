"""A file that must survive a power cut is whole: the old content or the new one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from avance.files import overwrite, read_small, remove_durably, write_durably


def test_new_content_replaces_the_old(tmp_path: Path) -> None:
    """After a write only the new content is there, and no left-over part."""
    path = tmp_path / "record"
    write_durably(path, b"old")
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["record"]  # noqa: PTH208 - names are compared


def test_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails at the sync leaves the old content in place."""
    path = tmp_path / "record"
    write_durably(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk is dying")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="dying"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"


def test_content_is_synced_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is: file synced, renamed, directory synced; any other order can lose the file."""
    order: list[str] = []
    sync, rename = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        order.append("directory" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file")
        sync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        order.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    write_durably(tmp_path / "record", b"x")
    assert order == ["file", "rename", "directory"]


def test_failed_write_leaves_no_part_behind(tmp_path: Path) -> None:
    """On a full disk a part would take the room of the next try."""
    (tmp_path / "record.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_durably(tmp_path / "record", b"x" * 10_000)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_overwriting_needs_no_room(tmp_path: Path) -> None:
    """The file keeps its place and its size, so a full disk cannot refuse it; a longer text gets a larger file."""
    path = tmp_path / "record"
    overwrite(path, b"first\n")
    place, size = path.stat().st_ino, path.stat().st_size
    (tmp_path / "record.part").symlink_to("/dev/full")  # whoever made a new file would meet a full disk
    overwrite(path, b"second one\n")
    assert (path.stat().st_ino, path.stat().st_size) == (place, size)
    assert path.read_bytes().rstrip(b"\n") == b"second one"
    with pytest.raises(OSError, match="No space left"):
        overwrite(path, b"x" * 10_000)
    overwrite(path, b"x" * 10_000)
    assert path.stat().st_size == 16384


@pytest.mark.parametrize("what", ["link", "pipe", "other size"])
def test_something_else_in_its_place_is_replaced(tmp_path: Path, what: str) -> None:
    """What stands there is no file of ours: it is neither followed nor waited for."""
    path = tmp_path / "record"
    if what == "link":
        path.symlink_to("/proc/self/mem")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"x")
    overwrite(path, b"new\n")
    assert path.read_bytes().rstrip(b"\n") == b"new"


@pytest.mark.parametrize("what", ["absent", "directory", "pipe", "no end", "too large", "cannot be read"])
def test_what_is_no_small_file_is_an_error_at_once(tmp_path: Path, what: str) -> None:
    """A reader gets an OSError, and waits for nothing."""
    path = tmp_path / "file"
    match what:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "no end":
            path.symlink_to("/dev/zero")
        case "too large":
            path.write_bytes(b"x" * 101)
        case "cannot be read":
            path.symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match=r"."):
        read_small(path, 100)


def test_small_file_is_read(tmp_path: Path) -> None:
    """All of it, up to the bound."""
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert read_small(tmp_path / "file", 100) == b"x" * 100


def test_removed_file_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut as well; what is gone already is gone, and what is no file is not removed."""
    synced: list[Path] = []
    monkeypatch.setattr("avance.files.sync_directory", synced.append)
    (tmp_path / "one").write_text("x")
    for _ in range(2):
        remove_durably(tmp_path / "one")
    assert synced == [tmp_path, tmp_path]
    assert not (tmp_path / "one").exists()
    with pytest.raises(OSError, match="directory"):
        remove_durably(tmp_path)
