"""Proves that the work of the measure is done, and that programs beside it slow it down."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from testbed.host import speed_work


def test_the_sum_is_right() -> None:
    """The loop really adds."""
    assert speed_work.add(1001) == 500_500


def test_every_round_of_every_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers with three rounds give six times, none of them nothing."""
    monkeypatch.setattr(speed_work, "ROUND_ADDITIONS", 1000)
    found = speed_work.rounds_at_once(3, 2)
    assert len(found) == 6
    assert min(found) > 0


def test_it_knows_how_long_it_waited() -> None:
    """The kernel's account of this process, which never shrinks."""
    before = speed_work.waited_s()
    assert speed_work.waited_s() >= before >= 0


def test_it_needs_nothing_but_the_interpreter() -> None:
    """It is run with -I -S, so it may import nothing that is not in the library, and stays small."""
    text = Path(speed_work.__file__).read_text(encoding="utf-8")
    named = {line.split()[1] for line in text.splitlines() if line.startswith("import ")}
    assert named <= set(sys.stdlib_module_names)
