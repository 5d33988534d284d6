"""Tests of testbed.switch.rules: the engine with a clock of the test's own."""

from __future__ import annotations

import pytest

from testbed.switch.rules import Lane, Lateness, Match, Rule, RuleEngine
from tests.unit.testbed.switch.lane import MS, World, rule, udp_frame


def test_a_rule_touches_only_what_it_means() -> None:
    """Other frames pass uncounted."""
    world = World()
    dropping = rule("match_drop", match={"port": 7_000})
    world.add(dropping)
    world.send(udp_frame(7_000), udp_frame(7_001))
    assert world.out == [udp_frame(7_001)]
    assert (dropping.matched, dropping.dropped, dropping.passed) == (1, 1, 0)
    assert world.lost == [f"dropped: rule {dropping.number} match_drop"]


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (Match(), True),
        (Match(ethertype=0x0800), True),
        (Match(ethertype=0x0806), False),
        (Match(protocol=17), True),
        (Match(protocol=6), False),
        (Match(port=7_000), True),
        (Match(port=7_001), False),
        (Match(payload=b"needle"), True),
        (Match(payload=b"pin"), False),
        (Match(protocol=17, port=7_000, payload=b"pin"), False),
    ],
)
def test_a_match_looks_at_every_field(match: Match, fits: bool) -> None:
    """All given fields must fit; a field that is not given fits always."""
    assert match.fits(udp_frame(7_000, b"hay needle hay")) is fits


def test_a_fragment_has_no_ports_and_a_runt_no_protocol() -> None:
    """What looks like a port in a later fragment is payload; a short frame is left alone."""
    fragment = bytearray(udp_frame(7_000))
    fragment[21] = 1
    assert not Match(port=7_000).fits(bytes(fragment))
    assert not Match(protocol=17).fits(udp_frame(7_000)[:20])


def test_late_frames_leave_when_due_in_order_and_the_lateness_is_told() -> None:
    """The engine says when it must be called, and how late it was."""
    world = World()
    delay = rule("delay", delay_s=0.01)
    world.add(delay)
    world.send(b"first")
    world.now_ns += MS
    world.send(b"second")
    assert world.engine.next_due_ns == 10 * MS
    world.fire(9 * MS)
    assert world.out == []
    world.fire(13 * MS)
    assert world.out == [b"first", b"second"]
    assert delay.lateness.as_json() == {"count": 2, "median_s": 0.0025, "max_s": 0.003}
    assert world.engine.lateness.count == 2
    assert world.engine.next_due_ns is None


def test_a_delayed_frame_goes_on_with_the_rules_behind() -> None:
    """Rules work in the order in which they were added, and a tap behind them stays last."""
    world = World()
    behind = rule("tap", behind=True)
    for item in (behind, rule("delay", delay_s=0.001), rule("duplicate", probability=1)):
        world.add(item)
    world.send(b"frame")
    world.fire(MS)
    assert world.out == [b"frame", b"frame"]
    assert behind.matched == 2


def test_the_end_of_a_rule_lets_go_what_it_kept_in_bursts_and_in_order() -> None:
    """Frames that come meanwhile stay behind the held ones, and then the rule is gone."""
    world = World()
    jam = rule("jam")
    world.add(jam)
    frames = [number.to_bytes(2) for number in range(40)]
    world.send(*frames)
    assert world.out == []
    assert world.engine.remove(jam.number, world.now_ns) == 40
    world.fire(0)
    assert world.out == frames[:32]
    world.send(b"later")
    assert jam.closing
    world.fire(MS)
    assert world.out == [*frames, b"later"]
    assert world.engine.rules == {}
    world.send(b"free")
    assert world.out[-1] == b"free"


def test_a_full_rule_drops_and_counts() -> None:
    """What is kept is bounded."""
    world = World()
    jam = rule("jam", frames_max=3)
    world.add(jam)
    world.send(*[bytes([number]) for number in range(5)])
    assert (jam.dropped, len(jam.waiting)) == (2, 3)
    assert all("queue full" in text for text in world.lost)


def test_one_call_does_a_bounded_part() -> None:
    """Thousands of due frames do not keep the switch from its sockets."""
    world = World()
    world.add(rule("delay", delay_s=0))
    world.now_ns = 5
    world.send(*[b"x"] * 3_000)
    world.engine.fire(world.now_ns)
    assert 0 < len(world.out) < 3_000
    while world.engine.next_due_ns is not None:
        world.engine.fire(world.now_ns)
    assert len(world.out) == 3_000


def test_a_plain_rule_passes_and_reports() -> None:
    """The base of all kinds counts only; without samples there is no lateness."""
    lane = Lane("p", "in", lambda _frame: None, lambda _frame, _why: None)
    plain = Rule(Match(), 3)
    assert RuleEngine().add(lane, plain) == 1
    assert plain.apply(b"x", 0) == (b"x",)
    told = plain.as_json()
    assert (told["rule"], told["kind"], told["matched"], told["passed"], told["seed"]) == (1, "pass", 1, 1, 3)
    assert Lateness().as_json() == {"count": 0, "median_s": None, "max_s": None}
