"""A file that must survive a power cut is whole: the old content or the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avance.files import write_durably


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
