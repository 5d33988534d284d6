"""Proves that a run with a budget leaves out what it must, says so, and is not green without what is required."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from testbed.process import run
from tests.budget import DEADLINE, LIMIT_MIN_S, RESERVE_S, Budget, Worth
from tests.system.worth import TESTS

ROOT = Path(__file__).resolve().parents[2]
GUARD_S = 500  # only ends what hangs
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "pytest_timeout")
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # the plugins take longer than the tests
FIRST, SECOND, THIRD = (
    Worth("test_x.py::test_first", 100, required="the first thing"),
    Worth("test_x.py::test_second", 100),
    Worth("test_x.py::test_third", 10),
)
# Each test takes 40 s of a clock of its own; the order in the file is not that of the worth.
TREE = """
import pathlib
import pytest
from tests.budget import Plugin, Worth

CLOCK = [1000.0]
TESTS = [Worth("test_x.py::test_first", 30, required="the first thing"), Worth("test_x.py::test_second", 30),
         Worth("test_x.py::test_third", 5)]

def pytest_configure(config):
    here = pathlib.Path(__file__).parent
    config.pluginmanager.register(Plugin(TESTS, here, slowness=lambda: 1.0, now=lambda: CLOCK[0]))

@pytest.fixture
def takes_40_s():
    CLOCK[0] += 40
"""
CASES = """
import pytest
pytestmark = pytest.mark.timeout(900)
def test_third(takes_40_s): pass
def test_unlisted(takes_40_s): pass
def test_second(takes_40_s): pass
def test_first(takes_40_s): pass
"""


def played(folder: Path, deadline: str | None, *arguments: str, cases: str = CASES) -> tuple[int, str]:
    """Run the tests above in a pytest of their own; returns its code and what it printed."""
    (folder / "conftest.py").write_text(TREE, encoding="utf-8")
    (folder / "test_x.py").write_text(cases, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != DEADLINE} | ENVIRONMENT
    if deadline is not None:
        environment[DEADLINE] = deadline
    own = ["--import-mode=importlib", "--rootdir", str(folder), "-c", "/dev/null"]
    argv = [*PYTEST, "-v", *own, *arguments, str(folder)]
    done = asyncio.run(run(argv, timeout_s=GUARD_S, check=False, cwd=folder, env=environment))
    return done.returncode, done.stdout


def order(out: str) -> list[str]:
    """Each test with what became of it, in the order of the run."""
    lines = [line for line in out.splitlines() if line.startswith("test_x.py::")]
    return [" ".join(line.removeprefix("test_x.py::").partition("[ ")[0].split()[:3]) for line in lines]


def test_without_a_deadline_everything_runs_in_the_order_of_its_worth(tmp_path: Path) -> None:
    """Also when somebody shuffles; and a part of the tests by itself is not asked for what is required."""
    code, out = played(tmp_path, None, "--deselect", "test_x.py::test_first", "-p", "tests.shuffled")
    assert [line.split()[0] for line in order(out)] == ["test_second", "test_third", "test_unlisted"]
    assert code == 0
    assert "NOT GREEN" not in out


def test_what_was_not_reached_is_told_and_counted_and_is_no_skip(tmp_path: Path) -> None:
    """After the first, 26 s are left: too few for the second, which takes 30; enough for the third, which takes 5."""
    code, out = played(tmp_path, "1066")
    assert order(out) == ["test_first PASSED", "test_second NOT RUN", "test_third PASSED", "test_unlisted NOT RUN"]
    assert code == 0
    assert "NOT RUN test_x.py::test_second: 0.4 minutes are left, it needs about 0.5" in out
    assert "NOT RUN test_x.py::test_unlisted: 0.0 minutes are left, it needs about 2.0" in out
    last = out.strip().splitlines()[-1]
    assert "2 passed, 2 not run in" in last
    assert "skipped" not in out.lower()


def test_what_is_required_is_run_however_late_it_is(tmp_path: Path) -> None:
    """The host was so slow that the budget was gone before the first test."""
    code, out = played(tmp_path, "0")
    assert order(out)[0] == "test_first PASSED"
    assert code == 0
    assert "1 passed, 3 not run in" in out


@pytest.mark.parametrize(
    "cases",
    [
        CASES.replace("test_first", "test_other"),
        CASES.replace("def test_first(takes_40_s): pass", "def test_first(): pytest.skip('no disk here')"),
        CASES.replace("def test_first", "@pytest.mark.skip(reason='x')\ndef test_first"),
    ],
    ids=["gone", "skipped inside", "skipped"],
)
def test_a_run_without_what_is_required_is_not_green(tmp_path: Path, cases: str) -> None:
    """A test that is gone or skips itself fails the run, with a sentence that names it."""
    code, out = played(tmp_path, "inf", cases=cases)
    assert code == 1
    assert "the first thing is required, and its test test_x.py::test_first did not run." in out


def test_a_failure_stays_a_failure(tmp_path: Path) -> None:
    """A required test that ran and failed is reported as failed, not as missing."""
    fails = CASES.replace("def test_first(takes_40_s): pass", "def test_first(): 1/0")
    code, out = played(tmp_path, "inf", cases=fails)
    assert code == 1
    assert "NOT GREEN" not in out
    assert "1 failed, 3 passed" in out


def test_time_is_measured_by_the_tests_before() -> None:
    """A host that takes four times as long has no time for what would fit on a quicker one."""
    budget = Budget([FIRST, SECOND, THIRD], 1000.0)
    assert budget.refusal(SECOND.test, 899.0) == ""
    budget.ran(FIRST.test, 400.0, passed=True)
    assert budget.slowness == pytest.approx(4.0, rel=0.02)
    assert budget.refusal(SECOND.test, 640.0) == "6.0 minutes are left, it needs about 6.6"
    assert budget.refusal(THIRD.test, 640.0) == ""
    assert budget.refusal(FIRST.test, 5000.0) == "", "it is required"


def test_a_test_that_failed_early_does_not_make_the_host_quick() -> None:
    """One that failed late does make it slow."""
    budget = Budget([FIRST, SECOND], 1000.0, slowness=2.0)
    budget.ran(FIRST.test, 1.0, passed=False)
    assert budget.slowness == 2.0
    budget.ran(SECOND.test, 600.0, passed=False)
    assert budget.slowness == pytest.approx(6.0, rel=0.05)


def test_before_the_first_test_the_measured_host_counts_and_a_quick_one_gains_nothing() -> None:
    """What is expected is what a host of speed 1 takes; nothing is expected to be quicker."""
    assert Budget([FIRST], 1000.0, slowness=3.0).slowness == 3.0
    assert Budget([FIRST], 1000.0, slowness=0.2).slowness == 1.0


def test_a_hung_test_is_ended_before_the_run_would_be() -> None:
    """Its own limit grows with the slowness of the host, and no limit reaches far beyond the deadline."""
    budget = Budget([FIRST], 5000.0, slowness=4.0)
    assert budget.limit_s(900.0, 0.0) == 3600.0
    assert budget.limit_s(900.0, 4500.0) == 500.0 + RESERVE_S
    assert budget.limit_s(900.0, 9000.0) == LIMIT_MIN_S
    assert Budget([FIRST], float("inf")).limit_s(900.0, 1e9) == 900.0


def test_the_limit_is_the_one_that_pytest_keeps(tmp_path: Path) -> None:
    """The timer that ends a hung test runs for what the budget says, not for the test's own 900 s."""
    looks = CASES.replace(
        "def test_first(takes_40_s): pass",
        "import signal\ndef test_first(): assert 600 < signal.getitimer(signal.ITIMER_REAL)[0] <= 700",
    )
    code, out = played(tmp_path, f"{1000 + 700 - RESERVE_S}", cases=looks)
    assert order(out)[0] == "test_first PASSED", out
    assert code == 0


def test_a_test_has_one_place() -> None:
    """Two places would be two expectations."""
    with pytest.raises(AssertionError, match="one place"):
        Budget([FIRST, FIRST], 0.0)


def test_all_system_tests_have_their_place_and_fit_into_half_an_hour() -> None:
    """At speed 1 `make check`, the histories and the image take five minutes of the thirty."""
    argv = [*PYTEST, "--collect-only", "-q", "tests/system"]
    environment = {key: value for key, value in os.environ.items() if key != DEADLINE} | ENVIRONMENT
    out = asyncio.run(run(argv, timeout_s=GUARD_S, cwd=ROOT, env=environment)).stdout
    there = {line.removeprefix("tests/system/") for line in out.splitlines() if "::" in line}
    assert there - {one.test for one in TESTS} == set()
    assert {one.required for one in TESTS} - {""} == {"the crash of the primary (row A1)", "a schedule with lost disks"}
    assert sum(one.expected_s for one in TESTS) <= 25 * 60
