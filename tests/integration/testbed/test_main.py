"""Proves the command `testbed` as a program: it looks at the real host, and its output may be cut off."""

from __future__ import annotations

import asyncio
import shlex
import sys

import pytest

from testbed import __main__ as command
from testbed.process import run
from testbed.site import ROOT


def test_doctor_prints_a_verdict_that_is_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line says whether this host can run the bed, and so does the code."""
    code = command.main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert any("QEMU" in line for line in lines)
    assert code == (0 if lines[-1] == "This host can run the bed." else 2)


@pytest.mark.parametrize("verb", ["list", "list --json", "check faults/schedules/A1.jsonl"])
def test_an_output_that_nobody_reads_to_its_end_is_no_error(verb: str) -> None:
    """`testbed list | head` ends without a word; the code is that of a program which SIGPIPE ended."""
    line = f"{shlex.quote(sys.executable)} -m testbed {verb} | true; exit ${{PIPESTATUS[0]}}"
    done = asyncio.run(run(["bash", "-c", line], timeout_s=120, check=False, cwd=ROOT))
    assert (done.returncode, done.stderr.splitlines()[2:]) == (141, []), done.stderr  # a schedule is told before
