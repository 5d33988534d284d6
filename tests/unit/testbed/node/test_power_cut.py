"""Proves the order of a power cut: all disks hold before a machine dies, and none is left holding whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from testbed.errors import DiskServerError, MachineError, TestbedError
from testbed.node.power_cut import PoweredNode, cut_power, disk_seed


class DiaryDisk:
    """A disk that writes down its orders, and refuses one of them where it is told to."""

    alive = True

    def __init__(self, name: str, diary: list[str], refuses: str = "") -> None:
        self.name, self.diary, self.refuses = name, diary, refuses

    async def command(self, name: str, **arguments: object) -> None:
        """Note it."""
        await asyncio.sleep(0)
        self.diary.append(f"{name} {self.name}" + (f" {arguments['seed']}" if "seed" in arguments else ""))
        if name == self.refuses:
            raise DiskServerError("no")


def nodes(diary: list[str], *, refuses: str = "", dies: bool = True) -> Sequence[PoweredNode]:
    """Two nodes with two disks each."""

    async def kill(name: str) -> None:
        diary.append(f"kill {name}")
        if not dies:
            raise MachineError("it lives")

    made = [
        SimpleNamespace(
            name=name,
            machine=SimpleNamespace(kill=lambda name=name: kill(name)),
            storage={disk: DiaryDisk(f"{name}-{disk}", diary, refuses) for disk in ("vdb", "vdc")},
        )
        for name in "ab"
    ]
    return cast("Sequence[PoweredNode]", made)


def test_all_disks_hold_before_any_machine_dies_and_lose_their_own_part() -> None:
    """Four holds, two deaths, four cuts with four seeds, four releases, in this order."""
    diary: list[str] = []
    asyncio.run(cut_power(nodes(diary), seed=7, keep=0.5, tear=True))
    kinds = [word.partition(" ")[0] for word in diary]
    assert kinds == ["hold"] * 4 + ["kill"] * 2 + ["cut"] * 4 + ["release"] * 4
    seeds = {word.rpartition(" ")[2] for word in diary if word.startswith("cut")}
    assert seeds == {str(disk_seed(7, node, disk)) for node in "ab" for disk in ("vdb", "vdc")}
    assert len(seeds) == 4


@pytest.mark.parametrize("refuses", ["hold", "cut"])
def test_a_cut_that_failed_says_so_and_leaves_no_disk_holding(refuses: str) -> None:
    """Nobody may take it for a power cut, and the bed goes on."""
    diary: list[str] = []
    with pytest.raises(TestbedError, match="power of a, b was not cut: no"):
        asyncio.run(cut_power(nodes(diary, refuses=refuses), seed=7, keep=0.5, tear=True))
    assert sum(word.startswith("release") for word in diary) == 4
    assert ("kill a" in diary) == (refuses == "cut")


def test_a_machine_that_lives_on_is_no_power_cut() -> None:
    """The disks keep what they had."""
    diary: list[str] = []
    with pytest.raises(TestbedError, match="it lives"):
        asyncio.run(cut_power(nodes(diary, dies=False), seed=7, keep=0.5, tear=True))
    assert not any(word.startswith("cut") for word in diary)
