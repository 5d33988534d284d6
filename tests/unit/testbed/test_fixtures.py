"""Proves that the options of a run reach the tests that use the bed."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_without_options_a_run_is_temporary_and_uses_the_snapshot(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A plain run leaves nothing in the tree."""
    monkeypatch.setattr(request.config.option, "run_dir", None)
    monkeypatch.setattr(request.config.option, "cold_bed", False)
    assert request.getfixturevalue("run_dir") == tmp_path / "run"
    assert request.getfixturevalue("cold_bed") is False


def test_the_options_choose_directory_and_cold_boot(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `--run-dir` and `--cold-bed` say is what a test gets."""
    monkeypatch.setattr(request.config.option, "run_dir", Path("build/x"))
    monkeypatch.setattr(request.config.option, "cold_bed", True)
    assert request.getfixturevalue("run_dir") == Path("build/x")
    assert request.getfixturevalue("cold_bed") is True
