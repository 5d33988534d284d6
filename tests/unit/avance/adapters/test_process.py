"""A subprocess ends in one of three ways, and never outlives its deadline."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
from pathlib import Path

import pytest

from avance.adapters import process as module
from avance.adapters.process import OUTPUT_BYTES_MAX, Completed, Lines, keep_open, run, run_all
from avance.core.model import Outcome
from avance.core.results import Done
from tests.unit.avance.adapters.tools import descriptors, until


def test_success_carries_the_output() -> None:
    """A command that ends with 0 is OK."""
    completed = asyncio.run(run(["echo", "hello"], timeout_s=100))
    assert (completed.outcome, completed.stdout) == (Outcome.OK, "hello\n")


def test_environment_is_added() -> None:
    """What a command is given by its environment stands beside what the daemon has in its own."""
    completed = asyncio.run(run(["sh", "-c", "echo $SECRET; ls"], timeout_s=100, environment={"SECRET": "x"}))
    assert completed.outcome is Outcome.OK
    assert completed.stdout.startswith("x\n")


def test_connection_is_the_standard_input() -> None:
    """What the program reads there comes over the connection, which is open for others afterwards."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"hello")
        completed = asyncio.run(run(["head", "-c", "5"], timeout_s=100, connection=theirs))
        assert completed.stdout == "hello"
        theirs.sendall(b"still there")
        assert ours.recv(100) == b"still there"


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


def test_killed_program_that_is_not_gone_is_reaped_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs in the kernel, or whose end nobody waited for, leaves neither a warning nor a process behind."""
    note = tmp_path / "pid"
    monkeypatch.setattr(module, "_REAP_S", 0.0)
    argv = ["sh", "-c", f"echo $$ > {note}; exec sleep infinity"]

    async def story() -> None:
        async with Lines(argv):
            await until(lambda: note.exists() and note.read_text().endswith("\n"))
        gc.collect()
        process = Path("/proc", note.read_text().strip())
        for _ in range(1000):
            await run(["true"], timeout_s=100)
            if not process.exists():
                return
        raise AssertionError("it was never reaped")

    asyncio.run(story())
    assert module._unreaped == []


def test_steps_stop_at_the_first_failure(tmp_path: Path) -> None:
    """Of several commands none runs after one that did not end OK."""
    never = tmp_path / "never"
    done = asyncio.run(run_all([["true"], ["false"], ["touch", str(never)]], timeout_s=100))
    assert done.outcome is Outcome.FAILED
    assert not never.exists()
    assert asyncio.run(run_all([["true"], ["true"]], timeout_s=100)) == Done(Outcome.OK)


def test_output_without_an_end_is_bounded() -> None:
    """What nobody has room for is not looked at; the program ends as it ends, and its complaint is kept at its end."""
    much = f"head -c {OUTPUT_BYTES_MAX * 10} /dev/zero"
    for code, outcome in ((0, Outcome.OK), (3, Outcome.FAILED)):
        script = f"{much}; {much} | tr '\\0' x >&2; echo the disk is gone >&2; exit {code}"
        completed = asyncio.run(run(["sh", "-c", script], timeout_s=100))
        assert (completed.outcome, completed.stdout, completed.code) == (outcome, "", code)
        assert f"printed more than {OUTPUT_BYTES_MAX} bytes" in completed.detail
        assert len(completed.detail) < 2000
    assert "the disk is gone" in completed.detail


def test_child_that_holds_the_pipe_delays_nobody(tmp_path: Path) -> None:
    """A program has ended when it has ended: all that it wrote is there, whoever else may write to its pipes."""
    script = "(while :; do echo child; done) & echo $! > pid; echo mine; exit 0"

    async def story() -> None:
        async with asyncio.timeout(20):
            completed = await run(["sh", "-c", f"cd {tmp_path}; {script}"], timeout_s=100)
            assert completed.outcome is Outcome.OK
            assert "mine\n" in completed.stdout
            async with Lines(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/second; echo one"]) as stream:
                assert [line async for line in stream] == ["one"]

    try:
        asyncio.run(story())
    finally:
        for name in ("pid", "second"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((tmp_path / name).read_text()), signal.SIGKILL)


def test_killed_program_may_have_acted() -> None:
    """One that somebody else killed has an unknown outcome, as one that was killed at its deadline."""
    completed = asyncio.run(run(["sh", "-c", "echo begun; kill -9 $$"], timeout_s=100))
    assert (completed.outcome, completed.stdout) == (Outcome.UNKNOWN, "")
    assert "was killed by signal 9: begun; whether it acted is unknown" in completed.detail


@pytest.mark.parametrize("argv", [["no-such-program"], ["/dev/null"], ["echo", "a\0b"], ["echo", "\ud800"]])
def test_program_that_cannot_be_started_did_nothing(argv: list[str]) -> None:
    """Not there, no program, or an argument that none can have: FAILED, because nothing has happened."""
    completed = asyncio.run(run(argv, timeout_s=100))
    assert (completed.outcome, completed.code) == (Outcome.FAILED, None)
    assert "was not started, so it did nothing" in completed.detail
    assert completed.detail.encode()

    async def story() -> None:
        async with Lines(argv) as stream:
            assert [line async for line in stream] == []
        assert not stream.started
        assert stream.why == completed.detail

    asyncio.run(story())


def test_complaint_cannot_steer_a_terminal() -> None:
    """What a program prints goes into logs and alerts: signs that are no letters are replaced."""
    completed = asyncio.run(run(["sh", "-c", r"printf 'a\033[2Jb\377' >&2; exit 1"], timeout_s=100))
    assert completed.detail.endswith("a\ufffd[2Jb\ufffd")


def is_over(pid: str) -> bool:
    """Say whether a process is gone, or is nothing but its number any more."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(") ")[2][0] in "ZX"
    except OSError:
        return True


def test_lines_come_as_they_are_printed(tmp_path: Path) -> None:
    """A long-running program's lines arrive before it ends; it and its children end when nobody listens any more."""

    async def story() -> list[str]:
        script = f"echo $$ > {tmp_path}/pid; echo one; echo two; sleep 600 & echo $! > {tmp_path}/child; wait"
        async with Lines(["sh", "-c", script]) as stream:
            seen = [await anext(stream), await anext(stream)]
            await until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
        await until(lambda: all(is_over((tmp_path / name).read_text().strip()) for name in ("pid", "child")))
        return seen

    assert asyncio.run(asyncio.wait_for(story(), 10.0)) == ["one", "two"]


def test_lines_end_with_the_program() -> None:
    """A stream that breaks ends, and says how; a last line that may be cut is no line."""

    async def story(script: str) -> tuple[list[str], str]:
        async with Lines(["sh", "-c", script]) as stream:
            return [line async for line in stream], stream.why

    assert asyncio.run(story("printf 'one\\ntwo\\nthr'; echo no kernel >&2; exit 4")) == (
        ["one", "two"],
        "`sh -c printf 'one\\ntwo\\nthr'; echo no kernel >&2; exit 4` ended with 4: no kernel",
    )
    lines, why = asyncio.run(story("echo one; head -c 10000000 /dev/zero; exec sleep 600"))
    assert lines == ["one"]
    assert why.endswith("bytes without a line end")


def test_standard_input_is_a_file() -> None:
    """A program may be given a text that stands on no file system; it can open it by a name."""

    async def story() -> list[str]:
        async with Lines(["cat", "/proc/self/fd/0"], given=b"a\nb\n" * 1000) as stream:
            return [line async for line in stream]

    assert asyncio.run(story()) == ["a", "b"] * 1000


def test_no_descriptor_is_left_and_none_is_lost() -> None:
    """Without a free descriptor nothing is started, and that is told; afterwards all are there again."""

    async def story() -> Completed:
        before, limit = descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE)
        for free in range(8):
            resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1 + free, limit[1]))
            try:
                completed = await run(["true"], timeout_s=100)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            assert completed.outcome in (Outcome.OK, Outcome.FAILED)
            if free == 0:
                assert "was not started, so it did nothing" in completed.detail
        assert descriptors() == before
        return completed

    asyncio.run(story())
