"""Proves that the history keeps order, is on disk at once and wakes those who wait; never measures time itself."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from testbed.history import History, load

if TYPE_CHECKING:
    from pathlib import Path


def test_records_keep_the_order_in_which_they_were_made() -> None:
    """Indices count from 0 without gaps, whatever the times say."""
    history = History()
    history.record("a", "first")
    history.record_at(0.5, "switch", "stamped_elsewhere")
    history.record("a", "last")
    assert [(entry.index, entry.kind) for entry in history] == [(0, "first"), (1, "stamped_elsewhere"), (2, "last")]


def test_a_record_is_in_the_file_before_the_run_ends(tmp_path: Path) -> None:
    """A crash right after `record` loses nothing: the line can be read while the history is still open."""
    with History(tmp_path / "run" / "history.jsonl", clock=lambda: 12.25) as history:
        history.record("qmp.a", "event", event="STOP", path=tmp_path)
        line = json.loads((tmp_path / "run" / "history.jsonl").read_text(encoding="utf-8"))
    assert line == {"t_s": 12.25, "source": "qmp.a", "kind": "event", "event": "STOP", "path": str(tmp_path)}


def test_a_file_cut_off_by_a_crash_can_be_loaded(tmp_path: Path) -> None:
    """Yesterday's file gives back its records, and half a last line costs only itself."""
    path = tmp_path / "history.jsonl"
    with History(path, clock=lambda: 3.0) as history:
        history.record("probe", "answered", token=7)
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"t_s": 4.0, "sou')
    (entry,) = load(path)
    assert (entry.t_s, entry.source, entry.kind, entry.fields) == (3.0, "probe", "answered", {"token": 7})


def test_times_are_shown_relative_to_the_chosen_zero() -> None:
    """After setting zero the text shows seconds since it, and the change is itself on record."""
    history = History(clock=lambda: 101.5)
    entry = history.record("a", "b", x=1)
    history.zero_at_s = 100.0
    assert entry.text(history.zero_at_s) == "[    1.500] a b x=1"
    assert history.last is not None
    assert history.last.kind == "zero"


def test_a_waiter_is_woken_by_the_record_it_waits_for() -> None:
    """`wait_beyond` ends on the record itself, not on a poll: no time passes in this test's loop otherwise."""

    async def scenario() -> str:
        history = History()
        async with asyncio.timeout(100), asyncio.TaskGroup() as group:
            waiter = group.create_task(history.wait_beyond(1))
            await asyncio.sleep(0)
            history.record("a", "one")
            await asyncio.sleep(0)
            assert not waiter.done()
            history.record("a", "two")
        assert history.last is not None
        return history.last.kind

    assert asyncio.run(scenario()) == "two"


def test_a_field_cannot_hide_the_time() -> None:
    """A recorder that brings its own `t_s` as a field is a programming error, and loud."""
    with pytest.raises(AssertionError, match="hide a column"):
        History().record("a", "b", t_s=1.0)
