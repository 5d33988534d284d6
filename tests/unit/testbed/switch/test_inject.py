"""Tests of testbed.switch.inject: number, pace and end of made frames."""

from __future__ import annotations

import pytest

from testbed.switch.inject import COUNT_MAX, Injections
from testbed.switch.rules import RuleEngine
from tests.unit.testbed.switch.lane import MS

FRAME = bytes(60)


class World:
    """An engine, injections, and what they sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bytes]] = []
        self.engine = RuleEngine()
        self.injections = Injections(self.engine, lambda *item: self.sent.append(item))

    def start(self, frames: list[bytes], *, interval_s: float = 0.001, count: int = 1) -> int:
        """Start at time zero."""
        return self.injections.start("p", "in", frames, interval_s=interval_s, count=count, now_ns=0)


def test_frames_come_in_turn_at_their_pace_and_end() -> None:
    """Two frames, three times, a millisecond apart; then nothing is left."""
    world = World()
    world.start([FRAME, FRAME + b"2"], count=3)
    world.engine.fire(0)
    assert len(world.sent) == 1
    world.engine.fire(2 * MS)
    assert world.sent == [("p", "in", FRAME), ("p", "in", FRAME + b"2"), ("p", "in", FRAME)]
    assert world.injections.running == {}
    assert world.engine.next_due_ns is None


def test_a_stopped_injection_sends_no_more() -> None:
    """Its number of sent frames is told, once."""
    world = World()
    number = world.start([FRAME], count=100)
    world.engine.fire(0)
    assert world.injections.stop(number) == 1
    world.engine.fire(50 * MS)
    assert len(world.sent) == 1
    with pytest.raises(ValueError, match="may be over"):
        world.injections.stop(number)


def test_a_late_switch_catches_up_in_bounded_bursts() -> None:
    """The number is kept, and between the bursts the sockets are looked at."""
    world = World()
    world.start([FRAME], interval_s=0.0001, count=10_000)
    world.engine.fire(2_000 * MS)
    assert 64 <= len(world.sent) < 10_000
    while world.engine.next_due_ns is not None:
        world.engine.fire(2_000 * MS)
    assert len(world.sent) == 10_000


@pytest.mark.parametrize(
    ("frames", "interval_s", "count", "sentence"),
    [
        ([], 0.1, 1, "no frame"),
        ([b"short"], 0.1, 1, "from 14"),
        ([FRAME], 0.0, 1, "interval_s"),
        ([FRAME], 0.1, 0, "count"),
        ([FRAME], 0.1, COUNT_MAX + 1, "count"),
    ],
)
def test_an_unbounded_injection_is_refused(frames: list[bytes], interval_s: float, count: int, sentence: str) -> None:
    """Nothing is sent."""
    world = World()
    with pytest.raises(ValueError, match=sentence):
        world.start(frames, interval_s=interval_s, count=count)
    assert world.engine.next_due_ns is None
