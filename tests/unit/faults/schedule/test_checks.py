"""Proves that a schedule that was made in memory is refused as one that was read would be, and without any text."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from faults.schedule import schedule as schedule_module
from faults.schedule.checks import is_count, is_number, needs_deadline
from faults.schedule.demand import Demand
from faults.schedule.schedule import STEPS_MAX, Schedule, check, dump, parse
from faults.schedule.step import Step
from faults.schedule.trigger import (
    AlertCame,
    Anchor,
    MachineEvent,
    Milestone,
    Moment,
    Range,
    Resync,
    Trigger,
)
from testbed.errors import UsageError

CUT = Step("cut", "link.cut", "primary.priv0", Trigger(3.0), Trigger(9.0, Anchor("cut")))
KILL = Step("kill", "node.kill", "backup", Trigger(1.0, Anchor("cut", Moment.HEALED), None, 5.0))
GOOD = Schedule("x", 7, (CUT, KILL), demands=(Demand(Milestone("peer_lost"), least=1, of=Anchor("cut")),))


def with_step(**change: object) -> Schedule:
    """The good schedule with another second step."""
    return replace(GOOD, steps=(CUT, replace(KILL, **change)))  # type: ignore[arg-type] # wrong on purpose


def when(trigger: Trigger) -> Schedule:
    """The good schedule with another trigger of its second step."""
    return with_step(when=trigger)


def demanding(*demands: Demand) -> Schedule:
    """The good schedule with other demands."""
    return replace(GOOD, demands=demands)


def waits_for(event: Milestone | Resync | MachineEvent | AlertCame) -> Schedule:
    """The good schedule whose second step waits for this."""
    return when(Trigger(0.0, None, event, 5.0))


BAD: list[tuple[Schedule, str]] = [
    (replace(GOOD, scenario="a b"), "scenario must be a name"),
    (replace(GOOD, seed=-1), "seed must be a whole number"),
    (replace(GOOD, seed=2**64), "seed must be a whole number"),
    (replace(GOOD, seed=1.0), "seed must be a whole number"),  # type: ignore[arg-type] # wrong on purpose
    (replace(GOOD, outage_max_s=-1.0), "outage_max_s must be a number of seconds, not -1.0"),
    (replace(GOOD, overlap_max_s=float("nan")), "overlap_max_s must be a number of seconds, not nan"),
    (replace(GOOD, outage_max_s=10**400), "outage_max_s must be a number of seconds, not 1000"),
    (replace(GOOD, about="\x1b[2J\x1b]0;x\x07"), "about has the letter \\x1b, which a terminal would obey or hide"),
    (replace(GOOD, about="two\nlines"), "about has the letter \\n"),
    (replace(GOOD, about="left \u202e right"), "about has the letter \\u202e"),
    (replace(GOOD, steps=()), "it has no step"),
    (replace(GOOD, steps=(CUT,) * (STEPS_MAX + 1)), "there are 201 steps; the most are 200"),
    (with_step(name="start"), "name must be a name of letters"),
    (with_step(name="cut"), "step cut: the name 'cut' is taken by an earlier step"),
    (with_step(fault="node.kil"), "step kill: There is no fault 'node.kil' (did you mean node.kill"),
    (with_step(target="c"), "node.kill breaks a node"),
    (with_step(parameters={"force": 1}), "node.kill has no parameter 'force'"),
    (with_step(fault="disk.hang", parameters={"disk": "vdz"}), "a node has no disk 'vdz'; possible are vda, vdb, vdc"),
    (waits_for(Resync(10**400)), "percent must be a number from 0 to 100"),
    (when(Trigger(-1.0)), "when: after_s must be a number of seconds from 0 to 86400, not -1.0"),
    (when(Trigger(float("inf"))), "when: after_s must be a number"),
    (when(Trigger(Range(3.0, 2.0))), "when: after_s must be [least, most]; [3, 2] is the other way round"),
    (when(Trigger(1.0, None, None, 5.0)), "within_s has no meaning for a time since the start"),
    (when(Trigger(1.0, Anchor("cut"))), "when: within_s must be a number of seconds from 0 to 86400, not None"),
    (when(Trigger(1.0, Anchor("cut"), None, 0.0)), "within_s must be more than 0"),
    (when(Trigger(1.0, Anchor("late"), None, 5.0)), "of names 'late', which is no earlier step"),
    (with_step(until=Trigger(1.0, Anchor("kill"), None, 5.0)), "no meaning for a time since the injection"),
    (with_step(until=Trigger(1.0, Anchor("kill", Moment.HEALED), None, 5.0)), "cannot be healed after its own heal"),
    (waits_for(Milestone("vm_runing")), "there is no milestone 'vm_runing' (did you mean vm_running"),  # type: ignore[arg-type]
    (waits_for(Milestone("paired", "c")), "when: node must be a node, not 'c'"),
    (waits_for(Milestone("paired", None, 0)), "nth must be a whole number from 1 on, not 0"),
    (waits_for(MachineEvent("reset")), "name must be an event of QEMU"),
    (waits_for(AlertCame("Peer lost")), "there is no alert with the code 'Peer lost' (did you mean peer_lost"),  # type: ignore[arg-type]
    (waits_for(Resync(101.0)), "percent must be a number from 0 to 100"),
    (demanding(Demand(Milestone("peer_lost"), least=1, of=Anchor("gone"))), "demand: gone names no step"),
    (demanding(Demand(Milestone("peer_lost"))), "a demand needs least from 1 on, or most"),
    (demanding(Demand(Milestone("peer_lost"), least=-1)), "demand: least must be a whole number from 0 on, not -1"),
    (demanding(Demand(Milestone("peer_lost", None, 2), least=1)), "nth has no meaning there"),
]


def read_again(schedule: Schedule) -> Schedule | None:
    """What is read of a schedule that was written, or None when it cannot be written or is refused."""
    try:
        return parse(dump(schedule))
    except (UsageError, ValueError):  # JSON has neither NaN nor infinity
        return None


def test_a_good_schedule_is_accepted_and_can_be_written() -> None:
    """What the check lets pass is read again as the same."""
    check(GOOD)
    assert read_again(GOOD) == GOOD


@pytest.mark.parametrize(("schedule", "said"), BAD, ids=[said[:40] for _, said in BAD])
def test_an_impossible_value_is_refused(schedule: Schedule, said: str) -> None:
    """The sentence names the step and what is possible."""
    with pytest.raises(UsageError) as refused:
        check(schedule)
    assert said in str(refused.value)


@pytest.mark.parametrize(("schedule", "said"), BAD, ids=[said[:40] for _, said in BAD])
def test_what_is_refused_in_memory_is_never_read(schedule: Schedule, said: str) -> None:
    """Its text is refused, or says something else: then JSON cannot hold it, or the writer leaves out what is wrong."""
    assert said
    assert read_again(schedule) != schedule


def test_the_check_looks_at_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither writes the schedule nor reads it."""

    def never(*_arguments: object, **_more: object) -> str:
        raise AssertionError("a value was turned into text")

    for module, name in ((schedule_module, "dump"), (schedule_module, "parse"), (json, "dumps"), (json, "loads")):
        monkeypatch.setattr(module, name, never)
    check(GOOD)


def test_the_small_checks() -> None:
    """Numbers and counts are what they say, and a deadline belongs to what may stay away."""
    numbers: list[object] = [1, 10**400, 1.5, True, "1", float("nan"), None]
    assert [is_number(value) for value in numbers] == [True, False, True, False, False, False, False]
    counts: list[object] = [1, 0, True, 1.0, 10**9]
    assert [is_count(value, 1) for value in counts] == [True, False, False, False, False]
    times = (Trigger(1.0), Trigger(1.0, Anchor("me")), Trigger(1.0, Anchor("other")))
    assert [needs_deadline(one, "me") for one in times] == [False, False, True]
    assert needs_deadline(Trigger(0.0, None, Resync(50.0)), "me")
