"""A run with a budget: tests go in the order of their worth, and those for which no time is left are told as *not run*.

`Budget` decides, and is pure: time comes as an argument. `Plugin` tells pytest. A test that was not run is never called
passed or skipped. What is required is run however late it is; when it did not really run, the run is not green.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

DEADLINE = "AVANCE_DEADLINE_S"  # in the time of /proc/uptime, or `inf`; set for a run that has to be whole
RESERVE_S = 600.0  # so long after the deadline even what is required has to end; .ci/run has 1080 s left then
LIMIT_MIN_S = 60.0
EXPECTED_S = 120.0  # of a test that is not in the list
RECENT = 3  # the tests whose times say how slow the host is now
SLOWNESS_MAX = 8.0  # a slower host is refused by the bed itself
NOT_RUN = "not run"

Clock = Callable[[], float]


@dataclass(frozen=True)
class Worth:
    """A test by the end of its id, how long it takes on a host of speed 1, and what it is required for, if it is."""

    test: str
    expected_s: float
    required: str = ""


class Budget:
    """Says of each test whether there is time for it, from what the ones before it took."""

    def __init__(self, worths: Sequence[Worth], deadline_s: float, *, slowness: float = 1.0) -> None:
        self._worths = {worth.test: (place, worth) for place, worth in enumerate(worths)}
        assert len(self._worths) == len(worths), "a test has one place in the order"
        self._deadline_s = deadline_s
        self._limit_factor = min(max(slowness, 1.0), SLOWNESS_MAX)
        self._recent: deque[tuple[float, float]] = deque([(1.0, self._limit_factor)], maxlen=RECENT)
        self._ran: set[str] = set()

    def place(self, test: str) -> int:
        """The place of a test in the order; those without one come last."""
        return self._worths[test][0] if test in self._worths else len(self._worths)

    def expected_s(self, test: str) -> float:
        """How long a test takes on a host of speed 1."""
        return self._worths[test][1].expected_s if test in self._worths else EXPECTED_S

    @property
    def slowness(self) -> float:
        """How many times longer than expected the last tests took; before the first one, what the caller measured."""
        expected_s = sum(expected for expected, _measured in self._recent)
        return max(1.0, sum(measured for _expected, measured in self._recent) / expected_s)

    def refusal(self, test: str, now_s: float) -> str:
        """Why there is no time for this test, or the empty text. What is required always has time."""
        left_s, needed_s = self._deadline_s - now_s, self.expected_s(test) * self.slowness
        if needed_s <= left_s or (test in self._worths and self._worths[test][1].required):
            return ""
        return f"{max(0.0, left_s) / 60:.1f} minutes are left, it needs about {needed_s / 60:.1f}"

    def limit_s(self, own_s: float, now_s: float) -> float:
        """The time after which a test hangs: its own limit, longer on a slow host, never far beyond the deadline."""
        return max(LIMIT_MIN_S, min(own_s * self._limit_factor, self._deadline_s + RESERVE_S - now_s))

    def ran(self, test: str, measured_s: float, *, passed: bool) -> None:
        """Learn from a test that was run; one that failed early says nothing about the host."""
        self._ran.add(test)
        if passed or measured_s > self.expected_s(test):
            self._recent.append((self.expected_s(test), measured_s))

    def missing(self) -> list[str]:
        """A sentence for each required test that has not really run."""
        wanted = (worth for _place, worth in self._worths.values() if worth.required)
        return [
            f"{one.required} is required, and its test {one.test} did not run"
            for one in wanted
            if one.test not in self._ran
        ]


def up_s() -> float:
    """The time since this host was started, which programs of any language can read."""
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])


class Plugin:
    """Applies a budget to the tests below a directory; without a deadline in the environment it only sorts them."""

    def __init__(
        self, worths: Sequence[Worth], directory: Path, *, slowness: Callable[[], float], now: Clock = up_s
    ) -> None:
        self._directory = directory
        self._whole = DEADLINE in os.environ
        self._now = now
        deadline_s = float(os.environ.get(DEADLINE, "inf"))
        self.budget = Budget(worths, deadline_s, slowness=slowness())
        self._spent_s: dict[str, float] = {}
        self._refused: dict[str, str] = {}

    def _name(self, item: pytest.Item) -> str:
        return f"{item.path.name}::{item.nodeid.partition('::')[2]}"

    def _concerns(self, item: pytest.Item) -> bool:
        return item.path.is_relative_to(self._directory)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort by worth, after whoever shuffles."""
        items.sort(key=lambda item: self.budget.place(self._name(item)) if self._concerns(item) else -1)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        """Set the limit before whoever watches it looks."""
        mark = item.get_closest_marker("timeout")
        if self._concerns(item) and mark is not None:
            limit_s = self.budget.limit_s(float(mark.args[0]), self._now())
            item.add_marker(pytest.mark.timeout(limit_s), append=False)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Leave out what has no time."""
        refusal = self.budget.refusal(self._name(item), self._now()) if self._concerns(item) else ""
        if refusal:
            self._refused[item.nodeid] = refusal
            item.user_properties.append((NOT_RUN, refusal))
            pytest.skip(f"{NOT_RUN}: {refusal}")  # pytest has no other way to end a setup in peace

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Count what was left out by its own name."""
        if report.nodeid in self._refused and report.when == "setup":
            return NOT_RUN, "n", (NOT_RUN.upper(), {"yellow": True})
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Learn how long a test took, when its body was reached."""
        if report.when == "setup":
            self._spent_s[report.nodeid] = report.duration
        elif report.when == "call" and not report.skipped:
            path, _, test = report.nodeid.partition("::")
            spent_s = self._spent_s[report.nodeid] + report.duration
            self.budget.ran(f"{Path(path).name}::{test}", spent_s, passed=report.passed)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A run that had to be whole and lacks something required is not green."""
        if self._whole and self.budget.missing() and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List what was not run, and what is missing for a green run."""
        if self._refused:
            terminalreporter.section(f"{NOT_RUN}: {len(self._refused)}")
            terminalreporter.line(f"this host takes {self.budget.slowness:.1f} times as long as one of speed 1")
            for test, refusal in self._refused.items():
                terminalreporter.line(f"NOT RUN {test}: {refusal}")
        if self._whole and (missing := self.budget.missing()):
            terminalreporter.section("NOT GREEN")
            for sentence in missing:
                terminalreporter.line(f"{sentence}.", red=True)
