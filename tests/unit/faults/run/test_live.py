"""Proves the orders to a bed that is up: injected, proved, healed; nonsense changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from faults import registry
from faults.fault import FaultVerdict
from faults.run.live import serving
from testbed.bed import Bed
from testbed.by_hand.orders import Orders, ask
from testbed.errors import MachineError, TestbedError, UsageError
from testbed.history import History
from testbed.topology import Topology
from tests.unit.faults.diary import Diary, DiaryFault

CUT: dict[str, object] = {"order": "inject", "fault": "link.cut", "target": "a.priv0", "with": {}}


def with_bed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path, DiaryFault], Awaitable[None]]
) -> Diary:
    """Serve a bed without machines whose faults are all one diary fault; returns what was done to it."""
    diary: Diary = []
    fault = DiaryFault("a.priv0", diary)
    made: list[str] = []

    def build(name: str, target: str, _parameters: dict[str, object], *, seed: int) -> DiaryFault:
        made.append(f"{name} {target} {seed}")
        return fault

    monkeypatch.setattr(registry, "build", build)

    async def primary() -> tuple[Any, Any]:
        return SimpleNamespace(name="b"), SimpleNamespace(name="a")

    async def whole() -> None:
        bed = cast("Bed", SimpleNamespace(sockets=tmp_path, history=History(), primary=primary, topology=Topology()))
        async with asyncio.timeout(100), Orders(tmp_path) as orders:
            async with serving(bed, orders):
                await act(orders.path, fault)
            assert not orders.takes("inject")

    asyncio.run(whole())
    return [*diary, *made]


def test_a_fault_is_injected_proved_and_healed_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer holds number and verdict; the role became a node; after the heal nothing is armed."""

    async def act(socket: Path, _fault: DiaryFault) -> None:
        answer = await ask(socket, {**CUT, "target": "primary.priv0"})
        assert (answer["number"], answer["verdict"]) == (1, "confirmed")
        assert answer["armed"] == {"1": "link.cut on a.priv0"}
        assert (await ask(socket, {"order": "faults"}))["armed"] == answer["armed"]
        with pytest.raises(UsageError, match="no fault number 7; armed are 1"):
            await ask(socket, {"order": "heal", "number": 7})
        assert (await ask(socket, {"order": "heal", "number": 1}))["armed"] == {}

    did = with_bed(tmp_path, monkeypatch, act)
    assert did == ["prepare a.priv0", "inject a.priv0", "confirm a.priv0", "heal a.priv0", "link.cut b.priv0 0"]


def test_all_faults_are_healed_last_first_and_one_that_stays_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heal that fails is an error, and the fault stays armed and can be healed later."""

    async def act(socket: Path, fault: DiaryFault) -> None:
        fault.verdict = FaultVerdict.MISMATCH
        assert (await ask(socket, CUT))["verdict"] == "mismatch"
        fault.errors["heal"] = TestbedError("the cable is glued")
        with pytest.raises(TestbedError, match="the cable is glued"):
            await ask(socket, {"order": "heal", "number": None})
        fault.errors.clear()
        assert (await ask(socket, {"order": "heal", "number": None}))["healed"] == ["link.cut on a.priv0"]

    with_bed(tmp_path, monkeypatch, act)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({**CUT, "fault": "link.cutt"}, "There is no fault 'link.cutt'"),
        ({**CUT, "target": "c.priv0"}, "there is no 'c.priv0'"),
        ({**CUT, "with": {"color": 1}}, "color"),
        ({"order": "explode"}, "There is no order 'explode'"),
        ({}, "This is no order"),
    ],
)
def test_nonsense_is_refused_before_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: dict[str, object], words: str
) -> None:
    """The refusal names what is wrong, and the fault was not even prepared."""

    async def act(socket: Path, _fault: DiaryFault) -> None:
        with pytest.raises(UsageError, match=words):
            await ask(socket, order)

    assert with_bed(tmp_path, monkeypatch, act) == []


def test_the_faults_can_be_asked_while_one_is_being_healed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heal that takes long, or hangs, is just what one wants to look at; the fault still counts."""

    async def act(socket: Path, fault: DiaryFault) -> None:
        begun, over = asyncio.Event(), asyncio.Event()

        async def slowly(_bed: Bed) -> None:
            begun.set()
            await over.wait()

        await ask(socket, CUT)
        fault.does["heal"] = slowly
        async with asyncio.TaskGroup() as tasks:
            healing = tasks.create_task(ask(socket, {"order": "heal", "number": 1}))
            await begun.wait()
            assert (await ask(socket, {"order": "faults"}))["armed"] == {"1": "link.cut on a.priv0"}
            over.set()
        assert healing.result()["armed"] == {}

    with_bed(tmp_path, monkeypatch, act)


@pytest.mark.parametrize("part", ["inject", "confirm"])
def test_what_fails_half_way_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """It is taken back once, the error says so, and nothing is armed."""

    async def act(socket: Path, fault: DiaryFault) -> None:
        fault.errors[part] = MachineError("the agent is silent")
        with pytest.raises(TestbedError, match=f"failed in {part}: the agent is silent. It was taken back.$"):
            await ask(socket, CUT)
        assert (await ask(socket, {"order": "faults"}))["armed"] == {}

    assert with_bed(tmp_path, monkeypatch, act).count("heal a.priv0") == 1


def test_what_cannot_be_taken_back_keeps_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error tells both failures and the way on; the number heals it later."""

    async def act(socket: Path, fault: DiaryFault) -> None:
        fault.errors = {"inject": MachineError("the agent is silent"), "heal": MachineError("the cable is glued")}
        with pytest.raises(TestbedError, match=r"agent is silent.*the cable is glued. `testbed heal 1` tries again.$"):
            await ask(socket, CUT)
        assert (await ask(socket, {"order": "faults"}))["armed"] == {"1": "link.cut on a.priv0"}
        fault.errors.clear()
        assert (await ask(socket, {"order": "heal", "number": 1}))["armed"] == {}

    assert with_bed(tmp_path, monkeypatch, act).count("heal a.priv0") == 2


def test_one_heal_that_fails_does_not_keep_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are tried, last first; the error names what stays, with its number, and what was healed."""

    async def act(socket: Path, fault: DiaryFault) -> None:
        async def only_the_last(_bed: Bed) -> None:
            if fault.diary.count("heal a.priv0") == 1:
                raise MachineError("the cable is glued")

        for _ in range(2):
            await ask(socket, CUT)
        fault.does["heal"] = only_the_last
        with pytest.raises(TestbedError, match=r"glued. `testbed heal 2` tries again. Healed: link.cut on a.priv0.$"):
            await ask(socket, {"order": "heal", "number": None})
        assert (await ask(socket, {"order": "faults"}))["armed"] == {"2": "link.cut on a.priv0"}

    with_bed(tmp_path, monkeypatch, act)


def test_a_refusal_of_the_fault_keeps_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be done there is refused, and nothing has changed."""

    async def act(socket: Path, fault: DiaryFault) -> None:
        fault.errors["prepare"] = UsageError("node a is off")
        with pytest.raises(UsageError, match="node a is off"):
            await ask(socket, CUT)
        assert (await ask(socket, {"order": "faults"}))["armed"] == {}

    assert with_bed(tmp_path, monkeypatch, act)[:-1] == ["prepare a.priv0"]
