"""Documents and sources spell states, milestones, phases and alerts as they are published; each check is proved."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from avance.core.conditions import TABLE
from avance.core.model import NodePart
from faults.run.examine import ALERTS_OF_A_TAKEOVER
from testbed.bed import Stage
from testbed.vocabulary import PHASES, AlertCode, Milestone, PairState, VmState
from tests.repo import tidy, words

ROOT = Path(__file__).resolve().parents[2]
STATES = (*get_args(PairState), *get_args(VmState), "UP", "SUSPECT", "DOWN", *(stage.name for stage in Stage))
BED = ("testbed/", "faults/", "tests/system/", "tests/selftest/", "tests/unit/testbed/", "tests/unit/faults/",
       "tests/integration/testbed/", "tests/integration/faults/")  # fmt: skip
# Told about the past, or made by a program: they may name what is gone.
HISTORY = ("CHANGELOG.md", "docs/mutants.md")


def test_the_bed_spells_no_state_that_the_product_does_not_publish() -> None:
    """Also not in the invented runs of its tests."""
    found = [
        complaint
        for path, source in tidy.modules(ROOT).items()
        if path.startswith(BED)
        for complaint in words.strange_literals(path, source, STATES)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "word"), [('x = "CLAIMING"', "CLAIMING"), ('x = {"PAIRED ISOLATED": 1}', "ISOLATED")]
)
def test_a_state_that_is_not_published_is_found(source: str, word: str) -> None:
    """Planted: the two that the picture once coloured."""
    assert [complaint.split()[1] for complaint in words.strange_literals("x.py", source, STATES)] == [word]
    assert list(words.strange_literals("x.py", 'x = "SPLIT STANDBY", "Claiming", "RESET"', STATES)) == []


def sources() -> dict[str, str]:
    """Everything that is no document."""
    files = tidy.tracked_files(ROOT)
    own = ("tests/repo/words.py", "tests/repo/test_words.py")
    return {path: text for path, text in files.items() if not path.endswith(".md") and path not in own}


def test_documents_name_only_what_is_there() -> None:
    """States, milestones, phases, alerts, and every other name in code."""
    known = words.words_of(sources())
    texts = {path: text for path, text in tidy.tracked_files(ROOT).items() if path.endswith(".md")}
    found = [
        complaint
        for path, text in texts.items()
        if path not in HISTORY
        for complaint in words.strange_words(path, text, known)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("the node is then ISOLATED.", "ISOLATED"),
        ("wait for `epoch_is_saved`", "epoch_is_saved"),
        ("```\npeer_was_lost: PAIRED -> WAITING\n```", "peer_was_lost"),
    ],
)
def test_a_word_that_stands_nowhere_is_found(text: str, word: str) -> None:
    """Planted: a state, a milestone in a line, and one in a block."""
    known = words.words_of({"avance/x.py": "PAIRED WAITING peer_lost"})
    assert list(words.strange_words("x.md", text, known)) == [f"x.md: {word} stands nowhere in the sources"]
    assert list(words.strange_words("x.md", "a plain_word, PAIRED, `peer_lost`, `x`", known)) == []


def test_the_glossary_lists_what_is_published() -> None:
    """Milestones, states of the pair, stages of the bed and phases, in their order."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert words.listed(text, "\nMilestones: ", "\n\n") == list(get_args(Milestone))
    states = [word for word in words.listed(text, "Pair states, as one node sees them: ", "|\n") if word != "UNPAIRED"]
    assert states == [word for word in get_args(PairState) if word != "UNPAIRED"]
    assert words.listed(text, "| stage | ", "|\n") == [stage.name for stage in Stage]
    phases = re.search(r"\| phase \|.*?: ([a-z_, ]+) \|", text)
    assert phases is not None
    assert phases[1].split(", ") == list(PHASES)


def test_figures_of_phases_are_of_phases() -> None:
    """In sources and documents; the names of the store's metrics are made of them."""
    files = tidy.tracked_files(ROOT)
    own = "tests/repo/test_words.py"
    found = [one for path, text in files.items() if path != own for one in words.strange_phases(path, text, PHASES)]
    assert found == []
    assert list(words.strange_phases("x", 'A = "phase.detect"; B = "phase.claim"', PHASES)) == [
        "x: there is no phase claim"
    ]


def test_the_product_publishes_every_code_that_it_can_send() -> None:
    """So the list in the schema of alerts is whole, and has none that is never sent."""
    requests = set(re.findall(r'event\.request == "([a-z-]+)"', (ROOT / "avance/core/operator.py").read_text()))
    alerts = (ROOT / "avance" / "core" / "alerts.py").read_text(encoding="utf-8")
    schema = json.loads((ROOT / "avance" / "schema" / "alert.json").read_text(encoding="utf-8"))
    conditions = {code for row in TABLE if row.told for code in (row.code, row.over)}
    assert sorted(words.alert_codes(alerts, requests, NodePart, conditions)) == schema["properties"]["code"]["enum"]
    assert set(ALERTS_OF_A_TAKEOVER) <= set(get_args(AlertCode))


def test_a_code_of_an_alert_is_found_where_it_is_made() -> None:
    """Planted: a constant, one that is made of an operator's request, and one that is made of a part of a node."""
    source = 'def f():\n    return Alert("fault", "new_one", "critical", "x")\ndef g(code):\n    Alert("x", code, "y")'
    source += '\ndef h(part):\n    return Alert("fault", f"{part}_gone", "info", "z")'
    assert words.alert_codes(source, ["keep", "reset-device"], ["gate"]) == {
        "new_one",
        "operator_keep",
        "operator_reset_device",
        "gate_gone",
    }
