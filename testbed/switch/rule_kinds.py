"""The kinds of rules of the switch, and how a request is read into one; pure, see `testbed.switch.rules`.

A request that makes no sense is a ValueError with one sentence that names what is possible. A rule must never change
the Ethernet header: a damaged frame still arrives where it was going.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

from testbed.switch.rules import NEVER_NS, WAITING_FRAMES_MAX, Match, Rule

TAP_RECORDS_MAX = 4_000
TAP_FRAMES_MAX = 64
_TAP_BYTES_MAX = 200_000
_HEADER_BYTES = 14
_LENGTHS = {6: 20, 17: 8}  # protocol -> the smallest header of TCP and UDP
_CHECKSUM_AT = {6: 16, 17: 6}


class Settings:
    """Reads the settings of a rule and says which are wrong, missing or unknown."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self._known: set[str] = set()

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A number within limits; without a default it is needed."""
        self._known.add(name)
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"{name} is {value!r}; a number from {low:g} to {high:g} is needed")
        return value

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within limits."""
        value = self.number(name, low, high, default)
        if value != int(value):
            raise ValueError(f"{name} is {value!r}; a whole number is needed")
        return int(value)

    def flag(self, name: str) -> bool:
        """True or false; false when it is not given."""
        self._known.add(name)
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; true or false is needed")  # noqa: TRY004 - as all of these
        return value

    def finish(self, kind: str) -> None:
        """Refuse settings that nobody asked for."""
        unknown = sorted(set(self._values) - self._known)
        if unknown:
            known = ", ".join(sorted(self._known)) or "none"
            raise ValueError(f"{kind} has no setting {', '.join(unknown)}; possible are {known}")


class Loss(Rule):
    """Each frame is lost with a probability."""

    kind = "loss"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.probability = settings.number("probability", 0, 1)

    def act(self, frame: bytes, _now_ns: int) -> Sequence[bytes]:
        """Draw."""
        return self.drop(frame) if self.random.random() < self.probability else (frame,)


class BurstLoss(Rule):
    """Losses come in bursts: a Gilbert-Elliott channel that turns bad and good again with each frame."""

    kind = "burst_loss"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.turns_bad = settings.number("turns_bad", 0, 1)
        self.turns_good = settings.number("turns_good", 0, 1)
        self.loss_bad = settings.number("loss_bad", 0, 1, 1)
        self.loss_good = settings.number("loss_good", 0, 1, 0)
        self.bad = False

    def act(self, frame: bytes, _now_ns: int) -> Sequence[bytes]:
        """Let the channel change, then draw."""
        if self.random.random() < (self.turns_good if self.bad else self.turns_bad):
            self.bad = not self.bad
        lost = self.random.random() < (self.loss_bad if self.bad else self.loss_good)
        return self.drop(frame) if lost else (frame,)


class Delay(Rule):
    """Frames leave later, by a fixed time and a jitter; their order is kept."""

    kind = "delay"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.delay_s = settings.number("delay_s", 0, 3_600)
        self.jitter_s = settings.number("jitter_s", 0, 3_600, 0)

    def act(self, frame: bytes, now_ns: int) -> Sequence[bytes]:
        """Draw the time."""
        delay_s = max(self.delay_s + self.random.uniform(-self.jitter_s, self.jitter_s), 0.0)
        return self.keep(frame, now_ns + int(delay_s * 1e9))


class Duplicate(Rule):
    """Some frames leave more than once."""

    kind = "duplicate"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.probability = settings.number("probability", 0, 1)
        self.copies = settings.whole("copies", 1, 100, 1)

    def act(self, frame: bytes, _now_ns: int) -> Sequence[bytes]:
        """Draw."""
        if self.random.random() >= self.probability:
            return (frame,)
        self.changed += 1
        return (frame,) * (1 + self.copies)


class Reorder(Rule):
    """Some frames are held back until the next ones have overtaken them, or until a time limit."""

    kind = "reorder"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.probability = settings.number("probability", 0, 1)
        self.gap_frames = settings.whole("gap_frames", 1, 1_000, 1)
        self.hold_s = settings.number("hold_s", 0, 60, 0.2)
        self.overtakers = 0

    def act(self, frame: bytes, now_ns: int) -> Sequence[bytes]:
        """Hold one frame at a time."""
        if self.waiting:
            self.overtakers += 1
            if self.overtakers < self.gap_frames:
                return (frame,)
            _, held = self.waiting.popleft()
            self.changed += 1
            return (frame, held)
        if self.random.random() >= self.probability:
            return (frame,)
        self.overtakers = 0
        return self.keep(frame, now_ns + int(self.hold_s * 1e9))


class Corrupt(Rule):
    """Bits behind the Ethernet header flip; with `valid_checksum` in the payload of UDP and TCP, checksums repaired."""

    kind = "corrupt"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.probability = settings.number("probability", 0, 1)
        self.bits = settings.whole("bits", 1, 1_000, 1)
        self.valid_checksum = settings.flag("valid_checksum")

    def act(self, frame: bytes, _now_ns: int) -> Sequence[bytes]:
        """Draw the frame, then the bits; one without a payload to damage passes."""
        first, end = payload_range(frame) if self.valid_checksum else (_HEADER_BYTES, len(frame))
        if end <= first or self.random.random() >= self.probability:
            return (frame,)
        damaged = bytearray(frame)
        count = min(self.bits, (end - first) * 8)
        for bit in self.random.sample(range(first * 8, end * 8), count):
            damaged[bit // 8] ^= 1 << (bit % 8)
        if self.valid_checksum:
            repair_checksums(damaged)
        self.changed += 1
        return (bytes(damaged),)


class Rate(Rule):
    """The port carries no more than so many bits in a second; what the queue does not hold is lost."""

    kind = "rate"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.bits_per_s = settings.number("bits_per_s", 1, 1e12)
        self.frames_max = settings.whole("queue_frames", 1, WAITING_FRAMES_MAX, 256)
        self.free_ns = 0

    def act(self, frame: bytes, now_ns: int) -> Sequence[bytes]:
        """Leave when the last bit is through."""
        if len(self.waiting) >= self.frames_max:
            return self.drop(frame, " queue full")
        self.free_ns = max(self.free_ns, now_ns) + int(len(frame) * 8e9 / self.bits_per_s)
        return self.keep(frame, self.free_ns)


class MtuBlackHole(Rule):
    """Frames that are longer than a limit vanish, and nobody is told."""

    kind = "mtu"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.bytes_max = settings.whole("bytes_max", _HEADER_BYTES, 65_535)

    def act(self, frame: bytes, _now_ns: int) -> Sequence[bytes]:
        """Compare the length with its Ethernet header."""
        return self.drop(frame) if len(frame) > self.bytes_max else (frame,)


class Flap(Rule):
    """The port is silent and works in turn; it begins silent, with the first frame after the rule was made."""

    kind = "flap"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.down_ns = int(settings.number("down_s", 0.001, 3_600) * 1e9)
        self.up_ns = int(settings.number("up_s", 0.001, 3_600) * 1e9)
        self.began_ns: int | None = None

    def act(self, frame: bytes, now_ns: int) -> Sequence[bytes]:
        """Look at the phase."""
        if self.began_ns is None:
            self.began_ns = now_ns
        phase_ns = (now_ns - self.began_ns) % (self.down_ns + self.up_ns)
        return self.drop(frame) if phase_ns < self.down_ns else (frame,)


class Jam(Rule):
    """Frames wait until the rule is removed, and arrive then, in their order."""

    kind = "jam"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.frames_max = settings.whole("frames_max", 1, WAITING_FRAMES_MAX, WAITING_FRAMES_MAX)

    def act(self, frame: bytes, _now_ns: int) -> Sequence[bytes]:
        """Wait."""
        return self.keep(frame, NEVER_NS)


class MatchDrop(Rule):
    """Every frame that the rule means is lost."""

    kind = "match_drop"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        del settings

    def act(self, frame: bytes, _now_ns: int) -> Sequence[bytes]:
        """Lose it."""
        return self.drop(frame)


class Tap(Rule):
    """An instrument: notes time, length and check code of the frames that come by, and keeps the first few whole."""

    kind = "tap"

    def __init__(self, match: Match, seed: int, settings: Settings) -> None:
        super().__init__(match, seed)
        self.stage = 2 if settings.flag("behind") else 0
        self.keep_frames = settings.whole("keep_frames", 0, TAP_FRAMES_MAX, 0)
        self.records: list[tuple[int, int, int]] = []
        self.frames: list[bytes] = []
        self.bytes = 0

    def act(self, frame: bytes, now_ns: int) -> Sequence[bytes]:
        """Note it and let it pass."""
        if len(self.records) < TAP_RECORDS_MAX:
            self.records.append((now_ns, len(frame), zlib.crc32(frame)))
        if len(self.frames) < self.keep_frames and self.bytes + len(frame) <= _TAP_BYTES_MAX:
            self.frames.append(frame)
            self.bytes += len(frame)
        return (frame,)

    def reset(self) -> None:
        """Begin a new window."""
        self.records.clear()
        self.matched = 0

    def observed(self) -> dict[str, object]:
        """Return what came by since the last reset; `matched` also counts what was too much to note."""
        return {
            "matched": self.matched,
            "records": [[t_ns / 1e9, length, code] for t_ns, length, code in self.records],
            "frames": [frame.hex() for frame in self.frames],
        }


Maker = Callable[[Match, int, Settings], Rule]
KINDS: dict[str, Maker] = {
    kind.kind: kind
    for kind in (
        Loss, BurstLoss, Delay, Duplicate, Reorder, Corrupt, Rate, MtuBlackHole, Flap, Jam, MatchDrop, Tap,
    )
}  # fmt: skip


def make_rule(kind: object, settings: object, match: object, seed: object) -> Rule:
    """Read a request into a rule; raises ValueError with one sentence."""
    maker = KINDS.get(str(kind))
    if maker is None:
        raise ValueError(f"there is no rule {kind!r}; possible are {', '.join(KINDS)}")
    if not isinstance(settings, dict) or not isinstance(match, dict):
        raise ValueError("settings and match are JSON objects")  # noqa: TRY004 - the control socket reports ValueError
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ValueError(f"seed is {seed!r}; a whole number is needed")  # noqa: TRY004 - same
    read = Settings(settings)
    rule = maker(make_match(match), seed, read)
    read.finish(rule.kind)
    return rule


def make_match(values: Mapping[str, object]) -> Match:
    """Read a match; the payload is written in hexadecimal digits."""
    read = Settings(values)
    found: dict[str, int | None] = {
        name: read.whole(name, 0, high) if values.get(name) is not None else None
        for name, high in (("ethertype", 0xFFFF), ("protocol", 0xFF), ("port", 0xFFFF))
    }
    payload = values.get("payload")
    rest = {name: value for name, value in values.items() if name not in {"payload", *found}}
    if rest:
        raise ValueError(f"a match has no field {', '.join(rest)}; possible are {', '.join(found)}, payload")
    if payload is not None and (not isinstance(payload, str) or not payload):
        raise ValueError(f"payload is {payload!r}; hexadecimal digits are needed")
    content = bytes.fromhex(payload) if isinstance(payload, str) else None
    return Match(found["ethertype"], found["protocol"], found["port"], content)


def payload_range(frame: bytes) -> tuple[int, int]:
    """Where the payload of UDP or TCP stands in a whole IPv4 frame; (0, 0) when there is none."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[20] & 0x3F or frame[21] or frame[23] not in _LENGTHS:
        return 0, 0
    start = _HEADER_BYTES + (frame[14] & 15) * 4
    end = _HEADER_BYTES + int.from_bytes(frame[16:18])
    if end > len(frame) or start + _LENGTHS[frame[23]] > end:
        return 0, 0
    head = (frame[start + 12] >> 4) * 4 if frame[23] == 6 else _LENGTHS[17]
    return (start + head, end) if start + head < end else (0, 0)


def repair_checksums(frame: bytearray) -> None:
    """Make the checksums of IPv4 and of UDP or TCP right again; a UDP datagram without one stays without."""
    start, end = _HEADER_BYTES + (frame[14] & 15) * 4, _HEADER_BYTES + int.from_bytes(frame[16:18])
    frame[24:26] = b"\0\0"
    frame[24:26] = _checksum(bytes(frame[_HEADER_BYTES:start])).to_bytes(2)
    at = start + _CHECKSUM_AT[frame[23]]
    if frame[23] == 17 and frame[at : at + 2] == b"\0\0":
        return
    frame[at : at + 2] = b"\0\0"
    pseudo = bytes(frame[26:34]) + struct.pack("!BBH", 0, frame[23], end - start)
    found = _checksum(pseudo + bytes(frame[start:end]))
    frame[at : at + 2] = (found or 0xFFFF).to_bytes(2)


def _checksum(data: bytes) -> int:
    padded: bytes = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
