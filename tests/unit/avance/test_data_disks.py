"""What is in the place of a disk: told by its own bytes, past the cache, and never at the price of a hang."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from avance import data_disks
from avance.core.halves import Found, Half
from avance.data_disks import DiskReader
from tests.unit.avance.adapters.tools import Tools, until
from tests.unit.avance.superblocks import superblock

ARRAY, X = "a" * 32, "b" * 32
SIZE = 2 << 20


@pytest.fixture
def blkid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """A blkid that knows nothing, as it ends for a blank disk."""
    directory = tmp_path / "bin"
    directory.mkdir()
    tools = Tools(directory, monkeypatch, "blkid")
    tools.ends("blkid", 2)
    return tools


def disk(tmp_path: Path, content: bytes = b"", at: int = 0) -> str:
    """Return a file in the place of a disk."""
    path = tmp_path / "vdb"
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.seek(at)
        file.write(content)
    return str(path)


def read(path: str) -> Half | Found:
    """Look at one disk."""
    return asyncio.run(DiskReader((path,)).read(path))


def test_a_half_is_read_from_the_disk(tmp_path: Path, blkid: Tools) -> None:
    """Its superblock lies 4 KiB from the start."""
    assert read(disk(tmp_path, superblock(ARRAY, X, 7), 4096)) == Half(ARRAY, X, 7)


def test_a_disk_of_zeroes_without_a_signature_is_blank(tmp_path: Path, blkid: Tools) -> None:
    """Only such a disk may be taken for a new one."""
    path = disk(tmp_path)
    assert read(path) is Found.BLANK
    blkid.ends("blkid", 0)
    assert read(path) is Found.FOREIGN, "blkid knows something at its end"
    blkid.ends("blkid", 8)
    assert read(path) is Found.FOREIGN, "blkid knows more than one thing of it"


@pytest.mark.parametrize("code", [1, 4, 127])
def test_a_disk_at_which_blkid_did_not_look_is_absent(tmp_path: Path, blkid: Tools, code: int) -> None:
    """Only a blkid that has looked and found nothing makes a disk blank, which may be overwritten."""
    path = disk(tmp_path)
    blkid.ends("blkid", code)
    assert read(path) is Found.ABSENT


@pytest.mark.parametrize("at", [0, 4096, 8192, (1 << 20) - 1])
def test_a_disk_that_holds_anything_is_foreign(tmp_path: Path, blkid: Tools, at: int) -> None:
    """A damaged superblock counts as foreign too: it is not overwritten."""
    assert read(disk(tmp_path, b"\x01", at)) is Found.FOREIGN


def test_no_disk_is_absent(tmp_path: Path, blkid: Tools) -> None:
    """As is one that cannot be read."""
    assert read(str(tmp_path / "none")) is Found.ABSENT


def test_a_hanging_disk_is_absent_and_asked_once(tmp_path: Path, blkid: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further read would leave one more thread in the kernel; when it answers it is there again (white box)."""
    path, go_on, asked = disk(tmp_path), threading.Event(), []
    real = os.open

    def hang(name: str, flags: int) -> int:
        asked.append(name)
        go_on.wait(10.0)
        return real(name, flags)

    monkeypatch.setattr(data_disks, "_READ_S", 0.02)
    monkeypatch.setattr("avance.data_disks.os.open", hang)

    async def story() -> None:
        reader = DiskReader((path,))
        assert [await reader.read(path) for _ in range(3)] == [Found.ABSENT] * 3
        assert asked == [path]
        go_on.set()
        monkeypatch.setattr(data_disks, "_READ_S", 10.0)
        await until(lambda: path not in reader._reading)
        assert await reader.read(path) is Found.BLANK

    asyncio.run(story())
