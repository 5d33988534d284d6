"""The history of the figures that were chosen becomes a file. To draw takes long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.testbed.figures.test_history import fill, told


def test_the_picture_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its path is printed."""
    path, out = fill(tmp_path / "m", n=1), tmp_path / "h.png"
    assert told(capsys, path, "--metric", "phase.", "--picture", str(out)) == [str(out)]
    assert out.read_bytes().startswith(b"\x89PNG")
