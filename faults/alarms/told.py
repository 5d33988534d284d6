"""The figures of alarms as text and as a page of docs/measurements, and the table as docs/alarms.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from faults.alarms.conditions import CONDITIONS, UNDEMANDED
from faults.alarms.finished import FinishedRun
from faults.alarms.row import AlarmCase, AlarmDue, AlarmRow, Unseen
from faults.alarms.score import AlarmScore, DueResult, Left, StrayAlert
from faults.alarms.stories import NAMED, in_stories
from testbed.figures.statistics import MEDIAN, Value, quantile, rate_text

AIM = 0.98
QUOTED_MAX = 200
HEAD = """# Alarms

A run that breaks something must bring certain alerts, or there is a reason why nobody hears of it. The first table
says so for each fault of the bed. It is made of [the data](../faults/alarms/table.py), by which
`testbed alarms DIRECTORY...` judges the alerts of finished runs ([what came](measurements/alarms.md)). The page is made
by [its test](../tests/unit/faults/alarms/test_told.py); run that with `AVANCE_REGENERATE=1` after a change.

## Faults and their alerts

"From" says which node tells: the one that is hit, its peer, or either of them. "Within" is how long the fault has to
last, in seconds at dilation 1; a shorter one need not bring the alert. A fault has several rows where the alert depends
on what is hit, and where several alerts must come. The first "where" that fits counts. What may come besides are
[stories](#stories), and single alerts. *Gap*: the product cannot see it yet. *Harmless*: nobody needs to hear of it.

| Fault | Where | Alert | From | Within, s | Names | Is over with | May come besides |
|---|---|---|---|---|---|---|---|
"""
STORIES_HEAD = """
## Stories

Alerts that follow from each other.

| Story | Alerts |
|---|---|
"""
CONDITIONS_HEAD = """
## Conditions of health and their injectors

Each condition of [health](health.md) with the fault of the bed that trips its sensor.

| Condition | What trips it |
|---|---|
"""
UNDEMANDED_HEAD = """
## Alerts that no fault must bring

| Alert | Why |
|---|---|
"""
MEASURED_HEAD = """# Alarms, measured

`testbed alarms` has counted this in the results of finished runs, by [the table of alarms](../alarms.md). A run
whose host was too slow, or whose fault was not proven, is left out. Seconds are divided by the dilation. They hold the
way of the alert to the service centre, too: a node sends one after another, and a busy host makes that slow. The
interval is the Wilson interval of 95 %.

An expected alarm is *not counted* where it could not come. This is decided before anybody looks whether it came. An end
that was not told before the run was over counts as missing only if the run waited long enough for it.
"""


def page(rows: Iterable[AlarmRow]) -> str:
    """Return the whole of docs/alarms.md."""
    lines = [line for row in rows for case in row.cases for line in _lines(row, case)]
    conditions = [f"| `{code}` | {tripped.text} |\n" for code, tripped in CONDITIONS.items()]
    undemanded = [f"| `{code}` | {why} |\n" for code, why in UNDEMANDED.items()]
    stories = [f"| {name} | {_codes(story)} |\n" for name, story in NAMED.items()]
    return "".join((HEAD, *lines, STORIES_HEAD, *stories, CONDITIONS_HEAD, *conditions, UNDEMANDED_HEAD, *undemanded))


def _lines(row: AlarmRow, case: AlarmCase) -> list[str]:
    """One line for each alert; only the first one has what all share."""
    where = case.given.text or ("else" if len(row.cases) > 1 else "")
    names, codes = in_stories((*case.may, *case.may_hit))
    besides = ", ".join((*names, *(f"`{code}`" for code in codes)))
    if case.unseen is not None:
        return [f"| `{row.fault}` | {where} | none, {case.unseen.name.lower()}: {case.reason} | | | | | {besides} |\n"]
    first, *others = (_due(due) for due in case.must)
    return [f"| `{row.fault}` | {where} | {first} | {besides} |\n", *(f"| | | {one} | |\n" for one in others)]


def _due(due: AlarmDue) -> str:
    over = _codes(due.over, " or ") or due.ends
    names = f"`{due.names}`" if due.names else ""
    return f"{_codes(due.codes, ' or ')} | {due.teller} | {due.within_s:g} | {names} | {over}"


def _codes(codes: Iterable[str], joint: str = ", ") -> str:
    return joint.join(f"`{code}`" for code in codes)


def rate_lines(found: AlarmScore) -> list[str]:
    """Each of the four figures with its interval, one a line."""
    width = max(map(len, found.rates))
    return [f"{name:<{width}}  {rate_text(*rate)}" for name, rate in found.rates.items()]


def is_good(found: AlarmScore) -> bool:
    """Say whether each figure reaches what is aimed at."""
    return all(good >= AIM * of for good, of in found.rates.values())


def report(found: AlarmScore) -> str:
    """Return everything for a person at a terminal."""
    groups = [
        ("expected, and did not come:", [one.text for one in found.missing]),
        ("came, and nothing explains it:", [_stray(one) for one in found.false_alarms]),
        ("an all-clear that nothing explains:", [one.text for one in found.false_clears]),
        ("came from the wrong node, or did not name the part:", [_wrong(one) for one in found.wrong]),
        ("came, and its end was not told:", [_open(one) for one in found.open_ends]),
    ]
    lines = [_head(found), "", *rate_lines(found), *_not_counted(found), *_not_seen(found)]
    for title, texts in groups:
        lines += ["", title, *(f"  {text}" for text in texts)] if texts else []
    lines += ["", "seconds from the fault to its first alarm, at dilation 1 (median, faults):"]
    return "\n".join([*lines, *(f"  {name}: {median}, {runs}" for name, median, runs in _medians(found))])


def _stray(one: StrayAlert) -> str:
    return one.text + (f" ({one.alert.text:.{QUOTED_MAX}})" if one.alert.text else "")


def _wrong(one: DueResult) -> str:
    told = "" if one.came is None else f"; {one.came.node} said: {one.came.text or one.came.code}"
    return f"{one.text}{told}"


def _open(one: DueResult) -> str:
    return f"{one.text}: no {' or '.join(one.due.over)}"


def _head(found: AlarmScore) -> str:
    others = ", ".join(f"{verdict} {found.left_out.count(verdict)}" for verdict in sorted(set(found.left_out)))
    faults = sum(len(run.faults) for run in found.runs)
    return (
        f"{len(found.runs)} runs with {faults} faults, {len(found.unseen)} of them with no alert to wait for; left out:"
        f" {others or 'none'}."
    )


def _not_counted(found: AlarmScore) -> list[str]:
    return [
        f"not counted: {sum(one.left is left for one in found.dues)} alarms, because {left}"
        for left in Left
        if any(one.left is left for one in found.dues)
    ]


def _not_seen(found: AlarmScore) -> list[str]:
    """Which faults of these runs the product cannot see yet."""
    names = [fault.name for _, fault, case in found.unseen if case.unseen is Unseen.GAP]
    return [f"cannot be seen yet: {name}, {names.count(name)} times" for name in sorted(set(names))]


def _medians(found: AlarmScore) -> list[tuple[str, str, int]]:
    """For each fault and case the median of the seconds to the first alarm, and of how many faults."""

    def key(one: DueResult) -> str:
        where = one.case.given.text
        return f"`{one.fault.name}`{f' ({where})' if where else ''}"

    firsts: list[tuple[str, float]] = []
    for _, group in groupby(found.counted, key=lambda one: (one.run.name, one.fault)):
        times = [(one.after_s, key(one)) for one in group if one.after_s is not None]
        if times:
            after_s, name = min(times)
            firsts.append((name, after_s))
    rows = []
    for name, same in groupby(sorted(firsts), key=lambda one: one[0]):
        values = [Value(after_s) for _, after_s in same]
        rows.append((name, f"{quantile(values, MEDIAN).text()} s", len(values)))
    return rows


def measured(found: AlarmScore) -> str:
    """Return the whole of docs/measurements/alarms.md."""
    lines = [f"| {name} | {rate_text(*rate)} |\n" for name, rate in found.rates.items()]
    first = [f"| {name} | {median} | {runs} |\n" for name, median, runs in _medians(found)]
    return "".join((
        MEASURED_HEAD, f"\n{_conditions(found.runs)}\n{_head(found)}\n\n| What | Of how many |\n|---|---|\n", *lines,
        "".join(f"\n* {line}." for line in (*_not_counted(found), *_not_seen(found))), "\n",
        _named("Expected, and did not come", found.missing),
        _named("Came, and nothing explains it", found.false_alarms),
        _named("An all-clear that nothing explains", found.false_clears),
        _named("Wrong node, or part not named", found.wrong), _named("End not told", found.open_ends),
        "\n## Seconds to the first alarm\n\n| Fault | Median | Faults |\n|---|---|---|\n", *first,
    ))  # fmt: skip


def _named(title: str, found: Sequence[DueResult | StrayAlert]) -> str:
    return "".join((f"\n## {title}\n\n", *(f"* {one.text}\n" for one in found))) if found else ""


def _conditions(runs: Sequence[FinishedRun]) -> str:
    if not runs:
        return "No run could be counted."
    names = sorted({run.name.partition("/")[0] for run in runs})
    dilations = ", ".join(sorted({f"{run.dilation:g}" for run in runs}))
    speeds = [run.speed for run in runs if run.speed is not None]
    speed = f"{min(speeds):.2f} to {max(speeds):.2f} of the reference" if speeds else "not known"
    return f"Runs: {', '.join(names)}. Dilation {dilations}, speed of the host {speed}."
