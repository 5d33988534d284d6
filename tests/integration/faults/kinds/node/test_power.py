"""Proves the order of a power cut and what it leaves when a part of it fails; its effects are in the self-tests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faults.fault import FaultVerdict
from faults.kinds.evidence import silence
from faults.kinds.node.power import PowerCut, PowerFlicker, cut_counts, cut_power
from faults.life import FaultFailed, Life
from testbed.disk.server import NbdDisk
from testbed.errors import MachineError, TestbedError, UsageError
from testbed.node.power_cut import disk_seed
from tests.integration.faults.kinds.disk_bed import disk_bed


def test_each_disk_has_a_seed_of_its_own() -> None:
    """The halves of a mirror lose different writes, and the same seed loses the same."""
    seeds = {disk_seed(1, node, disk) for node in "ab" for disk in ("vdb", "vdc")}
    assert len(seeds) == 4
    assert disk_seed(1, "a", "vdb") == disk_seed(1, "a", "vdb") != disk_seed(2, "a", "vdb")


def test_all_disks_stop_before_the_machine_ends_and_lose_their_caches_after() -> None:
    """Else something on its way to a disk could still become durable."""

    async def scenario() -> list[str]:
        order: list[str] = []
        async with disk_bed() as small:
            node = small.nodes["a"]
            for name, disk in node.storage.items():
                _note(disk, name, order)
            kill = node.machine.kill

            async def noted() -> None:
                order.append("kill")
                await kill()

            vars(node.machine)["kill"] = noted
            await cut_power(small.bed, ["a"], seed=1, keep=0.5, tear=True)
        return order

    order = asyncio.run(scenario())
    assert sorted(order[:2]) == ["hold vdb", "hold vdc"]
    assert order[2] == "kill"
    assert order[3:7] == ["cut vdb", "cut vdc", "release vdb", "release vdc"]


def _note(disk: NbdDisk, name: str, order: list[str]) -> None:
    command = disk.command

    async def noted(what: str, **arguments: Any) -> Any:  # noqa: ANN401 - as the original
        order.append(f"{what} {name}")
        return await command(what, **arguments)

    vars(disk)["command"] = noted


def test_a_cut_that_fails_half_way_leaves_no_disk_hanging() -> None:
    """A dead disk server is named, and the other disk goes on."""

    async def scenario() -> dict[str, Any]:
        async with disk_bed() as small:
            await small.disk("vdc").kill()
            with pytest.raises(TestbedError, match=r"The power of a was not cut: .*vdc"):
                await cut_power(small.bed, ["a"], seed=1, keep=0.5, tear=True)
            return await small.disk("vdb").state()

    assert asyncio.run(scenario())["is_held"] is False


def test_a_node_that_was_silent_before_makes_the_cut_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its silence afterwards proves nothing, though the disks did lose their power."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.1)

    async def scenario() -> tuple[FaultVerdict, dict[str, dict[str, Any]]]:
        async with disk_bed() as small:
            small.is_mute = True
            fault = PowerCut("a", seed=3)
            return (await Life(fault, small.bed).prove()).verdict, await cut_counts(small.bed, ["a"])

    verdict, counts = asyncio.run(scenario())
    assert verdict is FaultVerdict.INCONCLUSIVE
    assert counts["a.vdb"]["cut_seeds"] == [disk_seed(3, "a", "vdb")]


def test_a_node_that_is_off_has_no_power_to_lose() -> None:
    """It is refused before anything is touched."""

    async def scenario() -> None:
        async with disk_bed() as small:
            await small.nodes["a"].machine.kill()
            await PowerCut("a", seed=3).prepare(small.bed)

    with pytest.raises(UsageError, match="node a is off"):
        asyncio.run(scenario())


def test_a_flicker_that_broke_off_leaves_the_node_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its power went and did not come back: the heal switches it on."""

    async def scenario() -> tuple[str, bool]:
        async with disk_bed() as small:
            node = small.nodes["a"]
            really, calls = node.power_on, iter([True])

            async def fails_once() -> None:
                if next(calls, False):
                    raise MachineError("QEMU does not start")
                await really()

            monkeypatch.setattr(node, "power_on", fails_once)
            with pytest.raises(FaultFailed) as failed:
                await Life(PowerFlicker("a", seed=1, off_s=0.01, on_s=0.01), small.bed).prove()
            return str(failed.value), node.is_on

    said, is_on = asyncio.run(scenario())
    assert said == "power.flicker on a failed in inject: QEMU does not start. It was taken back."
    assert is_on
