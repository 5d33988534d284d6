"""Proves that a unit test which starts a server fails, and that one which asks for a version does not."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from testbed.process import run

ROOT = Path(__file__).resolve().parents[2]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-c", "/dev/null")
CASES = """
import subprocess
def test_starts(): subprocess.run(["nbdkit", "--exit"], check=False)
def test_asks(): subprocess.run(["nbdkit", "--version"], check=False)
def test_starts_our_own(): subprocess.run(["python3", "-m", "testbed.switch", "--help"], check=False)
def test_starts_it_in_a_shell(): subprocess.run(["sh", "-c", "python3 -m testbed.lan.x | true"])
def test_starts_another(): subprocess.run(["true"])
"""


def test_a_unit_test_that_starts_a_server_fails(tmp_path: Path) -> None:
    """It is named, with the place where it belongs."""
    for program in ("nbdkit", "python3"):
        (tmp_path / program).symlink_to("/bin/true")
    (tmp_path / "conftest.py").write_text((ROOT / "tests/unit/conftest.py").read_text(encoding="utf-8"), "utf-8")
    (tmp_path / "test_x.py").write_text(CASES, encoding="utf-8")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    argv = [*PYTEST, "--rootdir", str(tmp_path), str(tmp_path)]
    out = asyncio.run(run(argv, timeout_s=500, check=False, cwd=tmp_path, env=environment)).stdout
    assert "5 passed, 3 errors" in out, out
    assert "it starts nbdkit: it belongs into tests/integration" in out
    assert "it starts testbed.switch: it belongs into tests/integration" in out
    assert "it starts testbed.lan.x: it belongs into tests/integration" in out
