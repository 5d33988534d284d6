"""Proves that signals go to the process that was meant only, and that silence alone never confirms; on the host."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.evidence.qemu_process import process_state
from faults.kinds.process.stopped import ProcessStop
from faults.kinds.process.target import Process, look
from testbed.process import Child
from tests.unit.faults.kinds.inner_bed import InnerBed, QuietSwitch

BUSY = (1.0, {"a.priv0": [0.2, 0.6], "a.biz0": [0.1, 0.7]})


async def victim_of(inner: InnerBed, child: Child) -> Process:
    """The child as the process table shows it."""
    return (await look(inner.bed, "a")).processes[child.pid]


def small_stop() -> ProcessStop:
    """A stop whose window is a moment."""
    fault = ProcessStop("a/daemon")
    fault.window_s = 0.01
    return fault


async def stop(inner: InnerBed, tmp_path: Path, *, does: bool = True) -> tuple[Proof, str]:
    """Stop a child of the test as if it were the daemon, and tell its state at the end."""
    fault = small_stop()
    async with Child(["sleep", "60"], name="victim", log=tmp_path / "log") as child:
        fault.victims = (await victim_of(inner, child),)
        await fault.beats.start(inner.bed)
        fault.before = await fault.beats.window(inner.bed, 0)
        if does:
            await fault.inject(inner.bed)
        proof = await fault.confirm(inner.bed)
        await fault.undo(inner.bed)
        await fault.beats.stop(inner.bed)
        return proof, process_state(child.pid)


def test_a_stop_is_seen_and_taken_back(tmp_path: Path) -> None:
    """The process is stopped, computes nothing, and no heartbeat comes; SIGCONT lets it go on."""
    proof, state = asyncio.run(stop(InnerBed(switch=QuietSwitch([BUSY])), tmp_path))
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert proof.evidence["states"] == [("T", "T")]
    assert state in ("S", "R")


def test_a_stop_that_did_not_happen_is_a_mismatch(tmp_path: Path) -> None:
    """Silence at the switch is not enough when the process works."""
    proof, _ = asyncio.run(stop(InnerBed(switch=QuietSwitch([BUSY])), tmp_path, does=False))
    assert proof.verdict is FaultVerdict.MISMATCH


def test_a_node_that_was_silent_before_proves_nothing(tmp_path: Path) -> None:
    """Without a heartbeat before, none afterwards says nothing."""
    proof, _ = asyncio.run(stop(InnerBed(), tmp_path))
    assert proof.verdict is FaultVerdict.INCONCLUSIVE


def test_a_stopped_process_that_still_sends_is_a_mismatch(tmp_path: Path) -> None:
    """Then somebody else is the daemon."""
    proof, _ = asyncio.run(stop(InnerBed(switch=QuietSwitch([BUSY, BUSY])), tmp_path))
    assert proof.verdict is FaultVerdict.MISMATCH


def test_a_successor_with_the_same_number_gets_no_signal(tmp_path: Path) -> None:
    """The start time names the process, not its number."""

    async def story() -> tuple[bool, str]:
        inner, fault = InnerBed(), small_stop()
        async with Child(["sleep", "60"], name="victim", log=tmp_path / "log") as child:
            found = await victim_of(inner, child)
            fault.victims = (Process(found.pid, found.name, "S", found.start_ticks - 1, 0),)
            return await fault.send(inner.bed, "STOP"), process_state(child.pid)

    assert asyncio.run(story())[0] is False


def test_a_node_that_was_reset_has_lost_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its watchdog ended the stopped process with everything else: no signal is sent, and the boot is waited for."""
    done: list[str] = []

    async def story() -> None:
        inner, fault = InnerBed(), small_stop()
        bed = inner.bed
        monkeypatch.setattr(bed.nodes["a"], "wait_booted", noted(done, "booted"), raising=False)
        monkeypatch.setattr(fault, "undo", noted(done, "undone"))
        monkeypatch.setattr(fault, "wait_well", noted(done, "well"))
        inner.history.record("qmp.a", "event", event="RESET")
        await fault.heal(bed)

    asyncio.run(story())
    assert done == ["booted", "well"]


def noted(done: list[str], word: str) -> Callable[[object], Awaitable[None]]:
    """A stand-in that notes that it was called."""

    async def act(_argument: object) -> None:
        done.append(word)

    return act


def test_the_heal_of_a_node_that_is_off_is_harmless() -> None:
    """The process has ended with it, and the taps go in any case."""

    async def story() -> None:
        fault, bed = ProcessStop("a/daemon"), InnerBed(is_on=False).bed
        await fault.heal(bed)
        await fault.remove_instruments(bed)

    asyncio.run(story())
