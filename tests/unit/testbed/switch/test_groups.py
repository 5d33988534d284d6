"""Tests of testbed.switch.groups: what is counted, in which second, and through the switch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.switch.groups import KEPT_FRAMES_MAX, Groups
from tests.unit.testbed.wire import EVERYBODY, MAC_A, MAC_B, Bench, ether

SECOND = 10**9
EVERY_SWITCH = "01:80:c2:00:00:00"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A switch in this process."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        made = Bench(Path(name))
        yield made
        made.close()


def counted(*times_s: float, flush_at_s: tuple[float, ...] = (100.0,)) -> list[dict[str, object]]:
    """The reports on broadcasts at these times, when the switch's turns are at those."""
    events: list[dict[str, object]] = []
    groups = Groups(events.append)
    marks = sorted([(at, True) for at in times_s] + [(at, False) for at in flush_at_s])
    for at_s, is_frame in marks:
        if is_frame:
            groups.frame("a.priv0", ether(EVERYBODY, MAC_A), int(at_s * SECOND), cut=False)
        else:
            groups.flush(int(at_s * SECOND))
    return events


def test_a_report_tells_number_and_peak_of_one_source() -> None:
    """The peak is the most in any one second, wherever that second begins."""
    (report,) = counted(10.0, 10.8, 10.9, 11.1, 11.7)
    assert report == {
        "event": "multicast", "port": "a.priv0", "mac": MAC_A, "first_s": 10.0, "last_s": 11.7, "frames": 5, "cut": 0,
        "peak": 4, "peak_from_s": 10.8,
    }  # fmt: skip


def test_frames_a_second_apart_are_not_in_one_second() -> None:
    """The second is half open."""
    assert counted(10.0, 11.0, 12.0)[0]["peak"] == 1


def test_a_burst_over_the_border_of_two_reports_is_one_burst() -> None:
    """Nothing hides between two seconds of the clock."""
    reports = counted(*[10.9 + n / 100 for n in range(6)], *[11.1 + n / 100 for n in range(6)], flush_at_s=(11.0, 20.0))
    assert [(report["frames"], report["peak"]) for report in reports] == [(6, 6), (6, 12)]


def test_reports_come_once_a_second_and_only_when_there_is_something() -> None:
    """A quiet wire costs no line."""
    assert counted(flush_at_s=(1.0, 2.0, 3.0)) == []
    assert [report["frames"] for report in counted(10.1, 10.3, flush_at_s=(10.2, 10.4, 11.2, 12.3, 13.4))] == [1, 1]


def test_a_storm_is_bounded() -> None:
    """Its number is right and its peak is enough to see it."""
    (report,) = counted(*[10.0 + n / 10_000 for n in range(5_000)])
    assert (report["frames"], report["peak"]) == (5_000, KEPT_FRAMES_MAX)


def test_the_switch_counts_what_devices_send_to_many(bench: Bench) -> None:
    """Broadcast and multicast by port and source; unicast, a stub and what the switch floods are none."""
    assert bench.ask("multicasts")["ok"]
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    bench.send("a.priv0", ether(EVERY_SWITCH, MAC_A))
    bench.send("b.priv0", ether(EVERYBODY, MAC_B))
    bench.send("a.priv0", ether(MAC_B, MAC_A))
    bench.send("a.priv0", b"\xff")
    bench.send("a.priv0", b"")
    bench.control.sendall(b'{"id": 1, "op": "multicasts"}\n')
    reports = {(line["port"], line["mac"]): line["frames"] for line in bench.messages() if "event" in line}
    assert reports == {("a.priv0", MAC_A): 2, ("b.priv0", MAC_B): 1}


def test_what_a_cut_stops_counts_as_sent(bench: Bench) -> None:
    """The node sent it; the report says how many the network did not see. Made frames are nobody's."""
    bench.ask("multicasts")
    bench.ask("cut", port="a.priv0", direction="in")
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    bench.ask("inject", port="b.priv0", direction="in", frames=[ether(EVERYBODY, MAC_B).hex()])
    bench.control.sendall(b'{"id": 1, "op": "multicasts"}\n')
    (report,) = [line for line in bench.messages() if "event" in line]
    assert (report["port"], report["frames"], report["cut"]) == ("a.priv0", 1, 1)


def test_a_listener_that_leaves_costs_nothing_any_more(bench: Bench) -> None:
    """Its counts go with it."""
    bench.ask("multicasts")
    assert len(bench.core.groups) == 1
    bench.control.close()
    bench.run()
    assert bench.core.groups == []
