"""Tests of testbed.switch.core: the real data path between real sockets, one loop turn at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.lan import packets
from testbed.switch.control import SwitchControl
from testbed.switch.core import SwitchCore, check_config
from tests.unit.testbed.wire import EVERYBODY, MAC_A, MAC_B, MAC_VM, SEGMENTS, Bench, Device, ether


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A fresh switch with three devices on biz0 and two on priv0, in a directory with a short name."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        made = Bench(Path(name))
        yield made
        made.close()


def test_a_broadcast_reaches_all_others_of_its_segment_only(bench: Bench) -> None:
    """A frame to everybody is flooded to the segment, not to its sender and not to another segment."""
    frame = ether(EVERYBODY, MAC_A)
    bench.send("a.biz0", frame)
    assert [bench.got("b.biz0"), bench.got("client.biz0")] == [[frame], [frame]]
    assert [bench.got("a.biz0"), bench.got("a.priv0"), bench.got("b.priv0")] == [[], [], []]


def test_a_learned_address_is_sent_to_its_port_only(bench: Bench) -> None:
    """Once the switch has seen an address, frames to it go nowhere else."""
    bench.send("b.biz0", ether(EVERYBODY, MAC_B))
    for port in ("a.biz0", "client.biz0"):
        bench.got(port)
    frame = ether(MAC_B, MAC_A)
    bench.send("a.biz0", frame)
    assert bench.got("b.biz0") == [frame]
    assert bench.got("client.biz0") == []


def test_a_moved_address_takes_its_traffic_along(bench: Bench) -> None:
    """After a takeover the first frame from the new node redirects what clients send."""
    bench.send("a.biz0", ether(EVERYBODY, MAC_VM))
    bench.send("b.biz0", ether(EVERYBODY, MAC_VM))
    for port in SEGMENTS["biz0"]:
        bench.got(port)
    frame = ether(MAC_VM, "02:77:00:00:01:00")
    bench.send("client.biz0", frame)
    assert bench.got("b.biz0") == [frame]
    assert bench.got("a.biz0") == []


def test_a_frame_to_an_address_on_its_own_port_is_not_sent_back(bench: Bench) -> None:
    """The switch is no mirror."""
    bench.send("a.biz0", ether(EVERYBODY, MAC_VM))
    bench.got("b.biz0")
    bench.send("a.biz0", ether(MAC_VM, MAC_A))
    assert [bench.got(port) for port in SEGMENTS["biz0"]] == [[], [], [ether(EVERYBODY, MAC_VM)]]


def test_a_cut_of_one_direction_leaves_the_other(bench: Bench) -> None:
    """Cutting what a sends does not cut what a receives, and the counters prove it."""
    assert bench.ask("cut", port="a.priv0", direction="in")["ok"]
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    bench.send("b.priv0", ether(EVERYBODY, MAC_B))
    assert bench.got("b.priv0") == []
    assert bench.got("a.priv0") == [ether(EVERYBODY, MAC_B)]
    inward, outward = bench.counters("a.priv0", "in"), bench.counters("a.priv0", "out")
    assert (inward["pass"], inward["frames"], inward["dropped_rule"]) == (False, 0, 1)
    assert (outward["pass"], outward["frames"], outward["dropped_rule"]) == (True, 1, 0)


def test_a_cut_towards_the_device_is_counted_at_that_port(bench: Bench) -> None:
    """Cutting what b receives drops at b's port only."""
    bench.ask("cut", port="b.biz0", direction="out")
    bench.send("a.biz0", ether(EVERYBODY, MAC_A))
    assert [len(bench.got("b.biz0")), len(bench.got("client.biz0"))] == [0, 1]
    assert bench.counters("b.biz0", "out")["dropped_rule"] == 1


def test_pass_heals_a_cut(bench: Bench) -> None:
    """After pass the frames flow again."""
    bench.ask("cut", port="a.priv0", direction="both")
    bench.ask("pass", port="a.priv0", direction="both")
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    assert len(bench.got("b.priv0")) == 1


def test_counters_count_frames_bytes_and_the_last_time(bench: Bench) -> None:
    """What passed is counted with its size, and has a time."""
    frame = ether(EVERYBODY, MAC_A, bytes(100))
    assert bench.counters("a.priv0", "in")["last_s"] is None
    bench.send("a.priv0", frame)
    bench.send("a.priv0", frame)
    inward, outward = bench.counters("a.priv0", "in"), bench.counters("b.priv0", "out")
    assert (inward["frames"], inward["bytes"]) == (outward["frames"], outward["bytes"]) == (2, 228)
    assert 0 < inward["last_s"] <= outward["last_s"]


def test_a_device_that_does_not_read_fills_its_queue_and_hurts_nobody_else(bench: Bench) -> None:
    """A stopped machine gets a bounded burst when it reads again; the rest is a counted tail drop; others get all."""
    frames = [ether(EVERYBODY, MAC_A, number.to_bytes(4)) for number in range(60)]
    client = []
    for frame in frames:
        bench.send("a.biz0", frame)
        client += bench.got("client.biz0")
    assert client == frames
    counters = bench.counters("b.biz0", "out")
    assert counters["queued"] == 5
    assert counters["dropped_queue"] == 60 - 5 - counters["frames"] > 0
    burst = []
    while more := bench.got("b.biz0"):
        burst += more
        bench.run()
    assert burst == frames[: len(burst)]
    assert len(burst) == counters["frames"] + 5
    assert bench.counters("b.biz0", "out")["queued"] == 0


def test_a_cut_loses_what_was_still_queued(bench: Bench) -> None:
    """A frame that had not left the switch does not arrive after the cut."""
    for number in range(20):
        bench.send("a.priv0", ether(EVERYBODY, MAC_A, bytes([number])))
    bench.ask("cut", port="b.priv0", direction="out")
    counters = bench.counters("b.priv0", "out")
    assert (counters["queued"], counters["dropped_rule"]) == (0, 5)


def test_a_device_that_vanishes_and_returns_is_served_again(bench: Bench) -> None:
    """A killed machine costs counted drops, and the same port works for its next start."""
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    bench.devices["b.priv0"].vanish()
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    assert bench.counters("b.priv0", "out")["dropped_absent"] == 1
    bench.devices["b.priv0"] = Device(bench.directory, "b.priv0")
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    assert len(bench.got("b.priv0")) == 1
    bench.send("b.priv0", ether(EVERYBODY, MAC_B))
    assert len(bench.got("a.priv0")) == 1


def test_a_device_that_dies_with_a_full_queue_leaves_nothing_for_its_successor(bench: Bench) -> None:
    """Frames for the old machine are dropped and counted, so that the next start begins clean."""
    for number in range(20):
        bench.send("a.priv0", ether(EVERYBODY, MAC_A, bytes([number])))
    bench.devices["b.priv0"].vanish()
    bench.run()
    counters = bench.counters("b.priv0", "out")
    assert (counters["queued"], counters["dropped_absent"]) == (0, 5)


def test_a_held_switch_forwards_nothing_until_it_is_released(bench: Bench) -> None:
    """Frames of a hold arrive later, all of them and in their order."""
    frames = [ether(EVERYBODY, MAC_A, bytes([number])) for number in range(4)]
    bench.ask("hold")
    for frame in frames:
        bench.send("a.priv0", frame)
    assert bench.got("b.priv0") == []
    assert bench.ask("release")["released"] == 4
    assert bench.got("b.priv0") == frames


def test_a_capture_shows_every_frame_once_and_says_why_one_was_dropped(bench: Bench) -> None:
    """The file is readable by scapy, has one interface for each port, monotonic times, and comments on drops."""
    path = bench.directory / "wire.pcapng"
    assert bench.ask("capture_start", path=str(path))["ok"]
    bench.send("a.priv0", ether(EVERYBODY, MAC_A, b"passes"))
    bench.ask("cut", port="b.priv0", direction="out")
    bench.send("a.priv0", ether(EVERYBODY, MAC_A, b"dropped at the exit"))
    bench.ask("cut", port="a.priv0", direction="in")
    bench.send("a.priv0", ether(EVERYBODY, MAC_A, b"dropped at the entry"))
    last_s = bench.counters("a.priv0", "in")["last_s"]
    assert bench.ask("capture_stop")["frames"] == 4
    found = packets.read_capture(path)
    assert [(item.interface, item.comment) for item in found] == [
        ("a.priv0", ""),
        ("a.priv0", ""),
        ("b.priv0", "dropped: cut out at b.priv0"),
        ("a.priv0", "dropped: cut in at a.priv0"),
    ]
    assert found[0].frame == ether(EVERYBODY, MAC_A, b"passes")
    assert found[1].t_s == pytest.approx(last_s, abs=1e-6)


def test_a_runt_is_dropped_and_counted(bench: Bench) -> None:
    """Less than an Ethernet header is no frame, and does not disturb the switch."""
    bench.send("a.priv0", b"short")
    assert bench.got("b.priv0") == []
    assert bench.counters("a.priv0", "in")["dropped_rule"] == 1


def test_a_rule_acts_on_its_directed_port_and_on_the_capture(bench: Bench) -> None:
    """What a rule takes is counted at the port, commented in the capture, and the other direction is free."""
    path = bench.directory / "wire.pcapng"
    bench.ask("capture_start", path=str(path))
    number = bench.ask("rule_add", port="a.priv0", direction="in", kind="match_drop")["rule"]
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    bench.send("b.priv0", ether(EVERYBODY, MAC_B))
    assert [len(bench.got("a.priv0")), len(bench.got("b.priv0"))] == [1, 0]
    counters = bench.counters("a.priv0", "in")
    assert (counters["frames"], counters["dropped_rule"], counters["pass"]) == (0, 1, True)
    bench.ask("capture_stop")
    assert [item.comment for item in packets.read_capture(path)] == [f"dropped: rule {number} match_drop", ""]


def test_a_rule_towards_the_device_acts_there_only(bench: Bench) -> None:
    """Others on the segment get the flooded frame untouched; without rules the port is on its short way again."""
    always: dict[str, object] = {"probability": 1}
    number = bench.ask("rule_add", port="b.biz0", direction="out", kind="duplicate", settings=always)["rule"]
    bench.send("a.biz0", ether(EVERYBODY, MAC_A))
    assert [len(bench.got("b.biz0")), len(bench.got("client.biz0"))] == [2, 1]
    assert bench.core.ports["b.biz0"].out_lane is not None
    assert bench.ask("rule_remove", rule=number)["changed"] == 1
    assert bench.core.ports["b.biz0"].out_lane is None


def test_a_delayed_frame_that_meets_a_cut_is_lost(bench: Bench) -> None:
    """What is under way when the cable is cut does not arrive."""
    for port, direction in (("a.priv0", "in"), ("b.priv0", "out")):
        number = bench.ask("rule_add", port=port, direction=direction, kind="jam")["rule"]
        bench.send("a.priv0", ether(EVERYBODY, MAC_A))
        bench.ask("cut", port=port, direction=direction)
        assert bench.ask("rule_remove", rule=number)["released"] == 1
        bench.core.turn(0.01)
        assert bench.got("b.priv0") == []
        assert bench.counters(port, direction)["dropped_rule"] == 1
        bench.ask("pass", port=port, direction=direction)


def test_a_held_switch_sends_nothing_that_comes_due(bench: Bench) -> None:
    """A snapshot's barrier also holds delayed frames; they leave after it."""
    bench.ask("rule_add", port="b.priv0", direction="out", kind="delay", settings={"delay_s": 0})
    bench.devices["a.priv0"].send(ether(EVERYBODY, MAC_A))
    bench.ask("hold")
    bench.core.turn(0.01)
    assert bench.got("b.priv0") == []
    bench.ask("release")
    bench.core.turn(0.01)
    assert len(bench.got("b.priv0")) == 1


def test_injected_frames_come_from_the_port_or_the_wire(bench: Bench) -> None:
    """In: the others hear it and the cut of the port stops it; out: only the device hears it; watches hear neither."""
    bench.ask("watch", macs=[MAC_VM])
    frame = ether(EVERYBODY, MAC_VM)
    for direction, heard in (("in", [0, 1]), ("out", [1, 0])):
        bench.ask("inject", port="a.priv0", direction=direction, frames=[frame.hex()])
        bench.core.turn(0.01)
        assert [len(bench.got("a.priv0")), len(bench.got("b.priv0"))] == heard
    bench.ask("cut", port="a.priv0", direction="in")
    bench.ask("inject", port="a.priv0", direction="in", frames=[frame.hex()])
    bench.core.turn(0.01)
    assert bench.got("b.priv0") == []
    bench.core.tick()
    assert bench.messages() == []


def test_closing_removes_the_sockets() -> None:
    """A switch that ended leaves no names behind that a device could still send to."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        core = SwitchCore(Path(name), SEGMENTS)
        control = SwitchControl(core, Path(name) / "control")
        control.close()
        core.close()
        assert list(Path(name).iterdir()) == []


@pytest.mark.parametrize(
    ("segments", "word"),
    [
        ({}, "no port"),
        ({"x": ["p"], "y": ["p"]}, "named twice"),
        ({"x": ["a/b"]}, "cannot be a port name"),
        ({"x": ["p" * 120]}, "shorten --dir"),
    ],
)
def test_an_impossible_configuration_is_refused(segments: dict[str, list[str]], word: str) -> None:
    """The text says what is wrong before any socket exists."""
    with pytest.raises(ValueError, match=word):
        check_config(Path("/tmp"), segments)
