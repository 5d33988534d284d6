"""Proves that one VM never speaks for another when all are asked as one."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from testbed.client.outage import Attempt, AttemptOutcome, OutageSummary, summarise
from testbed.client.probe import Probe
from testbed.client.probes import Probes
from testbed.errors import WaitTimeout


class Told:
    """A probe whose story is told: whether it is up, and at which of ten seconds nothing was answered."""

    def __init__(self, up: bool | None, away: range = range(0)) -> None:
        self.is_up = up
        self.stopped = False
        self._attempts = [
            Attempt(
                at_s,
                at_s,
                at_s,
                AttemptOutcome.INFO if at_s in away else AttemptOutcome.OK,
                None if at_s in away else at_s + 0.1,
            )
            for at_s in range(20)
        ]

    def summary(self, *, since_s: float) -> OutageSummary:
        """As the real one."""
        return summarise(self._attempts, now_s=99.0, interval_s=1.0, since_s=since_s)

    async def stop(self) -> None:
        """Note it."""
        self.stopped = True

    async def wait_first_ok(self, timeout_s: float) -> float:
        """Answer at once, or never."""
        if self.is_up is not True:
            raise WaitTimeout(f"Waited {timeout_s:g} s for nothing.")
        return 0.0


def probes(*told: Told) -> Probes:
    """These as one."""
    return Probes({f"web{number or ''}": cast("Probe", one) for number, one in enumerate(told)})


@pytest.mark.parametrize(
    ("said", "together"),
    [((True,), True), ((True, True), True), ((True, False), False), ((None, False), False), ((True, None), None)],
)
def test_all_are_up_or_it_is_not_up(said: tuple[bool | None, ...], together: bool | None) -> None:
    """Nobody knows while one is unknown and none is down."""
    assert probes(*map(Told, said)).is_up is together


def test_the_outage_is_the_longest_and_one_without_an_end_is_longer_than_all() -> None:
    """Each VM keeps its own summary."""
    short, long, endless = range(3, 5), range(3, 9), range(15, 20)
    both = probes(Told(True, short), Told(True, long))
    found = both.outage(since_s=0.0)
    assert found is not None
    assert found.ended_at_s == 9.1
    outages = {vm: summary.outage for vm, summary in both.summaries(since_s=0.0).items()}
    assert [one.ended_at_s for one in outages.values() if one is not None] == [5.1, 9.1]
    censored = probes(Told(True, long), Told(False, endless)).outage(since_s=0.0)
    assert censored is not None
    assert censored.ended_at_s is None
    assert probes(Told(True)).outage(since_s=0.0) is None


def test_who_waits_waits_for_all_and_each_one_is_stopped() -> None:
    """The error is that of the probe itself, and no group."""
    good, bad = Told(True), Told(False)
    asyncio.run(probes(good, good).wait_first_ok(1.0))
    with pytest.raises(WaitTimeout, match="for nothing"):
        asyncio.run(probes(good, bad).wait_first_ok(1.0))
    asyncio.run(probes(good, bad).stop())
    assert good.stopped
    assert bad.stopped
