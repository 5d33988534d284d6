"""Measures what the switch can forward on one core: `python -m testbed.switch_bench [FRAMES]`.

Sender, switch and receiver take turns in one process and only the turns of the switch are counted, so that the figure
is that of the data path on one core and does not depend on how many cores the host has. It must never be used as a
test: it measures, others judge.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from testbed.switch import SwitchCore
from testbed.switch_watch import Watch

FRAMES = 60_000
FRAME_BYTES = 1_500
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


def bench(frames: int = FRAMES, frame_bytes: int = FRAME_BYTES, *, watched: bool = False) -> BenchResult:
    """Forward this many frames from one port to another, with or without watched addresses."""
    source, target = bytes.fromhex("0216aa000001"), bytes.fromhex("0216aa000002")
    frame = target + source + b"\x88\xb5" + bytes(frame_bytes - 14)
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        directory = Path(name)
        core = SwitchCore(directory, {"bench0": ["left", "right"]})
        left, right = _device(directory, "left"), _device(directory, "right")
        if watched:
            core.watches.append(Watch([source.hex(":")], ["10.77.0.20"], lambda _event: None))
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
    """Print the figures of both variants."""
    frames = int(arguments[0]) if arguments else FRAMES
    for watched in (False, True):
        result = bench(frames, watched=watched)
        kind = "with watched addresses" if watched else "plain"
        text = f"{kind}: {result.frames_per_s:,.0f} frames/s of {result.frame_bytes} bytes, {result.lost} lost\n"
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
