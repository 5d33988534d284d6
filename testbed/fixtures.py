"""pytest options of the bed; system tests begin with a `testbed.bed.Session` in the directory given here."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the bed's options."""
    group = parser.getgroup("testbed")
    group.addoption("--run-dir", type=Path, default=None, help="where the run leaves its files; default: temporary")
    group.addoption("--cold-bed", action="store_true", help="boot the pair instead of restoring its snapshot")


@pytest.fixture
def run_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The directory in which this test's run leaves its files."""
    given: Path | None = request.config.getoption("--run-dir")
    return given if given is not None else tmp_path / "run"


@pytest.fixture
def cold_bed(request: pytest.FixtureRequest) -> bool:
    """Whether the pair is to be booted cold."""
    return bool(request.config.getoption("--cold-bed"))
