"""Proves how heartbeats of a node are counted, and that silence and lateness are told apart."""

from __future__ import annotations

import asyncio

import pytest

from faults.kinds.process.heartbeats import Beats, HeartbeatWatch
from tests.unit.faults.kinds.inner_bed import InnerBed, QuietSwitch


@pytest.mark.parametrize(
    ("at_s", "gap_s", "silent", "everywhere"),
    [
        ({"a.priv0": (10.5, 11.0, 11.5), "a.biz0": (10.4, 11.4)}, 1.0, False, True),
        ({"a.priv0": (10.5, 11.0, 11.5), "a.biz0": ()}, 2.0, False, False),
        ({"a.priv0": (), "a.biz0": ()}, 2.0, True, False),
        ({}, 0.0, True, False),
    ],
)
def test_a_window_tells_gaps_and_silence(
    at_s: dict[str, tuple[float, ...]], gap_s: float, silent: bool, everywhere: bool
) -> None:
    """The edges of the window count: a heartbeat that never came makes the longest gap."""
    beats = Beats(10.0, 12.0, at_s)
    assert beats.longest_gap_s == pytest.approx(gap_s)
    assert (beats.silent, beats.on_all_links) == (silent, everywhere)
    assert beats.shown()["heartbeats"] == {port: len(times) for port, times in at_s.items()}


def test_taps_mean_datagrams_from_one_node_to_the_other_and_are_taken_away() -> None:
    """Each link has its own addresses; a second end is harmless."""

    async def story() -> tuple[InnerBed, Beats]:
        inner = InnerBed(switch=QuietSwitch(looks=[(3.0, {"b.priv0": [1.0, 2.0]})]))
        watch = HeartbeatWatch("b")
        await watch.start(inner.bed)
        beats = await watch.window(inner.bed, 0.0)
        await watch.stop(inner.bed)
        await watch.stop(inner.bed)
        return inner, beats

    inner, beats = asyncio.run(story())
    assert inner.switch.matches == [
        {"protocol": 17, "payload": "0a0900020a090001"},
        {"protocol": 17, "payload": "0a4d000c0a4d000b"},
    ]
    assert beats.counts == {"b.priv0": 2, "b.biz0": 0}
    assert inner.switch.taps == {}
