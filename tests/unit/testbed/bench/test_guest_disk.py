"""Proves the pure parts of the measurement of disks under an emulated node; the rest needs one."""

from __future__ import annotations

from collections import Counter

import pytest

from testbed.bench.guest_disk import DEVICES, KINDS, MIB, PLAIN, SERVER, GuestDiskBench, Pass, compare, dd_argv, order
from testbed.bench.guest_disk import speed as speed_of
from testbed.errors import GuestCommandError


@pytest.mark.parametrize("turn", [0, 1])
def test_both_ways_write_equally_often_and_the_first_changes(turn: int) -> None:
    """Neither way is always first, and each region is fresh once for each way."""
    ways = order(turn)
    assert Counter(ways) == {(SERVER, True): 1, (PLAIN, True): 1, (SERVER, False): 2, (PLAIN, False): 2}
    assert ways[0] == ((SERVER, PLAIN)[turn], True)
    places = {way: [place for place, item in enumerate(ways) if item == (way, False)] for way in (SERVER, PLAIN)}
    assert sum(places[SERVER]) == sum(places[PLAIN])  # ABBA: a drift meets both alike


@pytest.mark.parametrize("kind", KINDS)
def test_dd_writes_its_region_and_no_other(kind: tuple[str, int, str]) -> None:
    """Place and length are counted in blocks of the size that is measured."""
    words = dict(word.split("=", 1) for word in dd_argv("/dev/vdd", KINDS[KINDS.index(kind)], 3, 2) if "=" in word)
    size = int(words["bs"])
    assert (words["of"], int(words["seek"]) * size, int(words["count"]) * size) == ("/dev/vdd", 3 * MIB, 2 * MIB)


def test_the_new_disks_come_behind_the_disks_of_the_node() -> None:
    """A node has three; writing to one of those would destroy it."""
    assert DEVICES == {SERVER: "/dev/vdd", PLAIN: "/dev/vde"}


def test_the_speed_is_what_dd_says() -> None:
    """Bytes over the time that dd itself measured in the guest."""
    words = "128+0 records in\n128+0 records out\n134217728 bytes (134 MB, 128 MiB) copied, 2.0 s, 67.1 MB/s\n"
    assert speed_of(words, 128 * MIB) == 64 * MIB


@pytest.mark.parametrize(
    "words",
    ["", "dd: error", "1048576 bytes (1 MB, 1 MiB) copied, 2.0 s", "134217728 bytes (134 MB) copied, 0 s"],
    ids=["silent", "error", "short", "no time"],
)
def test_a_pass_that_cannot_be_judged_is_refused(words: str) -> None:
    """A figure for less than was asked for would be worthless."""
    with pytest.raises(GuestCommandError, match="nothing was measured"):
        speed_of(words, 128 * MIB)


def test_medians_are_compared_by_kind_and_freshness() -> None:
    """What was written one way only has no ratio."""
    passes = [
        Pass("k", SERVER, False, 60.0), Pass("k", PLAIN, False, 100.0), Pass("k", SERVER, False, 100.0),
        Pass("k", SERVER, True, 30.0), Pass("k", PLAIN, True, 60.0), Pass("other", SERVER, True, 1.0),
    ]  # fmt: skip
    assert compare(passes) == {("k", False): GuestDiskBench(80.0, 100.0), ("k", True): GuestDiskBench(30.0, 60.0)}
    assert compare(passes)["k", True].ratio == 0.5
