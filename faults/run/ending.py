"""How a run ends, whatever happened: a judged result with reasons, what to do, the story and the picture.

A host that is too slow, a world that did not start, a pair that was never protected and a run that broke off half-way
end here as well, so that nobody is left with a traceback. It must never call slowness a mistake of the product, and
never hide a violation that was seen before the end.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path

from faults.schedule import schedule
from faults.schedule.schedule import Schedule
from testbed.bed import Session
from testbed.errors import SlowHostError, TestbedError, first_error
from testbed.history import History, as_json
from testbed.host import speed
from testbed.judge import finding as findings
from testbed.judge import oracles
from testbed.judge.result import Result, Verdict, judge, what_to_do
from testbed.report import story, timeline
from testbed.report.picture import draw_timeline

# What ends a run early without being a mistake in the harness; a UsageError is refused instead, by whoever catches it.
BROKEN = (TestbedError, OSError, TimeoutError, ExceptionGroup)
NO_READ_BACK = "the run broke off before anything was read back"


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
    broken_off(result, history, began_s)
    if isinstance(error, SlowHostError):
        result.verdict, result.reasons = Verdict.INVALID_HOST, [result.broken]
    else:
        result.verdict, result.reasons = judge(result, alerts_wanted=())
    (out / "schedule.jsonl").write_text(schedule.dump(given), encoding="utf-8")
    result.files |= {"schedule": "schedule.jsonl"}
    write(result, history, out, began_s)
    return result


def broken_off(result: Result, history: History, began_s: float) -> None:
    """Ask the oracles what they can say of a run that broke off: a violation that was seen stands."""
    records = list(history)
    until_s = records[-1].t_s if records else began_s
    scene = oracles.bed_scene(result.dilation)
    found = oracles.judge_history(
        records, scene, since_s=began_s, until_s=until_s, overlap_allowed_s=0.0, replicas=NO_READ_BACK,
        writes=NO_READ_BACK,
    )  # fmt: skip
    result.findings = findings.as_fields(found)


def write(result: Result, history: History, out: Path, zero_s: float) -> None:
    """Write history and result.json first, then what is made of them for people; `zero_s` is the first injection."""
    (out / "timeline.jsonl").write_text("".join(as_json(entry) + "\n" for entry in history), encoding="utf-8")
    result.what_to_do = what_to_do(result)
    result.files |= {
        "timeline_jsonl": "timeline.jsonl", "timeline_png": "timeline.png", "timeline_txt": "timeline.txt",
    }  # fmt: skip
    result.write(out / "result.json")
    records = timeline.flat(history)  # from the beginning, so that the states before the fault are known
    told = timeline.rows([item for item in records if timeline.at(item) >= history.zero_at_s], zero_s)
    fields = asdict(result)
    text = "\n".join(str(row) for row in told) + "\n\n" + story.tables(fields, records, zero_s) + "\n"
    (out / "timeline.txt").write_text(text, encoding="utf-8")
    draw_timeline(fields, records, out / "timeline.png", zero_at_s=zero_s)
