"""Tests of testbed.host.places: one bed at a time, and only what dead runs left is swept."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from testbed.errors import HostError
from testbed.host import places
from testbed.host.places import bed_sockets, host_lock, running_bed, socket_dir
from testbed.process import Child
from testbed.wait import wait_until

ROOT = Path(__file__).resolve().parents[4]


def test_the_cache_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """AVANCE_CACHE wins over the user's cache directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
    monkeypatch.delenv("AVANCE_CACHE", raising=False)
    assert places.cache_directory() == Path("/var/xdg/avance")
    monkeypatch.setenv("AVANCE_CACHE", "/var/cache/bed")
    assert places.cache_directory() == Path("/var/cache/bed")


def test_a_second_bed_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    """The error names what the holder does, its pid and since when it has been there, and the way out."""
    path = tmp_path / "lock"
    with host_lock("testbed demo --out x", path):
        holder = rf"testbed demo --out x, pid {os.getpid()}, since \d\d:\d\d:\d\d \(0 min\)"
        assert re.fullmatch(holder, running_bed(path) or "")
        words = rf"{holder}\. .*`testbed status` shows how it is.*Wait until"
        with pytest.raises(HostError, match=words), host_lock("second", path):
            pass
    assert running_bed(path) is None


def test_a_stale_lock_file_is_harmless(tmp_path: Path) -> None:
    """What a dead run left in the file does not keep the next one out."""
    path = tmp_path / "lock"
    path.write_text("999999 a run that was killed long ago, with a long name\n", encoding="ascii")
    with host_lock("next", path):
        words = path.read_text(encoding="ascii").split()
        assert (words[0], words[2:]) == (str(os.getpid()), ["next"])


def test_a_holder_that_wrote_nothing_readable_is_told_by_what_there_is(tmp_path: Path) -> None:
    """It has just begun, or is of another version; the refusal must not become an error of its own."""
    path = tmp_path / "lock"
    with host_lock("x", path):
        path.write_text("", encoding="ascii")
        assert running_bed(path) == "pid unknown: it has just started"
        path.write_text("4711 testbed\n", encoding="ascii")
        assert running_bed(path) == "pid 4711"


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/somewhere/bin/testbed", "up", "--cold"], "testbed up --cold"),
        (["/somewhere/testbed/__main__.py", "run", "x y"], "testbed run 'x y'"),
        (["/somewhere/pytest/__main__.py", "tests/" * 100], ("pytest " + "tests/" * 100)[: places.COMMAND_SHOWN_CHARS]),
    ],
    ids=["script", "module", "long"],
)
def test_the_lock_names_what_a_person_typed(monkeypatch: pytest.MonkeyPatch, argv: list[str], shown: str) -> None:
    """A program or a module, with its arguments; never so long that it would not fit."""
    monkeypatch.setattr(sys, "argv", argv)
    assert places.this_command() == shown


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    """SIGKILL of the holder is enough: nobody has to clean up by hand."""
    path = tmp_path / "lock"
    text = (
        "import pathlib, signal\n"
        "from testbed.host.places import host_lock\n"
        f"with host_lock('x', pathlib.Path({str(path)!r})): signal.pause()\n"
    )

    async def scenario() -> tuple[str | None, str | None]:
        async def held() -> str | None:
            return running_bed(path)

        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        async with Child([sys.executable, "-c", text], name="holder", log=tmp_path / "log", env=environment) as child:
            holder = await wait_until(held, what="the lock to be held", timeout_s=100, poll_s=0.02)
            await child.kill()
            return holder, running_bed(path)

    before, after = asyncio.run(scenario())
    assert before is not None
    assert before.startswith("x, pid")
    assert after is None


def test_the_lock_is_in_the_private_directory_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its place does not depend on the working directory."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert places.lock_path() == tmp_path / f"avance-testbed-{os.getuid()}.lock"


def test_the_sweep_removes_only_what_dead_runs_left(tmp_path: Path) -> None:
    """A living owner, a missing mark and other directories are left alone; a reused pid does not protect."""
    owners = {"tb-dead": "999999999 1", "tb-reused": f"{os.getpid()} 1", "tb-nomark": None, "other": "999999999 1"}
    for name, owner in owners.items():
        (tmp_path / name).mkdir()
        if owner is not None:
            (tmp_path / name / "owner").write_text(owner, encoding="ascii")
    with socket_dir(tmp_path) as mine:
        removed = places.sweep_socket_dirs(tmp_path)
        assert [path.name for path in removed] == ["tb-dead", "tb-reused"]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["other", "tb-nomark", mine.name])


def test_a_socket_directory_is_private_and_short_lived(tmp_path: Path) -> None:
    """Nobody else can enter it, and it is gone afterwards, also after an error."""

    def fail_inside() -> None:
        with socket_dir(tmp_path) as path:
            assert path.stat().st_mode & 0o777 == 0o700
            raise HostError("something failed")

    with pytest.raises(HostError, match=r"something failed"):
        fail_inside()
    assert list(tmp_path.iterdir()) == []


def test_the_sockets_of_the_running_bed_are_found(tmp_path: Path) -> None:
    """They belong to the process that holds the lock; without a bed, and for a stranger's directory, there are none."""
    lock = tmp_path / "lock"
    assert bed_sockets(tmp_path, lock) is None
    with host_lock("testbed", lock), socket_dir(tmp_path) as mine:
        stranger = tmp_path / "tb-stranger"
        stranger.mkdir()
        (stranger / "owner").write_text("1 1\n", encoding="ascii")
        assert bed_sockets(tmp_path, lock) == mine
    assert bed_sockets(tmp_path, lock) is None
