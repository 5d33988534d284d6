"""Tests of testbed.replica.look: both replicas at once, with disks that are damaged or missing."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest

from testbed.errors import UsageError
from testbed.replica.compare import ReplicaReport
from testbed.replica.layout import MD_OFFSET_BYTES
from testbed.replica.look import Inspection, find_disks, look, look_kept, look_when_quiet, main
from tests.unit.testbed.replica.captured_disks import (
    DRBD_AT,
    KEPT_AT,
    RECORDS,
    VOLUME_AT,
    with_kept_version,
    write_disk,
    write_image,
)
from tests.unit.testbed.replica.md_block import md_block

NAMES = ("a-vdb", "a-vdc", "b-vdb", "b-vdc")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A directory with the captured disks as raw files."""
    return write_images(tmp_path)


def write_images(directory: Path) -> Path:
    """Write the captured disks as raw files; DRBD's data are told to be 1 MiB, so that a look is quick."""
    for name in NAMES:
        write_image(name, directory / f"{name}.raw")
        damage(directory / f"{name}.raw", DRBD_AT, struct.pack(">Q", 2048))
    return directory


def looked(directory: Path) -> Inspection:
    """One look."""
    return asyncio.run(look(find_disks(directory), "web"))


def test_a_version_that_was_given_up_is_read_from_the_node_that_keeps_it(images: Path) -> None:
    """The other node keeps none; what is no log, and disks that are not there, are readings that could not read."""
    assert asyncio.run(look_kept(find_disks(images), "web")) == ()
    for disk in ("vdb", "vdc"):
        write_disk(with_kept_version(f"a-{disk}"), images / f"a-{disk}.raw")
    (seen,) = asyncio.run(look_kept(find_disks(images), "web"))
    assert (seen.reader, seen.given_up_by, seen.complete) == ("avance-web.kept-2 of a", "a", True)
    assert seen.ids == looked(images).readings[0].ids
    for disk in ("vdb", "vdc"):
        damage(images / f"a-{disk}.raw", KEPT_AT, b"x")
        (images / f"b-{disk}.raw").unlink()
    torn, gone = asyncio.run(look_kept(find_disks(images), "web"))
    assert (torn.given_up_by, torn.ids, bool(torn.reason)) == ("a", (), True)
    assert (gone.given_up_by, gone.complete) == ("b", False)
    assert "expected a usable half of its mirror" in gone.reason


def damage(path: Path, offset: int, data: bytes) -> None:
    """Change bytes of an image."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_both_replicas_are_compared_and_their_logs_read(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a scenario, and by hand."""
    seen = looked(images)
    assert isinstance(seen.report, ReplicaReport)
    assert seen.report.is_equal
    assert {node: len(log.ids) for node, log in seen.logs.items()} == {"a": RECORDS, "b": RECORDS}
    assert [(reading.reader, reading.complete) for reading in seen.readings] == [
        ("replica a", True),
        ("replica b", True),
    ]
    assert main(images, "web") == 0
    told = capsys.readouterr().out
    assert f"replica b: {RECORDS} records (248 by 9c9e8dd8ab7bb796, 615 by 305addb78bcc28c3)\n" in told
    assert "are equal in all" in told


def test_a_flipped_byte_ends_the_command_with_1(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says where."""
    for disk in ("vdb", "vdc"):
        damage(images / f"a-{disk}.raw", VOLUME_AT + 800_000, b"\x01")
    assert main(images, "web") == 1
    assert "differ in 1 blocks of 4096 bytes: 798720+4096" in capsys.readouterr().out


def test_a_missing_disk_is_noted_and_a_missing_node_prevents_the_comparison(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One half is enough for a replica; without any the reading is incomplete and says why."""
    (images / "a-vdb.raw").unlink()
    seen = looked(images)
    assert isinstance(seen.report, ReplicaReport)
    assert "disk vdb" in seen.report.problems[0]
    assert main(images, "web") == 0
    assert "note: disk vdb" in capsys.readouterr().out
    (images / "a-vdc.raw").unlink()
    seen = looked(images)
    assert isinstance(seen.report, str)
    assert "expected a usable half of its mirror" in seen.report
    assert [(reading.reader, reading.complete) for reading in seen.readings] == [
        ("replica a", False),
        ("replica b", True),
    ]
    assert main(images, "web") == 1
    assert "not compared: node a" in capsys.readouterr().out


def test_replicas_that_cannot_be_compared_are_a_sentence(images: Path) -> None:
    """Their logs could be read all the same."""
    for disk in ("vdb", "vdc"):
        damage(images / f"b-{disk}.raw", DRBD_AT, struct.pack(">Q", 4096))
    seen = looked(images)
    assert isinstance(seen.report, str)
    assert "expected replicas of one size" in seen.report
    assert all(reading.complete for reading in seen.readings)


def test_a_look_is_taken_again_until_the_mirrors_are_quiet(images: Path) -> None:
    """At the end of its time it gives the last look, which says that it was not quiet."""
    calm, busy = md_block("b-vdc"), md_block("b-vdc", resync=0)
    damage(images / "b-vdc.raw", MD_OFFSET_BYTES, busy)
    seen = asyncio.run(look_when_quiet(find_disks(images), "web", timeout_s=0.0))
    assert isinstance(seen.report, ReplicaReport)
    assert seen.report.dirty == ("b",)

    async def calm_down() -> Inspection:
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(look_when_quiet(find_disks(images), "web", timeout_s=100))
            await asyncio.sleep(0)
            damage(images / "b-vdc.raw", MD_OFFSET_BYTES, calm)
        return looking.result()

    seen = asyncio.run(calm_down())
    assert isinstance(seen.report, ReplicaReport)
    assert seen.report.dirty == ()


def test_a_directory_without_disks_is_refused(tmp_path: Path) -> None:
    """With what would be accepted."""
    with pytest.raises(UsageError, match="neither sockets such as n-a-vdb nor raw files"):
        find_disks(tmp_path)
