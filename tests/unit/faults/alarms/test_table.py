"""Proves that the table of alarms leaves no fault and no alert out, and agrees with what schedules demand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faults import registry
from faults.alarms.conditions import UNDEMANDED
from faults.alarms.finished import PastFault
from faults.alarms.fits import case_of, tellers
from faults.alarms.row import AlarmCase, flaw
from faults.alarms.stories import ALL_CLEAR
from faults.alarms.table import BY_FAULT, ROWS
from faults.schedule.schedule import Schedule, load
from faults.schedule.trigger import AlertCame
from testbed.vocabulary import ALERT_CODES
from tests.unit.faults.alarms.planted import fault, run

SCHEDULES = sorted((Path(registry.__file__).parent / "schedules").glob("*.jsonl"))
ROLES = {"primary": "a", "backup": "b"}


def test_each_fault_has_one_row() -> None:
    """Those of the registry, and no other."""
    assert sorted(registry.kinds()) == [row.fault for row in ROWS]
    assert len(BY_FAULT) == len(ROWS)


def test_each_row_is_sound() -> None:
    """It brings an alert or has a reason, and each alert has an end or a reason why not."""
    assert [found for found in map(flaw, ROWS) if found] == []


def test_each_alert_is_demanded_or_has_a_reason() -> None:
    """No code of the product is left out, and none stands in both places."""
    demanded = {code for row in ROWS for case in row.cases for due in case.must for code in (*due.codes, *due.over)}
    assert demanded | set(UNDEMANDED) == set(ALERT_CODES)
    assert demanded & set(UNDEMANDED) == set()


def test_a_row_of_the_catalogue_that_demands_an_alert_does_so() -> None:
    """Where the reason names one."""
    for code, why in UNDEMANDED.items():
        for name in re.findall(r"\b[A-Z]\d+\b", why):
            schedule = load(next(path for path in SCHEDULES if path.stem == name))
            events = [one.event for one in schedule.demands if one.least]
            assert code in {event.code for event in events if isinstance(event, AlertCame)}, (code, name)


def test_what_is_demanded_may_come_from_no_wrong_node_unnoticed() -> None:
    """An alarm that the hit node must tell, and no other alert can stand for, is not allowed to either node besides."""
    loose = [
        (row.fault, due.codes[0])
        for row in ROWS
        for case in row.cases
        for due in case.must
        if due.teller.value == "hit" and len(due.codes) == 1 and due.codes[0] in case.may
    ]
    assert loose == []


def test_all_clears_are_ends() -> None:
    """What alarms nobody ends in a word that says so."""
    words = ("_restored", "_over", "_up", "_returned", "_whole", "protected", "two_copies", "vm_started")
    assert all(code.endswith(words) for code in ALL_CLEAR)
    assert {code for code in ALERT_CODES if code.endswith(("_restored", "_over"))} - set(ALL_CLEAR) == {"hands_over"}


def alerts_of(case: AlarmCase) -> set[str]:
    """All alerts that a case knows."""
    return {*case.may, *case.may_hit, *(code for due in case.must for code in (*due.codes, *due.over))}


def known_alerts(schedule: Schedule) -> set[str]:
    """All alerts that the faults of a schedule may bring, as they would be injected on node a as the primary."""
    faults = [
        PastFault(
            step.fault, registry.resolve_target(step.target, ROLES), 10.0, 60.0, step.name,
            tuple(step.parameters.items()),
        )
        for step in schedule.steps
    ]  # fmt: skip
    planted = run(faults, power=schedule.site.power)
    return {code for one in faults for code in alerts_of(case_of(BY_FAULT[one.name], one, planted))}


@pytest.mark.parametrize("path", SCHEDULES, ids=lambda path: path.stem)
def test_the_table_knows_what_a_schedule_demands(path: Path) -> None:
    """An alert that must come in a row of the catalogue is explained by one of its faults."""
    schedule = load(path)
    wanted = {one.event.code for one in schedule.demands if isinstance(one.event, AlertCame) and one.least}
    assert wanted <= known_alerts(schedule)


def test_every_teller_of_every_row_is_a_node() -> None:
    """Whatever a fault is aimed at, somebody can tell of it."""
    targets = {"a", "a+b", "a.priv0", "a/daemon", "web", "w1", "host", "witness1.biz0"}
    for row in ROWS:
        for target in targets:
            one = fault(row.fault, target)
            for due in case_of(row, one, run([one])).must:
                assert tellers(due.teller, one) <= {"a", "b"}
                assert tellers(due.teller, one)
