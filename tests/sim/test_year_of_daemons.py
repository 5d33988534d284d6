"""Both daemons live through hours of trouble: neither files nor memory grow with the hours (year.py).

With their queues of alerts they live a year in which the service centre is dead: its middle is skipped, because one
more hour changes nothing in either. Then the primary dies, and the service centre comes back.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from avance.adapters.callhome import QUEUE_MAX
from avance.core.grouping import STORIES_MAX
from tests.playbook import A, B
from tests.sim.year import FILES_BYTES_MAX, HOUR_S, HourEnd, Queues, Trouble, complaint

HOURS = 3
YEAR_S = 365 * 24 * HOUR_S
QUEUES_BYTES_MAX = 100_000


def test_no_hour_of_trouble_leaves_more_than_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journals are full several times over, and the engines keep what they kept after the first hour."""
    trouble = Trouble(tmp_path, monkeypatch)
    hours = [trouble.hour() for _ in range(HOURS)]
    assert complaint(hours) == ""
    assert {path.name for path in tmp_path.iterdir()} >= {"inputs-a.jsonl.1", "inputs-b.jsonl.1"}, "they were full"
    assert all(hour.alerts for hour in hours), "it was told of"


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (HourEnd(FILES_BYTES_MAX + 1, {"a": 1000}, 1), "after hour 2 the files hold"),
        (HourEnd(1, {"a": 1040}, 1), "a keeps in memory grew from 1000 to 1040 values in 1 hours"),
        (HourEnd(FILES_BYTES_MAX, {"a": 1010}, 1), ""),
    ],
)
def test_growth_is_found_out(last: HourEnd, said: str) -> None:
    """A file over its bound, or an engine that keeps a little of each fall of a cable."""
    assert said in complaint([HourEnd(1, {"a": 1000}, 1), last])
    assert bool(said) is bool(complaint([HourEnd(1, {"a": 1000}, 1), last]))


def test_a_year_ends_with_bounded_files_and_the_takeover_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is one file for each story and node; the centre hears of each once, and of the takeover."""
    queues = Queues(tmp_path / "callhome", monkeypatch)
    (tmp_path / "journals").mkdir()
    trouble = Trouble(tmp_path / "journals", monkeypatch, queues)
    hours = [trouble.hour(), trouble.hour()]  # the second one is the first in which the backup restarts no more
    before = {node: queues.stories(node) for node in (A, B)}
    hours.append(trouble.hour())
    assert before == {node: queues.stories(node) for node in (A, B)}
    assert "takeover" not in {code for stories in before.values() for code, _ in stories}
    queues.skipped_s = YEAR_S - HOURS * HOUR_S
    assert complaint(hours) == ""
    trouble.primary_dies(60.0)
    last = trouble.hour()
    assert last.files_bytes <= FILES_BYTES_MAX
    assert queues.files_bytes <= QUEUES_BYTES_MAX
    assert {"peer_lost", "takeover"} <= {code for code, _ in queues.stories(B)}
    for node, queue in queues.of.items():
        stories = queues.stories(node)
        assert before[node] <= stories
        assert queue.dropped == 0
        assert len(stories) <= len(queue._groups.stories) < min(STORIES_MAX, QUEUE_MAX / 10)
        assert sorted(queues.delivered(node)) == sorted(stories), "each story once, and nothing is left"
