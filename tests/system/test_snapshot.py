"""The snapshot of the protected pair: it can be relied on, and when it cannot, the bed says so and boots cold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from testbed.bed import Bed, Session
from testbed.site import SiteOptions

pytestmark = pytest.mark.timeout(3600)

RESTORES = 10


def _stages(bed: Bed) -> list[object]:
    return [entry.fields.get("restored", False) for entry in bed.history if entry.kind == "stage"]


def test_ten_restores_in_a_row_pass_the_health_gate(tmp_path: Path) -> None:
    """Ten restores of one snapshot in fresh processes each bring a protected pair whose VM answers; none falls back."""

    async def restores() -> None:
        async with Session(tmp_path / "make", SiteOptions()) as session:
            await session.protect()
            site = session.bed.options.site  # with its dilation: a snapshot belongs to one
        for number in range(RESTORES):
            async with Session(tmp_path / f"run-{number}", site) as session:
                await session.protect()
                assert session.bed.restore_failures == 0
                assert _stages(session.bed) == [True], "the pair was booted, not restored"
                for node in session.bed.nodes.values():
                    assert (await node.status())["protected"] is True

    asyncio.run(restores())


def test_a_damaged_snapshot_falls_back_to_a_cold_boot_and_is_counted(tmp_path: Path) -> None:
    """When the memory image of a node is damaged, the bed boots cold, counts the failure and discards the snapshot."""

    async def damaged() -> None:
        async with Session(tmp_path / "make", SiteOptions()) as session:
            await session.protect()
            snapshot, site = session.bed.find_snapshot(), session.bed.options.site
        assert snapshot is not None
        memory = snapshot.memory("b")
        memory.write_bytes(memory.read_bytes()[: memory.stat().st_size // 2])
        async with Session(tmp_path / "run", site) as session:
            await session.protect()
            assert session.bed.restore_failures == 1
            assert _stages(session.bed)[-1] is False
            assert not snapshot.directory.exists() or session.bed.find_snapshot() is None

    asyncio.run(damaged())
