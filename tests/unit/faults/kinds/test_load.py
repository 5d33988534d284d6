"""Proves how loads are judged from accounts; the loads themselves are in the self-tests."""

from __future__ import annotations

import asyncio
import os

import pytest

from faults.kinds import load
from faults.kinds.load import Activity, LoadCpu, LoadHost, LoadIo, LoadMemory, NodeLoad
from testbed.errors import UsageError
from tests.unit.faults.kinds.inner_bed import HostAgent, InnerBed


def activity(*, idle: float = 0.7, available: float = 400, qemu: float = 0.3, requests: float | None = 20) -> Activity:
    """A node in one window."""
    return Activity(idle, available, qemu, requests, {"cpu": 0.1})


@pytest.mark.parametrize(
    ("fault", "before", "during", "seen"),
    [
        (LoadCpu("a"), activity(), activity(idle=0.01, qemu=0.9), True),
        (LoadCpu("a"), activity(), activity(), False),
        (LoadCpu("a"), activity(), activity(idle=0.01, qemu=0.2), False),
        (LoadCpu("a"), activity(idle=0.1), activity(idle=0.0, qemu=0.9), None),
        (LoadMemory("a"), activity(), activity(available=40), True),
        (LoadMemory("a"), activity(), activity(), False),
        (LoadMemory("a"), activity(available=60), activity(available=30), None),
        (LoadIo("a"), activity(), activity(requests=500), True),
        (LoadIo("a"), activity(), activity(requests=30), False),
        (LoadIo("a"), activity(requests=300), activity(requests=500), False),
        (LoadIo("a"), activity(requests=None), activity(requests=500), None),
    ],
)
def test_a_load_is_judged_against_the_node_before(
    fault: NodeLoad, before: Activity, during: Activity, seen: bool | None
) -> None:
    """A node that was busy before proves nothing, and QEMU has to agree."""
    assert fault.judge(before, during) is seen
    assert "idle_share" in before.shown()


def test_processor_times_and_pressure_are_read() -> None:
    """Idle is idle and waiting for disks; of pressure the total of `some` counts."""
    assert load.processor_times("cpu  10 0 20 60 5 0 0 5 0 0\nintr 7") == (65, 100)
    assert load.stalled_us("some avg10=1.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0 total=9") == 1234
    assert load.stalled_us("") == 0


def test_a_window_compares_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the node's files say in between is what it did."""
    looks = iter(
        [
            "cpu 0 0 0 100 0 0 0 0 0\nMemAvailable: 2048 kB\ncpu some avg10=0 total=0\n",
            "cpu 50 0 0 150 0 0 0 0 0\nMemAvailable: 1024 kB\ncpu some avg10=0 total=7\n",
        ]
    )
    inner = InnerBed(HostAgent(lambda _argv: next(looks)))
    found = asyncio.run(load.watch(inner.bed, "a", 0.01))
    assert (found.idle_share, found.available_mib, found.requests_per_s) == (0.5, 1.0, 0.0)
    assert found.pressure_share["cpu"] > 0


@pytest.mark.parametrize("make", [LoadCpu, LoadMemory, LoadIo])
def test_a_load_of_a_node_is_not_for_the_host_and_the_other_way_round(make: type[NodeLoad]) -> None:
    """The other fault is named."""
    with pytest.raises(UsageError, match=r"load\.host"):
        make("host")
    with pytest.raises(UsageError, match=r"load\.cpu"):
        LoadHost("a")


def test_settings_that_make_no_sense_are_refused() -> None:
    """Each says what is possible."""
    with pytest.raises(UsageError, match="processes is 0"):
        LoadCpu("a", processes=0)
    with pytest.raises(UsageError, match="possible is 4 to 65536"):
        LoadMemory("a", leave_mib=0)
    with pytest.raises(UsageError, match="possible are root"):
        LoadIo("a", disks="tape")
    with pytest.raises(UsageError, match="possible is -20 to 19"):
        LoadHost(niceness=30)


def test_the_host_is_watched_by_the_accounts_of_its_processes() -> None:
    """This process is the nodes' machine and the load; nobody can compute or wait longer than the window."""
    found = asyncio.run(load.watch_host(InnerBed().bed, [os.getpid(), 2**30], 0.05))
    assert found.waiting_share.keys() == {"a", "b"}
    assert 0 <= found.taken_share <= 1
    assert load.waited_ns(os.getpid()) >= 0
    assert load.waited_ns(2**30) == 0
