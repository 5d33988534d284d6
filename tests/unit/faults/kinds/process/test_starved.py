"""Proves how the accounts of a starved process are read and judged; their effects are in the self-tests."""

from __future__ import annotations

import asyncio

import pytest

from faults.kinds.process.starved import (
    ProcessSlow,
    had,
    judge_waits,
    open_files_limit,
    says_killed,
    turns,
    wait_for_a_turn_s,
)
from faults.kinds.process.target import Process
from testbed.errors import UsageError
from tests.unit.faults.kinds.inner_bed import HostAgent, InnerBed

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             2008                 2008                 processes
Max open files            1024                 4096                 files
"""
KILLED = "[  120.5] Out of memory: Killed process 143 (python3) total-vm:60000kB, anon-rss:20000kB"


def test_the_limit_of_open_files_is_read() -> None:
    """The soft one; a text without it has none."""
    assert open_files_limit(LIMITS) == "1024"
    assert open_files_limit("") == ""


def test_the_killers_word_is_about_one_process() -> None:
    """A number that begins alike is another one."""
    assert says_killed(KILLED, ["143"])
    assert not says_killed(KILLED, ["14", "1430"])


def test_waits_are_counted_for_threads_that_had_turns() -> None:
    """The thread that waits longest counts; one that had next to no turn says nothing."""
    first = {1: (0, 0), 2: (0, 0), 3: (0, 0), 4: (5, 5)}
    last = {1: (4_000_000_000, 4), 2: (1_000_000, 10), 3: (9_000_000_000, 1)}
    assert wait_for_a_turn_s(first, last) == pytest.approx(1.0)
    assert wait_for_a_turn_s(first, first) is None
    assert (had(first, last, 2), had(first, last, 4)) == (10, 0)


@pytest.mark.parametrize(
    ("before_s", "during_s", "verdict"),
    [(0.001, 0.5, True), (0.001, 0.002, False), (0.4, 0.5, False), (None, 0.5, None), (0.001, None, None)],
)
def test_long_waits_are_judged_against_those_before(
    before_s: float | None, during_s: float | None, verdict: bool | None
) -> None:
    """Threads without work prove nothing; waits that were long before do not either."""
    assert judge_waits(before_s, during_s) is verdict


def test_the_scheduler_is_read_for_each_process() -> None:
    """Waiting time and turns, in the kernel's order."""
    inner = InnerBed(HostAgent(files={"/proc/7/schedstat": "10 20 3\n"}))
    assert asyncio.run(turns(inner.bed, "a", (Process(7, "x", "S", 1, 0),))) == {7: (20, 3)}


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_a_share_that_the_kernel_cannot_give_is_refused(share: float) -> None:
    """The smallest quota is a thousandth."""
    with pytest.raises(UsageError, match=r"possible is 0\.001 to 0\.5"):
        ProcessSlow("a/daemon", share=share)
