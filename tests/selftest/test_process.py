"""Each process fault is there, then gone, and a mismatch when its injector does nothing; on the real pair."""

from __future__ import annotations

import pytest

from faults.kinds.process.starved import (
    ProcessFileSystemFull,
    ProcessNoFileDescriptors,
    ProcessOutOfMemory,
    ProcessSlow,
)
from faults.kinds.process.stopped import ProcessKill, ProcessStop, ProcessStopFor
from tests.selftest.pair_story import Case, Told, check, tell

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(3600)]

# Node a is the primary: it runs the VM.
CASES: dict[str, Case] = {
    "process.stop b/daemon": lambda: ProcessStop("b/daemon"),
    "process.stop_for b/daemon": lambda: ProcessStopFor("b/daemon", seconds=3.0),
    "process.slow b/daemon": lambda: ProcessSlow("b/daemon"),
    "process.slow a/guest": lambda: ProcessSlow("a/guest", share=0.001),
    "process.slow b/replication": lambda: ProcessSlow("b/replication", share=0.001),
    "process.file_system_full b/daemon": lambda: ProcessFileSystemFull("b/daemon"),
    "process.no_file_descriptors b/daemon": lambda: ProcessNoFileDescriptors("b/daemon"),
    "process.kill b/daemon": lambda: ProcessKill("b/daemon"),
    "process.out_of_memory b/daemon": lambda: ProcessOutOfMemory("b/daemon"),
}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """All faults in a row on one restored pair."""
    return tell(tmp_path_factory.mktemp("process") / "run", CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_process_fault_is_there_and_then_gone(story: dict[str, Told], name: str) -> None:
    """Heartbeats, console, scheduler and the product's answer show it, and do not when the injector does nothing."""
    check(story[name])
