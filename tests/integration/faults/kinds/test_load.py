"""Proves that what starves the host is judged by what it computed, and that it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.load import LoadHost
from faults.life import Life
from testbed.bed import Bed
from tests.unit.faults.kinds.inner_bed import InnerBed


async def load_host(out: Path, fault: LoadHost) -> tuple[Proof, list[int]]:
    """Load this host with small programs, look for a short window, and end them."""
    bed = InnerBed(artefacts=out).bed
    fault.window_s = 0.3
    life = Life(fault, bed)
    await life.prepare()
    await life.inject()
    pids = [hog.pid for hog in fault._hogs]
    try:
        return await life.confirm(), pids
    finally:
        await life.heal()


class _NoPrograms(LoadHost):
    """Its injector does nothing."""

    async def inject(self, bed: Bed) -> None:
        """Start nothing."""


class _SleepingPrograms(LoadHost):
    """Its programs are there and compute nothing."""

    async def inject(self, bed: Bed) -> None:
        """Start them and stop them."""
        await super().inject(bed)
        for hog in self._hogs:
            os.kill(hog.pid, signal.SIGSTOP)


@pytest.mark.parametrize(
    ("make", "verdict"),
    [
        (LoadHost, FaultVerdict.CONFIRMED),
        (_NoPrograms, FaultVerdict.MISMATCH),
        (_SleepingPrograms, FaultVerdict.MISMATCH),
    ],
)
def test_a_loaded_host_is_judged_by_what_the_load_computed_and_ends(
    tmp_path: Path, make: type[LoadHost], verdict: FaultVerdict
) -> None:
    """The kernel's account of the programs decides; after the heal they are gone."""
    proof, pids = asyncio.run(load_host(tmp_path, make()))
    assert proof.verdict is verdict, proof.evidence
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_program_that_ended_is_a_mismatch(tmp_path: Path) -> None:
    """Who is left may compute as much as it likes."""

    async def one_ends() -> Proof:
        fault, bed = LoadHost(), InnerBed(artefacts=tmp_path).bed
        fault.window_s = 0.3
        life = Life(fault, bed)
        await life.prepare()
        await life.inject()
        try:
            os.kill(fault._hogs[0].pid, signal.SIGKILL)
            return await life.confirm()
        finally:
            await life.heal()

    assert asyncio.run(one_ends()).verdict is FaultVerdict.MISMATCH
