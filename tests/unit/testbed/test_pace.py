"""Proves that one number scales every wait, and that it is chosen in one way."""

from __future__ import annotations

import argparse
import asyncio
import os
import time

import pytest

from testbed import pace
from testbed.client.attempts import Attempts
from testbed.errors import UsageError, WaitTimeout
from testbed.history import History
from testbed.site import AUTO
from testbed.wait import wait_for_record, wait_until


def test_without_a_bed_nothing_is_scaled() -> None:
    """One second is one second."""
    assert pace.dilation() == 1.0
    assert pace.scaled(2.5) == 2.5


def test_the_dilation_ends_with_its_bed() -> None:
    """Also when the bed breaks."""

    def broken() -> None:
        with pace.use(4.0):
            assert pace.scaled(2.5) == 10.0
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert pace.dilation() == 1.0


async def never() -> bool:
    """A thing that does not come."""
    return False


async def refused() -> float:
    """Wait for it, and for a record, in vain; return how long both took."""
    began_s = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"Waited 0\.4 s for it"):
        await wait_until(never, what="it", timeout_s=0.1, poll_s=0.01)
    with pytest.raises(WaitTimeout, match=r"Waited 0\.4 s for it"):
        await wait_for_record(History(), lambda _entry: False, what="it", timeout_s=0.1)
    with pytest.raises(TimeoutError):
        async with pace.timeout(0.1):
            await asyncio.sleep(60)
    await pace.sleep(0.1)
    return time.monotonic() - began_s


def test_waits_last_as_much_longer_and_say_so() -> None:
    """The one waiter, time limits and windows: four of 0.1 s at dilation 4."""
    with pace.use(4.0):
        assert asyncio.run(refused()) >= 1.6


def test_an_answer_is_prompt_by_the_dilation() -> None:
    """What is slow service at dilation 1 is good service of a pair whose every time is doubled."""
    with pace.use(2.0):
        slow = Attempts(0.1, 4.0)
    assert slow.prompt_s == 2 * Attempts(0.1, 4.0).prompt_s


@pytest.mark.parametrize(("text", "dilation"), [("auto", AUTO), ("1", 1.0), ("2.5", 2.5), ("40", 40.0)])
def test_a_dilation_by_hand_is_read(text: str, dilation: float) -> None:
    """The word, or a number."""
    assert pace.dilation_of(text) == dilation


@pytest.mark.parametrize("text", ["0.5", "41", "fast", "nan", ""])
def test_any_other_dilation_is_refused(text: str) -> None:
    """With what is possible."""
    with pytest.raises(UsageError, match="auto, or a number from 1 to 40"):
        pace.dilation_of(text)


def test_the_option_reaches_every_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the environment, which tests in a process of their own inherit; without it nothing is chosen."""
    monkeypatch.delenv(pace.VARIABLE, raising=False)
    parser = argparse.ArgumentParser()
    pace.add_option(parser)
    pace.choose(parser.parse_args([]))
    assert pace.VARIABLE not in os.environ
    monkeypatch.setenv(pace.VARIABLE, "auto")
    pace.choose(parser.parse_args(["--dilation", "4"]))
    assert os.environ[pace.VARIABLE] == "4"
    with pytest.raises(UsageError):
        pace.choose(parser.parse_args(["--dilation", "0"]))
