"""Each fault of a witness is there while injected, gone after its heal, and a mismatch when nothing was done.

The witness is the product's own process behind the bed's switch; no node is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from faults.fault import Fault, FaultVerdict
from faults.kinds.witness import WitnessKill, WitnessLostStorage, WitnessStop
from faults.life import Life
from testbed.bed import Bed
from tests.integration.testbed.world.witness_bench import WitnessBench, witness_bench

pytestmark = pytest.mark.selftest

FAULTS: dict[str, Callable[[], Fault]] = {
    "witness.stop": lambda: WitnessStop("w1"),
    "witness.kill": lambda: WitnessKill("w1"),
    "witness.lost_storage": lambda: WitnessLostStorage("w1"),
}
LOOK_S = 10.0


def story(tell: Callable[[WitnessBench], Awaitable[None]]) -> None:
    """Run a story with a witness that knows an epoch, as that of a protected pair does."""

    async def whole() -> None:
        async with witness_bench() as bench:
            assert await bench.converse(teach=4) == "taught"
            await tell(bench)

    asyncio.run(asyncio.wait_for(whole(), 60))


async def nothing(_bed: Bed) -> None:
    """Injects nothing."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_confirmed_and_healed(name: str) -> None:
    """The proof has its evidence, and afterwards the witness can be taught and asked again."""

    async def tell(bench: WitnessBench) -> None:
        fault = FAULTS[name]()
        life = Life(fault, bench.bed)
        proof = await life.prove()
        assert proof.verdict is FaultVerdict.CONFIRMED, proof
        assert proof.injected_at_s is not None
        await life.heal()
        assert await bench.converse(teach=4) == "taught"
        assert await bench.converse(ask=5) == "granted"

    story(tell)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_did_nothing_is_a_mismatch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof does not come from the order."""

    async def tell(bench: WitnessBench) -> None:
        fault = FAULTS[name]()
        monkeypatch.setattr(fault, "inject", nothing)
        life = Life(fault, bench.bed)
        assert (await life.prove()).verdict is FaultVerdict.MISMATCH

    story(tell)


def test_a_start_alone_is_no_lost_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness that was killed and still knows its epoch is a mismatch."""

    async def tell(bench: WitnessBench) -> None:
        monkeypatch.setattr(bench.witness, "lose_storage", lambda: None)
        fault = WitnessLostStorage("w1")
        life = Life(fault, bench.bed)
        assert (await life.prove()).verdict is FaultVerdict.MISMATCH

    story(tell)


def test_what_a_witness_forgot_it_does_not_grant() -> None:
    """After the loss it refuses everybody until both nodes have taught it."""

    async def tell(bench: WitnessBench) -> None:
        assert await bench.converse(ask=5) == "granted"
        fault = WitnessLostStorage("w1")
        life = Life(fault, bench.bed)
        await life.prepare()
        await life.inject()
        assert await bench.converse(ask=5) == "untaught"

    story(tell)
