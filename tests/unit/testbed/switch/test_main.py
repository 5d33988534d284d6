"""Tests of testbed.switch.__main__: what it refuses. That it carries frames is tested through testbed.switch.client."""

from __future__ import annotations

import pytest

from testbed.switch.__main__ import main


def test_the_command_refuses_a_bad_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    """The process ends with code 2 and one line."""
    assert main(["--dir", "/tmp", "--config", "{}"]) == 2
    assert capsys.readouterr().err.startswith("switch: cannot start")
