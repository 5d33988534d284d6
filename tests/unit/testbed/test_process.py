"""Proves that nothing the testbed starts outlives it, and that failed commands keep their last words."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from testbed.errors import HostError, MachineError
from testbed.process import Child, run, run_live
from testbed.wait import wait_until

ROOT = Path(__file__).resolve().parents[3]


def _gone(pid: int) -> bool:
    """True when the process has ended; one that nobody has reaped yet has ended too."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


async def _pid_in(path: Path) -> int:
    async def written() -> str:
        return path.read_text(encoding="ascii") if path.exists() else ""

    return int((await wait_until(written, what=f"a pid in {path}", timeout_s=100, poll_s=0.01)).strip())


async def _wait_gone(pid: int) -> None:
    async def gone() -> bool:
        return _gone(pid)

    await wait_until(gone, what=f"the end of pid {pid}", timeout_s=100, poll_s=0.01)


def test_a_short_command_returns_what_it_wrote() -> None:
    """Output and error output are kept apart."""
    done = asyncio.run(run(["sh", "-c", "echo out; echo err >&2"], timeout_s=100))
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")


def test_a_failed_command_says_its_code_and_last_words() -> None:
    """The error of a failed command can be acted on without a log."""
    with pytest.raises(HostError, match=r"(?s)failed with code 3; its last words:\nno space"):
        asyncio.run(run(["sh", "-c", "echo no space >&2; exit 3"], timeout_s=100))


def test_a_failure_can_be_an_answer() -> None:
    """Without `check` the code is a result."""
    assert asyncio.run(run(["false"], timeout_s=100, check=False)).returncode == 1


def test_a_missing_program_is_a_typed_error_of_the_callers_choice() -> None:
    """The caller decides what kind of error a missing program is."""
    with pytest.raises(MachineError, match="was not started"):
        asyncio.run(run(["/nonexistent/program"], timeout_s=100, error=MachineError))


def test_a_command_over_its_limit_is_killed_with_all_it_started(tmp_path: Path) -> None:
    """After the time-out neither the shell nor its child is left."""
    note = tmp_path / "pid"

    async def scenario() -> int:
        with pytest.raises(HostError, match=r"did not end in 0\.5 s and was killed"):
            await run(["sh", "-c", f"sleep 60 & echo $! > {note}; wait"], timeout_s=0.5)
        pid = await _pid_in(note)
        await _wait_gone(pid)
        return pid

    assert _gone(asyncio.run(scenario()))


def test_leaving_the_context_kills_and_reaps_the_child(tmp_path: Path) -> None:
    """A child that ignores polite signals is gone, and no zombie is left."""

    async def scenario() -> Child:
        argv = ["sh", "-c", "trap '' TERM INT; echo started; sleep 60"]
        async with Child(argv, name="stubborn", log=tmp_path / "log") as child:
            assert child.alive
        return child

    child = asyncio.run(scenario())
    assert child.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{child.pid}").exists()


def test_the_log_keeps_the_last_words_of_a_child(tmp_path: Path) -> None:
    """What a child wrote before it ended explains its end."""

    async def scenario() -> tuple[int, str]:
        argv = ["sh", "-c", "echo one; echo bad disk >&2; exit 4"]
        async with Child(argv, name="short", log=tmp_path / "log") as child:
            return await child.wait(), child.last_words()

    assert asyncio.run(scenario()) == (4, "one\nbad disk")


def test_a_child_that_cannot_start_is_a_machine_error(tmp_path: Path) -> None:
    """The text names the child and the program."""

    async def scenario() -> None:
        async with Child(["/nonexistent/qemu"], name="QEMU of node a", log=tmp_path / "log"):
            pass

    with pytest.raises(MachineError, match="QEMU of node a was not started"):
        asyncio.run(scenario())


def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL of the testbed, which runs no cleanup at all, leaves no QEMU behind."""
    note = tmp_path / "pid"
    program = (
        "import asyncio, pathlib\n"
        "from testbed.process import Child\n"
        "async def main():\n"
        f"    async with Child(['sleep', '60'], name='x', log=pathlib.Path({str(tmp_path / 'log')!r})) as child:\n"
        f"        pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "        await child.wait()\n"
        "asyncio.run(main())\n"
    )

    async def scenario() -> tuple[bool, bool]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-c", program]
        async with Child(argv, name="parent", log=tmp_path / "parent.log", env=environment) as parent:
            grandchild = await _pid_in(note)
            before = _gone(grandchild)
            os.kill(parent.pid, signal.SIGKILL)  # only the parent: its child leads a session of its own
            await _wait_gone(grandchild)
            return before, _gone(grandchild)

    assert asyncio.run(scenario()) == (False, True)


def test_a_live_command_writes_where_we_write_and_returns_its_code(capfd: pytest.CaptureFixture[str]) -> None:
    """Its output is not collected but passed through, and its exit code is the result."""
    code = asyncio.run(run_live([sys.executable, "-c", "import sys; print('to be seen'); sys.exit(7)"]))
    assert code == 7
    assert "to be seen" in capfd.readouterr().out


def test_a_live_command_ends_with_its_caller(tmp_path: Path) -> None:
    """When the caller is cancelled, the command is asked to end, and is gone afterwards."""
    mark = tmp_path / "pid"
    program = f"import os,pathlib,time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(600)"

    async def started() -> bool:
        return mark.exists() and mark.read_text() != ""

    async def story() -> int:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(run_live([sys.executable, "-c", program]))
            await wait_until(started, what="the command started", timeout_s=100, poll_s=0.02)
            task.cancel()
        return int(mark.read_text())

    pid = asyncio.run(story())
    assert not Path(f"/proc/{pid}").exists()
