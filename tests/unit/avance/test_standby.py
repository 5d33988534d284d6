"""There is one daemon at a time, and the one that stands ready takes its place as soon as it has ended."""

from __future__ import annotations

import os
import signal
import subprocess  # noqa: TID251 - the lock is about processes that are killed
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avance import standby as module
from avance.standby import await_turn

_DAEMON = """
import sys, time
from pathlib import Path
from avance.standby import await_turn
directory = Path(sys.argv[1])
kept = await_turn(lambda: print("ready", flush=True), directory / "lock", directory / "pid")
print("daemon", flush=True)
time.sleep(60)
"""


@pytest.fixture
def nice(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """What would be set as priority; this process keeps its own."""
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(module.os, "setpriority", lambda *how: asked.append(how))
    return asked


def test_first_one_is_the_daemon_at_once(tmp_path: Path, nice: list[tuple[int, int, int]]) -> None:
    """It prepares nothing, it is named, and its heartbeats come first."""
    prepared: list[str] = []
    kept = await_turn(lambda: prepared.append("x"), tmp_path / "run" / "lock", tmp_path / "run" / "pid")
    assert prepared == []
    assert int((tmp_path / "run" / "pid").read_text()) == os.getpid()
    assert nice == [(os.PRIO_PROCESS, 0, -10)]
    assert not os.get_inheritable(kept), "a program that it starts must not keep the lock"
    os.close(kept)


def test_missing_permission_is_no_reason_to_stay_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that cannot raise its priority serves all the same."""

    def refuse(*how: int) -> None:
        raise PermissionError

    monkeypatch.setattr(module.os, "setpriority", refuse)
    os.close(await_turn(lambda: None, tmp_path / "lock", tmp_path / "pid"))


def test_second_one_waits_prepared(tmp_path: Path, nice: list[tuple[int, int, int]]) -> None:
    """While a daemon runs the other one has prepared itself, writes nothing and does not go on."""
    ready, over = threading.Event(), threading.Event()
    kept = await_turn(lambda: None, tmp_path / "lock", tmp_path / "pid")
    (tmp_path / "pid").unlink()

    def second() -> None:
        os.close(await_turn(ready.set, tmp_path / "lock", tmp_path / "pid"))
        over.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert ready.wait(5.0)
    assert not over.wait(0.2)
    assert not (tmp_path / "pid").exists()
    os.close(kept)
    assert over.wait(5.0)
    thread.join()
    assert (tmp_path / "pid").exists()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes of the same program."""
    argv = [sys.executable, "-c", _DAEMON, str(tmp_path)]
    first = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert line(first) == "daemon"
    second = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert line(second) == "ready"
    yield [first, second]
    for process in (first, second):
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_killed_daemon_has_its_heir_at_once(two: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    """SIGKILL gives the lock up; the heir names itself."""
    first, second = two
    first.send_signal(signal.SIGKILL)
    assert line(second) == "daemon"
    assert int((tmp_path / "pid").read_text()) == second.pid


def test_stopped_daemon_is_still_the_daemon(two: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    """One that only stands still must not get a second one beside it: it may go on at any time."""
    first, second = two
    first.send_signal(signal.SIGSTOP)
    waiter = threading.Thread(target=line, args=(second,), daemon=True)
    waiter.start()
    waiter.join(0.3)
    assert waiter.is_alive(), "nobody took its place"
    assert int((tmp_path / "pid").read_text()) == first.pid
    first.send_signal(signal.SIGKILL)
    waiter.join(5.0)
    assert not waiter.is_alive()
