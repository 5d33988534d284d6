"""Proves one machine with a real QEMU and a boot sector: start, kill, unexpected death, save and restore."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.errors import MachineError, SnapshotError, TestbedError
from testbed.history import History, HistoryRecord
from testbed.node.machine import Machine
from testbed.node.spec import DiskSpec
from testbed.wait import wait_for_record
from tests.unit.testbed.node.test_spec import node

QEMU = shutil.which("qemu-system-x86_64")


async def line(history: History, text: str, after: int) -> HistoryRecord:
    """Wait for a console line."""
    return await wait_for_record(
        history,
        lambda entry: entry.source == "console.a" and entry.fields["text"] == text,
        what=f"the console line {text}",
        timeout_s=100,
        after=after,
    )


def test_a_killed_machine_is_reaped_and_says_so(tmp_path: Path) -> None:
    """After the kill no process is left, the console's lines are kept, and the next call says that the node is off."""

    async def scenario() -> tuple[str, int, History]:
        history = History()
        async with Machine(node(tmp_path), history) as machine:
            status = await machine.status()
            await machine.cont()
            await line(history, "B", 0)
            await machine.kill()
            assert not machine.alive
            with pytest.raises(MachineError, match="was ended on purpose with code -9; the node is off"):
                await machine.cont()
            return status, machine.pid, history

    status, pid, history = asyncio.run(scenario())
    assert status == "prelaunch"
    assert not Path(f"/proc/{pid}").exists()
    ends = [entry.fields for entry in history if entry.kind == "disconnected"]
    assert ends == [{"expected": True}]
    assert "] B\n" in (tmp_path / "run" / "console-a.log").read_text(encoding="utf-8")


def test_an_unexpected_death_is_recorded_and_raised(tmp_path: Path) -> None:
    """A QEMU that somebody else killed is on record, and the next call is a MachineError."""

    async def scenario() -> object:
        history = History()
        async with Machine(node(tmp_path), history) as machine:
            os.kill(machine.pid, signal.SIGKILL)
            record = await wait_for_record(
                history, lambda entry: entry.kind == "died", what="the record of the death", timeout_s=100
            )
            with pytest.raises(MachineError, match="died unexpectedly with code -9"):
                await machine.cont()
            return record.fields["returncode"]

    assert asyncio.run(scenario()) == -signal.SIGKILL


def test_a_machine_that_cannot_start_gives_qemus_own_words(tmp_path: Path) -> None:
    """A missing disk is named in the error, at once and not after a time-out."""

    async def scenario() -> None:
        spec = replace(node(tmp_path), disks=(DiskSpec("root", tmp_path / "missing.img", "raw"),))
        async with Machine(spec, History()):
            pass

    with pytest.raises(MachineError, match=r"(?s)died unexpectedly with code 1.*missing\.img"):
        asyncio.run(scenario())


def test_a_saved_machine_goes_on_in_a_fresh_process(tmp_path: Path) -> None:
    """After a restore the guest goes on where it was: its loop writes on, and it does not boot again."""

    async def scenario() -> tuple[str, list[object]]:
        history = History()
        memory = tmp_path / "memory"
        async with Machine(node(tmp_path), history) as machine:
            await machine.cont()
            await line(history, "A", 0)
            await machine.stop()
            await machine.save_memory(memory)
            await machine.quit()
        async with Machine(replace(node(tmp_path), incoming=memory), history) as machine:
            status = await machine.status()
            mark = history.mark()
            await machine.cont()
            seen = await line(history, "A", mark)
            await line(history, "A", seen.index + 1)
            return status, [entry.fields["text"] for entry in history.since(mark) if entry.source == "console.a"]

    status, lines = asyncio.run(scenario())
    assert status == "paused"
    assert set(lines) == {"A"}
    assert [path.name for path in tmp_path.glob("memory*")] == ["memory"]


def test_the_saved_machine_itself_can_go_on(tmp_path: Path) -> None:
    """A snapshot does not end the run it is taken of."""

    async def scenario() -> str:
        history = History()
        async with Machine(node(tmp_path), history) as machine:
            await machine.cont()
            await machine.stop()
            await machine.save_memory(tmp_path / "memory")
            mark = history.mark()
            await machine.cont()
            await line(history, "A", mark)
            return await machine.status()

    assert asyncio.run(scenario()) == "running"


def test_a_running_machine_is_not_saved(tmp_path: Path) -> None:
    """Memory and disks would not belong together, so the call is refused and no file is made."""

    async def scenario() -> None:
        async with Machine(node(tmp_path), History()) as machine:
            await machine.cont()
            await machine.save_memory(tmp_path / "memory")

    with pytest.raises(SnapshotError, match="Node a runs; stop it first"):
        asyncio.run(scenario())
    assert list(tmp_path.glob("memory*")) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "there is no file"), (b"this is no memory image", "Not a migration stream")],
    ids=["missing", "damaged"],
)
def test_a_bad_memory_image_is_a_snapshot_error(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """The bed can then boot cold; no QEMU process is left behind."""
    memory = tmp_path / "memory"
    if content is not None:
        memory.write_bytes(content)
    history = History()

    async def scenario() -> None:
        async with Machine(replace(node(tmp_path), incoming=memory), history):
            pass

    with pytest.raises(SnapshotError, match=reason):
        asyncio.run(scenario())
    (started,) = [entry.fields["pid"] for entry in history if entry.kind == "started"]
    assert not Path(f"/proc/{started}").exists()


def test_a_machine_that_dies_while_it_is_saved_leaves_no_image(tmp_path: Path) -> None:
    """The pipe's end after the death of QEMU is not taken for a complete image."""
    held = tmp_path / "held"
    os.mkfifo(held)
    os.link(held, tmp_path / "memory.partial")  # nobody reads the fifo, so the save cannot end by itself

    async def scenario() -> None:
        history = History()
        async with Machine(node(tmp_path), history) as machine, asyncio.TaskGroup() as group:
            group.create_task(machine.save_memory(tmp_path / "memory"))
            await wait_for_record(
                history, lambda entry: entry.fields.get("event") == "MIGRATION", what="the save", timeout_s=100
            )
            os.kill(machine.pid, signal.SIGKILL)

    try:
        with pytest.raises(ExceptionGroup) as caught:
            asyncio.run(scenario())
    finally:
        os.close(os.open(held, os.O_RDONLY | os.O_NONBLOCK))  # lets the waiting `cat` go
    assert caught.group_contains(TestbedError, match="died unexpectedly with code -9")
    assert not (tmp_path / "memory").exists()
