"""Tests of running host tools; they must never leave a process behind."""

from pathlib import Path

import pytest

from images.errors import BuildError
from images.process import Tool, output_of, require, run
from images.progress import Progress


def test_a_missing_tool_is_named_with_its_package() -> None:
    """The error says what to install."""
    with pytest.raises(BuildError, match="apt-get install some-package"):
        require([Tool("no-such-program-here", "some-package"), Tool("sh", "dash")])


def test_a_failed_tool_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    """What the tool said last is in the error."""
    with pytest.raises(BuildError, match=r"(?s)code 3.*the reason"):
        run(["sh", "-c", "echo the reason; exit 3"], tmp_path / "log", "step", Progress(print))


def test_a_cancelled_build_stops_its_tools(tmp_path: Path) -> None:
    """A tool that would run on is ended together with its own children."""
    progress = Progress(print)
    progress.cancel()
    with pytest.raises(BuildError, match="given up"):
        run(["sh", "-c", "sleep 600; true"], tmp_path / "log", "step", progress)


def test_the_output_of_a_failed_command_is_an_error() -> None:
    """No caller takes an empty text for an answer."""
    with pytest.raises(BuildError, match="ended with code 2"):
        output_of(["sh", "-c", "echo bad >&2; exit 2"])
