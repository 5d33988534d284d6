"""Proves what the disk faults refuse and when they say that nobody can tell; their effects are in the self-tests."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import cast

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds import disk
from faults.kinds.disk import (
    DiskBitRot,
    DiskGone,
    DiskLostWrite,
    DiskWriteError,
    DiskWrong,
    disk_of,
    machine_failures,
    try_read,
)
from faults.life import FaultFailed, Life
from testbed.bed import Bed
from testbed.disk.server import NbdClient
from testbed.errors import UsageError
from testbed.wait import wait_until
from tests.integration.faults.kinds.disk_bed import DiskBed, disk_bed


def on_a_bed(act: Callable[[DiskBed], Awaitable[Proof]]) -> Proof:
    """Do something on a bed with one disk."""

    async def scenario() -> Proof:
        async with disk_bed(disks=["vdb"]) as small:
            return await act(small)

    return asyncio.run(scenario())


def test_a_disk_that_is_not_there_is_named_with_those_that_are() -> None:
    """Unknown node, unknown disk, and a node that has no disks yet."""
    plain = cast("Bed", SimpleNamespace(nodes={"a": SimpleNamespace(storage={})}))
    with pytest.raises(UsageError, match="node a has no disks yet"):
        disk_of(plain, "a", "vdb")
    with pytest.raises(UsageError, match="no node 'c'; there are: a"):
        disk_of(plain, "c", "vdb")
    served = cast("Bed", SimpleNamespace(nodes={"a": SimpleNamespace(storage={"vdb": None, "vdc": None})}))
    with pytest.raises(UsageError, match="no disk 'vdz'; there are: vdb, vdc"):
        disk_of(served, "a", "vdz")


def test_a_disk_that_was_broken_before_proves_nothing() -> None:
    """A fault on top of a fault is inconclusive: the failure may be the old one's."""

    async def act(small: DiskBed) -> Proof:
        await small.disk().command("rule", operation="read", effect="error")
        return await Life(DiskGone("a"), small.bed).prove()

    proof = on_a_bed(act)
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.INCONCLUSIVE, None)
    assert proof.evidence["read_before"] == "EIO"


def test_a_lying_disk_to_which_nobody_writes_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a write there is nothing to lose."""
    monkeypatch.setattr(disk, "TRAFFIC_TIMEOUT_S", 0.2)

    async def act(small: DiskBed) -> Proof:
        return await Life(DiskLostWrite("a"), small.bed).prove()

    assert on_a_bed(act).verdict is FaultVerdict.INCONCLUSIVE


def test_rot_under_a_node_that_writes_there_proves_nothing() -> None:
    """When more has changed than was ordered, nobody can say what is rot."""

    async def act(small: DiskBed) -> Proof:
        life = Life(DiskBitRot("a", offset=0, length=1024), small.bed)
        await life.prepare()
        async with NbdClient(small.disk().socket) as client:
            await client.write(0, b"w" * 512)
        await life.inject()
        return await life.confirm()

    assert on_a_bed(act).verdict is FaultVerdict.INCONCLUSIVE


def test_the_machine_and_the_disk_both_count_a_refused_write() -> None:
    """The evidence names both sources, before and after."""

    async def act(small: DiskBed) -> Proof:
        async with small.traffic():
            life = Life(DiskWriteError("a"), small.bed)
            await life.prepare()
            await life.inject()

            async def refused() -> bool:
                return bool((await machine_failures(small.bed, "a", "vdb") or {})["failed_wr_operations"])

            await wait_until(refused, what="a refused write", timeout_s=100, poll_s=0.01)
            return await life.confirm()

    evidence = on_a_bed(act).evidence
    machine, server = evidence["machine_after"], evidence["disk_server"]
    assert isinstance(machine, dict)
    assert isinstance(server, dict)
    assert machine["failed_wr_operations"] > 0
    assert server["failed_writes"] > 0
    assert evidence["write_now"] == errno.errorcode[errno.EIO]


def test_a_heal_that_does_not_heal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is verified by a read and says which disk stays broken."""
    monkeypatch.setattr(disk, "HEAL_TIMEOUT_S", 0.3)

    class StaysGone(DiskGone):
        async def end(self, disk: object) -> None:
            """Forget to put it back."""

    async def act(small: DiskBed) -> Proof:
        life = Life(StaysGone("a"), small.bed)
        proof = await life.prove()
        with pytest.raises(FaultFailed, match="disk vdb of node a to be healthy again"):
            await life.heal()
        return proof

    assert on_a_bed(act).verdict is FaultVerdict.CONFIRMED


def test_the_wrong_disk_is_another_one() -> None:
    """A missing image, and one with the same content, are refused before anything is broken."""

    async def act(small: DiskBed) -> Proof:
        twin = small.directory / "twin"
        with pytest.raises(UsageError, match="there is no disk image"):
            await DiskWrong("a", image=twin).prepare(small.bed)
        twin.write_bytes(bytes(10))
        with pytest.raises(UsageError, match="has the same content as disk vdb of node a"):
            await DiskWrong("a", image=twin).prepare(small.bed)
        return Proof(FaultVerdict.INCONCLUSIVE, None)

    on_a_bed(act)


def test_an_older_copy_of_the_disk_can_be_put_in() -> None:
    """A saved disk is the older one; afterwards the newer content is back."""

    async def act(small: DiskBed) -> Proof:
        async with NbdClient(small.disk().socket) as client:
            await client.write(0, b"old " * 128, fua=True)
            await small.disk().save(small.directory / "older")
            await client.write(0, b"new " * 128, fua=True)
            fault = DiskWrong("a", image=small.directory / "older" / "image")
            life = Life(fault, small.bed)
            await life.prepare()
            await life.inject()
            assert await client.read(0, 4) == b"old "
            proof = await life.confirm()
            await life.heal()
            assert await client.read(0, 4) == b"new "
            return proof

    assert on_a_bed(act).verdict is FaultVerdict.CONFIRMED


def test_a_dead_disk_server_is_no_disk() -> None:
    """The client says so at once."""

    async def act(small: DiskBed) -> Proof:
        await small.disk().kill()
        assert await try_read(small.disk()) == "no disk"
        return Proof(FaultVerdict.INCONCLUSIVE, None)

    on_a_bed(act)
