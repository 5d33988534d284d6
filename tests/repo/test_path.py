"""The path of a lost heartbeat in docs/architecture.md is the one that is really executed, and it is short."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from avance.core.decision import Decision
from avance.core.engine import Engine
from tests.playbook import A, B
from tests.sim.test_pair_of_engines import in_service

ROOT = Path(__file__).resolve().parents[2]
FILES_MAX = 12
HEADING = "### The files, in order"
ROW = re.compile(r"^\| (\d+) \| \[[^]]*\]\(\.\./([\w/.]+)\) \| [^|]+ \| (?:`([\w.]+)`)? ?\|$", re.MULTILINE)


def below(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one."""
    return re.split(r"\n##+ ", text.partition(f"\n{heading}\n")[2])[0]


def path_of(text: str, heading: str = HEADING) -> list[tuple[str, str]]:
    """Return the files of a path in order, each with what stands in its last column, or nothing."""
    rows = ROW.findall(below(text, heading))
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1)), "the rows are numbered in order"
    return [(file, sign) for _, file, sign in rows]


@contextmanager
def watched(turns: list[tuple[frozenset[str], Decision]]) -> Iterator[None]:
    """Note for each turn of node b's engine which files of the product were executed, and what was decided."""
    plain = Engine.handle

    def handle(self: Engine, event: object, now: float) -> Decision:
        files: set[str] = set()

        def called(frame: FrameType, what: str, _: object) -> None:
            name = frame.f_code.co_filename
            if what == "call" and name.startswith(f"{ROOT}/avance/"):
                files.add(name.removeprefix(f"{ROOT}/"))

        sys.setprofile(called)
        try:
            decision = plain(self, event, now)  # type: ignore[arg-type]  # whatever event it is
        finally:
            sys.setprofile(None)
        if self.setup.me == B:
            turns.append((frozenset(files), decision))
        return decision

    Engine.handle = handle  # type: ignore[method-assign]
    try:
        yield
    finally:
        Engine.handle = plain  # type: ignore[method-assign]


def story() -> list[tuple[frozenset[str], Decision]]:
    """Node a dies, and its VM runs on node b in the end."""
    turns: list[tuple[frozenset[str], Decision]] = []
    world = in_service()
    with watched(turns):
        world.kill(A)
        world.run_until(lambda: world.runner() == B, 30.0)
    return turns


def strays(path: list[tuple[str, str]], turns: list[tuple[frozenset[str], Decision]]) -> Iterator[str]:
    """Name the files that were not executed in a turn with their sign, after those that stand before them."""
    at = 0
    for file, sign in path:
        if not sign:
            continue  # an adapter, or the loop: no part of the pure core, which alone runs here
        found = [
            number
            for number, (files, decision) in enumerate(turns)
            if number >= at and file in files and sign in {*decision.milestones, *map(_name, decision.commands)}
        ]
        if not found:
            yield file
        at = found[0] if found else at


def _name(command: object) -> str:
    return type(command).__name__


def test_a_lost_heartbeat_takes_the_files_that_the_document_names() -> None:
    """In this order, each in the turn whose sign the document names; and there are few enough to be read."""
    path = path_of((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))  # with milestones and commands
    assert 5 < len(path) <= FILES_MAX
    assert all((ROOT / file).exists() for file, _ in path)
    assert list(strays(path, story())) == []


def test_a_file_that_is_not_on_the_path_is_found() -> None:
    """Planted: a file that decides nothing here, one with another's sign, and two in the wrong order."""
    text = "\n### The files, in order\n\n| 1 | [a](../avance/core/operator.py) | x | `peer_lost` |\n"
    wrong = path_of(text)
    assert wrong == [("avance/core/operator.py", "peer_lost")]
    wrong += [("avance/core/unit.py", "FeedWatchdog"), ("avance/core/takeover.py", "takeover_decided")]
    wrong += [("avance/core/pair.py", "peer_lost")]
    assert list(strays(wrong, story())) == ["avance/core/operator.py", "avance/core/pair.py"]
