"""Tests of testbed.judge.oracles.multicasts: the limit, whose frames count, and what makes it blind."""

from __future__ import annotations

import pytest

from testbed.history import History
from testbed.judge.finding import Finding
from testbed.judge.oracles.multicasts import MulticastCount, Multicasts, counts_of, judge_counts, why_uncounted
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.verdict import Verdict

NODE_PORTS = {"a": ["a.priv0", "a.biz0"], "b": ["b.priv0", "b.biz0"]}
VM, NODE = "00:16:3e:77:00:20", "52:54:00:09:00:01"


def judged(*counts: MulticastCount, unseen: str = "") -> Finding:
    """The finding over some counts since 0."""
    return judge_counts(counts, node_ports=NODE_PORTS, unseen=unseen)


def run(history: History) -> Recorded:
    """A run from 1 to 8 s."""
    return Recorded(Scene(), 1.0, 8.0, "none", "none", records=tuple(history))


def asked(*counts: MulticastCount) -> Finding:
    """What the oracle says of counts in a history."""
    history = History()
    history.record_at(0.0, "switch", "counting")
    for one in counts:
        history.record_at(6.0, "switch", "multicast", **vars(one))
    history.record_at(9.0, "switch", "counting")
    return Multicasts().judge(run(history))


def count(peak: int, *, port: str = "a.priv0", mac: str = NODE, last_s: float = 5.0) -> MulticastCount:
    """A second's count."""
    return MulticastCount(port, mac, last_s, peak, peak, last_s - 0.5)


def test_ten_in_a_second_are_allowed_and_eleven_are_not() -> None:
    """The planted violation is one too many."""
    assert judged(count(10)).verdict is Verdict.PASS
    found = judged(count(10, port="b.biz0"), count(11))
    assert found.verdict is Verdict.FAIL
    assert found.text == "node a sent 11 multicasts within one second at a.priv0; 10 are allowed"
    assert found.evidence["peaks"] == {"a.priv0": 11, "a.biz0": 0, "b.priv0": 0, "b.biz0": 10}


def test_the_vm_and_what_is_no_node_do_not_count() -> None:
    """The VM's own ARP passes through its node's port; the client has a port of its own."""
    assert asked(count(99, mac=VM, port="a.biz0"), count(99, port="client.biz0")).verdict is Verdict.PASS
    assert asked(count(99, port="a.biz0")).verdict is Verdict.FAIL


def test_a_source_that_nobody_knows_counts_for_its_node() -> None:
    """A node that invents an address is not let off."""
    assert judged(count(11, mac="02:00:00:00:00:99")).verdict is Verdict.FAIL


def test_what_was_counted_before_does_not_count() -> None:
    """An earlier test in the same history."""
    assert asked(count(11, last_s=0.5)).verdict is Verdict.PASS


def test_a_missing_count_is_blind_unless_what_there_is_shows_too_many() -> None:
    """Nobody knows what was not counted."""
    assert judged(unseen="the switch had to drop events").verdict is Verdict.INCONCLUSIVE
    assert judged(count(11), unseen="the switch had to drop events").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([(0.0, "counting"), (9.0, "counting")], ""),
        ([], "not asked to count from the beginning"),
        ([(2.0, "counting"), (9.0, "counting")], "not asked to count from the beginning"),
        ([(0.0, "counting"), (7.0, "counting")], "not asked for its last counts"),
        ([(0.0, "counting"), (5.0, "lost"), (9.0, "counting")], "had to drop events"),
        ([(0.0, "counting"), (7.5, "ended"), (9.0, "counting")], "ended before the run"),
    ],
)
def test_a_count_that_has_a_hole_is_named(records: list[tuple[float, str]], why: str) -> None:
    """From the beginning, to the end, and nothing dropped between."""
    history = History()
    for t_s, kind in records:
        history.record_at(t_s, "switch", kind)
    found = why_uncounted(run(history))
    assert why in found
    assert bool(found) is bool(why)


def test_counts_are_found_in_a_history() -> None:
    """As the switch reports them."""
    history = History()
    fields = {"port": "a.priv0", "mac": NODE, "first_s": 1.0, "last_s": 1.9, "frames": 3, "cut": 0}
    history.record_at(1.9, "switch", "multicast", **fields, peak=2, peak_from_s=1.2)
    history.record_at(2.0, "switch", "seen", port="a.priv0")
    assert counts_of(history) == [MulticastCount("a.priv0", NODE, 1.9, 3, 2, 1.2)]
