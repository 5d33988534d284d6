"""Proves that a schedule file says what it means, survives a round trip, and is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as some

from faults.schedule.schedule import SCHEMA, STEPS_MAX, Schedule, check, dump, expand, load, parse, resolve
from faults.schedule.step import Step
from faults.schedule.trigger import (
    Anchor,
    Event,
    MachineEvent,
    Milestone,
    Moment,
    Range,
    Resync,
    ServiceChange,
    Trigger,
)
from faults.schedule.trigger import Change as ServiceWord
from testbed.errors import UsageError
from testbed.judge.result import Expect
from testbed.site import SiteOptions

HEADER = json.dumps({"schema": SCHEMA, "scenario": "x", "seed": 7})
CUT = '{"name": "cut1", "fault": "link.cut", "target": "primary.priv0", "when": {"after_s": 3}}'

TIMES = some.one_of(
    some.floats(0, 1000),
    some.tuples(some.floats(0, 10), some.floats(0, 10)).map(lambda pair: Range(min(pair), max(pair))),
)
NODES = some.sampled_from([None, "primary", "backup", "a", "b"])
NTH = some.integers(1, 9)
EVENTS: some.SearchStrategy[Event] = some.one_of(
    some.builds(Milestone, some.sampled_from(["vm_running", "protected"]), NODES, NTH),
    some.builds(Resync, some.floats(0, 100), NODES),
    some.builds(ServiceChange, some.sampled_from(ServiceWord), NTH),
    some.builds(MachineEvent, some.sampled_from(["RESET", "STOP"]), NODES, NTH),
)
WITHIN = some.floats(0.1, 1000)
FAULTS: some.SearchStrategy[tuple[str, str, dict[str, object]]] = some.sampled_from(
    [
        ("link.loss", "primary.priv0", {"probability": 0.25}),
        ("link.cut", "b.biz0", {"direction": "out"}),
        ("node.kill", "a", {}),
        ("power.cut", "backup", {"seed": 3, "tear": False}),
        ("disk.wrong_disk", "b", {"image": "öld \ud800\u2028.img"}),
        ("link.match_drop", "a.priv0", {"match": {"protocol": 6, "payload": "00ff"}}),
    ]
)


@some.composite
def triggers(draw: some.DrawFn, names: list[str], moments: list[Moment]) -> Trigger:
    """A trigger that counts from the start or from one of these steps."""
    moment = draw(some.sampled_from(moments))
    anchored: bool = draw(some.booleans())
    of = Anchor(draw(some.sampled_from(names)), moment) if names and anchored else None
    event = draw(some.one_of(some.none(), EVENTS))
    within_s = draw(WITHIN) if event is not None or of is not None else None
    return Trigger(draw(TIMES), of, event, within_s)


@some.composite
def schedules(draw: some.DrawFn) -> Schedule:
    """A schedule whose references are right; two of its steps may still be impossible together."""
    steps: list[Step] = []
    for number in range(draw(some.integers(1, 4))):
        names, own = [step.name for step in steps], f"s{number}"
        fault, target, parameters = draw(FAULTS)
        when = draw(triggers(names, [Moment.INJECTED, Moment.CONFIRMED]))
        until = draw(some.none() | triggers(names, [Moment.INJECTED]))
        if until is not None and until.of is None:
            until = Trigger(until.delay_s, Anchor(own), until.event, None if until.event is None else 5.0)
        steps.append(Step(own, fault, target, when, until, parameters))
    site = SiteOptions(dilation=draw(some.floats(1, 40)))
    return Schedule("x", draw(some.integers(0, 2**64 - 1)), tuple(steps), site, draw(some.text(max_size=20)))


def possible(schedule: Schedule) -> None:
    """Go on only with a schedule whose steps can be together."""
    try:
        check(schedule)
    except UsageError:
        assume(False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(schedules())
def test_what_is_written_is_read_again(schedule: Schedule) -> None:
    """A round trip changes nothing, whatever stands in the texts."""
    possible(schedule)
    assert parse(dump(schedule)) == schedule
    assert dump(parse(dump(schedule))) == dump(schedule)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(schedules(), some.integers(0, 99))
def test_expanding_fixes_every_number(schedule: Schedule, seed: int) -> None:
    """Nothing is left to draw, each number lies in its range, and a second time changes nothing."""
    possible(schedule)
    fixed = expand(seed, schedule)
    assert fixed == expand(seed, schedule)
    assert fixed.is_fixed
    assert expand(seed, fixed) == fixed
    for before, after in zip(schedule.steps, fixed.steps, strict=True):
        for template, trigger in ((before.when, after.when), (before.until, after.until)):
            if template is not None and isinstance(template.delay_s, Range):
                assert trigger is not None
                assert isinstance(trigger.delay_s, float)
                assert template.delay_s.low_s <= trigger.delay_s <= template.delay_s.high_s


def test_times_that_cannot_be_together_are_drawn_again() -> None:
    """A fault of a node that may be off for ever by then: some draws are impossible, and none of them is returned."""
    late = '{"name": "cut", "fault": "link.cut", "target": "a.priv0", "when": {"after_s": [0, 20]}}'
    dead = '{"name": "dead", "fault": "node.kill", "target": "a", "when": {"after_s": [5, 10]}, "until": null}'
    schedule = parse(f"{HEADER}\n{late}\n{dead}\n")
    starts = [expand(seed, schedule).steps for seed in range(60)]
    assert all(isinstance(cut.when.delay_s, float) for cut, _ in starts)
    assert all(cut.when.delay_s < dead.when.delay_s for cut, dead in starts)  # type: ignore[operator]  # are fixed


@given(some.text(max_size=60))
@settings(max_examples=30, deadline=None)
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever stands in a line, the answer is a sentence with its number."""
    with pytest.raises(UsageError, match="schedule"):
        parse(text)
    with pytest.raises(UsageError, match=r"line \d|has no step"):
        parse(f"{HEADER}\n{text}\n")


def test_a_file_says_what_it_means(tmp_path: Path) -> None:
    """Defaults are filled in, empty lines do not count, and the number of a line is that of the file."""
    path = tmp_path / "x.jsonl"
    other = '{"fault": "node.kill", "target": "backup", "when": {"after_s": 1, "of": "cut1.confirmed"}}'
    path.write_text(f"\n{HEADER}\n\n{CUT}\r\n{other}\n", encoding="utf-8")
    found = load(path)
    assert (found.scenario, found.seed, found.site, found.about) == ("x", 7, SiteOptions(), "")
    assert [step.name for step in found.steps] == ["cut1", "step2"]
    assert found.step("cut1").when == Trigger(3.0)
    assert found.step("cut1").until is None
    path.write_text(f"{HEADER}\n\n{{\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"x.jsonl, line 3: .*no JSON"):
        load(path)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """A missing file and one that is no text have their own sentences."""
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load(tmp_path / "gone.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        load(tmp_path / "b.jsonl")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "is empty"),
        ("[]", "line 1: each line must be one JSON object in braces, not list"),
        ("{", "line 1: this is no JSON: "),
        ("[" * 100_000, "line 1: this is no usable JSON"),
        ('{"a": ' + "9" * 5000 + "}", "line 1: this is no usable JSON"),
        ("{}", '"schema": "testbed.schedule/1"'),
        (CUT, 'the first line must be the header with "schema"'),
        ('{"schema": "testbed.schedule/2"}', "is written in 'testbed.schedule/2'; this testbed reads"),
        ('{"schema": "testbed.schedule/1", "seed": 1}', "scenario must be a name"),
        ('{"schema": "testbed.schedule/1", "scenario": "a b", "seed": 1}', "scenario must be a name"),
        ('{"schema": "testbed.schedule/1", "scenario": "x"}', "seed must be a whole number from 0 to 2^64-1, not None"),
        ('{"schema": "testbed.schedule/1", "scenario": "x", "seed": NaN}', "NaN is no number"),
        ('{"schema": "testbed.schedule/1", "scenario": "x", "seed": 1, "seed": 2}', "the key 'seed' is given twice"),
        ('{"schema": "testbed.schedule/1", "scenario": "x", "seed": 1, "sit": {}}', "did you mean site?"),
        ('{"schema": "testbed.schedule/1", "scenario": "x", "seed": 1, "site": []}', "site must be an object"),
        (
            '{"schema": "testbed.schedule/1", "scenario": "x", "seed": 1, "site": {"dilation": "2"}}',
            "site: dilation must be float",
        ),
        ('{"schema": "testbed.schedule/1", "scenario": "x", "seed": 1, "about": 3}', "about must be a text"),
        (HEADER, "line 1: it has no step"),
        (f"{HEADER}\n" + CUT.replace("cut1", "c") * (STEPS_MAX + 1), "line 2: this is no JSON: Extra data"),
        (f"{HEADER}\n" + "{}\n" * (STEPS_MAX + 1), "there are 201 steps; the most are 200"),
    ],
)
def test_a_wrong_header_is_refused(header: str, said: str) -> None:
    """Syntax, version, keys and values are named."""
    with pytest.raises(UsageError) as refused:
        parse(header)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fault": "link.cutt"}, "There is no fault 'link.cutt' (did you mean link.cut"),
        ({"fault": 3}, "fault must be the name of a fault, not 3; `testbed list`"),
        ({"fault": None, "drop": "fault"}, "a step needs 'fault'"),
        ({"drop": "target"}, "a step needs 'target'"),
        ({"drop": "when"}, "a step needs 'when'; the keys of a step are fault, target, with, when, until, name"),
        ({"target": "primary"}, "link.cut breaks a port"),
        ({"with": {"probability": 1}}, "link.cut has no parameter 'probability'"),
        ({"with": []}, "with must be an object"),
        ({"after": 3}, "a step has no key 'after'"),
        ({"name": "cut1"}, "the name 'cut1' is taken by an earlier step"),
        ({"name": "start"}, "name must be"),
        ({"name": "a.b"}, "name must be"),
        ({"when": {"after_s": "soon"}}, "when: after_s must be a number"),
        ({"when": {"after_s": 1, "of": "later"}}, "of names 'later', which is no earlier step; possible are start, "),
        ({"when": {"after_s": 1, "of": "me"}}, "when: of names 'me', which is no earlier step"),
        ({"until": {"after_s": 1, "of": "later"}}, "until: of names 'later', which is no earlier step"),
        ({"until": {"after_s": 1, "of": "me.healed"}}, "cannot be healed after its own heal"),
        ({"when": {"after_s": 1, "of": "cut1.healed"}}, "never comes: cut1 has no until"),
        ({"target": "primary.priv0"}, "are both on primary.priv0"),
    ],
)
def test_a_wrong_step_is_refused(change: dict[str, object], said: str) -> None:
    """The sentence names line 3 and what is possible."""
    step: dict[str, object] = {
        "name": "me", "fault": "link.cut", "target": "backup.biz0", "when": {"after_s": 1}, **change
    }  # fmt: skip
    step.pop(str(step.pop("drop", "")), None)
    with pytest.raises(UsageError) as refused:
        parse(f"{HEADER}\n{CUT}\n{json.dumps(step)}\n")
    assert str(refused.value).startswith("schedule, line 3: ")
    assert said in str(refused.value)


def test_expanding_writes_the_seeds_of_the_faults() -> None:
    """What one step gets does not depend on the others, and a seed that is given stays."""
    loss = '{"name": "l", "fault": "link.loss", "target": "a.biz0", "when": {"after_s": [1, 9]}}'
    mine = '{"name": "m", "fault": "link.loss", "target": "b.biz0", "with": {"seed": 4}, "when": {"after_s": 1}}'
    both = expand(5, parse(f"{HEADER}\n{loss}\n{mine}\n"))
    alone = expand(5, parse(f"{HEADER}\n{loss}\n"))
    assert both.seed == 5
    assert both.steps[0] == alone.steps[0]
    assert both.steps[1].parameters == {"seed": 4}
    twin = loss.replace('"l"', '"t"').replace("a.biz0", "b.priv0")
    twins = expand(5, parse(f"{HEADER}\n{loss}\n{twin}\n")).steps
    assert twins[0].when != twins[1].when
    assert twins[0].parameters != twins[1].parameters
    assert both.steps[0] != expand(6, parse(f"{HEADER}\n{loss}\n")).steps[0]


def test_roles_become_nodes_everywhere() -> None:
    """Targets and the nodes of events are resolved, and what only now is impossible is refused."""
    event = {"event": "milestone", "name": "vm_running", "node": "backup"}
    kill = json.dumps({"name": "k", "fault": "node.kill", "target": "primary", "when": event})
    roles = {"primary": "b", "backup": "a"}
    found = resolve(parse(f"{HEADER}\n{kill}\n"), roles)
    assert found.steps[0].target == "b"
    assert found.steps[0].when.event == Milestone("vm_running", "a")
    again = '{"name": "c", "fault": "link.cut", "target": "b.priv0", "when": {"after_s": 4}}'
    mixed = parse(f"{HEADER}\n{CUT}\n{again}\n")
    with pytest.raises(UsageError, match=r"step c: .* are both on b.priv0"):
        resolve(mixed, roles)
    assert resolve(mixed, {"primary": "a", "backup": "b"}).steps[0].target == "a.priv0"


def test_what_is_expected_is_one_of_the_known_words() -> None:
    """A schedule may say that the VM is to be taken over, or to stay; another word is refused with those there are."""
    text = '{"schema": "testbed.schedule/1", "scenario": "x", "seed": 1, "expect": "stay", "outage_max_s": 8}\n'
    step = '{"fault": "link.cut", "target": "a.priv0", "when": {"after_s": 1}}'
    found = parse(text + step)
    assert (found.expect, found.outage_max_s) == (Expect.STAY, 8)
    assert parse(dump(found)) == found
    with pytest.raises(
        UsageError, match=r"line 1: expect must be one of takeover, move, stay, return, choice, any, not 'luck'"
    ):
        parse(text.replace("stay", "luck") + step)
    with pytest.raises(UsageError, match="outage_max_s must be a number of seconds, not 'long'"):
        parse(text.replace("8", '"long"') + step)


def test_demands_and_the_allowed_overlap_stand_in_the_header() -> None:
    """They survive a round trip, get nodes for roles, and refuse a step that is not there."""
    demand = {"event": "qmp", "name": "RESET", "node": "backup", "least": 1, "before": "cut1.healed"}
    header = json.dumps({**json.loads(HEADER), "overlap_max_s": 2.0, "demands": [demand]})
    found = parse(f"{header}\n{CUT}\n")
    assert parse(dump(found)) == found
    assert found.overlap_max_s == 2.0
    assert parse(f"{HEADER}\n{CUT}\n").overlap_max_s == 0.0
    assert resolve(found, {"primary": "b", "backup": "a"}).demands[0].event == MachineEvent("RESET", "a")
    with pytest.raises(UsageError, match=r"line 1: demand: cut1.healed names no step; possible are other"):
        parse(f"{header}\n{CUT.replace('cut1', 'other')}\n")
    with pytest.raises(UsageError, match="demands must be a list"):
        parse(f"{header.replace('[', '').replace(']', '')}\n{CUT}\n")


def test_the_site_of_the_header_says_which_targets_there_are() -> None:
    """VMs and networks of a larger bed, read and written; without them the line of the step is refused."""
    header = '{"schema": "testbed.schedule/1", "scenario": "x", "seed": 1, "site": {"networks": 2, "vms": 3}}\n'
    steps = '{"fault": "guest.crash", "target": "web2", "when": {"after_s": 1.0}}\n'
    steps += '{"fault": "link.cut", "target": "primary.biz1", "when": {"after_s": 2.0}}\n'
    made = parse(header + steps)
    assert made.site == SiteOptions(networks=2, vms=3)
    assert parse(dump(made)) == made
    resolved = resolve(made, {"primary": "b", "backup": "a"})
    assert [step.target for step in resolved.steps] == ["web2", "b.biz1"]
    with pytest.raises(UsageError, match=r"line 2: .*there is no 'web2'; possible are web, web1\."):
        parse(header.replace("3", "2") + steps)
    with pytest.raises(UsageError, match=r"line 1: vms is 9; a site has 1 to 8 of them\."):
        parse(header.replace("3", "9") + steps)
