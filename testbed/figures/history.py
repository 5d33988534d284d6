"""The verb `history`: what was measured so far, whether two versions differ, as text, as CSV or as a picture.

It shows every run and compares only those that may be compared: a noisy host or an unproven fault is counted, not used.
It must never compare across accelerators or dilations, or call a difference real without saying what could have been
seen at all.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from testbed.errors import UsageError
from testbed.figures.picture import HistoryPoint, draw_history
from testbed.figures.statistics import ALPHA, SampleComparison, Value, permutation_test, rate_text, summarise
from testbed.figures.store import CONDITION, MetricStore, Series, SeriesPoint, StoredRun
from testbed.judge.verdict import Verdict

PANELS_MAX = 8  # more do not fit one picture that a person can read
VERSION_SHOWN = 12
CSV_COLUMNS = (
    "scenario", "fault", "accelerator", "dilation", "image", "revision", "seed", "started_wall", "verdict",
    "comparable", "metric", "unit", "value", "censored",
)  # fmt: skip
Found = Mapping[Series, Sequence[SeriesPoint]]


def register(verbs: Any) -> None:  # noqa: ANN401 - argparse does not publish the type of its sub-parsers
    """Add the verb."""
    verb = verbs.add_parser("history", help="what was measured so far; compares two versions, draws, writes CSV")
    verb.add_argument("--scenario", default="", help="only scenarios that begin so")
    verb.add_argument("--metric", default="", help="only metrics that begin so, such as phase. or outage")
    what = verb.add_mutually_exclusive_group()
    what.add_argument("--compare", nargs=2, metavar=("OLD", "NEW"), help="two versions: beginnings of image hashes or "
                      "revisions, as the list shows them")  # fmt: skip
    what.add_argument("--csv", action="store_true", help="every figure of every run, comparable or not")
    what.add_argument("--picture", type=Path, metavar="FILE", help="draw the series into a PNG")
    verb.add_argument("--store", type=Path, default=None, help="another store than that of this user")
    verb.set_defaults(act=_act)


def _act(args: argparse.Namespace) -> int:
    with MetricStore(args.store) as store:
        found = store.series(scenario=args.scenario, metric=args.metric)
        where = store.path
    if not found:
        wanted = f" for scenario {args.scenario!r} and metric {args.metric!r}" if args.scenario or args.metric else ""
        raise UsageError(f"Nothing is stored in {where}{wanted}. `testbed run` and `testbed bench` store what they do.")
    if args.csv:
        write_csv(found, sys.stdout)
    elif args.compare:
        print(compare(found, *args.compare))
    elif args.picture is not None:
        print(picture(found, args.picture))
    else:
        print(listing(found, conditions=args.metric.startswith(CONDITION)))
    return 0


def listing(found: Found, *, conditions: bool = False) -> str:
    """Return each experiment with its runs and, per metric and version, what may be said of its values.

    The figures of the host are shown when they are asked for: they are conditions, not results.
    """
    lines: list[str] = []
    for experiment, series in _experiments(found).items():
        runs = list(dict.fromkeys(point.run for points in series.values() for point in points))
        lines += [*([""] if lines else []), _heading(experiment), f"  {_runs_text(runs)}"]
        for key, measured in series.items():
            if key.metric.startswith(CONDITION) and not conditions:
                continue
            for version, values in _by_version(measured).items():
                summary = summarise(values)
                if len(values) > 1 and len(set(values)) == 1:
                    always = f"always {values[0].text(_digits(key))} {key.unit}".rstrip()
                    lines.append(f"  {key.metric:<26} {version[:VERSION_SHOWN]:<12} {always} [n={len(values)}]")
                    continue
                said = f"min {summary.min.text(_digits(key))}, {summary.text(key.unit, _digits(key))}"
                lines.append(f"  {key.metric:<26} {version[:VERSION_SHOWN]:<12} {said}")
    return "\n".join(lines)


def _experiments(found: Found) -> dict[tuple[str, str, str, float], dict[Series, Sequence[SeriesPoint]]]:
    grouped: dict[tuple[str, str, str, float], dict[Series, Sequence[SeriesPoint]]] = {}
    for key, points in found.items():
        experiment = (key.scenario, key.fault, key.accelerator, key.dilation)
        grouped.setdefault(experiment, {})[key] = points
    return grouped


def _heading(experiment: tuple[str, str, str, float]) -> str:
    scenario, fault, accelerator, dilation = experiment
    return f"{scenario}{f' ({fault})' if fault else ''}, accelerator {accelerator}, dilation {dilation:g}"


def _runs_text(runs: Sequence[StoredRun]) -> str:
    """How many runs there are, how many passed of those that say something, and what was left out."""
    used = [run for run in runs if run.comparable]
    passed = sum(run.verdict == Verdict.PASS for run in used)
    text = f"passed: {rate_text(passed, len(used))}"
    left = [run.verdict for run in runs if not run.comparable]
    counted = ", ".join(f"{left.count(verdict)} {verdict}" for verdict in sorted(set(left)))
    return f"{text}; stored but not compared: {counted}" if counted else text


def _by_version(points: Sequence[SeriesPoint]) -> dict[str, list[Value]]:
    """The comparable values of each version, versions in the order in which they first ran."""
    values: dict[str, list[Value]] = {}
    for point in points:
        if point.run.comparable:
            values.setdefault(point.run.version, []).append(point.value)
    return values


def _digits(series: Series) -> int:
    return 4 if "lateness" in series.metric else {"s": 2, "share": 3}.get(series.unit, 0)


def compare(found: Found, old: str, new: str) -> str:
    """Return for each metric whether the new version differs; raises UsageError for a version that nobody ran."""
    runs = [point.run for points in found.values() for point in points]
    before, after = _chosen(runs, old), _chosen(runs, new)
    if before == after:
        raise UsageError(f"{old!r} and {new!r} are the same version, {before}. Name two.")
    lines, tested, alone = [f"old {before}", f"new {after}"], 0, []
    for experiment, series in _experiments(found).items():
        body: list[str] = []
        for key, points in series.items():
            values = _by_version(points)
            if key.metric.startswith(CONDITION) or before not in values or after not in values:
                continue
            if len({*values[before], *values[after]}) == 1:
                body.append(f"  {key.metric}: always {values[before][0].text(_digits(key))} {key.unit}".rstrip())
            else:
                body += _difference(key, values[before], values[after])
                tested += 1
        if body:
            lines += ["", _heading(experiment), *body]
        else:
            alone.append(_heading(experiment))
    lines += [f"\nnot compared, because only one version or none has valid runs: {text}" for text in alone]
    if tested > 1:
        chance = f"chance alone calls 1 in {1 / ALPHA:.0f} of them different"
        lines.append(f"\n{tested} metrics were compared; {chance}, and phases of one run move together.")
    return "\n".join(lines)


def _chosen(runs: Sequence[StoredRun], wanted: str) -> str:
    """The one version whose image hash or revision begins so."""
    known = list(dict.fromkeys(run.version for run in runs))
    fitting = list(
        dict.fromkeys(
            run.version for run in runs if wanted and (run.image.startswith(wanted) or run.revision.startswith(wanted))
        )
    )
    if len(fitting) == 1:
        return fitting[0]
    problem = "There is no version" if not fitting else "There is more than one version"
    raise UsageError(f"{problem} that begins with {wanted!r}; stored are {', '.join(known)}.")


def _difference(key: Series, old: Sequence[Value], new: Sequence[Value]) -> list[str]:
    digits = _digits(key)
    lines = [f"  {key.metric}"]
    lines += [f"    {word} {summarise(values).text(key.unit, digits)}" for word, values in (("old", old), ("new", new))]
    return [*lines, f"    {judgement(permutation_test(old, new), len(old), len(new), key.unit, digits)}"]


def judgement(test: SampleComparison, old: int, new: int, unit: str, digits: int = 2) -> str:
    """Return the outcome of a comparison as a sentence that says what these runs could have shown."""
    size = f"{test.difference:+.{digits}f} {unit}".rstrip() + (" or beyond" if test.at_least else "")
    if test.smallest is None:
        reach = f"with {old} and {new} runs no difference, however large, could be shown"
    else:
        reach = f"the smallest that {old} and {new} such runs could show is {test.smallest:.{digits}f} {unit}".rstrip()
    word = "DIFFERENT" if test.p <= ALPHA else "no difference shown"
    cut = "" if test.common_limit is None else f"; values beyond {test.common_limit:g} {unit} count as equal"
    return f"{word}: {size}, p = {test.p:.2g}; {reach}{cut}"


def write_csv(found: Found, out: TextIO) -> None:
    """Write one line for each figure of each run."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for key, points in found.items():
        for run, value in points:
            writer.writerow([
                key.scenario, key.fault, key.accelerator, f"{key.dilation:g}", run.image, run.revision, run.seed,
                run.started_wall, run.verdict, int(run.comparable), key.metric, key.unit, value.at, int(value.censored),
            ])  # fmt: skip


def picture(found: Found, out: Path) -> Path:
    """Draw the series into a PNG and return its path; raises UsageError when there are too many for one picture."""
    if len(found) > PANELS_MAX:
        names = ", ".join(dict.fromkeys(key.metric for key in found))
        raise UsageError(
            f"{len(found)} series do not fit one picture (at most {PANELS_MAX}); choose with --scenario "
            f"and --metric. Metrics are {names}."
        )
    panels = {
        (key.text(), key.unit): [
            HistoryPoint(point.run.version[:VERSION_SHOWN], point.value, point.run.comparable) for point in points
        ]
        for key, points in found.items()
    }
    return draw_history(panels, out)
