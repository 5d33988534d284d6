"""Proves how each traffic fault judges what came out; that it really happens is proved in tests/selftest."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from faults.fault import FaultVerdict
from faults.kinds.link import traffic
from faults.kinds.link.evidence import FrameBalance
from faults.kinds.link.rule import WINDOWS_MAX, RuleFault
from testbed.errors import TestbedError, UsageError
from testbed.switch.client import Direction
from testbed.switch.rule_kinds import make_rule
from tests.unit.faults.kinds.link.link_world import World

C, M, I = FaultVerdict.CONFIRMED, FaultVerdict.MISMATCH, FaultVerdict.INCONCLUSIVE  # noqa: E741
CLEAN = FrameBalance(100, 100, 0, 0, 0, 0, 0, 0.0001, 100_000, 100_000, 100, 100, None)
SILENT = FrameBalance(0, 0, 0, 0, 0, 0, 0, None, 0, 0, 0, 0, None)
T = "a.priv0"
THERE: list[tuple[RuleFault, FrameBalance]] = [
    (traffic.Loss(T), replace(CLEAN, lost=30, arrived=70)),
    (traffic.BurstLoss(T), replace(CLEAN, lost=20, arrived=80, longest_loss=4)),
    (traffic.Delay(T, delay_s=0.1), replace(CLEAN, delay_median_s=0.11)),
    (traffic.Duplicate(T), replace(CLEAN, extra=30)),
    (traffic.Reorder(T), replace(CLEAN, overtaken=9)),
    (traffic.Corrupt(T), replace(CLEAN, strange=30, lost=30)),
    (traffic.CorruptValidChecksum(T), replace(CLEAN, strange=30, lost=30)),
    (traffic.RateLimit(T, bits_per_s=10_000), replace(CLEAN, arrived=10, lost=90, arrived_bits_per_s=10_000)),
    (traffic.MtuBlackHole(T, bytes_max=80), replace(CLEAN, longest_arrived_bytes=80, shortest_lost_bytes=100, lost=5)),
    (traffic.Flap(T), replace(CLEAN, lost=50, arrived=50, longest_loss=50)),
    (traffic.HoldAndRelease(T), replace(CLEAN, arrived=0, lost=100)),
    (traffic.MatchDrop(T, match={"port": 7}), replace(CLEAN, arrived=0, lost=100)),
]
WITHOUT_EFFECT = {"link.mtu_black_hole": replace(CLEAN, longest_arrived_bytes=100)}


@pytest.mark.parametrize(("fault", "seen"), THERE, ids=[fault.name for fault, _ in THERE])
def test_each_fault_knows_its_effect_its_absence_and_silence(fault: RuleFault, seen: FrameBalance) -> None:
    """Effect: confirmed. The same traffic untouched: mismatch. No traffic: inconclusive."""
    assert fault.judge(seen, 1.0) is C
    assert fault.judge(WITHOUT_EFFECT.get(fault.name, CLEAN), 1.0) is M
    assert fault.judge(SILENT, 1.0) is I


@pytest.mark.parametrize(("fault", "_seen"), THERE, ids=[fault.name for fault, _ in THERE])
def test_each_fault_asks_for_a_rule_that_exists(fault: RuleFault, _seen: FrameBalance) -> None:
    """The switch takes its kind and its settings."""
    assert make_rule(fault.kind, fault.settings(), dict(fault.match), fault.seed).kind == fault.kind


@pytest.mark.parametrize(
    ("fault", "seen", "verdict"),
    [
        (traffic.Corrupt(T), replace(CLEAN, strange=30, lost=0), M),  # came in addition: not damage
        (traffic.RateLimit(T, bits_per_s=1e6), CLEAN, I),  # nobody asked for more than the limit
        (traffic.RateLimit(T, bits_per_s=10_000), replace(CLEAN, arrived=0, arrived_bits_per_s=0), M),  # that is a cut
        (traffic.MtuBlackHole(T), CLEAN, I),  # no long frame was sent
        (traffic.MtuBlackHole(T, bytes_max=80), replace(CLEAN, shortest_lost_bytes=60, longest_arrived_bytes=70), M),
        (traffic.Flap(T), replace(CLEAN, arrived=0, lost=100, longest_loss=100), M),  # that is a cut
        (traffic.BurstLoss(T), replace(CLEAN, lost=20, longest_loss=1), M),  # single losses
    ],
)
def test_another_effect_is_not_taken_for_it(fault: RuleFault, seen: FrameBalance, verdict: FaultVerdict) -> None:
    """A fault that happened in another way is not this fault."""
    assert fault.judge(seen, 1.0) is verdict


def test_a_window_is_long_enough_for_the_effect() -> None:
    """Delays come out and a flap turns within it."""
    assert traffic.Delay(T, delay_s=2, jitter_s=1).window() == 9
    assert traffic.Flap(T, down_s=4, up_s=2).window() == 9


def test_a_match_drop_without_a_match_is_refused() -> None:
    """It would be a cut under a wrong name."""
    with pytest.raises(UsageError, match=r"link\.cut drops all"):
        asyncio.run(traffic.MatchDrop(T).prepare(World().bed))


def test_a_release_that_loses_frames_is_an_error() -> None:
    """Held frames must all come out; the sentence names the port."""
    world, fault = World(), traffic.HoldAndRelease(T, window_s=0)
    asyncio.run(fault.prepare(world.bed))
    world.switch.records[1] = [[0.0, 60, 1]]
    with pytest.raises(TestbedError, match=r"at a\.priv0 \(in\) lost or mixed up"):
        asyncio.run(fault.verify_released(world.bed))


def test_an_mtu_black_hole_sends_frames_of_its_own() -> None:
    """Long and short ones in each direction, in each window: the nodes send none where none arrive."""
    world, fault = World(), traffic.MtuBlackHole(T, bytes_max=1_000, window_s=0.0)
    sent: list[tuple[object, list[int]]] = []

    async def inject(_port: str, way: object, frames: list[bytes], **_more: object) -> tuple[int, float]:
        sent.append((way, [len(frame) for frame in frames]))
        return 1, 5.0

    world.switch.inject = inject  # type: ignore[method-assign, assignment]  # a switch that notes what it sends

    async def story() -> None:
        await fault.prepare(world.bed)
        await fault.inject(world.bed)
        assert sent == []
        await fault.confirm(world.bed)

    asyncio.run(story())
    assert sent == WINDOWS_MAX * [(Direction.IN, [1_514, 60]), (Direction.OUT, [1_514, 60])]


def test_a_limit_asks_for_more_than_the_nodes_do() -> None:
    """Not in the first window; then more in each direction than the link may carry, for a short time."""
    world, fault = World(), traffic.RateLimit(T, bits_per_s=1e6, window_s=0.01)
    sent: list[tuple[object, float]] = []

    async def inject(_port: str, way: object, frames: list[bytes], *, count: int, **_more: object) -> tuple[int, float]:
        sent.append((way, 8.0 * count * len(frames[0])))
        return 1, 5.0

    world.switch.inject = inject  # type: ignore[method-assign, assignment]  # a switch that notes what it sends

    async def story() -> None:
        await fault.prepare(world.bed)
        await fault.inject(world.bed)
        await fault.confirm(world.bed)

    asyncio.run(story())
    assert [way for way, _ in sent] == (WINDOWS_MAX - 1) * [Direction.IN, Direction.OUT]
    assert all(bits > 1.2 * 1e6 * fault.window() for _, bits in sent)


def test_its_frames_pass_by_where_only_other_frames_are_meant() -> None:
    """A hole for TCP alone would let them through, and so they would prove nothing."""
    world, fault = World(), traffic.MtuBlackHole(T, window_s=0.0, match={"protocol": 6})
    asyncio.run(fault.speak(world.bed))
    assert world.switch.running == []
