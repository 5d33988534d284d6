"""Turns frames that enter the switch into claims: which port uses a watched MAC or IPv4 address, and when.

It is the eye of the dual-active oracle. It must never look at frames that leave the switch (a flooded frame is no
claim), and it must never judge: it only says what was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address

SEEN_PERIOD_S = 0.2  # the keep-alive aggregates go out at most this often for each (address, port)
_ARP, _IPV4 = b"\x08\x06", b"\x08\x00"
_ARP_LENGTH_BYTES = 42
_IPV4_LENGTH_BYTES = 34

Emit = Callable[[dict[str, object]], None]


class How(StrEnum):
    """The kind of frame by which an address was claimed."""

    ARP_REPLY = "arp-reply"
    ARP_REQUEST = "arp-request"
    GARP = "garp"
    FRAME = "frame"


@dataclass(slots=True)
class _ClaimSpan:
    first_ns: int
    last_ns: int
    frames: int
    cut: int


class AddressWatch:
    """Reports claims and keep-alives of a set of addresses to one listener."""

    def __init__(self, macs: Iterable[str], ips: Iterable[str], emit: Emit) -> None:
        """Watch these addresses; raises ValueError for a text that is no address."""
        self._macs = {parse_mac(mac): mac.lower() for mac in macs}
        self._ips = {_parse_ip(ip): ip for ip in ips}
        self._emit = emit
        self._where: dict[tuple[str, str], str] = {}
        self._seen: dict[tuple[str, str, str], _ClaimSpan] = {}

    def frame(self, port: str, frame: bytes, now_ns: int, *, cut: bool) -> None:
        """Look at one frame that entered at the port; `cut` says that a rule stopped it there."""
        mac = self._macs.get(frame[6:12])
        kind = frame[12:14]
        how = How.FRAME
        if kind == _ARP and len(frame) >= _ARP_LENGTH_BYTES:
            how = _arp_kind(frame)
            ip = self._ips.get(frame[28:32])
            if ip is not None:
                sender = format_mac(frame[22:28])
                self._claim("ip", ip, port, now_ns, how, cut=cut, extra={"sender_mac": sender})
                self._where["ip", ip] = port
        elif kind == _IPV4 and len(frame) >= _IPV4_LENGTH_BYTES:
            ip = self._ips.get(frame[26:30])
            if ip is not None:
                self._use("ip", ip, port, now_ns, How.FRAME, cut=cut)
        if mac is not None:
            self._use("mac", mac, port, now_ns, how, cut=cut)

    def flush(self) -> None:
        """Send the keep-alive aggregates gathered since the last call; the caller keeps the period."""
        seen, self._seen = self._seen, {}
        for (family, address, port), item in seen.items():
            self._emit({
                "event": "seen", family: address, "port": port, "first_s": item.first_ns / 1e9,
                "last_s": item.last_ns / 1e9, "frames": item.frames, "cut": item.cut == item.frames,
            })  # fmt: skip

    def _use(self, family: str, address: str, port: str, now_ns: int, how: How, *, cut: bool) -> None:
        before = self._where.get((family, address))
        if before != port:
            self._where[family, address] = port
            extra = {} if before is None else {"previous": before}
            self._claim(family, address, port, now_ns, how, cut=cut, extra=extra)
        item = self._seen.get((family, address, port))
        if item is None:
            self._seen[family, address, port] = _ClaimSpan(now_ns, now_ns, 1, int(cut))
        else:
            item.last_ns = now_ns
            item.frames += 1
            item.cut += cut

    def _claim(
        self, family: str, address: str, port: str, now_ns: int, how: How, *, cut: bool, extra: dict[str, str]
    ) -> None:
        self._emit({
            "event": "claim", family: address, "port": port, "t_s": now_ns / 1e9, "how": how.value, "cut": cut, **extra,
        })  # fmt: skip


def parse_mac(text: str) -> bytes:
    """Six bytes from aa:bb:cc:dd:ee:ff; raises ValueError."""
    parts = text.split(":")
    if len(parts) != 6 or not all(len(part) == 2 for part in parts):
        raise ValueError(f"{text!r} is not a MAC address such as 00:16:3e:77:00:20")
    try:
        return bytes.fromhex("".join(parts))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a MAC address such as 00:16:3e:77:00:20") from error


def format_mac(address: bytes) -> str:
    """The usual text of a six-byte address."""
    return address.hex(":")


def _parse_ip(text: str) -> bytes:
    try:
        return IPv4Address(text).packed
    except AddressValueError as error:
        raise ValueError(f"{text!r} is not an IPv4 address such as 10.77.0.20") from error


def _arp_kind(frame: bytes) -> How:
    if frame[28:32] == frame[38:42]:
        return How.GARP
    return How.ARP_REPLY if frame[20:22] == b"\x00\x02" else How.ARP_REQUEST
