"""A directory that cannot be made is refused in one sentence, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import UsageError
from testbed.out_directory import made


def test_it_is_made_or_was_there(tmp_path: Path) -> None:
    """Also with what lies above it, and twice."""
    for _ in range(2):
        assert made(tmp_path / "x" / "y").is_dir()


def test_what_cannot_be_one_is_refused(tmp_path: Path) -> None:
    """A file in its place or above it, and a file system that makes none."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x", Path("/proc/nope")):
        with pytest.raises(UsageError, match="cannot be a directory here: "):
            made(path)
