"""Every fault of a VM on the restored pair: there while injected, gone after heal, not believed unless seen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.guest import GuestCrash, GuestCrashLoop, GuestFault, GuestHang, GuestRefusesToDie, GuestShutdown, ping
from faults.life import Life
from testbed.bed import Bed, Session
from testbed.errors import UsageError
from testbed.node import domains
from testbed.site import SiteOptions

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(3600)]

KINDS = (GuestRefusesToDie, GuestHang, GuestShutdown, GuestCrash, GuestCrashLoop)
Told = dict[str, tuple[Proof, str | None, str | None]]


async def nothing(_bed: Bed) -> None:
    """Injects nothing."""


async def once(bed: Bed, fault: GuestFault, *, sabotage: bool) -> tuple[Proof, str | None, str | None]:
    """Inject, confirm and heal; returns the proof and the boot ids before and after."""
    before = await ping(bed, "web")
    if sabotage:
        vars(fault)["inject"] = nothing
    life = Life(fault, bed)
    proof = await life.prove()
    await life.heal()
    return proof, before, await ping(bed, "web")


async def story(out: Path) -> tuple[Told, Told, dict[str, domains.Domain]]:
    """All faults, sabotaged and real, one after the other on one pair."""
    real: Told = {}
    sabotaged: Told = {}
    async with Session(out, SiteOptions()) as session:
        await session.protect()
        bed = session.bed
        with pytest.raises(UsageError, match="there is no VM"):
            await GuestCrash("nobody").prepare(bed)
        for kind in KINDS:
            sabotaged[kind.name] = await once(bed, kind("web"), sabotage=True)
            fault = kind("web", crashes=2) if kind is GuestCrashLoop else kind("web")
            real[kind.name] = await once(bed, fault, sabotage=False)
        left = domains.runners(await domains.where_runs(bed.nodes, "web"))
    return real, sabotaged, left


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Told, dict[str, domains.Domain]]:
    """The story, told once for all tests."""
    return asyncio.run(story(tmp_path_factory.mktemp("guest") / "run"))


@pytest.mark.parametrize("name", [kind.name for kind in KINDS])
def test_the_fault_is_there_and_is_healed(told: tuple[Told, Told, dict[str, domains.Domain]], name: str) -> None:
    """The fault is confirmed from elsewhere, and afterwards the service answers again."""
    proof, before, after = told[0][name]
    print(name, proof)
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert proof.injected_at_s is not None
    assert before is not None
    assert after is not None
    assert (after == before) == (name == "guest.refuses_to_die"), "only a guest that did not die keeps its boot id"


@pytest.mark.parametrize("name", [kind.name for kind in KINDS])
def test_a_fault_that_did_not_happen_is_a_mismatch(
    told: tuple[Told, Told, dict[str, domains.Domain]], name: str
) -> None:
    """An injector that does nothing is found out, and the service answers after heal."""
    proof, _, after = told[1][name]
    assert proof.verdict is FaultVerdict.MISMATCH, proof.evidence
    assert after is not None


def test_one_copy_of_the_vm_is_left(told: tuple[Told, Told, dict[str, domains.Domain]]) -> None:
    """After all these ends and starts exactly one node runs the VM."""
    assert len(told[2]) == 1
