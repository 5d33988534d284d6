"""Proves that the command `testbed doctor` looks at the real host."""

from __future__ import annotations

import pytest

from testbed import __main__ as command


def test_doctor_prints_a_verdict_that_is_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line says whether this host can run the bed, and so does the code."""
    code = command.main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert any("QEMU" in line for line in lines)
    assert code == (0 if lines[-1] == "This host can run the bed." else 2)
