"""How a run ends, whatever happened: a judged result with reasons, what to do, the story and the picture.

A host that is too slow, a world that did not start, a pair that was never protected and a run that broke off half-way
end here as well, so that nobody is left with a traceback. Everything that was recorded is on disk before anybody judges
it, and the judges get what was read back from there. It must never call slowness a mistake of the product, never hide
a violation that was seen before the end, and never lose a result because a judge fails.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from faults.schedule import schedule
from faults.schedule.schedule import Schedule
from testbed.bed import Session
from testbed.errors import SlowHostError, TestbedError, first_error
from testbed.history import History, as_json
from testbed.host import speed
from testbed.judge import panel, recorded
from testbed.judge.finding import Finding
from testbed.judge.recorded import Recorded, bed_scene
from testbed.judge.result import Result, judge, take, what_to_do
from testbed.judge.verdict import Verdict
from testbed.report import story, timeline
from testbed.report.picture import draw_timeline

# What ends a run early without being a mistake in the harness; a UsageError is refused instead, by whoever catches it.
BROKEN = (TestbedError, OSError, TimeoutError, ExceptionGroup)
NO_READ_BACK = "the run broke off before anything was read back"
NOT_JUDGED = "nobody has judged it yet"
FILES = {"timeline_jsonl": recorded.RECORDS, "recorded": recorded.RECORDED, "timeline_png": "timeline.png",
         "timeline_txt": "timeline.txt"}  # fmt: skip


def text_of(error: BaseException) -> str:
    """Return an error as a sentence."""
    first = first_error(error) if isinstance(error, BaseExceptionGroup) else error
    return str(first) or type(first).__name__


def early(session: Session, given: Schedule, out: Path, error: BaseException) -> Result:
    """Return the written result of a run that ended before its client was under way."""
    history, began_s = session.history, session.history.zero_at_s
    history.record("bed", "broke_off", reason=text_of(error))
    result = Result(
        scenario=given.scenario, accel=session.accelerator.name, dilation=session.dilation, seed=given.seed,
        started_wall=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), expect=given.expect,
        versions={**session.image.versions, "image": session.image.hash}, broken=text_of(error),
    )  # fmt: skip
    meter = session.meter
    points, measured = ([], session.measured) if meter is None else (meter.since(began_s), meter.measured)
    result.host = {"speed": speed.as_fields(points, measured, result.dilation, began_s)}
    (out / "schedule.jsonl").write_text(schedule.dump(given), encoding="utf-8")
    result.files |= {"schedule": "schedule.jsonl"}
    keep(result, history, broken_off(result, history, began_s), out)
    judge_all(result, out)
    if isinstance(error, SlowHostError):
        result.verdict, result.reasons = Verdict.INVALID_HOST, [result.broken]
    write(result, history, out, began_s)
    return result


def broken_off(result: Result, history: History, began_s: float) -> Recorded:
    """What the oracles can see of a run that broke off: a violation that was seen stands."""
    last = history.last
    return Recorded(
        bed_scene(result.dilation),
        since_s=began_s,
        until_s=began_s if last is None else last.t_s,
        replicas=NO_READ_BACK,
        readings=NO_READ_BACK,
    )


def keep(result: Result, history: History, run: Recorded, out: Path) -> None:
    """Write everything that was recorded, and a result that says that nobody has judged it yet."""
    (out / recorded.RECORDS).write_text("".join(as_json(entry) + "\n" for entry in history), encoding="utf-8")
    run.write(out)
    result.files |= FILES
    result.verdict, result.reasons = Verdict.INCONCLUSIVE, [NOT_JUDGED]
    result.write(out / "result.json")


def judge_all(
    result: Result, out: Path, *, alerts_wanted: tuple[str, ...] = (), unmet: Callable[[], list[str]] = list
) -> None:
    """Judge a run from its files; a judge that raises leaves it inconclusive, with the reason, and the others speak.

    `unmet` judges what the schedule demanded: a sentence for each demand that was not met.
    """
    asked = panel.shielded("records", lambda: panel.ask(recorded.load(out), panel.ORACLES))
    findings = [asked] if isinstance(asked, Finding) else asked
    problems = panel.shielded("demands", unmet)
    if isinstance(problems, Finding):
        findings.append(problems)
    else:
        result.problems += problems
    take(result, findings)
    names = panel.names(panel.ORACLES)
    said = panel.shielded("verdict", lambda: judge(result, alerts_wanted=alerts_wanted, oracles=names))
    result.verdict, result.reasons = (Verdict.INCONCLUSIVE, [str(said)]) if isinstance(said, Finding) else said


def write(result: Result, history: History, out: Path, zero_s: float) -> None:
    """Write result.json first, then what is made of it for people."""
    result.what_to_do = what_to_do(result)
    result.write(out / "result.json")
    records = timeline.flat(history)  # from the beginning, so that the states before the fault are known
    told = timeline.rows([item for item in records if timeline.at(item) >= history.zero_at_s], zero_s)
    fields = asdict(result)
    text = "\n".join(str(row) for row in told) + "\n\n" + story.tables(fields, records, zero_s) + "\n"
    (out / "timeline.txt").write_text(text, encoding="utf-8")
    draw_timeline(fields, records, out / "timeline.png", zero_at_s=zero_s)
