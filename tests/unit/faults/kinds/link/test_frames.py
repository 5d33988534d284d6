"""Proves how faults of made frames judge counters and taps; that frames arrive is proved in tests/selftest."""

from __future__ import annotations

import asyncio
import zlib

import pytest

from faults.fault import Fault, FaultVerdict, Proof
from faults.kinds.link import frames
from faults.life import Life
from testbed.errors import TestbedError, UsageError
from testbed.lan import packets
from tests.unit.faults.kinds.link.link_world import World

FRAME = bytes(60)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script needs no time to settle."""
    monkeypatch.setattr(frames, "SETTLE_S", 0.0)


async def proof_of(world: World, fault: Fault) -> Proof:
    """Prepare, inject, confirm."""
    return await Life(fault, world.bed).prove()


def foreign() -> frames.ForeignHost:
    """A foreign host with a window of no length."""
    return frames.ForeignHost("a.priv0", frames=[FRAME], interval_s=0.001, window_s=0.0)


@pytest.mark.parametrize(
    ("came", "out", "verdict"),
    [
        (1, {"frames": 1}, FaultVerdict.CONFIRMED),
        (0, {"frames": 1}, FaultVerdict.MISMATCH),
        (1, {"dropped_absent": 1}, FaultVerdict.INCONCLUSIVE),
    ],
)
def test_a_foreign_host_must_reach_the_device(came: int, out: dict[str, int], verdict: FaultVerdict) -> None:
    """Its address at the exit and a delivered frame; a device that is not there proves nothing."""
    world = World()
    world.switch.records = {1: [[0.0, 60, 1]] * came}
    world.switch.step = {"a.priv0 out": out}
    assert asyncio.run(proof_of(world, foreign())).verdict is verdict


def test_a_foreign_host_that_is_still_heard_after_heal_is_an_error() -> None:
    """The tap sees it though the injection is over."""
    world, fault = World(), foreign()
    world.switch.records = {1: [[0.0, 60, 1]]}

    async def story() -> None:
        async with Life(fault, world.bed) as life:
            await life.prove()

    with pytest.raises(TestbedError, match="1 of its frames still came"):
        asyncio.run(story())


@pytest.mark.parametrize(
    ("recorded", "codes", "verdict"),
    [
        ([FRAME], [zlib.crc32(FRAME)], FaultVerdict.CONFIRMED),
        ([FRAME], [7], FaultVerdict.MISMATCH),
        ([], [], FaultVerdict.INCONCLUSIVE),
    ],
)
def test_a_replay_is_the_same_bytes_at_the_far_port(
    recorded: list[bytes], codes: list[int], verdict: FaultVerdict
) -> None:
    """Other frames do not count, and without a record there is nothing to repeat."""
    world = World()
    world.switch.frames = [frame.hex() for frame in recorded]
    world.switch.records = {2: [[0.0, 60, code] for code in codes]}

    async def story() -> Proof:
        async with Life(frames.Replay("a.priv0", record_s=0.0), world.bed) as life:
            return await life.prove()

    assert asyncio.run(story()).verdict is verdict
    assert len(world.switch.live) == 2
    assert all(rule.get("gone") for rule in world.switch.live.values())


def test_a_storm_must_leave_at_the_other_ports() -> None:
    """Half of its rate on top of the usual; and it must be over after heal."""
    world, fault = World(), frames.Storm("a.priv0", frames_per_s=100, window_s=0.0)

    async def story() -> tuple[Proof, Proof]:
        without = await proof_of(world, fault)
        world.switch.step = {"b.priv0 out": {"frames": 90, "dropped_queue": 5}}
        return without, await fault.confirm(world.bed)

    without, there = asyncio.run(story())
    assert (without.verdict, there.verdict) == (FaultVerdict.MISMATCH, FaultVerdict.CONFIRMED)
    assert there.evidence["frames_per_s"] == {"b.priv0": 95.0}
    with pytest.raises(TestbedError, match="still leave"):
        asyncio.run(fault.heal(world.bed))
    world.switch.step = {}
    world.switch.running = [1]
    asyncio.run(fault.heal(world.bed))


def test_an_injection_that_cannot_be_stopped_is_an_error() -> None:
    """One that is over by itself is none."""
    world, fault = World(), frames.Storm("a.priv0", window_s=0.0)
    world.switch.stoppable = False

    async def story() -> None:
        life = Life(fault, world.bed)
        await life.prepare()
        await life.inject()
        await life.heal()

    with pytest.raises(TestbedError, match="still sends"):
        asyncio.run(story())


def test_a_forgery_differs_from_what_was_heard_and_is_sound_on_the_wire() -> None:
    """Each is one datagram from a foreign card in the peer's name, with a payload that the peer never sent."""
    heard = packets.Udp("52:54:00:09:00:01", "10.9.0.1", "10.9.0.2", 7780, 7780, bytes(range(200)))
    made = frames.forgeries(packets.udp(heard.source_mac, "52:54:00:09:00:02", heard), frames.FOREIGN_MAC)
    found = [packets.decode(frame) for frame in made]
    assert len(found) == frames.FLIPS + 4
    for one in found:
        assert isinstance(one, packets.Udp)
        assert one.source_mac == frames.FOREIGN_MAC
        assert (one.source_ip, one.target_port) == (heard.source_ip, heard.target_port)
        assert one.payload != heard.payload
    assert frames.forgeries(FRAME, frames.FOREIGN_MAC) == []


def test_without_anything_heard_nothing_is_forged() -> None:
    """A target that nobody talks to cannot be deceived in somebody's name."""
    with pytest.raises(UsageError, match=r"no datagram of port 7780 reached a\.priv0"):
        asyncio.run(frames.Forged("a.priv0", port=7780, record_s=0.0).prepare(World().bed))
