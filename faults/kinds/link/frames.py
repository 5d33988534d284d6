"""Faults of frames that no node sent now: a foreign host on the wire, replayed frames, a broadcast storm.

Evidence comes from taps and counters of the ports where these frames must come out. A frame must never be made here by
hand: `testbed.lan.packets` builds them, or a tap has recorded them.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from faults.fault import Aim, Proof
from faults.kinds.link.evidence import far_ports, left
from faults.kinds.link.rule import check_port, remove_taps
from testbed import pace
from testbed.bed import Bed
from testbed.errors import SwitchError, TestbedError, UsageError
from testbed.lan import packets
from testbed.switch.client import Direction

FOREIGN_MAC, FOREIGN_IP = "02:66:6f:72:65:01", "10.9.0.66"
SETTLE_S = 0.5
HEARD_FRAMES = 4
FLIPS = 16  # so many places of a datagram are changed, one at a time


async def _end(bed: Bed, injection: int | None) -> None:
    """Stop an injection that may be over, and see that it is gone."""
    if injection is None:
        return
    with contextlib.suppress(SwitchError):  # it had come to its end by itself
        await bed.switch.inject_stop(injection)
    if injection in {made["injection"] for made in (await bed.switch.rules())["injections"]}:
        raise TestbedError(f"Injection {injection} was stopped, but the switch still sends its frames.")


@dataclass
class ForeignHost:
    """A host that belongs to nobody sends frames to the target."""

    target: str
    name: str = field(default="link.foreign_host", init=False)
    aim: ClassVar[Aim] = Aim.PORT
    frames: Sequence[bytes] = field(default=(), kw_only=True)
    mac: str = field(default=FOREIGN_MAC, kw_only=True)
    ip: str = field(default=FOREIGN_IP, kw_only=True)
    wanted_ip: str = field(default="10.9.0.1", kw_only=True)
    interval_s: float = field(default=0.1, kw_only=True)
    duration_s: float = field(default=3_600.0, kw_only=True)
    window_s: float = field(default=2.0, kw_only=True)
    _tap: int = field(default=0, init=False)
    _placed: list[int] = field(default_factory=list, init=False)  # taps
    _injection: int | None = field(default=None, init=False)
    _at_s: float | None = field(default=None, init=False)

    async def prepare(self, bed: Bed) -> None:
        """Place a tap for the foreign address where frames leave towards the target."""
        await check_port(bed, self.target)
        settings, match = {"behind": True}, {"payload": self.mac.replace(":", "")}
        self._tap, _ = await bed.switch.rule_add(self.target, Direction.OUT, "tap", settings=settings, match=match)
        self._placed.append(self._tap)

    async def inject(self, bed: Bed) -> None:
        """Begin to send."""
        frames = self.frames or [packets.arp_request(self.mac, self.ip, self.wanted_ip)]
        count = max(1, int(self.duration_s / self.interval_s))
        self._injection, self._at_s = await bed.switch.inject(
            self.target, Direction.OUT, frames, interval_s=self.interval_s, count=count
        )

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when frames with the foreign address reached the target's device."""
        before = await bed.switch.observe([self._tap], reset=True)
        await asyncio.sleep(max(self.window_s, 2 * self.interval_s))
        after = await bed.switch.observe([self._tap])
        seen = after["taps"][str(self._tap)]["matched"]
        out = [state["ports"][self.target]["out"] for state in (before, after)]
        delivered, absent = (out[1][word] - out[0][word] for word in ("frames", "dropped_absent"))
        evidence = {"foreign_frames_at_exit": seen, "frames_delivered": delivered, "device_absent": absent}
        there = None if absent and not delivered else bool(seen and delivered)
        return Proof.of(there, self._at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Silence the host, and see that none of its frames come any more."""
        await _end(bed, self._injection)
        await bed.switch.observe([self._tap], reset=True)
        await asyncio.sleep(max(pace.scaled(SETTLE_S), 2 * self.interval_s))
        seen = (await bed.switch.observe([self._tap]))["taps"][str(self._tap)]["matched"]
        if seen:
            raise TestbedError(f"The foreign host at {self.target} was silenced, but {seen} of its frames still came.")

    async def remove_instruments(self, bed: Bed) -> None:
        """Take the taps away."""
        await remove_taps(bed, self._placed)


@dataclass
class Forged(ForeignHost):
    """A foreign host speaks to the target in its peer's name: messages that it has heard, each changed a little."""

    name: str = field(default="link.forged", init=False)
    port: int = field(kw_only=True)  # the UDP port of the messages
    record_s: float = field(default=2.0, kw_only=True)

    async def prepare(self, bed: Bed) -> None:
        """Listen for what reaches the target, and forge it; raises UsageError when nothing comes there."""
        await check_port(bed, self.target)
        tap, _ = await bed.switch.rule_add(
            self.target, Direction.OUT, "tap", settings={"keep_frames": HEARD_FRAMES}, match={"port": self.port}
        )
        self._placed.append(tap)
        await asyncio.sleep(self.record_s)
        heard = (await bed.switch.observe([tap]))["taps"][str(tap)]["frames"]
        self.frames = [frame for text in heard for frame in forgeries(bytes.fromhex(text), self.mac)]
        if not self.frames:
            raise UsageError(f"no datagram of port {self.port} reached {self.target} in {self.record_s:g} s")
        await super().prepare(bed)


def forgeries(frame: bytes, mac: str) -> list[bytes]:
    """Return what can be made of a datagram without its key: single bits changed, cut short, longer, empty."""
    heard = packets.decode(frame)
    if not isinstance(heard, packets.Udp):
        return []
    text = heard.payload
    places = sorted({len(text) * part // FLIPS for part in range(FLIPS)} | {len(text) - 1})
    made = [text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :] for place in places if text]
    made += [text[: len(text) // 2], text + b" ", b""]
    to_mac = frame[:6].hex(":")
    return [packets.udp(mac, to_mac, replace(heard, payload=changed)) for changed in made]


@dataclass
class Replay:
    """Frames that the target has sent are sent again, byte for byte, as if it had repeated itself."""

    target: str
    name: str = field(default="link.replay", init=False)
    aim: ClassVar[Aim] = Aim.PORT
    frames_max: int = field(default=16, kw_only=True)
    record_s: float = field(default=2.0, kw_only=True)
    interval_s: float = field(default=0.001, kw_only=True)
    match: dict[str, object] = field(default_factory=dict, kw_only=True)
    _recorded: list[bytes] = field(default_factory=list, init=False)
    _taps: dict[str, int] = field(default_factory=dict, init=False)
    _placed: list[int] = field(default_factory=list, init=False)  # all taps
    _injection: int | None = field(default=None, init=False)
    _at_s: float | None = field(default=None, init=False)

    async def prepare(self, bed: Bed) -> None:
        """Record what the target says, and place taps where it comes out at the others."""
        await check_port(bed, self.target)
        tap, _ = await bed.switch.rule_add(
            self.target, Direction.IN, "tap", settings={"keep_frames": self.frames_max}, match=self.match
        )
        self._placed.append(tap)
        await asyncio.sleep(self.record_s)
        found = (await bed.switch.observe([tap]))["taps"][str(tap)]["frames"]
        self._recorded = [bytes.fromhex(text) for text in found]
        ports = (await bed.switch.observe([]))["ports"]
        for name in far_ports(ports, self.target):
            settings = {"behind": True}
            self._taps[name], _ = await bed.switch.rule_add(name, Direction.OUT, "tap", settings=settings)
            self._placed.append(self._taps[name])

    async def inject(self, bed: Bed) -> None:
        """Send what was recorded again."""
        if self._recorded:
            await bed.switch.observe(list(self._taps.values()), reset=True)
            self._injection, self._at_s = await bed.switch.inject(
                self.target, Direction.IN, self._recorded, interval_s=self.interval_s, count=len(self._recorded)
            )

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when each recorded frame came out at another port once more."""
        await asyncio.sleep(pace.scaled(SETTLE_S) + self.interval_s * len(self._recorded))
        taps = (await bed.switch.observe(list(self._taps.values())))["taps"]
        codes = {zlib.crc32(frame) for frame in self._recorded}
        again = {
            name: len(codes & {record[2] for record in taps[str(number)]["records"]})
            for name, number in self._taps.items()
        }
        evidence = {"recorded": len(self._recorded), "different": len(codes), "came_again": again}
        came = max(again.values(), default=0) == len(codes)
        return Proof.of(came if self._recorded else None, self._at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """End what still runs."""
        await _end(bed, self._injection)

    async def remove_instruments(self, bed: Bed) -> None:
        """Take the taps away."""
        await remove_taps(bed, self._placed)


@dataclass
class Storm:
    """Broadcasts flood the segment from the target's port, as when a cable makes a loop."""

    target: str
    name: str = field(default="link.storm", init=False)
    aim: ClassVar[Aim] = Aim.PORT
    frames_per_s: float = field(default=2_000.0, kw_only=True)
    duration_s: float = field(default=60.0, kw_only=True)
    window_s: float = field(default=2.0, kw_only=True)
    mac: str = field(default=FOREIGN_MAC, kw_only=True)
    _usual: dict[str, float] = field(default_factory=dict, init=False)
    _injection: int | None = field(default=None, init=False)
    _at_s: float | None = field(default=None, init=False)

    async def prepare(self, bed: Bed) -> None:
        """Count what leaves at the other ports in ordinary times."""
        await check_port(bed, self.target)
        self._usual = await self._rates(bed)

    async def inject(self, bed: Bed) -> None:
        """Begin the storm."""
        frame = packets.arp_request(self.mac, FOREIGN_IP, FOREIGN_IP)
        count = max(1, int(self.frames_per_s * self.duration_s))
        self._injection, self._at_s = await bed.switch.inject(
            self.target, Direction.IN, [frame], interval_s=1 / self.frames_per_s, count=count
        )

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when at least half of the storm leaves at every other port, on top of the usual."""
        rates = await self._rates(bed)
        evidence = {"usual_frames_per_s": self._usual, "frames_per_s": rates}
        there = all(rate - self._usual[name] >= self.frames_per_s / 2 for name, rate in rates.items())
        return Proof.of(there if rates else None, self._at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """End the storm, and see that the ports are as calm as before."""
        await _end(bed, self._injection)
        rates = await self._rates(bed)
        if any(rate - self._usual[name] >= self.frames_per_s / 2 for name, rate in rates.items()):
            raise TestbedError(f"The storm at {self.target} was ended, but {rates} frames a second still leave.")

    async def _rates(self, bed: Bed) -> dict[str, float]:
        """Frames a second that come to the exit of each other port of the segment."""
        before = await bed.switch.observe([])
        await asyncio.sleep(self.window_s)
        after = await bed.switch.observe([])
        took_s = after["t_s"] - before["t_s"]
        return {
            name: (left(after["ports"][name]) - left(before["ports"][name])) / took_s
            for name in far_ports(after["ports"], self.target)
        }


FAULTS = (ForeignHost, Forged, Replay, Storm)
