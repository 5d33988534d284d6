"""There is one daemon at a time, and the one that stands ready takes its place as soon as it has ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from avance.standby import await_turn

_FORK = multiprocessing.get_context("fork")  # an interpreter of its own would first import pytest
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # from Python 3.12 on


def daemon(directory: Path, says: Connection) -> None:
    """Be a daemon, or stand ready to become one, in a process of its own."""
    await_turn(lambda: says.send("ready"), directory / "lock", directory / "pid")
    says.send("daemon")
    says.poll(60.0)


@pytest.fixture
def nice(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """What would be set as priority; this process keeps its own."""
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "setpriority", lambda *how: asked.append(how))
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

    monkeypatch.setattr(os, "setpriority", refuse)
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


@dataclass
class Run:
    """One process, and what it says."""

    process: ForkProcess
    says: Connection

    def line(self) -> str:
        """Return the next thing that it says."""
        assert self.says.poll(20.0), "it says nothing"
        return str(self.says.recv())


def started(directory: Path) -> Run:
    """Start a process of the daemon's program."""
    mine, its = _FORK.Pipe()
    process = _FORK.Process(target=daemon, args=(directory, its))
    process.start()
    its.close()
    return Run(process, mine)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Run, Run]]:
    """Two processes of the same program: the daemon, and one that stands ready."""
    first = started(tmp_path)
    assert first.line() == "daemon"
    second = started(tmp_path)
    assert second.line() == "ready"
    yield first, second
    for run in (first, second):
        run.process.kill()
        run.process.join()
        run.says.close()


def test_killed_daemon_has_its_heir_at_once(two: tuple[Run, Run], tmp_path: Path) -> None:
    """SIGKILL gives the lock up; the heir names itself."""
    first, second = two
    first.process.kill()
    assert second.line() == "daemon"
    assert int((tmp_path / "pid").read_text()) == second.process.pid


def test_stopped_daemon_is_still_the_daemon(two: tuple[Run, Run], tmp_path: Path) -> None:
    """One that only stands still must not get a second one beside it: it may go on at any time."""
    first, second = two
    assert first.process.pid is not None
    os.kill(first.process.pid, signal.SIGSTOP)
    assert not second.says.poll(0.3), "nobody took its place"
    assert int((tmp_path / "pid").read_text()) == first.process.pid
    first.process.kill()
    assert second.line() == "daemon"
