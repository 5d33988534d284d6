"""Proves that the schedules that lie beside the faults are possible, whoever is primary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import faults
from faults.schedule.schedule import expand, load, resolve

FILES = sorted((Path(str(faults.__file__)).parent / "schedules").glob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("roles", [{"primary": "a", "backup": "b"}, {"primary": "b", "backup": "a"}], ids=str)
def test_an_example_is_possible(path: Path, roles: dict[str, str]) -> None:
    """It is read, fixed and resolved, and its name is that of its file."""
    schedule = load(path)
    assert schedule.scenario == path.stem.replace("_", "-")
    assert schedule.about.endswith(".")
    fixed = resolve(expand(schedule.seed, schedule), roles)
    assert fixed.is_fixed
    assert not any(role in json.dumps([step.target for step in fixed.steps]) for role in roles)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_drawn_anew_by_each_seed(path: Path) -> None:
    """The fault comes at a random phase of the heartbeat, and the same seed repeats it."""
    schedule = load(path)
    assert expand(1, schedule) == expand(1, schedule)
    assert expand(1, schedule).steps[0].when != expand(2, schedule).steps[0].when


def test_the_example_in_the_documentation_is_the_file() -> None:
    """What a newcomer reads and tries is what was tested; only the sentence about it is left out."""
    text = (FILES[0].parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    shown = text[text.index('{"schema": "testbed.schedule/1"') :].partition("\n```")[0]
    decoder, objects, at = json.JSONDecoder(), [], 0
    while at < len(shown):
        found, at = decoder.raw_decode(shown, at)
        objects.append(found)
        at += len(shown[at:]) - len(shown[at:].lstrip())
    path = next(path for path in FILES if path.stem == "cut_during_resync")
    real = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert objects == [{**real[0], "about": "..."}, *real[1:]]
