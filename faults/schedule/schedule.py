"""Schedules: which faults a run injects, where, when and until when; read from and written to JSON Lines. Pure.

The first line is the header, each further line one step. A schedule that was read is possible as far as that can be
known without a bed: faults, parameters, targets, references and combinations were checked, and the refusal names the
line. This module must never do anything to a bed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from random import Random
from typing import Any

from faults import registry
from faults.parameters import converted, parameters_of
from faults.registry import resolve_node, resolve_target
from faults.schedule.checks import NAME, check_demands, check_step, first_hidden, is_number, is_text
from faults.schedule.demand import Demand
from faults.schedule.step import Step
from faults.schedule.trigger import AlertCame, MachineEvent, Milestone, Range, Resync, Time, Trigger
from faults.schedule.trigger_text import demand_fields, only, parse_demand, parse_trigger, trigger_fields
from testbed.errors import UsageError
from testbed.judge.result import Expect
from testbed.site import SiteOptions

SCHEMA = "testbed.schedule/1"
SEED_MAX = 2**64
STEPS_MAX = 200  # a person reads a schedule, and a shrinker repeats it
_DRAWS_MAX = 100
_SHOWN_MAX = 60
HEADER_KEYS = ("schema", "scenario", "seed", "expect", "outage_max_s", "overlap_max_s", "demands", "site", "about")
STEP_KEYS = ("fault", "target", "with", "when", "until", "name")


@dataclass(frozen=True)
class Schedule:
    """The plan of a run; with a `Range` in it, it is a template that `expand` makes fixed."""

    scenario: str
    seed: int
    steps: tuple[Step, ...]
    site: SiteOptions = field(default_factory=SiteOptions)
    about: str = ""
    expect: Expect = Expect.ANY
    outage_max_s: float | None = None  # how long the client may be without service, before dilation
    demands: tuple[Demand, ...] = ()
    overlap_max_s: float = 0.0  # how long two nodes may use one address, where that cannot be avoided

    @property
    def is_fixed(self) -> bool:
        """Says whether nothing is left to draw."""
        times = [trigger.delay_s for step in self.steps for trigger in (step.when, step.until) if trigger is not None]
        return not any(isinstance(time, Range) for time in times)

    def step(self, name: str) -> Step:
        """Return one step by its name."""
        return next(step for step in self.steps if step.name == name)


def load(path: Path) -> Schedule:
    """Read a schedule file; raises UsageError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The schedule {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The schedule {path} is no text in UTF-8: {error.reason} at byte {error.start}.") from error
    return parse(text, name=str(path))


def parse(text: str, *, name: str = "schedule") -> Schedule:
    """Return the schedule in a text; raises UsageError with the line, what is wrong there, and what is possible."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise UsageError(f'{name} is empty; it must begin with {{"schema": "{SCHEMA}", "scenario": "x", "seed": 1}}.')
    number = lines[0][0]
    steps: list[Step] = []
    try:
        header = _header(_object(lines[0][1]))
        _check_header(header, len(lines) - 1)
        for number, line in lines[1:]:  # noqa: B007 - the number of the line at fault is used in `except`
            step = _step(_object(line), len(steps) + 1)
            check_step(step, steps, header.site)
            steps.append(step)
        number = lines[0][0]
        check_demands(header.demands, steps)
    except UsageError as error:
        raise UsageError(f"{name}, line {number}: {error}") from error
    return replace(header, steps=tuple(steps))


def check(schedule: Schedule) -> None:
    """Raise UsageError when a schedule is not possible, as far as that can be known without a bed."""
    _check_header(schedule, len(schedule.steps))
    for number, step in enumerate(schedule.steps):
        try:
            check_step(step, schedule.steps[:number], schedule.site)
        except UsageError as error:
            raise UsageError(f"step {step.name}: {error}") from error
    check_demands(schedule.demands, schedule.steps)


def _check_header(schedule: Schedule, steps: int) -> None:
    """Refuse an impossible header, or a number of steps that nobody can have meant."""
    if not is_text(schedule.scenario, NAME):
        raise UsageError(f"scenario must be a name of letters, digits, - and _, not {schedule.scenario!r}.")
    seed = schedule.seed
    if not is_number(seed) or isinstance(seed, float) or not 0 <= seed < SEED_MAX:
        raise UsageError(f"seed must be a whole number from 0 to 2^64-1, not {seed!r}.")
    for key, value in (("outage_max_s", schedule.outage_max_s), ("overlap_max_s", schedule.overlap_max_s)):
        if value is not None and (not is_number(value) or value < 0):
            raise UsageError(f"{key} must be a number of seconds, not {shown(value)}.")
    if hidden := first_hidden(schedule.about):
        raise UsageError(f"about has the letter {hidden}, which a terminal would obey or hide; write plain text.")
    if not steps:
        raise UsageError('it has no step; add one line for each, as {"fault": ..., "target": ..., "when": ...}.')
    if steps > STEPS_MAX:
        raise UsageError(f"there are {steps} steps; the most are {STEPS_MAX}.")


def shown(value: object) -> str:
    """Return a value for a refusal: as Python writes it, and short."""
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]} ..."


def dump(schedule: Schedule) -> str:
    """Return the text of a schedule; `parse` gives back an equal one."""
    default = SiteOptions()
    site = {item.name: getattr(schedule.site, item.name) for item in fields(SiteOptions)}
    site = {key: value for key, value in site.items() if value != getattr(default, key)}
    header: dict[str, object] = {"schema": SCHEMA, "scenario": schedule.scenario, "seed": schedule.seed}
    header |= {"expect": schedule.expect.value} if schedule.expect is not Expect.ANY else {}
    header |= {"outage_max_s": schedule.outage_max_s} if schedule.outage_max_s is not None else {}
    header |= {"overlap_max_s": schedule.overlap_max_s} if schedule.overlap_max_s else {}
    header |= {"demands": [demand_fields(demand) for demand in schedule.demands]} if schedule.demands else {}
    header |= {"site": site} if site else {}
    header |= {"about": schedule.about} if schedule.about else {}
    lines = [header, *(_step_fields(step) for step in schedule.steps)]
    return "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)


def expand(seed: int, template: Schedule) -> Schedule:
    """Return the schedule with fixed numbers: every range drawn, and every fault's own seed written down.

    What one step gets does not depend on the other steps, except that times which cannot be together, as two ranges
    may give, are drawn again. Raises UsageError when no draw is possible.
    """
    for number in range(_DRAWS_MAX):
        found = _drawn(seed, template, f"/{number}" if number else "")
        try:
            check(found)
        except UsageError:
            if number == _DRAWS_MAX - 1 or template.is_fixed:
                raise
        else:
            break
    return found


def _drawn(seed: int, template: Schedule, again: str) -> Schedule:
    steps = []
    for number, step in enumerate(template.steps, start=1):
        parameters = dict(step.parameters)
        if registry.find(step.fault).takes_seed:
            parameters.setdefault("seed", registry.step_seed(seed, number))
        when = _fixed(step.when, f"{seed}/{step.name}/when{again}")
        until = None if step.until is None else _fixed(step.until, f"{seed}/{step.name}/until{again}")
        steps.append(replace(step, when=when, until=until, parameters=parameters))
    return replace(template, seed=seed, steps=tuple(steps))


def resolve(schedule: Schedule, roles: Mapping[str, str]) -> Schedule:
    """Return the schedule with nodes in place of roles, as `{"primary": "a", "backup": "b"}` says.

    Raises UsageError for a role that nobody has, and when two steps cannot be together now that the nodes are known.
    """
    steps = []
    for step in schedule.steps:
        until = None if step.until is None else _resolved(step.until, roles)
        target = resolve_target(step.target, roles)
        steps.append(replace(step, target=target, when=_resolved(step.when, roles), until=until))
    demands = tuple(demand.resolved(roles) for demand in schedule.demands)
    found = replace(schedule, steps=tuple(steps), demands=demands)
    check(found)
    return found


def _fixed(trigger: Trigger, dice: str) -> Trigger:
    time: Time = trigger.delay_s
    if isinstance(time, Range):
        time = min(max(round(Random(dice).uniform(time.low_s, time.high_s), 3), time.low_s), time.high_s)
    return replace(trigger, delay_s=time)


def _resolved(trigger: Trigger, roles: Mapping[str, str]) -> Trigger:
    match trigger.event:
        case Milestone() | Resync() | MachineEvent() | AlertCame() as event if event.node is not None:
            return replace(trigger, event=replace(event, node=resolve_node(event.node, roles)))
        case _:
            return trigger


def _object(line: str) -> dict[str, Any]:
    """One line as an object; JSON's own extensions (NaN, a key given twice) are refused."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            double = next(key for position, (key, _) in enumerate(pairs) if key in dict(pairs[:position]))
            raise UsageError(f"the key {double!r} is given twice.")
        return made

    def refuse(word: str) -> None:
        raise UsageError(f"{word} is no number that JSON knows.")

    try:
        made = json.loads(line, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise UsageError(f"this is no JSON: {error.msg} at column {error.colno}; each line is one object.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise UsageError(f"this is no usable JSON: {error}.") from error
    if not isinstance(made, dict):
        raise UsageError(f"each line must be one JSON object in braces, not {type(made).__name__}.")
    return made


def _header(given: dict[str, Any]) -> Schedule:
    """The schedule of a header, without steps, of which only the shape is right yet."""
    schema = given.get("schema")
    if schema is None:
        raise UsageError(f'the first line must be the header with "schema": "{SCHEMA}".')
    if schema != SCHEMA:
        raise UsageError(f"this schedule is written in {schema!r}; this testbed reads {SCHEMA!r} only.")
    only(given, HEADER_KEYS, "the header")
    about, site = given.get("about", ""), given.get("site", {})
    if not isinstance(about, str):
        raise UsageError(f"about must be a text, not {about!r}.")
    if not isinstance(site, dict):
        raise UsageError(f"site must be an object, not {site!r}; possible are {_site_words()}.")
    expect = given.get("expect", Expect.ANY.value)
    if expect not in list(Expect):
        raise UsageError(f"expect must be one of {', '.join(Expect)}, not {expect!r}.")
    demands = given.get("demands", [])
    if not isinstance(demands, list):
        raise UsageError(f"demands must be a list of objects, not {demands!r}.")
    options = converted(parameters_of(SiteOptions), site, owner="site")
    made = SiteOptions(**options)  # type: ignore[arg-type] # types were checked
    wanted = tuple(parse_demand(demand) for demand in demands)
    return Schedule(
        given.get("scenario"), given.get("seed"), (), made, about, Expect(expect),  # type: ignore[arg-type] # `check`
        given.get("outage_max_s"), wanted, given.get("overlap_max_s") or 0.0,
    )  # fmt: skip


def _site_words() -> str:
    return ", ".join(item.name for item in fields(SiteOptions))


def _step(given: dict[str, Any], number: int) -> Step:
    """The step of an object, of which only the shape is right yet."""
    only(given, STEP_KEYS, "a step")
    for key in ("fault", "target", "when"):
        if key not in given:
            raise UsageError(f"a step needs {key!r}; the keys of a step are {', '.join(STEP_KEYS)}.")
    name, fault, parameters = given.get("name", f"step{number}"), given["fault"], given.get("with", {})
    if not isinstance(fault, str):
        raise UsageError(f"fault must be the name of a fault, not {fault!r}; `testbed list` shows all of them.")
    if not isinstance(parameters, dict):
        raise UsageError(f"with must be an object of parameters, not {parameters!r}.")
    when = parse_trigger(given["when"], "when", name)
    until = None if given.get("until") is None else parse_trigger(given["until"], "until", name)
    return Step(name, fault, given["target"], when, until, parameters)


def _step_fields(step: Step) -> dict[str, object]:
    made: dict[str, object] = {"name": step.name, "fault": step.fault, "target": step.target}
    made |= {"with": dict(step.parameters)} if step.parameters else {}
    made["when"] = trigger_fields(step.when, step.name)
    made["until"] = None if step.until is None else trigger_fields(step.until, step.name)
    return made
