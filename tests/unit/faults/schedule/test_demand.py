"""Proves that demands count what came after the faults, between their moments."""

from __future__ import annotations

import pytest

from faults.schedule.demand import Demand, unmet
from faults.schedule.trigger import AlertCame, Anchor, MachineEvent, Milestone, Moment
from testbed.history import HistoryRecord


def reset(t_s: float, node: str = "b") -> HistoryRecord:
    """The machine of a node tells of a reset."""
    return HistoryRecord(0, t_s, f"qmp.{node}", "event", {"event": "RESET"})


# One reboot may be told of several times.
RESETS = (reset(1.0), reset(10.0), reset(10.04), reset(10.05), reset(20.0), reset(24.0, "a"))
MOMENTS = {("cut", Moment.INJECTED): 5.0, ("cut", Moment.HEALED): 15.0}
OF_B = MachineEvent("RESET", "b")


@pytest.mark.parametrize(
    ("demand", "holds"),
    [
        (Demand(OF_B, least=2, most=2), True),
        (Demand(OF_B, least=3), False),
        (Demand(OF_B, most=1), False),
        (Demand(MachineEvent("RESET"), least=3, most=3), True),
        (Demand(OF_B, most=0), False),
        (Demand(OF_B, least=1, most=1, before=Anchor("cut", Moment.HEALED)), True),
        (Demand(OF_B, least=1, most=1, of=Anchor("cut", Moment.HEALED)), True),
        (Demand(Milestone("peer_lost"), most=0), True),
        (Demand(Milestone("peer_lost"), least=1), False),
    ],
)
def test_a_demand_counts_between_its_moments(demand: Demand, holds: bool) -> None:
    """What came before the first fault (at 5 s) never counts, whoever's it is."""
    told = unmet([demand], RESETS, 5.0, MOMENTS)
    assert (told == []) is holds, told


def test_an_unmet_demand_says_what_was_seen() -> None:
    """The reason names event, node, how often was demanded, between what, and how often it came."""
    demand = Demand(OF_B, least=1, most=2, of=Anchor("cut"), before=Anchor("cut", Moment.CONFIRMED))
    told = unmet([demand], [], 5.0, {**MOMENTS, ("cut", Moment.CONFIRMED): 7.0})
    often = "at least 1 times and at most 2 times"
    span = "after cut was injected before cut was confirmed"
    assert told == [f"demanded was machine event RESET of node b {often} {span}; it came 0 times"]


def test_a_moment_that_never_came_is_no_excuse() -> None:
    """A demand that counts from a step that was never healed is not met, though nothing forbidden was seen."""
    demand = Demand(OF_B, most=0, of=Anchor("other", Moment.HEALED))
    assert "other.healed never came" in unmet([demand], [], 5.0, MOMENTS)[0]


def test_an_alert_counts_once_however_often_it_was_sent() -> None:
    """The repeated delivery of one alert is no second alert."""
    told = [
        HistoryRecord(0, 6.0, "call_home", "received", {"code": "peer_lost", "node": "b", "repeat": again})
        for again in (False, True)
    ]
    assert unmet([Demand(AlertCame("peer_lost", "b"), least=1, most=1)], told, 5.0, MOMENTS) == []
