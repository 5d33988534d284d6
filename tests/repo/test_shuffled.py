"""Proves that tests come in random order, and in the same order again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from testbed.process import run

ROOT = Path(__file__).resolve().parents[2]
GUARD_S = 500  # only ends what hangs
PYTEST = (sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-c", "/dev/null")
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
CASES = "import pytest\n\n@pytest.mark.parametrize('n', range(20))\ndef test_n(n): pass\n"
SAID = "order of this run: "


def played(folder: Path, *arguments: str) -> tuple[list[str], str]:
    """Run two files of twenty tests each in a pytest of their own; returns their order and its option."""
    for name in ("test_x.py", "test_y.py"):
        (folder / name).write_text(CASES, encoding="utf-8")
    argv = [*PYTEST, "--rootdir", str(folder), "-p", "tests.shuffled", *arguments, str(folder)]
    lines = asyncio.run(run(argv, timeout_s=GUARD_S, cwd=folder, env=ENVIRONMENT)).stdout.splitlines()
    tests = [line.split()[0] for line in lines if " PASSED" in line]
    return tests, next(line.removeprefix(SAID) for line in lines if line.startswith(SAID))


def test_the_order_is_random_and_comes_again_with_the_number_that_was_printed(tmp_path: Path) -> None:
    """Each file stays together; and a part of the tests comes in the order that it has in the whole."""
    tests, option = played(tmp_path)
    assert len(set(tests)) == 40
    files = [test.partition("::")[0] for test in tests]
    assert files in (sorted(files), sorted(files, reverse=True))
    assert tests[:20] != sorted(tests[:20], key=lambda test: int(test.partition("[")[2].rstrip("]")))
    again, said = played(tmp_path, option, "-k", "[3] or [7] or [8] or [11] or [17]")
    assert said == option
    assert again == [test for test in tests if test.partition("[")[2] in ("3]", "7]", "8]", "11]", "17]")]
    other, _ = played(tmp_path, f"{option}1")
    assert other != tests
