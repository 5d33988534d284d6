"""Tests of testbed.judge.sightings: what the switch's records say, and when they cannot say it."""

from __future__ import annotations

import pytest

from testbed.history import History, HistoryRecord, load
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.sightings import Sighting, is_complete, joined, sightings, sightings_of, why_unwatched

VM = "00:16:3e:77:00:20"


def used(port: str, first_s: float, last_s: float, *, address: str = VM, is_cut: bool = False) -> Sighting:
    """An address in use at a port."""
    return Sighting(address, port, first_s, last_s, is_cut)


def test_the_switchs_records_become_sightings_also_from_a_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Claims and aggregates are taken, other records passed over, and a run from disk gives the same answer."""
    path = tmp_path_factory.mktemp("run") / "history.jsonl"
    with History(path) as history:
        history.record("probe", "ok")
        history.record_at(5.0, "switch", "claim", ip="10.77.0.10", port="a.biz0", how="garp", cut=False)
        history.record_at(9.0, "switch", "seen", mac=VM, port="b.biz0", first_s=8.0, last_s=9.0, frames=2, cut=True)
        found = sightings(history)
        assert found == [used("a.biz0", 5.0, 5.0, address="10.77.0.10"), used("b.biz0", 8.0, 9.0, is_cut=True)]
    assert sightings(load(path)) == found


def test_lost_events_make_the_record_incomplete() -> None:
    """Without all events the absence of a violation proves nothing."""
    assert is_complete([HistoryRecord(0, 0.0, "switch", "claim", {})])
    assert not is_complete([HistoryRecord(0, 0.0, "switch", "lost", {"count": 3})])


def test_uses_with_small_gaps_are_one_stretch_which_is_cut_when_all_of_it_was() -> None:
    """A port that is silent for less than the gap is active all the time."""
    seen = [used("a.biz0", 3, 4), used("a.biz0", 0, 2, is_cut=True), used("a.biz0", 9, 9, is_cut=True)]
    assert joined(seen, 1.0) == [used("a.biz0", 0, 4), used("a.biz0", 9, 9, is_cut=True)]


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([(0.0, "watching")], ""),
        ([], "not asked to watch the addresses from the beginning"),
        ([(2.0, "watching")], "not asked to watch the addresses from the beginning"),
        ([(0.0, "watching"), (5.0, "lost")], "had to drop observations"),
        ([(0.0, "watching"), (5.0, "ended")], "ended before the run"),
    ],
)
def test_a_watch_that_has_a_hole_is_named(records: list[tuple[float, str]], why: str) -> None:
    """From the beginning, to the end, and nothing dropped between."""
    history = History()
    for t_s, kind in records:
        history.record_at(t_s, "switch", kind)
    history.record_at(6.0, "switch", "claim", mac=VM, port="a.biz0")
    found = why_unwatched(Recorded(Scene(), 1.0, 8.0, "none", "none", records=tuple(history)))
    assert why in found
    assert bool(found) is bool(why)


def test_a_vm_that_nobody_saw_was_not_watched() -> None:
    """An address that nobody has would always be used by one node only; what was seen before does not count."""
    history = History()
    history.record_at(0.0, "switch", "watching")
    history.record_at(0.5, "switch", "claim", mac=VM, port="a.biz0")
    run = Recorded(Scene(), 1.0, 8.0, "none", "none", records=tuple(history))
    assert sightings_of(run) == []
    assert "did not send a single frame" in why_unwatched(run)
