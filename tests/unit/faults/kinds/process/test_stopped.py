"""Proves what each process fault is for, and that its parameters are checked; their effects are in the self-tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.kinds.evidence.qemu_process import process_state
from faults.kinds.process.starved import FAULTS as STARVED
from faults.kinds.process.stopped import FAULTS, ProcessStopFor
from faults.kinds.process.target import look
from testbed.errors import UsageError
from testbed.process import Child
from testbed.wait import wait_until
from tests.unit.faults.kinds.inner_bed import InnerBed


def test_the_family_is_complete_and_each_refuses_a_target_of_another_form() -> None:
    """Every name is of the family, once."""
    family = (*FAULTS, *STARVED)
    names = [fault.name for fault in family]
    assert sorted(names) == sorted(
        f"process.{what}"
        for what in ("kill", "stop", "stop_for", "slow", "out_of_memory", "no_file_descriptors", "file_system_full")
    )
    for fault in family:
        with pytest.raises(UsageError):
            fault("a")


def test_a_process_that_is_stopped_for_a_while_goes_on_by_itself(tmp_path: Path) -> None:
    """The sleeper in the node outlives the order."""

    async def story() -> str:
        inner, fault = InnerBed(), ProcessStopFor("a/daemon", seconds=3.0)
        async with Child(["sleep", "300"], name="victim", log=tmp_path / "log") as child:

            async def stands() -> bool:  # the kernel stops it when it is its turn, so maybe after the order's end
                return process_state(child.pid) == "T"

            async def goes_on() -> bool:
                return process_state(child.pid) != "T"

            fault.victims = ((await look(inner.bed, "a")).processes[child.pid],)
            await fault.order(inner.bed)
            await wait_until(stands, what="the pause", timeout_s=100, poll_s=0.05)
            await wait_until(goes_on, what="the end of the pause", timeout_s=100, poll_s=0.05)
            return process_state(child.pid)

    assert asyncio.run(story()) in {"S", "R"}


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9])
def test_a_pause_of_no_use_is_refused(seconds: float) -> None:
    """The limits are named."""
    with pytest.raises(UsageError, match=r"seconds is .*; possible is 0\.5 to 3600"):
        ProcessStopFor("a/daemon", seconds=seconds)
