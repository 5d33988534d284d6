"""Tests of testbed.judge.recorded: what is written is what is read back, and which records are judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.client.ledger import Ledger
from testbed.history import History
from testbed.judge.recorded import RECORDS, Recorded, Scene, book_file, load
from testbed.replica.compare import Comparison, ReplicaReport
from testbed.replica.reading import Reading, unreadable
from testbed.topology import Topology

UNEQUAL = Comparison("a", "b", 9, 1, ((0, 9), (4096, 4096)))
REPORT = ReplicaReport({"a": "x"}, (UNEQUAL,), (Comparison("a", "on vdc", 9, 0),), ("one",), {"a": "g"}, ("b",))
READINGS = (Reading("the service", 9.0, ("w0", "w1"), totals=(2,)), unreadable("replica b", 9.5, "no disk"),
            Reading("kept", 9.5, ("w2",), given_up_by="a"))  # fmt: skip


@pytest.mark.parametrize("replicas", [REPORT, "node a was off"])
@pytest.mark.parametrize("readings", [READINGS, "the run broke off"])
def test_a_run_is_read_back_as_it_was_written(
    tmp_path: Path, replicas: ReplicaReport | str, readings: tuple[Reading, ...] | str
) -> None:
    """Records and books from their own files, everything else from recorded.json, for each VM."""
    topology = Topology(vms=2, networks=2)
    web, other = topology.guests
    with (
        History(tmp_path / RECORDS) as history,
        Ledger(tmp_path / book_file(web)) as ledger,
        Ledger(tmp_path / book_file(other)) as second,
    ):
        history.record_at(5.25, "switch", "claim", mac="x", port="a.biz0", first_s=5.0, last_s=5.25)
        ledger.invoked("w0", 1.5)
        ledger.ok("w0", 0, 2.5)
        second.invoked("w.web1-0", 1.5)
        run = Recorded(
            Scene(topology, 2.0), 1.0, 9.0, {"web": replicas, "web1": "it was never protected"},
            readings if isinstance(readings, str) else {"web": readings, "web1": READINGS[1:]},
            overlap_allowed_s=0.5, duplicates_allowed=True, choice_expected=True,
            records=tuple(history), books={"web": ledger.entries(), "web1": second.entries()},
        )  # fmt: skip
    run.write(tmp_path)
    assert load(tmp_path) == run


def test_a_run_that_broke_off_before_the_client_began_has_no_book(tmp_path: Path) -> None:
    """It is read all the same."""
    (tmp_path / RECORDS).write_text("", encoding="utf-8")
    run = Recorded(Scene(), 1.0, 9.0, "none", "none")
    run.write(tmp_path)
    assert load(tmp_path) == run


def test_what_is_judged_lies_in_the_time_that_counts_and_an_aggregate_belongs_to_its_beginning() -> None:
    """An aggregate is stamped with its last frame, which may come after what is judged."""
    history = History()
    for t_s, first_s in ((0.5, None), (1.0, None), (9.0, None), (9.5, None), (9.6, 8.9), (9.7, 9.1)):
        history.record_at(t_s, "switch", "x", **({} if first_s is None else {"first_s": first_s}))
    run = Recorded(Scene(), 1.0, 9.0, "none", "none", records=tuple(history))
    assert [record.t_s for record in run.seen] == [1.0, 9.0, 9.6]
