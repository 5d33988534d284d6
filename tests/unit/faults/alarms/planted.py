"""Finished runs, told in a few words for the tests of alarms."""

from __future__ import annotations

from faults.alarms.finished import FinishedRun, HeardAlert, PastFault
from testbed.judge.verdict import Verdict


def fault(name: str, target: str, at_s: float = 10.0, healed_at_s: float | None = 60.0, **given: object) -> PastFault:
    """A fault that was there from 10 s to 60 s."""
    return PastFault(name, target, at_s, healed_at_s, "step", tuple(sorted(given.items())))


def alert(code: str, node: str, at_s: float, text: str = "") -> HeardAlert:
    """An alert that the service centre got."""
    return HeardAlert(code, node, at_s, text)


def run(
    faults: list[PastFault],
    *alerts: HeardAlert,
    verdict: Verdict = Verdict.PASS,
    dilation: float = 1.0,
    name: str = "X1/run-1",
    speed: float | None = None,
    power: bool = False,
    ended_s: float | None = 300.0,
) -> FinishedRun:
    """A run of 300 s that passed, at dilation 1."""
    told = tuple(sorted(alerts, key=lambda one: one.at_s))
    return FinishedRun(name, verdict, dilation, tuple(faults), told, speed, power, ended_s)
