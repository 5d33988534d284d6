"""Tests of testbed.switch.rule_kinds: what each kind does to frames, and which requests are refused."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest

from testbed.lan import packets
from testbed.switch.rule_kinds import KINDS, Tap, make_rule, payload_range
from tests.unit.testbed.switch.lane import MS, World, rule, udp_frame

FRAMES = [number.to_bytes(4) for number in range(1_000)]


def through(kind: str, seed: int = 1, **settings: float) -> list[bytes]:
    """What comes out when a thousand frames go in."""
    world = World()
    world.add(make_rule(kind, settings, {}, seed))
    world.send(*FRAMES)
    return world.out


def test_loss_is_of_the_given_size_and_of_the_seed() -> None:
    """The same seed loses the same frames, another seed others."""
    first = through("loss", probability=0.3)
    assert 600 < len(first) < 800
    assert first == through("loss", probability=0.3)
    assert first != through("loss", seed=2, probability=0.3)


def test_burst_loss_loses_runs() -> None:
    """The mean run is that of the channel: four frames with a chance of 0.25 to turn good."""
    numbers = [int.from_bytes(frame) for frame in through("burst_loss", turns_bad=0.05, turns_good=0.25)]
    gaps = [after - before - 1 for before, after in pairwise(numbers) if after - before > 1]
    assert 2 < sum(gaps) / len(gaps) < 8


def test_duplicates_stand_beside_their_originals() -> None:
    """Every frame comes, some more than once."""
    out = through("duplicate", probability=0.5, copies=2)
    assert sorted(set(out)) == FRAMES
    assert 1_800 < len(out) < 2_200


def test_reorder_loses_nothing_and_changes_the_order() -> None:
    """A held frame leaves behind as many younger ones as asked."""
    world = World()
    world.add(rule("reorder", probability=1, gap_frames=2))
    world.send(b"1", b"2", b"3", b"4")
    assert world.out == [b"2", b"3", b"1"]
    world.fire(200 * MS)
    assert world.out == [b"2", b"3", b"1", b"4"]


def test_jitter_does_not_change_the_order() -> None:
    """Reordering is a fault of its own."""
    world = World()
    world.add(rule("delay", delay_s=0.01, jitter_s=0.01))
    for frame in FRAMES[:100]:
        world.send(frame)
    while world.engine.next_due_ns is not None:
        world.fire(world.engine.next_due_ns)
    assert world.out == FRAMES[:100]


def test_corruption_spares_the_header_and_is_noticed() -> None:
    """The frame still goes to its receiver, whose checksum refuses it."""
    world, frame = World(), udp_frame(7_000, b"x" * 300)
    world.add(rule("corrupt", probability=1, bits=1))
    world.send(*[frame] * 50)
    assert all(out[:14] == frame[:14] and out != frame and len(out) == len(frame) for out in world.out)
    assert all(packets.decode(out) is None for out in world.out)


@pytest.mark.parametrize("payload", [b"x" * 300, b"odd"])
def test_corruption_with_valid_checksum_is_not_noticed(payload: bytes) -> None:
    """An outside decoder calls the datagram good, and its payload is another."""
    world = World()
    world.add(rule("corrupt", probability=1, bits=3, valid_checksum=True))
    world.send(*[udp_frame(7_000, payload)] * 20)
    for out in world.out:
        found = packets.decode(out)
        assert isinstance(found, packets.Udp)
        assert (found.source_port, len(found.payload)) == (7_000, len(payload))
        assert found.payload != payload


def test_a_frame_without_payload_is_not_corrupted_with_valid_checksum() -> None:
    """What is no whole UDP or TCP datagram passes as it is."""
    arp = packets.arp_request("52:54:00:09:00:01", "10.9.0.1", "10.9.0.2")
    world = World()
    world.add(rule("corrupt", probability=1, valid_checksum=True))
    world.send(arp, udp_frame(7_000)[:30])
    assert world.out == [arp, udp_frame(7_000)[:30]]
    assert payload_range(arp) == (0, 0)


def test_a_rate_spaces_frames_and_its_queue_overflows() -> None:
    """1,000 bits a second carry a frame of 125 bytes in a second; two wait, the rest is lost."""
    world = World()
    limited = rule("rate", bits_per_s=1_000, queue_frames=2)
    world.add(limited)
    world.send(*[bytes(125)] * 4)
    assert limited.dropped == 2
    world.fire(999 * MS)
    assert len(world.out) == 0
    world.fire(1_000 * MS)
    assert len(world.out) == 1
    world.fire(2_000 * MS)
    assert len(world.out) == 2


def test_a_black_hole_takes_only_long_frames() -> None:
    """The limit itself passes."""
    world = World()
    world.add(rule("mtu", bytes_max=100))
    world.send(bytes(100), bytes(101))
    assert world.out == [bytes(100)]


def test_a_flapping_port_is_silent_first_and_then_works() -> None:
    """The phases follow from the first frame."""
    world = World()
    world.add(rule("flap", down_s=0.01, up_s=0.02))
    for at_ms in (5, 14, 15, 34, 35, 45):
        world.now_ns = at_ms * MS
        world.send(bytes([at_ms]))
    assert world.out == [bytes([15]), bytes([34]), bytes([45])]


def test_a_tap_notes_and_keeps_a_bounded_part() -> None:
    """Time, length and check code of each frame; the first ones whole; a reset begins again."""
    world, tap = World(), rule("tap", keep_frames=1)
    assert isinstance(tap, Tap)
    world.add(tap)
    world.now_ns = 5 * MS
    world.send(b"one", b"three")
    assert tap.observed() == {
        "matched": 2,
        "records": [[0.005, 3, zlib.crc32(b"one")], [0.005, 5, zlib.crc32(b"three")]],
        "frames": [b"one".hex()],
    }
    tap.reset()
    assert (tap.observed()["matched"], tap.observed()["records"]) == (0, [])
    assert world.out == [b"one", b"three"]


@pytest.mark.parametrize(
    ("kind", "settings", "match", "seed", "sentence"),
    [
        ("explode", {}, {}, 0, "possible are loss, burst_loss"),
        ("loss", {}, {}, 0, "probability is None"),
        ("loss", {"probability": 2}, {}, 0, "from 0 to 1"),
        ("loss", {"probability": True}, {}, 0, "a number"),
        ("loss", {"probability": 0.5, "speed": 1}, {}, 0, "no setting speed; possible are probability"),
        ("mtu", {"bytes_max": 99.5}, {}, 0, "whole number"),
        ("corrupt", {"probability": 1, "valid_checksum": "yes"}, {}, 0, "true or false"),
        ("jam", [], {}, 0, "JSON objects"),
        ("jam", {}, {}, "x", "seed is 'x'"),
        ("jam", {}, {"port": 70_000}, 0, "port is 70000"),
        ("jam", {}, {"mac": "x"}, 0, "no field mac"),
        ("jam", {}, {"payload": "xyz"}, 0, "hexadecimal"),
        ("jam", {}, {"payload": ""}, 0, "hexadecimal"),
    ],
)
def test_a_senseless_request_is_refused(
    kind: str, settings: object, match: object, seed: object, sentence: str
) -> None:
    """The sentence names the mistake and what is possible."""
    with pytest.raises(ValueError, match=sentence):
        make_rule(kind, settings, match, seed)


def test_every_kind_has_its_own_name() -> None:
    """A request can name each of them."""
    assert len(KINDS) == 12
