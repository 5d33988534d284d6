"""ARP for IPv4 over Ethernet: questions as bytes, and whatever comes back as values (RFC 826, RFC 5227)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

ETHERTYPE = 0x0806
NOBODY = IPv4Address(0)  # the sender of a probe: who asks so claims nothing (RFC 5227, section 2.1.1)

_REQUEST, _REPLY = 1, 2
_HEAD = struct.pack("!HHBB", 1, 0x0800, 6, 4)  # Ethernet, IPv4, lengths of their addresses
_HEAD_AT, _BODY_AT, _BYTES_MIN = 14, 20, 42


@dataclass(frozen=True, slots=True)
class Said:
    """Who says of himself that he has an address: in a reply, or in a question of his own."""

    mac: bytes
    ip: IPv4Address


def question(mac: bytes, *, sender: IPv4Address, target: IPv4Address) -> bytes:
    """Return the broadcast frame that asks who has `target`; with `NOBODY` as sender it is a probe."""
    ethernet = b"\xff" * 6 + mac + struct.pack("!H", ETHERTYPE)
    return ethernet + _HEAD + struct.pack("!H6s4s6s4s", _REQUEST, mac, sender.packed, b"\0" * 6, target.packed)


def parse(frame: bytes) -> Said | None:
    """Return what a frame says of its sender, or None when it says nothing: a probe, or no ARP at all."""
    if len(frame) < _BYTES_MIN or frame[12:14] != struct.pack("!H", ETHERTYPE):
        return None
    if frame[_HEAD_AT:_BODY_AT] != _HEAD:
        return None
    operation, mac, packed = struct.unpack_from("!H6s4s", frame, _BODY_AT)
    sender = IPv4Address(packed)
    return Said(mac, sender) if operation in (_REQUEST, _REPLY) and sender != NOBODY else None
