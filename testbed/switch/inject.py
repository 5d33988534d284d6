"""Frames that no device sent: a foreign host on the wire, replayed frames, a storm. Pure, like the rule engine.

An injection is bounded in number and pace, so that it always ends and the control socket is answered meanwhile. It must
never reach the watches: those tell what devices say.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from testbed.switch.rules import RuleEngine

INTERVAL_S_MIN = 20e-6  # 50,000 frames a second: more than one core forwards beside its other work
COUNT_MAX = 10_000_000
FRAME_BYTES_MIN, FRAME_BYTES_MAX = 14, 16_384
_BURST_FRAMES_MAX = 64

Send = Callable[[str, str, bytes], None]


@dataclass
class Injection:
    """One running injection; `left` counts down."""

    number: int
    port: str
    direction: str
    frames: Sequence[bytes]
    interval_ns: int
    left: int
    sent: int = 0
    due_ns: int = 0


class Injections:
    """All running injections, driven by the timers of the engine."""

    def __init__(self, engine: RuleEngine, send: Send) -> None:
        self.running: dict[int, Injection] = {}
        self._engine = engine
        self._send = send
        self._numbers = itertools.count(1)

    def start(
        self, port: str, direction: str, frames: Sequence[bytes], *, interval_s: float, count: int, now_ns: int
    ) -> int:
        """Send the frames one after the other, `count` in all; returns a number; raises ValueError."""
        if not frames:
            raise ValueError("no frame is given; frames is a list of hexadecimal texts")
        if any(not FRAME_BYTES_MIN <= len(frame) <= FRAME_BYTES_MAX for frame in frames):
            raise ValueError(f"a frame has from {FRAME_BYTES_MIN} to {FRAME_BYTES_MAX} bytes")
        if not 1 <= count <= COUNT_MAX:
            raise ValueError(f"count is {count}; it is from 1 to {COUNT_MAX}")
        if not INTERVAL_S_MIN <= interval_s <= 3_600:
            raise ValueError(f"interval_s is {interval_s}; it is from {INTERVAL_S_MIN:g} to 3600")
        made = Injection(next(self._numbers), port, direction, list(frames), int(interval_s * 1e9), count)
        made.due_ns = now_ns
        self.running[made.number] = made
        self._engine.at(now_ns, lambda at_ns: self._fire(made, at_ns))
        return made.number

    def stop(self, number: int) -> int:
        """End an injection early; returns how many frames it had sent, raises ValueError for one that is over."""
        made = self.running.pop(number, None)
        if made is None:
            raise ValueError(f"there is no injection {number}; it may be over")
        made.left = 0
        return made.sent

    def _fire(self, made: Injection, now_ns: int) -> None:
        for _ in range(_BURST_FRAMES_MAX):
            if made.left <= 0 or made.due_ns > now_ns:
                break
            frame = made.frames[made.sent % len(made.frames)]
            made.sent += 1
            made.left -= 1
            made.due_ns += made.interval_ns
            self._send(made.port, made.direction, frame)
        if made.left > 0:
            self._engine.at(made.due_ns, lambda at_ns: self._fire(made, at_ns))
        else:
            self.running.pop(made.number, None)
