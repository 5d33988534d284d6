"""What the kernel says of a process is read right, and a node that is not there or off is refused."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import cast

import pytest

from faults.kinds.evidence.qemu_process import cpu_ticks, process_state, running_node, runs_qemu
from testbed.bed import Bed
from testbed.errors import UsageError
from testbed.process import Child
from tests.unit.faults.kinds.node.node_bed import counted_bed


def test_the_state_of_a_process_is_the_kernels_word(tmp_path: Path) -> None:
    """A stopped process is T, one that is gone is said to be gone, and has no ticks."""

    async def story() -> tuple[str, int]:
        child = Child(["sleep", "60"], name="sleeper", log=tmp_path / "log")
        async with child:
            os.kill(child.pid, signal.SIGSTOP)
            async with asyncio.timeout(100):
                while process_state(child.pid) != "T":  # noqa: ASYNC110 - the kernel gives no event for it
                    await asyncio.sleep(0.005)
            return process_state(child.pid), child.pid

    state, pid = asyncio.run(story())
    assert state == "T"
    assert process_state(pid) == "gone"
    assert cpu_ticks(pid) == 0
    assert not runs_qemu(pid)


def test_only_a_running_node_is_a_target() -> None:
    """A wrong name and a node that is off are refused with a sentence, before anything is touched."""

    async def story() -> None:
        async with counted_bed(()) as fake:
            bed = cast("Bed", fake)
            assert running_node(bed, "a").is_on
            with pytest.raises(UsageError, match="there is no node 'c'; there are: a"):
                running_node(bed, "c")
            await fake.nodes["a"].machine.kill()
            with pytest.raises(UsageError, match="node a is off"):
                running_node(bed, "a")

    asyncio.run(story())
