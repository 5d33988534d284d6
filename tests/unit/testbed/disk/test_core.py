"""Proves the disk that can be broken: what is durable, what a power cut takes, and each of its failures."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from random import Random

import pytest

from testbed.disk.core import GRANULE, BadCommand, DiskCore, DiskFailure

SIZE = 1 << 20


def disk(tmp_path: Path, cache_bytes: int = 1 << 20) -> DiskCore:
    """A small disk."""
    return DiskCore(tmp_path / "image", SIZE, cache_bytes=cache_bytes)


def stored(tmp_path: Path, count: int, offset: int = 0) -> bytes:
    """What the image file has."""
    return (tmp_path / "image").read_bytes()[offset : offset + count]


def test_reads_see_every_write_in_order_and_flushes_change_nothing(tmp_path: Path) -> None:
    """The disk agrees with plain memory under a random load with overlaps, FUA, flushes and a small cache."""
    core, chance, model = disk(tmp_path, 50_000), Random(7), bytearray(SIZE)
    handle = core.connect()
    for number in range(2000):
        count, kind = chance.randrange(1, 9000), chance.random()
        offset = chance.randrange(4 * GRANULE)
        if kind < 0.6:
            data = chance.randbytes(count)
            core.write(handle, data, offset, fua=chance.random() < 0.2)
            model[offset : offset + count] = data
        elif kind < 0.65:
            core.flush(handle)
            assert stored(tmp_path, SIZE) == bytes(model)
        else:
            assert core.read(handle, count, offset) == model[offset : offset + count], number
    core.flush(handle)
    assert stored(tmp_path, SIZE) == bytes(model)
    assert core.counters.written_back > 0


def test_only_flushes_and_fua_make_durable(tmp_path: Path) -> None:
    """A plain write is in the cache only; a FUA write is in the image and makes nothing else durable."""
    core = disk(tmp_path)
    handle = core.connect()
    core.write(handle, b"p" * 512, 0)
    core.write(handle, b"f" * 512, 512, fua=True)
    assert stored(tmp_path, 1024) == bytes(512) + b"f" * 512
    core.flush(handle)
    assert stored(tmp_path, 1024) == b"p" * 512 + b"f" * 512


@pytest.mark.parametrize("seed", range(30))
def test_a_cut_never_takes_what_was_flushed_or_forced(tmp_path: Path, seed: int) -> None:
    """Also where older cached writes lie under a forced one: they do not come back over it."""
    core, chance, sound = disk(tmp_path), Random(seed), bytearray(64 * 512)
    handle = core.connect()
    for number in range(200):
        slot, data = chance.randrange(64), bytes([number % 255 + 1]) * 512
        core.write(handle, data, slot * 512, fua=True)
        sound[slot * 512 : slot * 512 + 512] = data
        core.write(handle, bytes(4 * 512), chance.randrange(64, 200) * 512)
    for slot in range(0, 64, 2):  # cached first, then forced over it
        core.write(handle, b"\0" * 1024, slot * 512)
        core.write(handle, bytes(sound[slot * 512 : slot * 512 + 1024]), slot * 512, fua=True)
    core.command("cut", {"seed": seed})
    assert stored(tmp_path, len(sound)) == bytes(sound)


def test_a_cut_keeps_a_seeded_subset_and_counts_the_rest(tmp_path: Path) -> None:
    """The same seed keeps the same writes, another one others; kept and lost add up."""

    def cut(name: str, seed: int) -> tuple[object, bytes]:
        folder = tmp_path / name
        folder.mkdir()
        core = disk(folder)
        for slot in range(100):
            core.write(core.connect(), b"x" * 512, slot * 512)
        return core.command("cut", {"seed": seed, "tear": False}), stored(folder, 100 * 512)

    first, again, other = cut("1", 5), cut("2", 5), cut("3", 6)
    assert first == again
    assert first[1] != other[1]
    answer = first[0]
    assert isinstance(answer, dict)
    assert answer["lost"] + answer["kept"] == 100
    assert first[1].count(b"x") == 512 * answer["kept"]
    assert 20 < answer["lost"] < 80


@pytest.mark.parametrize(("keep", "left"), [(0.0, 0), (1.0, 100)])
def test_the_share_that_survives_a_cut_is_a_choice(tmp_path: Path, keep: float, left: int) -> None:
    """From nothing to everything."""
    core = disk(tmp_path)
    for slot in range(100):
        core.write(core.connect(), b"x" * 512, slot * 512)
    core.command("cut", {"seed": 1, "keep": keep, "tear": False})
    assert stored(tmp_path, 100 * 512).count(b"x") == left * 512


def test_a_cut_may_tear_a_write_at_a_sector(tmp_path: Path) -> None:
    """Some seed tears, and then a beginning of whole sectors is there and the end is not."""
    torn = []
    for seed in range(10):
        core = disk(tmp_path)
        handle = core.connect()
        core.write(handle, bytes(4096), 0, fua=True)
        core.write(handle, b"t" * 4096, 0)
        core.command("cut", {"seed": seed, "keep": 0.0})
        content = stored(tmp_path, 4096)
        sectors = content.count(b"t") // 512
        assert content == b"t" * (sectors * 512) + bytes(4096 - sectors * 512)
        torn.append(sectors)
        assert core.counters.cut_torn == (sectors > 0)
    assert 0 in torn
    assert any(0 < sectors < 8 for sectors in torn)


def test_clients_from_before_a_cut_never_write_again(tmp_path: Path) -> None:
    """What still waited in the dead machine's connection is refused, also after the release; a new client is served."""
    core = disk(tmp_path)
    dead = core.connect()
    core.command("hold", {})
    failures: list[DiskFailure] = []

    def late() -> None:
        try:
            core.write(dead, b"late" * 128, 0)
        except DiskFailure as failure:
            failures.append(failure)

    thread = threading.Thread(target=late)
    thread.start()
    core.command("cut", {"seed": 1})
    core.command("release", {})
    thread.join(10)
    with pytest.raises(DiskFailure, match="connected before the power cut"):
        core.flush(dead)
    assert [failure.number for failure in failures] == [errno.ESHUTDOWN]
    assert core.read(core.connect(), 512, 0) == bytes(512)


def test_a_hang_holds_requests_until_the_release(tmp_path: Path) -> None:
    """They are done afterwards, in full."""
    core = disk(tmp_path)
    core.command("hold", {})
    thread = threading.Thread(target=lambda: core.write(core.connect(), b"w" * 512, 0))
    thread.start()
    assert stored(tmp_path, 512) == bytes(512)
    core.command("release", {})
    thread.join(10)
    assert core.read(core.connect(), 512, 0) == b"w" * 512


def test_errors_have_a_range_a_number_and_a_count(tmp_path: Path) -> None:
    """Requests that touch the range fail as often as was asked, others never."""
    core = disk(tmp_path)
    handle = core.connect()
    rule = {"operation": "read", "effect": "error", "first": 4096, "length": 512, "number": errno.EPERM, "left": 2}
    core.command("rule", rule)
    core.read(handle, 4096, 0)
    core.read(handle, 512, 4608)
    core.write(handle, b"w" * 512, 4096)
    for _ in range(2):
        with pytest.raises(DiskFailure) as caught:
            core.read(handle, 1024, 3584)
        assert caught.value.number == errno.EPERM
    core.read(handle, 1024, 3584)
    assert core.counters.failed_reads == 2


def test_a_gone_disk_fails_everything_and_keeps_its_cache(tmp_path: Path) -> None:
    """When it is back, what was cached is still there."""
    core = disk(tmp_path)
    handle = core.connect()
    core.write(handle, b"w" * 512, 0)
    core.command("gone", {})
    for act in (lambda: core.read(handle, 1, 0), lambda: core.write(handle, b"x", 0), lambda: core.flush(handle)):
        with pytest.raises(DiskFailure, match="the disk is gone"):
            act()
    core.command("back", {})
    assert core.read(handle, 512, 0) == b"w" * 512


def test_a_lying_disk_acknowledges_and_stores_something_else(tmp_path: Path) -> None:
    """Nothing, the first half, or all of it in another place; each is counted, and the next write is sound."""
    core = disk(tmp_path)
    handle = core.connect()
    for effect, at in (("lost", 0), ("torn", 8192), ("misdirected", 16384)):
        core.command("rule", {"operation": "write", "effect": effect, "left": 1})
        core.write(handle, b"x" * 1024, at)
    assert core.read(handle, 1024, 0) == bytes(1024)
    assert core.read(handle, 1024, 8192) == b"x" * 512 + bytes(512)
    assert core.read(handle, 1536, 16384) == bytes(512) + b"x" * 1024
    counters = core.counters
    assert (counters.acknowledged_lost, counters.acknowledged_torn, counters.misdirected) == (1, 1, 1)
    core.write(handle, b"y" * 1024, 0)
    assert core.read(handle, 1024, 0) == b"y" * 1024


def test_rot_flips_one_bit_a_sector_and_is_mended_where_nobody_wrote(tmp_path: Path) -> None:
    """A sector that was written since keeps what was written."""
    core = disk(tmp_path)
    handle = core.connect()
    core.write(handle, b"s" * 2048, 0)
    core.command("rot", {"offset": 0, "length": 2048, "seed": 4})
    rotten = core.read(handle, 2048, 0)
    assert [sum((byte ^ ord("s")).bit_count() for byte in rotten[n : n + 512]) for n in range(0, 2048, 512)] == [1] * 4
    core.write(handle, b"n" * 512, 512)
    assert core.command("unrot", {}) == {"mended": 3}
    assert core.read(handle, 2048, 0) == b"s" * 512 + b"n" * 512 + b"s" * 1024


def test_delays_are_seeded_bounded_and_end_at_once(tmp_path: Path) -> None:
    """The same seed waits the same; the tail never exceeds its limit; ending it lets those who wait go."""

    def total_s(seed: int) -> float:
        core = disk(tmp_path)
        core.command("slow", {"fixed_s": 0.0001, "alpha": 1.0, "limit_s": 0.001, "seed": seed})
        for _ in range(20):
            core.read(core.connect(), 1, 0)
        return core.counters.delay_s

    assert total_s(1) == total_s(1) != total_s(2)
    assert 20 * 0.0001 <= total_s(1) <= 20 * 0.001
    core = disk(tmp_path)
    core.command("slow", {"fixed_s": 3600.0, "limit_s": 3600.0, "seed": 1})
    thread = threading.Thread(target=lambda: core.read(core.connect(), 1, 0))
    thread.start()
    while not core.counters.delayed:
        thread.join(0.01)
    core.command("fast", {})
    thread.join(10)
    assert not thread.is_alive()


def test_another_disk_in_the_slot_has_its_own_content(tmp_path: Path) -> None:
    """It may be smaller; the pulled disk keeps what it had flushed, and loses its cache."""
    core = disk(tmp_path)
    handle = core.connect()
    core.write(handle, b"d" * 512, 0, fua=True)
    core.write(handle, b"c" * 512, 512)
    (tmp_path / "other").write_bytes(b"o" * 600)
    core.command("swap", {"image": str(tmp_path / "other")})
    assert core.read(handle, 1024, 0) == b"o" * 600 + bytes(424)
    core.command("swap", {"image": str(tmp_path / "image")})
    assert core.read(handle, 1024, 0) == b"d" * 512 + bytes(512)


def test_a_saved_disk_is_loaded_with_its_cache(tmp_path: Path) -> None:
    """What was volatile when it was saved is volatile again, and a hole stays a hole."""
    core = disk(tmp_path)
    handle = core.connect()
    core.write(handle, b"d" * 512, 0, fua=True)
    core.write(handle, b"c" * 512, 512)
    core.command("save", {"directory": str(tmp_path / "saved")})
    assert (tmp_path / "saved" / "image").stat().st_blocks * 512 < SIZE
    (tmp_path / "new").mkdir()
    fresh = disk(tmp_path / "new")
    fresh.command("load", {"directory": str(tmp_path / "saved")})
    assert fresh.read(fresh.connect(), 1024, 0) == b"d" * 512 + b"c" * 512
    assert stored(tmp_path / "new", 1024) == b"d" * 512 + bytes(512)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("melt", {}, "there is no command 'melt'"),
        ("cut", {}, "missing 1 required positional argument: 'seed'"),
        ("cut", {"seed": 1, "keep": 2.0}, "probability from 0 to 1"),
        ("rule", {"operation": "write", "effect": "burnt"}, "unknown operation 'write' or effect 'burnt'"),
        ("slow", {"fixed_s": 0, "seed": 1}, "more than 0"),
        ("rot", {"offset": SIZE, "length": 1, "seed": 1}, "are not on a disk"),
        ("swap", {"image": "missing"}, "there is no disk image missing"),
        ("load", {"directory": "missing"}, "holds no saved disk"),
    ],
)
def test_a_command_that_makes_no_sense_says_why(
    tmp_path: Path, name: str, arguments: dict[str, object], said: str
) -> None:
    """And nothing has changed."""
    core = disk(tmp_path)
    before = core.command("state", {})
    with pytest.raises(BadCommand, match=said):
        core.command(name, arguments)
    assert core.command("state", {}) == before


def test_a_request_beyond_the_end_is_refused(tmp_path: Path) -> None:
    """The image never grows."""
    core = disk(tmp_path)
    with pytest.raises(DiskFailure) as caught:
        core.write(core.connect(), b"xx", SIZE - 1)
    assert caught.value.number == errno.EINVAL
    assert (tmp_path / "image").stat().st_size == SIZE
