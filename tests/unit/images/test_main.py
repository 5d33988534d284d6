"""Tests of the command; they must never build anything."""

from pathlib import Path

import pytest

from images.__main__ import main


def test_path_without_an_image_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing goes to stdout, and the error names the command that builds."""
    monkeypatch.setenv("AVANCE_CACHE", str(tmp_path))
    assert main(["path"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "python -m images build" in said.err


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The usage is printed."""
    with pytest.raises(SystemExit):
        main(["bake"])
    assert "usage" in capsys.readouterr().err
