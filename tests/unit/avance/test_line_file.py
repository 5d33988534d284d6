"""Lines are whole or recognisable as torn, and a file never grows without a bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from avance.line_file import LineFile, earlier


def test_lines_are_appended(tmp_path: Path) -> None:
    """A file and its directory come with the first line, and a later run goes on where the last one ended."""
    path = tmp_path / "log" / "x.jsonl"
    for text in ("one", "two"):
        file = LineFile(path)
        file.append(text)
        file.close()
    assert path.read_text() == "one\ntwo\n"
    assert LineFile(path).size_bytes() == 8
    assert path.stat().st_mode & 0o077 == 0


def test_a_torn_line_is_not_joined(tmp_path: Path) -> None:
    """After a power cut in the middle of a line the next one stands on a line of its own."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"seq": 1}\n{"se')
    LineFile(path).append('{"seq": 3}')
    assert path.read_text().splitlines() == ['{"seq": 1}', '{"se', '{"seq": 3}']


def test_rotation_keeps_one_earlier_file(tmp_path: Path) -> None:
    """The content before the last rotation is there, what was before that is given up."""
    path = tmp_path / "x.jsonl"
    file = LineFile(path)
    for text in ("one", "two", "three"):
        file.append(text)
        file.rotate()
    file.append("four")
    file.close()
    assert (earlier(path).read_text(), path.read_text()) == ("three\n", "four\n")
    assert sorted(tmp_path.iterdir()) == [path, file.earlier]


def test_full_disk_is_an_error() -> None:
    """A line that the disk did not take is never counted as written."""
    file = LineFile(Path("/dev/full"))
    with pytest.raises(OSError, match="No space"):
        file.append("x")
    file.close()


def test_rotating_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A rotation that did not happen is said."""
    with pytest.raises(OSError, match="No such file"):
        LineFile(tmp_path / "x.jsonl").rotate()
