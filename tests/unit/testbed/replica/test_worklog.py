"""Tests of testbed.replica.worklog on the log of a real pair, with records cut out, damaged and put in."""

from __future__ import annotations

import asyncio
import json

import pytest

from testbed.replica.layout import ReplicaError
from testbed.replica.worklog import MAGIC, Boot, Log, make_record, parse_record, read_log
from tests.unit.testbed.replica.captured_disks import FIRST_BOOT_RECORDS, RECORDS, MemoryDisk, Pair

SMALL = 64 * 512


def log_of(pair: Pair, node: str = "a") -> Log:
    """The log on the replica of a node."""
    replica = pair.open(node)
    return asyncio.run(read_log(replica, replica.size, str(replica)))


def disk_of(*sectors: bytes) -> MemoryDisk:
    """A small disk with these sectors at its front."""
    disk = MemoryDisk({})
    disk.write(0, b"".join(sectors))
    return disk


def small(*sectors: bytes) -> Log:
    """The log on a small disk."""
    return asyncio.run(read_log(disk_of(*sectors), SMALL, "replica a"))


def run(*writers: str) -> list[bytes]:
    """A record by each of these boots in turn."""
    return [make_record(index, f"w-{index}", boot) for index, boot in enumerate(writers)]


def test_the_log_of_a_real_pair_is_read_from_either_replica() -> None:
    """All records, by two boots, one after the other: before and after the takeover."""
    log = log_of(Pair(quick=False))
    assert (len(log.ids), log.ids[0], log.unreachable, log.damage) == (RECORDS, "w1-0", 0, "")
    assert [(boot.first, boot.count) for boot in log.boots] == [
        (0, FIRST_BOOT_RECORDS),
        (FIRST_BOOT_RECORDS, RECORDS - FIRST_BOOT_RECORDS),
    ]
    assert log.returning_boots == ()
    assert log == log_of(Pair(), "b")


def test_a_made_record_is_byte_for_byte_what_the_workload_writes() -> None:
    """Otherwise planted violations would prove nothing."""
    pair = Pair()
    replica = pair.open("a")
    sector = asyncio.run(replica.read(300 * 512, 512))
    found = parse_record(sector, 300)
    assert found is not None
    assert make_record(300, *found) == sector


def test_an_empty_volume_is_an_empty_log() -> None:
    """Zeros from the first sector on: a VM that was never written to."""
    assert small() == Log((), ())


def test_a_record_that_is_cut_out_ends_the_log_and_hides_what_is_behind() -> None:
    """The workload cannot reach those either; they are counted, so that the hole is seen."""
    pair = Pair()
    pair.write_record("a", 400, bytes(512))
    log = log_of(pair)
    assert (len(log.ids), log.unreachable) == (400, RECORDS - 401)
    assert log.damage.startswith("replica a of VM web: the log ends at record 400, but")


@pytest.mark.parametrize(
    ("sector", "complaint"),
    [
        (b"rubbish!" + bytes(504), "found b'rubbish!' where b'WORKLOG1' should be"),
        (make_record(5, "w-5", "one"), "found the record of index 5"),
        (make_record(2, "w-2", "one")[:-1] + b"\x00", "wrong checksum: torn or damaged"),
        (make_record(2, "w-2", "one")[:256] + bytes(256), "wrong checksum: torn or damaged"),
    ],
)
def test_what_is_no_record_is_named(sector: bytes, complaint: str) -> None:
    """Damage is not the quiet end of a log."""
    log = small(*run("one", "one"), sector)
    assert (len(log.ids), complaint in log.damage, "sector 2" in log.damage) == (2, True, True)


def test_a_disk_with_something_else_on_it_is_no_empty_log() -> None:
    """An error names what was expected; an empty answer would make every write look lost, or none."""
    with pytest.raises(ReplicaError, match="replica a, sector 0: expected a record of the workload or zeros"):
        small(b"\x7fELF" + bytes(508))


def test_a_magic_in_the_wrong_place_is_no_record() -> None:
    """Only whole records at their own place are counted behind a hole."""
    log = small(*run("one"), bytes(512), bytes(7) + MAGIC + bytes(497), make_record(9, "w-9", "one"), *run("x"))
    assert (len(log.ids), log.unreachable) == (1, 0)


def test_boots_that_write_in_turns_are_found() -> None:
    """Two VMs on one disk; but what one crashed boot wrote ahead, and nobody has overwritten yet, is none."""
    assert small(*run("a", "b", "a", "b")).returning_boots == ("a",)
    assert small(*run("a", "b", "b", "a")).returning_boots == ()
    assert small(*run("a", "b", "b")).boots == (Boot("a", 0, 1), Boot("b", 1, 2))


def test_a_log_over_several_chunks_keeps_its_count() -> None:
    """The border of a chunk is no border of the log."""
    many = 2 * 2048 + 3
    log = asyncio.run(read_log(disk_of(*run(*["one"] * many)), 4 << 20, "replica a"))
    assert (len(log.ids), log.boots, log.damage) == (many, (Boot("one", 0, many),), "")
    assert json.dumps(log.ids[-1]) == f'"w-{many - 1}"'
