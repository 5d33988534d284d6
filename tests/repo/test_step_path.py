"""The path of one step of a schedule in docs/architecture.md is the one that is really executed, and it is short.

A whole run is played with it, from its line to the report. Every file of testbed and faults that does anything in it
is a row of the document, or is named below the rows with the reason why the step does not stop there.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import pytest

from faults.registry import kinds
from faults.run.scenario import run_schedule
from faults.schedule.schedule import expand, load
from testbed.report import page
from tests.repo.test_path import FILES_MAX, ROOT, below, path_of
from tests.unit.faults.run.whole_run import without_machines
from tests.unit.testbed.report.test_page import Recorder

HEADING = "## One step of a schedule, from its line to the report"
FILE = ROOT / "faults" / "schedules" / "primary_disk_gone.jsonl"
APART = re.compile(r"`((?:faults|testbed)/[\w/.]+)`")

Call = tuple[str, str]  # a file, and a function in it


@dataclass
class Story:
    """Every function that was called, in the order of first calls, and what people read of the step afterwards."""

    calls: dict[Call, int] = field(default_factory=dict)
    timeline: str = ""
    report: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def files(self) -> set[str]:
        """The files in which something was called."""
        return {file for file, _ in self.calls}


@contextmanager
def watched(calls: dict[Call, int]) -> Iterator[None]:
    """Note each function of testbed and faults that is called; what an import executes is no function."""

    def called(frame: FrameType, what: str, _: object) -> None:
        code = frame.f_code
        is_ours = what == "call" and code.co_filename.startswith((f"{ROOT}/faults/", f"{ROOT}/testbed/"))
        if is_ours and code.co_flags & inspect.CO_OPTIMIZED:
            calls.setdefault((code.co_filename.removeprefix(f"{ROOT}/"), code.co_qualname), len(calls))

    sys.setprofile(called)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The line of the document is read, run and shown as a test of the catalogue does it; only its times are short."""
    found, directory = Story(), tmp_path_factory.mktemp("step")
    plan, out = directory / "plan.jsonl", directory / "run"
    plan.write_text(FILE.read_text(encoding="utf-8").replace("[3.0, 5.0]", "[0.1, 0.2]"), encoding="utf-8")
    kinds()  # imports every fault there is
    with pytest.MonkeyPatch.context() as patch:
        without_machines(patch)
        recorder = Recorder(patch)
        with watched(found.calls):
            result = asyncio.run(run_schedule(expand(7, load(plan)), out))
            page.attach_run(out, result)
    found.timeline, found.report = (out / "timeline.txt").read_text(encoding="utf-8"), recorder.noted
    return found


def out_of_order(path: Iterable[Call], calls: Mapping[Call, int]) -> Iterator[str]:
    """Name the files whose function was not called, or not for the first time after those of the rows before."""
    last = -1
    for file, function in path:
        at = calls.get((file, function), -1)
        if at <= last:
            yield file
        last = max(last, at)


def unnamed(files: Iterable[str], names: Iterable[str]) -> list[str]:
    """Name the files that are none of these, and in none of these folders."""
    known = tuple(names)
    return sorted(file for file in files if not any(file == name or file.startswith(f"{name}/") for name in known))


def test_a_step_takes_the_files_that_the_document_names(story: Story) -> None:
    """In this order, and nothing else takes part but what is named apart; what is named there takes part."""
    section = below((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), HEADING)
    path, apart = path_of(f"\n{HEADING}\n{section}", HEADING), APART.findall(section)
    assert 5 < len(path) <= FILES_MAX
    assert FILE.read_text(encoding="utf-8").splitlines()[1] in section
    assert list(out_of_order(path, story.calls)) == []
    assert unnamed(story.files, [*(file for file, _ in path), *apart]) == []
    assert [name for name in apart if unnamed(story.files, [name]) == sorted(story.files)] == []
    assert not {file for file, _ in path} & set(apart)


def test_the_story_goes_from_the_line_to_the_report(story: Story) -> None:
    """What was executed is really the way of a step that was done, proved, taken back and shown."""
    for word in ("injected", "confirmed", "healed"):
        assert f"disk.gone on a {word} (step gone" in story.timeline
    shown = [note for note in story.report if note[0] == "fault disk.gone on a: confirmed"]
    assert [note[1:3] for note in shown] == [("confirmed at +0.0 s", "evidence")]
    assert "'read_now': 'ESHUTDOWN'" in shown[0][3]


def test_a_file_that_is_missing_and_a_wrong_order_are_found() -> None:
    """Planted: a row that is left out, two in the wrong order, a function that nobody calls, a folder's likeness."""
    calls = {("faults/life.py", "Life.prepare"): 3, ("faults/kinds/disk.py", "DiskFault.inject"): 7}
    path = list(calls)
    assert list(out_of_order(path, calls)) == []
    assert list(out_of_order(path[::-1], calls)) == ["faults/life.py"]
    assert list(out_of_order([("faults/life.py", "Life.end"), path[1]], calls)) == ["faults/life.py"]
    files = [file for file, _ in path]
    assert unnamed(files, ["faults/life.py"]) == ["faults/kinds/disk.py"]
    assert unnamed(files, ["faults/life.py", "faults/kinds"]) == []
    assert unnamed(files, ["faults/life", "faults/kind"]) == files[::-1]
