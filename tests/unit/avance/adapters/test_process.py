"""A subprocess ends in one of three ways, and never outlives its deadline."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from avance.adapters.process import keep_open, lines, run, run_all
from avance.core.model import Outcome
from avance.core.results import Done
from tests.unit.avance.adapters.tools import until


def test_success_carries_the_output() -> None:
    """A command that ends with 0 is OK."""
    completed = asyncio.run(run(["echo", "hello"], timeout_s=100))
    assert (completed.outcome, completed.stdout) == (Outcome.OK, "hello\n")


def test_environment_is_added() -> None:
    """What a command is given by its environment stands beside what the daemon has in its own."""
    completed = asyncio.run(run(["sh", "-c", "echo $SECRET; ls"], timeout_s=100, environment={"SECRET": "x"}))
    assert completed.outcome is Outcome.OK
    assert completed.stdout.startswith("x\n")


def test_kept_file_stays_open(tmp_path: Path) -> None:
    """The keeper holds the very same open file, once, and nothing that the daemon reads or writes."""
    with (tmp_path / "file").open("w") as file:
        pid = keep_open(file.fileno(), 3)
    try:
        held = Path(f"/proc/{pid}/fd")
        names: dict[str, Path] = {}
        for path in held.iterdir():
            with contextlib.suppress(FileNotFoundError):  # a library that its loader has just closed
                names[path.name] = path.readlink()
        assert [name for name, target in names.items() if target == tmp_path / "file"] == ["3"]
        assert [names[name] for name in "012"] == [Path("/dev/null")] * 3
        assert os.getsid(pid) == pid, "a signal to the daemon's group does not reach it"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_failure_carries_the_evidence() -> None:
    """A command that ends with another code is FAILED, with its code and what it said."""
    completed = asyncio.run(run(["sh", "-c", "echo out; echo no such disk >&2; exit 3"], timeout_s=100))
    assert completed.outcome is Outcome.FAILED
    assert "ended with 3: no such disk" in completed.detail


def test_deadline_is_unknown_and_kills(tmp_path: Path) -> None:
    """A command that misses its deadline is UNKNOWN, because it may have acted, and it is killed."""
    note = tmp_path / "pid"

    async def story() -> None:
        script = f"echo $$ > {note}.part; mv {note}.part {note}; exec sleep 600"
        completed = await run(["sh", "-c", script], timeout_s=0.5)
        assert completed.outcome is Outcome.UNKNOWN
        assert "whether it acted is unknown" in completed.detail
        process = Path("/proc") / note.read_text().strip()
        async with asyncio.timeout(100):
            await until(lambda: not process.exists())

    asyncio.run(story())


def test_steps_stop_at_the_first_failure(tmp_path: Path) -> None:
    """Of several commands none runs after one that did not end OK."""
    never = tmp_path / "never"
    done = asyncio.run(run_all([["true"], ["false"], ["touch", str(never)]], timeout_s=100))
    assert done.outcome is Outcome.FAILED
    assert not never.exists()
    assert asyncio.run(run_all([["true"], ["true"]], timeout_s=100)) == Done(Outcome.OK)


def test_lines_come_as_they_are_printed() -> None:
    """A long-running command's lines arrive before it ends, and it is killed when nobody listens any more."""

    async def story() -> list[str]:
        stream = lines(["sh", "-c", "echo one; echo two; exec sleep 600"])
        seen = [await anext(stream), await anext(stream)]
        await stream.aclose()
        return seen

    assert asyncio.run(asyncio.wait_for(story(), 10.0)) == ["one", "two"]


def test_lines_end_with_the_command() -> None:
    """A stream that breaks simply ends."""

    async def story() -> list[str]:
        return [line async for line in lines(["printf", "one\\ntwo\\n"])]

    assert asyncio.run(story()) == ["one", "two"]
