"""The seeded defects: each fits the product as it is, nothing of it is in the product, and it comes alive."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.mutants import __main__ as command
from tests.mutants import mutant as module
from tests.mutants import worker
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, CatalogueError, Edit, Finder, Mutant, install
from tests.mutants.worker import Found

PAUSE = "avance/core/pause.py"
NOTICES = "test_pause_on_a_drifting_clock_is_found"
DEFECT = Mutant(
    "blind",
    "sees no pause",
    (
        Edit(PAUSE, "_DRIFT_S = 30.0", "_DRIFT_S = -1.0"),
        Edit(PAUSE, "return gap_s if gap_s > self.limit_s else 0.0", "return 0.0"),
    ),
)


@pytest.fixture
def meta_path() -> Iterator[None]:
    """The ways of importing, as they were before."""
    before = list(sys.meta_path)
    yield
    sys.meta_path[:] = before


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_each_defect_fits(mutant: Mutant) -> None:
    """The old text is there exactly once, the new one is Python, and a unit test of what it changes exists."""
    for name, source in mutant.sources().items():
        assert source != (ROOT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert all((ROOT / path).is_file() for path in mutant.unit_tests())


def test_names_and_stories() -> None:
    """Names are different, a story is one phrase, and enough defects are within the sight of the simulator."""
    names = [mutant.name for mutant in MUTANTS]
    assert len({*names}) == len(names)
    for mutant in MUTANTS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", mutant.name)
        assert "\n" not in mutant.story + mutant.beyond
        assert not mutant.story.endswith(".")
    assert sum(not mutant.beyond for mutant in MUTANTS) >= command.KILLED_MIN


def test_an_edit_that_no_longer_fits_names_its_place() -> None:
    """A text that is gone, or there twice, is an error: a defect cannot rot unseen."""
    edit = Edit(PAUSE, "x = 1\n", "x = 2\n")
    assert edit.applied("x = 1\n") == "x = 2\n"
    for source, times in (("y = 1\n", 0), ("x = 1\nx = 1\n", 2)):
        with pytest.raises(CatalogueError, match=rf"pause\.py: this text is there {times} times"):
            edit.applied(source)


def test_the_import_gives_the_defect(meta_path: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is imported after the finder is in place has the defect; the file has not."""
    sys.meta_path.insert(0, Finder(DEFECT.sources()))
    monkeypatch.delitem(sys.modules, "avance.core.pause", raising=False)
    assert importlib.import_module("avance.core.pause")._DRIFT_S == -1.0
    assert "-1.0" not in (ROOT / PAUSE).read_text(encoding="utf-8")
    monkeypatch.delitem(sys.modules, "avance.core.pause")
    sys.meta_path.pop(0)
    assert importlib.import_module("avance.core.pause")._DRIFT_S == 30.0


def test_a_module_that_is_there_already_is_an_error(meta_path: None) -> None:
    """A defect that came too late would look like one that survives."""
    importlib.import_module("avance.core.pause")
    with pytest.raises(CatalogueError, match="imported already"):
        install(DEFECT)


def test_the_worker_does_not_import_the_product() -> None:
    """What each process loads before the defect is in it has nothing of the product."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_product_modules).result() == []


def _product_modules() -> list[str]:
    importlib.import_module("tests.mutants.worker")
    return [name for name in sys.modules if name.split(".")[0] == "avance"]


def test_a_defect_is_killed_and_the_sound_product_is_not() -> None:
    """The unit test of pause detection notices the defect, and passes without it."""
    paths = tuple(DEFECT.unit_tests())
    with command._pool(1) as pool:
        killed = pool.submit(worker.run_tests, DEFECT, paths, frozenset()).result()
        sound = pool.submit(worker.run_tests, None, paths, frozenset()).result()
        last = pool.submit(worker.run_tests, DEFECT, paths, frozenset(), every=True).result().failed[-1]
        again = pool.submit(worker.run_tests, DEFECT, paths, frozenset(), first=worker.short(last)).result()
    assert killed.failed
    assert killed.failed[0].startswith("tests/unit/avance/core/test_pause.py::")
    assert not sound.failed
    assert last != killed.failed[0]
    assert again.failed == (last,), "what noticed it the last time is tried first"


def test_only_what_is_named_is_run() -> None:
    """Nothing else is asked whether it notices; what failed without a defect, or is there no more, is not run."""
    folders, name = (worker.UNITS,), f"test_pause.py::{NOTICES}"
    with command._pool(1) as pool:
        kills = pool.submit(worker.named, DEFECT, frozenset({name, "test_x.py::test_y"}), folders, frozenset())
        [killer] = kills.result().failed
        assert worker.short(killer) == name
        no_proof = pool.submit(worker.named, DEFECT, frozenset({name}), folders, frozenset({killer}))
        assert not no_proof.result().failed


class _Told(Executor):
    """Answers as it was told what fails, by the name of the mutant; notes what it was asked."""

    def __init__(self, failed: dict[str, tuple[str, ...]]) -> None:
        self._failed = failed
        self.asked: list[tuple[str, list[str], tuple[str, ...]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:  # noqa: ANN401 - as in Executor
        """Answer at once: what fails, without what must not be run."""
        mutant, names, folders, excluded = args
        name = mutant.name if mutant else ""
        self.asked.append((name, sorted(names), folders))
        future: Future[Any] = Future()
        future.set_result(Found(tuple(one for one in self._failed.get(name, ()) if one not in excluded), 1.0))
        return future


def test_the_killer_that_the_page_names_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    """One that passes with the defect, or fails without it, is no proof; then, as without a name, a search follows."""
    unit, other, row = "`test_pause.py::test_a`", "`test_pause.py::test_b`", "`test_rows_a.py::test_a1[1]`"
    known = {
        "killed": command.Line("as it was told before", row, unit),
        "by-the-simulator": command.Line("", row, "**survives**"),
        "passes-on-it": command.Line("", row, unit),
        "fails-without-it": command.Line("", row, other),
        "survived": command.Line("", "cannot see it", "**survives**"),
    }
    chosen = [Mutant(name, "a story", DEFECT.edits) for name in (*known, "new")]
    mirror = "tests/unit/avance/core/test_pause.py"
    a, b, a1 = f"{mirror}::test_a", f"{mirror}::test_b", "tests/sim/test_rows_a.py::test_a1[1]"
    pool = _Told({"": (b,), "killed": (a,), "by-the-simulator": (a1,), "fails-without-it": (b,)})
    broken, lines = command.ask_named(pool, chosen, known)
    assert broken == {b}
    assert lines == {
        "killed": command.Line("a story", row, unit),
        "by-the-simulator": command.Line("a story", row, "**survives**"),
    }
    first, second, third = (worker.short(one) for one in (a, b, a1))
    assert pool.asked == [
        ("", [first, second, third], ("tests/unit", "tests/sim")),
        ("killed", [first], ("tests/unit",)),
        ("by-the-simulator", [third], ("tests/sim",)),
        ("passes-on-it", [first], ("tests/unit",)),
        ("fails-without-it", [second], ("tests/unit",)),
    ]
    assert "not yet   passes-on-it: test_pause.py::test_a" in capsys.readouterr().out


def test_the_page_says_what_the_last_run_has_seen(tmp_path: Path) -> None:
    """A run of all says which cells it tried itself; a run of some leaves that sentence, and its rows change."""
    page, line = tmp_path / "page.md", command.Line("a story", "`test_rows_a.py::test_a1[1]`", "`test_x.py::test_y`")
    first, second = (mutant.name for mutant in MUTANTS[:2])
    lines = {first: line, second: line}
    told = command.verified(lines, [second])
    assert told.startswith("The last run of all mutants: 2 of 2 are noticed. It asked the unit test that a row names")
    assert told.endswith(f"searched for anew, in both columns: {second}.")
    assert command.verified(lines, [first, second]).endswith("It searched for all of them in both columns.")
    assert command.verified(lines, []).endswith("The other cell of a row is as an earlier run left it.")
    command.write(page, lines, 10, told)
    command.write(page, {second: replace(line, units="**survives**")}, 10, "")
    written = page.read_text(encoding="utf-8")
    assert told in written.splitlines()
    assert command.read_page(written) == {first: line, second: replace(line, units="**survives**")}


def test_the_score_names_survivors() -> None:
    """One that outlives the simulator is named, unless it lies beyond its sight; so is one that outlives everything."""
    edit = DEFECT.edits
    yes, no = Found(("tests/sim/test_rows_a.py::test_a1[1]",), 1.0), Found((), 1.0)
    verdicts = [
        command.Verdict(Mutant("one", "is noticed", edit), yes, no),
        command.Verdict(Mutant("two", "is not noticed", edit), no, yes),
        command.Verdict(Mutant("three", "is below", edit, "it has a model of its own"), None, yes),
        command.Verdict(Mutant("four", "is noticed by nobody", edit), no, no),
    ]
    assert [verdict.survives for verdict in verdicts] == [False, False, False, True]
    told = command.score(command.lines_of(verdicts))
    assert "the simulator kills 1 of 3" in told
    assert told.endswith("; only unit tests notice two; survivors: four")
    page = command.document(command.lines_of(verdicts), 10, "")
    assert "| two | is not noticed | **survives** | `test_rows_a.py::test_a1[1]` |" in page
    assert "| three | is below | cannot see it |" in page
    two, three = (command.read_page(page)[name] for name in ("two", "three"))
    assert two.killer(two.units) == "test_rows_a.py::test_a1[1]"
    assert not two.killer(two.simulator) + three.killer(three.simulator)


def test_the_page_knows_every_defect() -> None:
    """The published table is that of the present catalogue."""
    page = (ROOT / "docs/mutants.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| ([a-z-]+) \| (.+?) \| ", page, re.MULTILINE)
    assert named == [(mutant.name, mutant.story) for mutant in MUTANTS]


def test_no_switch_in_the_product() -> None:
    """The product does not know that it can be defective."""
    for path in (ROOT / "avance").rglob("*.py"):
        assert "mutant" not in path.read_text(encoding="utf-8"), path
    assert module.ROOT == ROOT


def test_mutants_that_were_not_tried_keep_their_line(tmp_path: Path) -> None:
    """A page of all is read again as it was written; only what was tried changes, in the order of the catalogue."""
    page, (first, second) = tmp_path / "page.md", MUTANTS[:2]
    no, yes = Found((), 1.0), Found(("tests/unit/test_x.py::test_a[1|2]",), 1.0)
    command.write(page, command.lines_of([command.Verdict(second, no, yes)]), 10, "")
    command.write(page, command.lines_of([command.Verdict(first, yes, no)]), 10, "")
    lines = command.read_page(page.read_text(encoding="utf-8"))
    assert list(lines) == [first.name, second.name]
    assert lines == command.lines_of([command.Verdict(first, yes, no), command.Verdict(second, no, yes)])
