"""The record survives what disks do: torn copies, damage, hanging, and writes that come late."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from avance import twice
from avance.adapters.store import RecordStore
from avance.core.model import Outcome, Record
from avance.core.results import Done
from avance.errors import StoreError
from avance.files import overwrite
from tests.playbook import A, B

OLD, NEW = Record(3, A), Record(4, B, peer_outdated=True)
COPIES = ("record.a", "record.b")


def save(directory: Path, *records: Record) -> None:
    """Save records one after the other, all of them OK."""

    async def story() -> None:
        store = RecordStore(directory, 1.0)
        store.load()
        for record in records:
            assert (await store.save(record)).outcome is Outcome.OK

    asyncio.run(story())


def test_new_node_has_an_empty_record(tmp_path: Path) -> None:
    """A node that never had a record starts with the empty one."""
    assert RecordStore(tmp_path, 1.0).load() == Record()


def test_saved_record_is_loaded(tmp_path: Path) -> None:
    """The last record that was saved is the one that a restarted node finds, in both copies."""
    save(tmp_path, OLD, NEW)
    assert RecordStore(tmp_path, 1.0).load() == NEW
    assert (tmp_path / COPIES[0]).read_bytes() == (tmp_path / COPIES[1]).read_bytes()


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"torn"])
def test_one_damaged_copy_is_survived(tmp_path: Path, name: str, damage: bytes) -> None:
    """One good copy is enough, whichever it is."""
    save(tmp_path, OLD, NEW)
    (tmp_path / name).write_bytes(damage)
    assert RecordStore(tmp_path, 1.0).load() == NEW


def test_newer_copy_wins(tmp_path: Path) -> None:
    """After a power cut between the two copies the newer one counts."""
    save(tmp_path, OLD)
    older = (tmp_path / COPIES[1]).read_bytes()
    save(tmp_path, NEW)
    (tmp_path / COPIES[1]).write_bytes(older)
    assert RecordStore(tmp_path, 1.0).load() == NEW


def test_next_record_is_newer_than_a_loaded_one(tmp_path: Path) -> None:
    """A restarted node goes on counting, so its first record beats all that were there."""
    save(tmp_path, OLD, OLD, OLD)
    first = (tmp_path / COPIES[1]).read_bytes()
    save(tmp_path, NEW)
    (tmp_path / COPIES[0]).write_bytes(first)
    assert RecordStore(tmp_path, 1.0).load() == NEW


def test_both_damaged_copies_stop_the_node(tmp_path: Path) -> None:
    """A node that does not know its epoch must not start; damage is never read as `new node`."""
    save(tmp_path, OLD)
    for name in COPIES:
        (tmp_path / name).write_bytes(b"rot")
    with pytest.raises(StoreError, match="starts no VM"):
        RecordStore(tmp_path, 1.0).load()
    (tmp_path / COPIES[0]).unlink()
    with pytest.raises(StoreError, match="starts no VM"):
        RecordStore(tmp_path, 1.0).load()


def test_refusing_disk_is_unknown(tmp_path: Path) -> None:
    """A disk that refuses the write may hold either record."""

    async def story() -> Outcome:
        return (await RecordStore(tmp_path / "gone", 1.0).save(OLD)).outcome

    assert asyncio.run(story()) is Outcome.UNKNOWN


def test_read_only_file_system_has_refused_and_leaves_no_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel makes the file system of a dead disk read-only: no copy is touched, and that is certain."""
    save(tmp_path, OLD)
    before, real = [(tmp_path / name).read_bytes() for name in COPIES], os.open

    def opened(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, flags, mode)

    async def story() -> Done:
        store = RecordStore(tmp_path, 1.0)
        store.load()
        monkeypatch.setattr(os, "open", opened)
        return await store.save(NEW)

    done = asyncio.run(story())
    assert (done.outcome, done.detail) == (
        Outcome.FAILED,
        f"{tmp_path}: Read-only file system; nothing was written",
    )
    monkeypatch.undo()
    assert [(tmp_path / name).read_bytes() for name in COPIES] == before


def test_hanging_write_never_replaces_a_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that hung over its deadline ends before the next begins, so the newest record is the last on disk."""
    gate = threading.Event()

    def slow(path: Path, raw: bytes) -> None:
        gate.wait(10.0)
        overwrite(path, raw)

    async def story() -> None:
        store = RecordStore(tmp_path, 0.01)  # a deadline of 0.04 s
        monkeypatch.setattr(twice, "overwrite", slow)
        assert (await store.save(OLD)).outcome is Outcome.UNKNOWN
        second = await store.save(NEW)
        assert second.outcome is Outcome.UNKNOWN
        assert "not begun" in second.detail
        gate.set()
        monkeypatch.setattr(store, "_deadline_s", 10.0)
        assert (await store.save(NEW)).outcome is Outcome.OK

    asyncio.run(story())
    assert RecordStore(tmp_path, 1.0).load() == NEW
