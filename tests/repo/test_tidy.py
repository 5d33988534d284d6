"""The tree keeps its own rules, and each rule is proved to bite on a planted violation."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.judge.panel import ORACLES, names
from tests.repo import tidy

ROOT = Path(__file__).resolve().parents[2]
RULES = {"tests/repo/tidy.py", "tests/repo/test_tidy.py"}  # these name what they forbid
OWNED_TASK = '''
"""D."""
import asyncio
class A:
    async def __aenter__(self):
        self._t = asyncio.create_task(f())
    async def __aexit__(self, *e):
        self._t.cancel()
'''


def test_python_files_keep_the_rules() -> None:
    """Layers, walls, banned calls, sizes and docstrings hold in every Python file."""
    complaints = [c for path, source in tidy.modules(ROOT).items() for c in tidy.source_complaints(path, source)]
    assert not complaints, "\n".join(complaints)


def test_every_module_has_its_test() -> None:
    """A reader finds the test of a module by its path."""
    complaints = tidy.mirror_complaints(tidy.modules(ROOT), tidy.UNMIRRORED)
    assert not complaints, "\n".join(complaints)


def test_no_two_classes_share_a_name() -> None:
    """One name, one thing: who reads or searches a class name in product, bed and faults finds one class."""
    complaints = tidy.name_complaints(tidy.modules(ROOT), tidy.SHARED_NAMES)
    assert not complaints, "\n".join(complaints)


def test_tree_names_no_machine_and_no_registry() -> None:
    """The tree works wherever it is cloned."""
    texts = {path: text for path, text in tidy.tracked_files(ROOT).items() if path not in RULES}
    complaints = [c for path, text in texts.items() for c in tidy.text_complaints(path, text)]
    assert not complaints, "\n".join(complaints)


def test_safety_rules_are_cited_by_their_number() -> None:
    """Whoever cites a rule of docs/safety.md cites one that is there; the rules are numbered without a gap."""
    texts = {path: text for path, text in tidy.tracked_files(ROOT).items() if path not in RULES}
    design = texts["docs/safety.md"]
    rules = {*tidy.RULE_HEADING.findall(design)}
    complaints = [c for path, text in texts.items() for c in tidy.citation_complaints(path, text, rules)]
    complaints += tidy.rule_complaints(design)
    assert rules
    assert not complaints, "\n".join(complaints)


def test_links_in_documents_resolve() -> None:
    """Every link of the README and of docs leads to a file, and to a heading of it where one is named."""
    texts = {path: text for path, text in tidy.tracked_files(ROOT).items() if path.endswith(".md")}
    complaints = [c for path, text in texts.items() for c in tidy.link_complaints(path, text, ROOT)]
    assert not complaints, "\n".join(complaints)


def test_examples_of_changes_are_real() -> None:
    """What CONTRIBUTING.md shows as a change is in the tree as it stands there."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "```diff" in text
    complaints = tidy.diff_complaints("CONTRIBUTING.md", text, tidy.modules(ROOT))
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("folder", ["docs/decisions", "docs/measurements"])
def test_every_page_of_a_folder_is_linked_from_its_readme(folder: str) -> None:
    """A reader finds each decision, and each measurement, in one place."""
    pages = {page.name: page for page in (ROOT / folder).glob("*.md")}
    complaints = tidy.list_complaints(pages.pop("README.md").read_text(encoding="utf-8"), pages)
    assert pages
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        ("avance/core/x.py", "import asyncio", "not pure"),
        ("avance/core/x.py", "import time", "not pure"),
        ("avance/core/x.py", "from avance.wire import drbd", "avance.core only"),
        ("avance/core/x.py", "def f():\n    import socket", "not pure"),
        ("avance/wire/x.py", "from avance.adapters import xen", "avance/wire imports avance.core, avance.wire"),
        ("avance/adapters/x.py", "from avance.adapters import xen", "an adapter imports"),
        ("avance/adapters/x.py", "import avance.daemon", "an adapter imports"),
        ("testbed/x.py", "import avance.core.model", "must not import avance"),
        ("testbed/x.py", "from faults import plan", "must not import faults"),
        ("faults/x.py", "import avance", "must not import avance"),
        ("images/x.py", "import testbed.process", "must not import testbed"),
        ("tests/system/test_x.py", "import avance.core", "published schema"),
        ("testbed/x.py", "from qemu.qmp import QMPClient", "walled"),
        ("tests/unit/testbed/test_x.py", "import allure", "walled"),
        ("testbed/x.py", "import subprocess", "process.py"),
        ("testbed/x.py", "import asyncio\nasync def f():\n    await asyncio.create_subprocess_exec('x')", "process.py"),
        ("testbed/x.py", "import time\ntime.time()", "time.monotonic"),
        ("testbed/x.py", "from time import sleep", "time.sleep"),
        ("testbed/x.py", "import asyncio\nx = asyncio.create_task(f())", "TaskGroup"),
        ("testbed/x.py", "import random\nrandom.choice([1])", "seeded"),
        ("testbed/x.py", "from random import choice", "seeded"),
        ("tests/unit/x.py", "from unittest.mock import Mock", "fake"),
        ("testbed/x.py", "try:\n    f()\nexcept Exception:\n    pass", "too broad"),
        ("testbed/x.py", "try:\n    f()\nexcept:\n    pass", "too broad"),
        ("testbed/x.py", "try:\n    f()\nexcept (OSError, Exception):\n    pass", "too broad"),
        ("testbed/x.py", "async def f(r):\n    return await r.readline()", "socket_line.py"),
        ("avance/x.py", "f = s.makefile('rb')", "socket_line.py"),
        ("testbed/x.py", "x = 1\n" * 501, "the limit is 500"),
        ("testbed/x.py", "def f():\n" + "    x = 1\n" * 70, "f has 71 lines"),
        ("testbed/x.py", "x = 1", "no module docstring"),
        ("tests/unit/test_x.py", "def test_a():\n    assert f()", "test_a does not state"),
        ("tests/unit/test_x.py", "import pytest\n@pytest.mark.skip\ndef test_a(): ...", "skip needs a reason"),
        ("tests/unit/test_x.py", "import pytest\npytest.skip()", "skip needs a reason"),
        ("tests/unit/test_x.py", "import pytest\npytest.skip('')", "skip needs a reason"),
        ("tests/unit/test_x.py", "import pytest\nm = pytest.mark.skipif(x)", "skip needs a reason"),
    ],
)
def test_planted_violation_is_found(path: str, code: str, expected: str) -> None:
    """Each rule complains about a file that breaks it."""
    complaints = tidy.source_complaints(path, code)
    assert any(expected in complaint for complaint in complaints), complaints


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("avance/core/x.py", '"""D."""\nfrom avance.core import model\nimport enum'),
        ("avance/adapters/x.py", '"""D."""\nfrom avance import clock\nfrom avance.adapters import process'),
        ("faults/x.py", '"""D."""\nimport testbed.switch\nimport random\nr = random.Random(3)'),
        ("testbed/node/qmp.py", '"""D."""\nimport qemu.qmp'),
        ("testbed/x.py", OWNED_TASK),
        ("testbed/x.py", '"""D."""\ntry:\n    f()\nexcept BaseException:\n    g()\n    raise'),
        ("tests/unit/test_x.py", '"""D."""\nimport pytest\nm = pytest.mark.skipif(x, reason="no KVM")'),
    ],
)
def test_good_file_has_no_complaint(path: str, code: str) -> None:
    """The rules leave correct files alone."""
    assert tidy.source_complaints(path, code) == []


def test_missing_mirror_is_found() -> None:
    """A module with a function needs a test of its name, by itself or with other programs."""
    code = "def f(): return 1"
    assert tidy.mirror_complaints({"testbed/x.py": code}, {}) == [
        "testbed/x.py: no test at tests/unit/testbed/test_x.py or tests/integration/testbed/test_x.py"
    ]
    for mirror in ("tests/unit/testbed/test_x.py", "tests/integration/testbed/test_x.py"):
        assert tidy.mirror_complaints({"testbed/x.py": code, mirror: ""}, {}) == []
    assert tidy.mirror_complaints({"testbed/__main__.py": code, "tests/unit/testbed/test_main.py": ""}, {}) == []
    assert tidy.mirror_complaints({"testbed/x.py": "X = 1"}, {}) == []
    assert tidy.mirror_complaints({"testbed/x.py": 'def f():\n    """Port."""\n    ...'}, {}) == []


def test_stale_exemption_is_found() -> None:
    """An exemption that is not needed any more must go."""
    code = "def f(): return 1"
    both = {"testbed/x.py": code, "tests/unit/testbed/test_x.py": ""}
    assert tidy.mirror_complaints({"testbed/x.py": code}, {"testbed/x.py": "why"}) == []
    assert "has one" in tidy.mirror_complaints(both, {"testbed/x.py": "why"})[0]
    assert "does not exist" in tidy.mirror_complaints({}, {"testbed/x.py": "why"})[0]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"avance/a.py": "class Rule: ...", "testbed/b.py": "class Rule: ..."}, "Rule is the name of a class in"),
        ({"testbed/a.py": "class _Rule: ...", "faults/b.py": "class Rule: ..."}, "testbed/a.py and in faults/b.py"),
        ({"testbed/a.py": "class A:\n    class B: ...\nclass B: ..."}, "testbed/a.py and in testbed/a.py"),
        ({f"{path}.py": "class S: ..." for path in ("testbed/a", "faults/a", "faults/b")}, "S is the name"),
        ({"testbed/a.py": "class S: ..."}, "S: may be shared, but is not"),
        ({}, "S: may be shared, but is not"),
    ],
)
def test_shared_name_is_found(sources: dict[str, str], expected: str) -> None:
    """Two classes of one name are reported; so are a third one of a name that two may share, and a stale entry."""
    shared = {"S": (("testbed/a.py", "faults/a.py"), "why")}
    assert any(expected in complaint for complaint in tidy.name_complaints(sources, shared))


def test_distinct_and_excused_names_have_no_complaint() -> None:
    """Names that differ, those of the table, and those of tests and images are left alone."""
    shared = {"S": (("testbed/a.py", "faults/a.py"), "why")}
    sources = {"testbed/a.py": "class S: ...\nclass A: ...", "faults/a.py": "class S: ...\nclass B: ..."}
    others = {"tests/a.py": "class A: ...", "images/a.py": "class A: ..."}
    assert tidy.name_complaints({**sources, **others}, shared) == []


@pytest.mark.parametrize(
    "text", [f"open('{ROOT.root}work/main/x')", "cd /tmp/x", "https://pypi.example/simple", '"resolved": "x"']
)
def test_machine_text_is_found(text: str) -> None:
    """A path of one machine or a registry is found in any file."""
    assert tidy.text_complaints("docs/x.md", f"fine\n{text}\n")[0].startswith("docs/x.md:2")


def test_broken_link_is_found(tmp_path: Path) -> None:
    """A link to a missing file or heading is reported, one to what is there or to the web is not."""
    (tmp_path / "there.md").write_text("# A\n\n## The part, `b` of it\n")
    good = "# Here\n[a](there.md#the-part-b-of-it) [c](https://example.org) [d](#here)"
    assert tidy.link_complaints("README.md", good, tmp_path) == []
    bad = "[b](gone.md) [e](there.md#part) [f](#here)\n```\n# Here\n```\n"
    complaints = [f"README.md: broken link {link}" for link in ("gone.md", "there.md#part", "#here")]
    assert tidy.link_complaints("README.md", bad, tmp_path) == complaints


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(docs/safety.md, S9)", "no rule S9"),
        ("(docs/safety.md, S1 and S9)", "no rule S9"),
        ("    # as in docs/safety.md,\n    # S9", "no rule S9"),
        ("(arbitration\ndesign, section 5)", "arbitration design"),
        ("the record (rule R1)", "rule R1"),
        ("never cleared (R5)", "(R5)"),
    ],
)
def test_citation_of_no_rule_is_found(text: str, expected: str) -> None:
    """A number that no rule has is found, and so is a citation of what the rules came from."""
    assert expected in tidy.citation_complaints("avance/core/x.py", text, {"S1"})[0]


def test_citation_of_a_rule_has_no_complaint() -> None:
    """A rule that is there may be cited, also together with another one and over the end of a line."""
    text = "(docs/safety.md, S1 and S2)\n# docs/safety.md,\n# S2"
    assert tidy.citation_complaints("avance/core/x.py", text, {"S1", "S2"}) == []


def test_gap_in_the_rules_is_found() -> None:
    """A rule without its neighbour was renumbered in one place only."""
    assert tidy.rule_complaints("### S1: a\n\n### S2: b\n") == []
    assert "numbered [1, 3]" in tidy.rule_complaints("### S1: a\n\n### S3: b\n")[0]


def test_page_without_a_link_is_found() -> None:
    """A page that was added and not listed is reported."""
    assert tidy.list_complaints("[a](a.md) [b](b.md#part)", ["a.md", "b.md"]) == []
    assert "c.md is not linked" in tidy.list_complaints("[a](a.md)", ["a.md", "c.md"])[0]


def test_an_example_that_is_no_longer_true_is_found() -> None:
    """A line that was changed, and a file that is gone; context and removed lines do not count."""
    text = "```diff\n+++ b/x.py\n was\n-gone\n+kept = 1\n+changed = 2\n+++ b/y.py\n+other = 3\n```\n"
    complaints = tidy.diff_complaints("A.md", text, {"x.py": "kept = 1\nchanged = 3\n"})
    assert complaints == ["A.md: x.py has no line 'changed = 2'", "A.md: y.py has no line 'other = 3'"]
    assert tidy.diff_complaints("A.md", "```\n+no diff\n```\n", {}) == []


def test_every_oracle_in_the_document_is_on_the_list() -> None:
    """Whoever reads a row finds its finding in a result."""
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    table = text.partition("\n| Oracle | What it watches |")[2].partition("\n\n")[0]
    told = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert len(told) >= 9
    assert set(told) <= set(names(ORACLES))


def test_files_that_may_catch_everything_do_so() -> None:
    """The list has no entry that is no longer needed; without it each would be complained about."""
    sources = tidy.modules(ROOT)
    for path in tidy.BROAD_FILES:
        assert any("too broad" in complaint for complaint in tidy.source_complaints(f"elsewhere/{path}", sources[path]))
        assert not any("too broad" in complaint for complaint in tidy.source_complaints(path, sources[path]))
