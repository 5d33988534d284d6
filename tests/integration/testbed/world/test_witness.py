"""Proves the witness of the bed: a host of its own, which can be paused, killed, started again and lose its storage."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.errors import MachineError
from testbed.switch.client import Direction
from testbed.world.witness import WitnessOrder
from tests.integration.testbed.world.witness_bench import (
    SECRET,
    WITNESS_IP,
    WITNESS_PORT,
    WitnessBench,
    witness_bench,
)
from tests.unit.testbed.small_image import all_gone

LOOK_S = 100.0
SILENT_S = 0.3


def story(tell: Callable[[WitnessBench], Awaitable[None]]) -> None:
    """Run a story with a witness; no process of it may be left."""

    async def whole() -> None:
        async with witness_bench() as bench:
            await tell(bench)
            pids = [entry.fields["pid"] for entry in bench.history if entry.fields.get("pid")]
            secret = bench.directory / "w1-secret"
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        await all_gone([pid for pid in pids if isinstance(pid, int)])

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_the_order_is_filled_in() -> None:
    """The product's argument vector gets its places."""
    order = WitnessOrder(["{python}", "x", "{listen}", "{state}", "{secret}", "{dilation}"], 2.5)
    argv = order.argv(listen="127.0.0.1:0", state=Path("/s"), secret=Path("/k"))
    assert argv == [sys.executable, "x", "127.0.0.1:0", "/s", "/k", "2.5"]


def test_a_witness_is_a_host_of_the_segment() -> None:
    """It answers at its own address, through its own port of the switch, which can be cut."""

    async def tell(bench: WitnessBench) -> None:
        view = await bench.witness.look(bench.client, timeout_s=LOOK_S)
        assert view is not None
        assert (view.taught, view.epoch, view.owner) == (False, 0, None)
        assert bench.witness.address == WITNESS_IP
        assert bench.witness.relay.counters.answered >= 1
        await bench.switch.cut(WITNESS_PORT, Direction.BOTH)
        assert await bench.witness.look(bench.client, timeout_s=SILENT_S) is None
        await bench.switch.heal(WITNESS_PORT, Direction.BOTH)
        assert await bench.witness.look(bench.client, timeout_s=LOOK_S) is not None

    story(tell)


def test_it_is_taught_and_grants_and_knows_it_after_a_start() -> None:
    """The product's process behind it does what it is for; its state and log are artefacts."""

    async def tell(bench: WitnessBench) -> None:
        witness = bench.witness
        assert await bench.converse(teach=4) == "taught"
        assert await bench.converse(ask=5) == "granted"
        first = await witness.look(bench.client, timeout_s=LOOK_S)
        await witness.start()
        again = await witness.look(bench.client, timeout_s=LOOK_S)
        assert first is not None
        assert again is not None
        assert (first.taught, first.epoch, first.owner) == (True, 5, "b")
        assert (again.taught, again.epoch, again.owner) == (True, 5, "b")
        assert first.life != again.life
        assert await bench.converse(ask=6) == "granted"
        assert witness.state.parent == (bench.directory / "run" / "witness-w1").absolute()
        assert "granted epoch 5 to b" in witness.log.read_text(encoding="utf-8")
        assert "ended; refused datagrams: none" in witness.log.read_text(encoding="utf-8")

    story(tell)


def test_a_paused_witness_is_silent_and_goes_on() -> None:
    """It keeps its life and what it knows; a paused one can be ended."""

    async def tell(bench: WitnessBench) -> None:
        witness = bench.witness
        await bench.converse(teach=4)
        witness.pause()
        assert await witness.look(bench.client, timeout_s=SILENT_S) is None
        assert witness.alive
        witness.resume()
        view = await witness.look(bench.client, timeout_s=LOOK_S)
        assert view is not None
        assert (view.taught, view.epoch) == (True, 4)
        witness.pause()

    story(tell)


def test_a_killed_witness_that_lost_its_storage_knows_nothing() -> None:
    """It is dead until it is started; then it is a new one."""

    async def tell(bench: WitnessBench) -> None:
        witness = bench.witness
        await bench.converse(teach=4)
        await witness.kill()
        assert (witness.alive, witness.pid) == (False, None)
        assert await witness.look(bench.client, timeout_s=SILENT_S) is None
        assert witness.relay.counters.unpowered >= 1
        with pytest.raises(MachineError, match="Witness w1 does not run"):
            witness.pause()
        witness.lose_storage()
        await witness.start()
        view = await witness.look(bench.client, timeout_s=LOOK_S)
        assert view is not None
        assert (view.taught, view.epoch) == (False, 0)

    story(tell)


def test_a_witness_that_does_not_begin_says_why() -> None:
    """The error has the words of the process."""

    async def tell(bench: WitnessBench) -> None:
        with pytest.raises(MachineError, match=r"(?s)Witness w1 ended with code 2: .*hexadecimal digits"):
            await bench.witness.start("nonsense")
        await bench.witness.start(SECRET)

    story(tell)
