"""A disk that was set back has what it had when its step began to count, and is refused while its node runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.clone import DiskSetBack
from faults.life import FaultFailed, Life
from testbed.disk.server import NbdClient, NbdDisk
from tests.integration.faults.kinds.disk_bed import DiskBed, disk_bed

AT = 65536


async def _write(small: DiskBed, text: bytes) -> None:
    async with NbdClient(small.disk().socket) as client:
        await client.write(AT, text.ljust(512, b"\0"), fua=True)


async def _read(small: DiskBed) -> bytes:
    async with NbdClient(small.disk().socket) as client:
        return (await client.read(AT, 512)).rstrip(b"\0")


def _on_a_bed(act: Callable[[DiskBed, Life], Awaitable[Proof]]) -> tuple[Proof, bytes]:
    """Do something on a bed with one disk and the fault, end its life, and return what the disk has then."""

    async def scenario() -> tuple[Proof, bytes]:
        async with disk_bed(disks=["vdb"]) as small:
            await _write(small, b"old")
            async with Life(DiskSetBack("a"), small.bed) as life:
                proof = await act(small, life)
            return proof, await _read(small)

    return asyncio.run(scenario())


async def _set_back(small: DiskBed, life: Life) -> Proof:
    await life.prepare()
    await _write(small, b"new")
    await small.nodes["a"].machine.kill()
    await life.inject()
    return await life.confirm()


def test_what_was_written_since_is_gone_and_stays_so() -> None:
    """Also after the heal: nothing can be given back."""
    proof, content = _on_a_bed(_set_back)
    assert (proof.verdict, content) == (FaultVerdict.CONFIRMED, b"old"), proof.evidence
    assert proof.evidence["differs_at_mib"] == 0


def test_a_disk_on_which_nothing_was_written_proves_nothing() -> None:
    """The copy is the same, so that nobody can say which of the two is there."""

    async def act(small: DiskBed, life: Life) -> Proof:
        await life.prepare()
        await small.nodes["a"].machine.kill()
        await life.inject()
        return await life.confirm()

    assert _on_a_bed(act)[0].verdict is FaultVerdict.INCONCLUSIVE


def test_an_exchange_that_did_nothing_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk still has what was written last."""

    async def puts_the_newest_back(disk: NbdDisk, directory: object) -> None:
        del directory
        async with NbdClient(disk.socket) as client:
            await client.write(AT, b"old".ljust(512, b"\0"))

    async def act(small: DiskBed, life: Life) -> Proof:
        monkeypatch.setattr(NbdDisk, "load", puts_the_newest_back)
        await life.prepare()
        await _write(small, b"new")
        await small.nodes["a"].machine.kill()
        await life.inject()
        await _write(small, b"new")
        return await life.confirm()

    proof, content = _on_a_bed(act)
    assert (proof.verdict, content) == (FaultVerdict.MISMATCH, b"new")


def test_a_disk_is_not_exchanged_under_a_node_that_runs() -> None:
    """It says what is possible, and nothing has changed."""

    async def act(small: DiskBed, life: Life) -> Proof:
        await life.prepare()
        await _write(small, b"new")
        with pytest.raises(FaultFailed, match="is on; a disk is exchanged while its node is off"):
            await life.inject()
        assert await _read(small) == b"new"
        assert life.proof is not None
        return life.proof

    assert _on_a_bed(act)[0].verdict is FaultVerdict.INCONCLUSIVE
