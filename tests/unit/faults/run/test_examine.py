"""Tests of faults.run.examine: what the service centre and the demands say, and that each VM is read back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from faults.run.examine import alerts_demanded, call_home, look_back, unmet
from faults.run.scenario import primary_crash
from faults.schedule.demand import Demand
from faults.schedule.schedule import Schedule
from faults.schedule.trigger import AlertCame, Milestone
from testbed.bed import Bed
from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.judge.result import Expect, Result
from testbed.progress import Progress
from testbed.topology import Topology


class Centre:
    """A service centre that has some alerts, and gets no more."""

    def __init__(self, *came: tuple[str, float]) -> None:
        self.received = [
            SimpleNamespace(alert=SimpleNamespace(code=code, node="b", id=f"b-{number}", text="told"), t_s=t_s)
            for number, (code, t_s) in enumerate(came)
        ]
        self.asked: list[str] = []

    async def wait_for(self, code: str, _timeout_s: float, *, node: str | None = None, since_s: float = 0.0) -> None:
        """Have it, or time out."""
        self.asked.append(f"{code} {node}")
        if not any(one.alert.code == code and one.t_s >= since_s for one in self.received):
            raise WaitTimeout(f"No alert {code!r}")


def bed(*came: tuple[str, float]) -> Bed:
    """A bed of which only the service centre is asked."""
    return cast("Bed", SimpleNamespace(centre=Centre(*came), history=History(), progress=Progress(quiet=True)))


def result(expect: Expect) -> Result:
    """A run that began a VM."""
    fields: dict[str, Any] = {"scenario": "x", "accel": "tcg", "dilation": 1.0, "seed": 1, "started_wall": ""}
    found = Result(**fields, expect=expect)
    found.phases_s["vm_start"] = 18.0
    return found


@pytest.mark.parametrize(
    ("expect", "problems", "asked"),
    [(Expect.TAKEOVER, ["No alert 'takeover'"], ["peer_lost None", "takeover None"]), (Expect.STAY, [], [])],
)
def test_after_a_takeover_the_service_centre_must_hear_of_it(
    expect: Expect, problems: list[str], asked: list[str]
) -> None:
    """What does not come is a problem of the product; what came before the run is none of its alerts."""
    world, found = bed(("paired", 5.0), ("peer_lost", 12.5)), result(expect)
    asyncio.run(call_home(world, found, 10.0))
    assert found.problems == problems
    told = {"code": "peer_lost", "node": "b", "id": "b-1", "text": "told", "received_at_s": 2.5}
    assert found.call_home == [told]
    assert cast("Centre", world.centre).asked == asked


def test_what_a_schedule_demands_and_was_not_seen_is_a_problem() -> None:
    """An alert that has to come is waited for; one that must not come is not."""
    never, seen = Demand(AlertCame("split"), most=0), Demand(Milestone("paired"), least=1)
    wanted = (Demand(AlertCame("copy_lost", "b"), least=1), never, seen)
    fixed = Schedule("x", 1, primary_crash(1).steps, demands=wanted)
    world = bed()
    asyncio.run(alerts_demanded(world, fixed, 10.0))
    assert cast("Centre", world.centre).asked == ["copy_lost b"]
    assert len(unmet(world, fixed, (), 10.0)) == 2


class Service:
    """A client port behind which each address has one write, which names it."""

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[Any, float], None]] = {}
        self.free_port = iter(range(4000, 4100)).__next__

    def listen(self, port: int, handler: Callable[[Any, float], None]) -> None:
        """Keep the handler."""
        self.handlers[port] = handler

    def stop_listening(self, port: int) -> None:
        """Forget it."""
        del self.handlers[port]

    def udp_send(self, ip: str, _port: int, source: int, _payload: bytes) -> None:
        """Answer at once."""
        self.handlers[source](SimpleNamespace(payload=f"IDS 1 0 w-{ip}".encode()), 0.0)


def test_each_vm_is_read_back_from_its_own_network() -> None:
    """The record names readings and replicas by VM, and the bed they belong to."""
    counted: list[int] = []

    async def count_multicasts() -> None:
        counted.append(1)

    world = bed()
    vars(world).update(
        topology=Topology(networks=2, vms=2),
        clients={"biz0": Service(), "biz1": Service()},
        nodes={},
        image=SimpleNamespace(workload=SimpleNamespace(udp_port=7000)),
        switch=SimpleNamespace(count_multicasts=count_multicasts),
        options=SimpleNamespace(site=SimpleNamespace(dilation=2.0)),
    )
    seen = asyncio.run(look_back(world, result(Expect.ANY), 1.0, 0.0))
    assert isinstance(seen.readings, dict)
    read = {vm: [(one.reader, one.ids) for one in found] for vm, found in seen.readings.items()}
    assert read == {"web": [("the service", ("w-10.77.0.20",))], "web1": [("the service", ("w-10.77.1.21",))]}
    assert seen.scene.topology == Topology(networks=2, vms=2)
    assert {seen.replicas_of(vm) for vm in seen.scene.vms} == {"the nodes do not both say that they are in sync"}
    assert counted == [1]
    assert [
        asyncio.run(look_back(world, result(expect), 1.0, 0.0)).choice_expected
        for expect in (Expect.ANY, Expect.CHOICE)
    ] == [False, True]
