"""The watchdog on stand-ins of its device: armed by the first feed, never for longer than allowed, never given up."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avance.adapters import watchdog as module
from avance.adapters.process import keep_open
from avance.adapters.watchdog import NodeWatchdog, leave, left_before, take_over


class Device:
    """Stands for an open device: notes what it was told, and rounds its time like some hardware."""

    told: list[str]
    longest_s = 1000
    shortest_s = 1

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def set_timeout(self, seconds: int) -> int:
        """Note and round."""
        self.told.append(f"time {seconds}")
        return min(max(seconds, self.shortest_s), self.longest_s)

    def feed(self) -> None:
        """Note."""
        self.told.append("feed")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the device was told."""
    notes: list[str] = []
    monkeypatch.setattr(Device, "told", notes, raising=False)
    monkeypatch.setattr(module, "LinuxTimer", Device)
    return notes


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A device (a plain file) and the note of its keeper; the keeper is ended afterwards."""
    device, keeper = tmp_path / "watchdog", tmp_path / "keeper"
    device.touch()
    yield device, keeper
    if keeper.exists():
        pid = int(keeper.read_text())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_nothing_happens_before_the_first_feed(told: list[str], place: tuple[Path, Path]) -> None:
    """A daemon that never gets the right to feed never opens the device: an armed one runs out."""
    watchdog = NodeWatchdog(10.9, *place)
    before = watchdog.armed
    assert before is False
    assert told == []
    watchdog.feed()
    watchdog.feed()
    assert told == ["time 10", "feed", "feed"], "whole seconds, rounded down"
    assert watchdog.armed
    assert watchdog.problem is None


def test_missing_device_is_said(place: tuple[Path, Path]) -> None:
    """Without a device nothing is armed, the reason stands in the status, and the daemon lives on."""
    watchdog = NodeWatchdog(10.0, place[0].with_name("absent"), place[1])
    watchdog.feed()
    assert not watchdog.armed
    assert "No such file" in (watchdog.problem or "")


def test_too_long_a_time_does_not_count(
    told: list[str], place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that cannot be so quick protects nobody; it is fed all the same, for it cannot be stopped."""
    monkeypatch.setattr(Device, "shortest_s", 60)
    watchdog = NodeWatchdog(10.0, *place)
    watchdog.feed()
    watchdog.feed()
    assert not watchdog.armed
    assert "is 60 s, but must be at most 10 s" in (watchdog.problem or "")
    assert told == ["time 10", "feed", "feed"]


def test_device_outlives_the_daemon(told: list[str], place: tuple[Path, Path]) -> None:
    """The next daemon takes the same open file over from the keeper, and does so at its own first feed."""
    device, keeper = place
    NodeWatchdog(10.0, *place).feed()
    pid = int(keeper.read_text())
    assert Path(f"/proc/{pid}/fd/3").readlink() == device
    second = NodeWatchdog(10.0, *place)
    second.feed()
    assert second.armed
    assert int(keeper.read_text()) == pid, "no second keeper"


def test_keeper_that_cannot_be_noted_is_told_and_tried_again(told: list[str], place: tuple[Path, Path]) -> None:
    """A full /run: the device is fed, nothing is started in vain, and the first feed that finds room has a keeper."""
    device, keeper = place
    keeper.symlink_to("/dev/full")
    watchdog = NodeWatchdog(10.0, device, keeper)
    watchdog.feed()
    watchdog.feed()
    assert told == ["time 10", "feed", "feed"]
    assert "No space left" in (watchdog.problem or "")
    keeper.unlink()
    watchdog.feed()
    assert watchdog.problem is None
    assert Path(f"/proc/{int(keeper.read_text())}/fd/3").readlink() == device


def test_taken_over_file_is_the_same_one(place: tuple[Path, Path]) -> None:
    """It is the open file itself, not a second opening of it, which a watchdog would refuse."""
    device, keeper = place
    first = os.open(device, os.O_RDWR)
    keeper.write_text(str(keep_open(first, 3)))
    second = take_over(keeper, device)
    assert second is not None
    os.write(first, b"abc")
    assert os.lseek(second, 0, os.SEEK_CUR) == 3
    os.close(first)
    os.close(second)


@pytest.mark.parametrize("text", ["", "nonsense", str(os.getpid()), "999999999"], ids=["empty", "word", "us", "nobody"])
def test_foreign_keeper_is_not_believed(place: tuple[Path, Path], text: str) -> None:
    """A number that is none, of nobody, or of a process that holds something else gives nothing."""
    device, keeper = place
    keeper.write_text(text)
    assert take_over(keeper, device) is None
    keeper.unlink()


def test_reset_is_asked_of_the_kernel(
    told: list[str], place: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel is told why and to reset; for the case that it does not, the watchdog is left to run out soon."""
    sysrq, log = tmp_path / "sysrq", tmp_path / "kmsg"
    sysrq.touch()
    log.touch()
    monkeypatch.setattr(module, "SYSRQ", sysrq)
    monkeypatch.setattr(module, "KERNEL_LOG", log)
    monkeypatch.setattr(module, "REASON", tmp_path / "reset")
    watchdog = NodeWatchdog(10.0, *place)
    watchdog.feed()
    watchdog.reset("met a newer epoch")
    watchdog.feed()
    assert "met a newer epoch" in (tmp_path / "reset").read_text(), "it is on the disk before the kernel is asked"
    assert sysrq.read_text() == "b"
    assert "met a newer epoch" in log.read_text()
    assert told == ["time 10", "feed", "time 1"], "it is never fed again"


def test_failing_feed_is_said(told: list[str], place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that breaks later is no crash of the daemon, but it counts as armed only when it can be fed again."""

    def broken(_self: Device) -> None:
        raise OSError(errno.EIO, "Input/output error")

    watchdog = NodeWatchdog(10.0, *place)
    watchdog.feed()
    monkeypatch.setattr(Device, "feed", broken)
    watchdog.feed()
    assert not watchdog.armed
    assert "Input/output error" in (watchdog.problem or "")
    monkeypatch.setattr(Device, "feed", lambda _self: None)
    watchdog.feed()
    assert watchdog.problem is None


def test_the_reason_is_told_by_the_next_boot_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is started anew while the machine has not been reset does not say that it was."""
    reason, boot = tmp_path / "reset", tmp_path / "boot"
    boot.write_text("boot-1\n")
    monkeypatch.setattr(module, "MACHINE_BOOT", boot)
    assert left_before(reason) is None
    leave(reason, "the lease has ended")
    assert left_before(reason) is None
    boot.write_text("boot-2\n")
    left = left_before(reason)
    assert left is not None
    assert left[0] == "the lease has ended"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_reason_is_none(tmp_path: Path, raw: bytes) -> None:
    """A torn file does not keep a node from starting."""
    (tmp_path / "reset").write_bytes(raw)
    assert left_before(tmp_path / "reset") is None


def test_a_disk_that_hangs_does_not_put_the_reset_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason gets a moment and no more; one that the disk refuses is given up at once."""
    hangs = threading.Event()
    monkeypatch.setattr(module, "_LEAVE_S", 0.01)
    monkeypatch.setattr(module, "write_durably", lambda *_: hangs.wait(60.0))
    leave(tmp_path / "reset", "the lease has ended")
    assert not hangs.is_set(), "it came back although the disk still hangs"
    hangs.set()
    leave(tmp_path / "no such directory" / "reset", "the lease has ended")
