"""Measures what the switch can forward on one core: `python -m testbed.bench.switch [FRAMES]`.

Sender, switch and receiver take turns in one process and only the turns of the switch are counted, so that the figure
is that of the data path on one core and does not depend on how many cores the host has. It must never be used as a
test: it measures, others judge.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.history import History
from testbed.switch.client import Direction, Switch
from testbed.switch.core import SwitchCore
from testbed.switch.rule_kinds import make_rule
from testbed.switch.watch import AddressWatch

FRAMES = 60_000
FRAME_BYTES, JUMBO_BYTES = 1_500, 9_000
BURST_FRAMES = 10  # the kernel's queue of a unix datagram socket holds little more (net.unix.max_dgram_qlen)


@dataclass(frozen=True)
class BenchResult:
    """What was moved and how long the switch itself was busy."""

    frames: int
    frame_bytes: int
    lost: int
    busy_s: float

    @property
    def frames_per_s(self) -> float:
        """Frames that one core can forward in a second."""
        return self.frames / self.busy_s

    @property
    def bytes_per_s(self) -> float:
        """The same in bytes."""
        return self.frames_per_s * self.frame_bytes


def bench(
    frames: int = FRAMES, frame_bytes: int = FRAME_BYTES, *, watched: bool = False, ruled: bool = False
) -> BenchResult:
    """Forward this many frames from one port to another, with or without watched addresses and a rule."""
    source, target = bytes.fromhex("0216aa000001"), bytes.fromhex("0216aa000002")
    frame = target + source + b"\x88\xb5" + bytes(frame_bytes - 14)
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        directory = Path(name)
        core = SwitchCore(directory, {"bench0": ["left", "right"]})
        left, right = _device(directory, "left"), _device(directory, "right")
        if watched:
            core.watches.append(AddressWatch([source.hex(":")], ["10.77.0.20"], lambda _event: None))
        if ruled:
            core.engine.add(core.lane(core.ports["left"], "in"), make_rule("loss", {"probability": 0}, {}, 1))
        try:
            right.sendto(source + target + b"\x88\xb5" + bytes(50), str(directory / "s-right"))
            core.turn(0)  # the table now knows where the target is, so that nothing is flooded
            _drain(left)
            busy_ns = received = 0
            for _ in range(frames // BURST_FRAMES):
                for _ in range(BURST_FRAMES):
                    left.sendto(frame, str(directory / "s-left"))
                before_ns = time.perf_counter_ns()
                core.turn(0)
                busy_ns += time.perf_counter_ns() - before_ns
                received += _drain(right)
        finally:
            core.close()
            left.close()
            right.close()
    sent = frames // BURST_FRAMES * BURST_FRAMES
    return BenchResult(sent, frame_bytes, sent - received, busy_ns / 1e9)


@dataclass(frozen=True)
class Latencies:
    """Times of many single events, in seconds."""

    count: int
    median_s: float
    max_s: float


def _latencies(values_s: list[float]) -> Latencies:
    return Latencies(len(values_s), statistics.median(values_s), max(values_s))


def added_latency(frames: int = 300, frame_bytes: int = FRAME_BYTES) -> Latencies:
    """How much longer a frame takes through the idle switch process than from socket to socket directly."""
    return asyncio.run(_added_latency(frames, frame_bytes))


async def _added_latency(frames: int, frame_bytes: int) -> Latencies:
    frame = b"\xff" * 6 + bytes.fromhex("0216aa000001") + b"\x88\xb5" + bytes(frame_bytes - 14)
    values_s: list[float] = []
    async with _process() as (switch, directory):
        left, right = _device(directory, "left"), _device(directory, "right")
        try:
            right.settimeout(5.0)
            for _ in range(frames):
                left.sendto(frame, str(directory / "q-right"))
                began_ns = time.perf_counter_ns()
                right.recv(16_384)
                direct_ns = time.perf_counter_ns() - began_ns
                began_ns = time.perf_counter_ns()
                left.sendto(frame, str(directory / "s-left"))
                right.recv(16_384)
                values_s.append((time.perf_counter_ns() - began_ns - direct_ns) / 1e9)
                await asyncio.sleep(0.002)  # the switch is idle again
            assert switch.alive
        finally:
            left.close()
            right.close()
    return _latencies(values_s)


def cut_lateness(cuts: int = 50) -> Latencies:
    """How much later than its planned time a cut through the client and the process holds."""
    return asyncio.run(_cut_lateness(cuts))


async def _cut_lateness(cuts: int) -> Latencies:
    values_s: list[float] = []
    async with _process() as (switch, _directory):
        for _ in range(cuts):
            planned_s = time.monotonic() + 0.02
            await asyncio.sleep(planned_s - time.monotonic())
            values_s.append(await switch.cut("left", Direction.IN) - planned_s)
            await switch.heal("left", Direction.IN)
    return _latencies(values_s)


def rule_lateness(frames: int = 300) -> Latencies:
    """How much later than due delayed frames leave the idle switch, as the switch itself tells."""
    return asyncio.run(_rule_lateness(frames))


async def _rule_lateness(frames: int) -> Latencies:
    async with _process() as (switch, directory):
        left, right = _device(directory, "left"), _device(directory, "right")
        try:
            await switch.rule_add("left", Direction.IN, "delay", settings={"delay_s": 0.005})
            for _ in range(frames):
                left.sendto(b"\xff" * 6 + bytes(54), str(directory / "s-left"))
                await asyncio.sleep(0.003)
                _drain(right)
            await asyncio.sleep(0.02)
            told = (await switch.rules())["lateness"]
        finally:
            left.close()
            right.close()
    return Latencies(told["count"], told["median_s"], told["max_s"])


@asynccontextmanager
async def _process() -> AsyncIterator[tuple[Switch, Path]]:
    with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
        directory = Path(name)
        async with Switch(directory, {"bench0": ["left", "right"]}, history=history, log=directory / "log") as switch:
            yield switch, directory


def _device(directory: Path, port: str) -> socket.socket:
    device = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    device.bind(str(directory / f"q-{port}"))
    return device


def _drain(device: socket.socket) -> int:
    count = 0
    try:
        while device.recv(16_384):
            count += 1
    except BlockingIOError:
        pass
    return count


def main(arguments: list[str]) -> int:
    """Print all figures."""
    frames = int(arguments[0]) if arguments else FRAMES
    for watched, ruled, size in (
        (False, False, FRAME_BYTES),
        (True, False, FRAME_BYTES),
        (False, True, FRAME_BYTES),
        (False, False, JUMBO_BYTES),
    ):
        result = bench(frames, size, watched=watched, ruled=ruled)
        kind = "with watched addresses" if watched else "with a rule" if ruled else "plain"
        speed = f"{result.frames_per_s:,.0f} frames/s of {size} bytes, {result.bytes_per_s / 1e6:,.0f} MB/s"
        sys.stdout.write(f"{kind}: {speed}, {result.lost} lost\n")
    for name, found in (
        ("added latency when idle", added_latency(min(frames, 300))),
        ("lateness of a timed cut", cut_lateness(min(frames, 50))),
        ("lateness of delayed frames", rule_lateness(min(frames, 300))),
    ):
        text = f"{name}: median {found.median_s * 1e6:,.0f} us, max {found.max_s * 1e6:,.0f} us of {found.count}\n"
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
