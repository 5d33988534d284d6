"""Builds and decodes the few frames that the bed's own host speaks (ARP, ICMP echo, UDP); the only importer of scapy.

Scapy is loaded at the first use, because that costs up to a second. A frame costs 0.4 ms to build and 0.3 ms to decode
and verify here, so the 40 frames a second of the probe take about 2 % of a core and no templates are needed; forwarding
never comes through this file. It must never keep state, and never accept a packet whose checksum is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Every scapy import stands inside its function: loading it takes time that only the users of this file should pay.
BROADCAST = "ff:ff:ff:ff:ff:ff"
NOWHERE = "00:00:00:00:00:00"
PROTOCOL_UDP = 17
_TRIAL_FROM, _TRIAL_TO = "02:74:65:73:74:01", "02:74:65:73:74:02"
_EXPERIMENTAL = 0x88B5
_ARP_REQUEST, _ARP_REPLY = 1, 2
_ETHERNET_BYTES, _UDP_BYTES = 14, 8
_ICMP_ECHO_REQUEST, _ICMP_ECHO_REPLY = 8, 0


@dataclass(frozen=True)
class Arp:
    """An ARP packet; a gratuitous one has the same sender and target."""

    is_request: bool
    sender_mac: str
    sender_ip: str
    target_ip: str


@dataclass(frozen=True)
class Udp:
    """A UDP datagram with the MAC address that sent it."""

    source_mac: str
    source_ip: str
    target_ip: str
    source_port: int
    target_port: int
    payload: bytes


@dataclass(frozen=True)
class Echo:
    """An ICMP echo request or reply."""

    is_request: bool
    source_mac: str
    source_ip: str
    target_ip: str
    number: int
    sequence: int
    payload: bytes


@dataclass(frozen=True)
class Captured:
    """One frame of a capture file."""

    t_s: float
    interface: str
    frame: bytes
    comment: str


Packet = Arp | Udp | Echo


def warm_up() -> None:
    """Load scapy now, so that the first packet is not late."""
    decode(arp_request(NOWHERE, "0.0.0.0", "0.0.0.0"))  # noqa: S104 - an address of nobody, never bound


def arp_request(mac: str, ip: str, wanted_ip: str) -> bytes:
    """A broadcast that asks who has the wanted address; with `ip == wanted_ip` it is a gratuitous announcement."""
    from scapy.layers.l2 import ARP, Ether  # noqa: PLC0415

    arp = ARP(op=_ARP_REQUEST, hwsrc=mac, psrc=ip, hwdst=NOWHERE, pdst=wanted_ip)
    return bytes(Ether(src=mac, dst=BROADCAST) / arp)


def arp_reply(mac: str, ip: str, to_mac: str, to_ip: str) -> bytes:
    """The answer to an ARP request."""
    from scapy.layers.l2 import ARP, Ether  # noqa: PLC0415

    return bytes(Ether(src=mac, dst=to_mac) / ARP(op=_ARP_REPLY, hwsrc=mac, psrc=ip, hwdst=to_mac, pdst=to_ip))


def udp(from_mac: str, to_mac: str, datagram: Udp) -> bytes:
    """A frame with this datagram; its `source_mac` is not used."""
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415
    from scapy.packet import Raw  # noqa: PLC0415

    head = IP(src=datagram.source_ip, dst=datagram.target_ip, flags="DF")
    body = UDP(sport=datagram.source_port, dport=datagram.target_port) / Raw(datagram.payload)
    return bytes(Ether(src=from_mac, dst=to_mac) / head / body)


def echo(from_mac: str, to_mac: str, packet: Echo) -> bytes:
    """A frame with this ICMP echo; its `source_mac` is not used."""
    from scapy.layers.inet import ICMP, IP  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415
    from scapy.packet import Raw  # noqa: PLC0415

    kind = _ICMP_ECHO_REQUEST if packet.is_request else _ICMP_ECHO_REPLY
    body = ICMP(type=kind, id=packet.number, seq=packet.sequence) / Raw(packet.payload)
    return bytes(Ether(src=from_mac, dst=to_mac) / IP(src=packet.source_ip, dst=packet.target_ip) / body)


def trial_frame(size_bytes: int) -> bytes:
    """Return a frame of this length from and to nobody, of the type that is kept for experiments (IEEE 802, 88-B5).

    A bridge passes it to every port: the address that it is for never sends.
    """
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    head = bytes(Ether(src=_TRIAL_FROM, dst=_TRIAL_TO, type=_EXPERIMENTAL))
    return head + bytes(size_bytes - len(head))


def decode(frame: bytes) -> Packet | None:
    """The packet in the frame, or None for what the bed's host does not speak: damage, fragments, other protocols."""
    from scapy.layers.inet import ICMP, IP, UDP  # noqa: PLC0415
    from scapy.layers.l2 import ARP, Ether  # noqa: PLC0415

    if len(frame) < _ETHERNET_BYTES:
        return None
    packet = Ether(frame)
    if ARP in packet:
        arp = packet[ARP]
        if arp.ptype != 0x0800 or arp.op not in {_ARP_REQUEST, _ARP_REPLY}:
            return None
        return Arp(arp.op == _ARP_REQUEST, arp.hwsrc, arp.psrc, arp.pdst)
    if IP not in packet or not _is_sound(frame, packet[IP]):
        return None
    ip = packet[IP]
    start, end = _ETHERNET_BYTES + ip.ihl * 4, _ETHERNET_BYTES + ip.len
    if UDP in packet:
        head = packet[UDP]
        payload = frame[start + _UDP_BYTES : start + head.len]
        return Udp(packet.src, ip.src, ip.dst, head.sport, head.dport, payload)
    if ICMP in packet and packet[ICMP].type in {_ICMP_ECHO_REQUEST, _ICMP_ECHO_REPLY}:
        head = packet[ICMP]
        is_request = head.type == _ICMP_ECHO_REQUEST
        return Echo(is_request, packet.src, ip.src, ip.dst, head.id, head.seq, frame[start + 8 : end])
    return None


def read_capture(path: Path) -> list[Captured]:
    """The frames of a pcapng file that the switch wrote."""
    from scapy.utils import RawPcapNgReader  # noqa: PLC0415

    frames = []
    with RawPcapNgReader(str(path)) as reader:
        for data, meta in reader:
            comment = getattr(meta, "comment", None) or b"".join(getattr(meta, "comments", None) or [])
            t_s = ((meta.tshigh << 32) + meta.tslow) / meta.tsresol
            frames.append(Captured(t_s, _text(meta.ifname), data, _text(comment)))
    return frames


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _is_sound(frame: bytes, ip: object) -> bool:
    """True for a whole, unfragmented IPv4 packet whose header and payload checksums are right."""
    from scapy.layers.inet import ICMP, UDP, in4_chksum  # noqa: PLC0415
    from scapy.utils import checksum  # noqa: PLC0415

    start = _ETHERNET_BYTES + ip.ihl * 4  # type: ignore[attr-defined]
    end = _ETHERNET_BYTES + ip.len  # type: ignore[attr-defined]
    if end > len(frame) or start > end or ip.frag or ip.flags.MF:  # type: ignore[attr-defined]
        return False
    if checksum(frame[_ETHERNET_BYTES:start]) != 0:
        return False
    body = frame[start:end]
    if UDP in ip:  # type: ignore[operator]
        if ip[UDP].len != len(body):  # type: ignore[index]
            return False
        return ip[UDP].chksum == 0 or in4_chksum(PROTOCOL_UDP, ip, body) in {0, 0xFFFF}  # type: ignore[index]
    return ICMP not in ip or checksum(body) == 0  # type: ignore[operator]
