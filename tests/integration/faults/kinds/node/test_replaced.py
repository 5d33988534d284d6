"""A node that is replaced has lost its disks, and the bare machine in its place is told its pair, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.evidence import silence
from faults.kinds.node import replaced
from faults.kinds.node.replaced import NodeReplaced
from faults.life import Life
from testbed.disk.server import NbdClient
from tests.integration.faults.kinds.disk_bed import DiskBed, SmallNode, disk_bed


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders here are busier than a node."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.1)


async def _write(small: DiskBed, name: str) -> None:
    async with NbdClient(small.disk(name).socket) as client:
        await client.write(4096, b"superblock".ljust(512, b"\0"))  # nothing of it was flushed


def _story(written: tuple[str, ...], look: Callable[[DiskBed], Awaitable[None]]) -> tuple[Proof, list[str], int]:
    """Replace node a, and return the proof, who was told the pair, and how often the node was started."""
    told: list[str] = []

    async def tell_bare(node: SmallNode) -> None:
        told.append(node.name)

    async def scenario() -> tuple[Proof, int]:
        async with disk_bed() as small:
            vars(small)["tell_bare"] = tell_bare
            vars(small)["image"] = SimpleNamespace(root=None)
            for name in written:
                await _write(small, name)
            async with Life(NodeReplaced("a"), small.bed) as life:
                proof = await life.prove()
                await look(small)
            return proof, small.nodes["a"].starts

    proof, starts = asyncio.run(scenario())
    return proof, told, starts


async def _is_blank(small: DiskBed) -> None:
    for name in ("vdb", "vdc"):
        async with NbdClient(small.disk(name).socket) as client:
            assert not any(await client.read(0, 65536))


def test_the_disks_are_gone_and_a_person_tells_the_bare_machine_its_pair() -> None:
    """Also what was in the disks' caches is gone."""
    proof, told, starts = _story(("vdb", "vdc"), _is_blank)
    assert (proof.verdict, told, starts) == (FaultVerdict.CONFIRMED, ["a"], 2), proof.evidence
    assert proof.evidence["has_data"] == {"vdb": False, "vdc": False}


def test_disks_on_which_nothing_was_prove_nothing() -> None:
    """Nobody could tell the new machine from the old one."""
    assert _story(("vdb",), _is_blank)[0].verdict is FaultVerdict.INCONCLUSIVE


def test_disks_that_keep_their_content_are_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old machine was started again."""

    async def nothing(_disk: object, *, backing: object) -> None:
        assert backing is None

    async def look(_small: DiskBed) -> None:
        """Nothing more to see."""

    monkeypatch.setattr(replaced, "_empty", nothing)
    assert _story(("vdb", "vdc"), look)[0].verdict is FaultVerdict.MISMATCH
