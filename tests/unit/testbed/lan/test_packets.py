"""Tests of testbed.lan.packets: what is built is decoded again, and damage is refused."""

from __future__ import annotations

import pytest

from testbed.lan import packets

ME, YOU, MY_IP, YOUR_IP = "02:77:00:00:01:00", "00:16:3e:77:00:20", "10.77.0.100", "10.77.0.20"
DATAGRAM = packets.Udp(ME, MY_IP, YOUR_IP, 40000, 7000, b"PUT run-1")


def test_a_datagram_round_trips_without_its_padding() -> None:
    """The padding of a short Ethernet frame is not payload."""
    assert packets.decode(packets.udp(ME, YOU, DATAGRAM) + bytes(9)) == DATAGRAM


def test_an_echo_round_trips() -> None:
    """Number, sequence and payload survive, for requests and replies."""
    for is_request in (True, False):
        echo = packets.Echo(is_request, ME, MY_IP, YOUR_IP, 5, 6, b"abc")
        assert packets.decode(packets.echo(ME, YOU, echo) + bytes(3)) == echo


def test_a_trial_frame_is_nobodys() -> None:
    """It has the length that was asked for, is no packet that anybody answers, and is for no group."""
    for size in (60, 1_514):
        frame = packets.trial_frame(size)
        assert len(frame) == size
        assert packets.decode(frame) is None
        assert not frame[0] & 1
        assert frame[:6] != frame[6:12], "a bridge learns where its sender is, and must not know where it goes"


def test_arp_round_trips() -> None:
    """Requests, replies and announcements keep their addresses."""
    assert packets.decode(packets.arp_request(ME, MY_IP, YOUR_IP)) == packets.Arp(True, ME, MY_IP, YOUR_IP)
    assert packets.decode(packets.arp_reply(ME, MY_IP, YOU, YOUR_IP)) == packets.Arp(False, ME, MY_IP, YOUR_IP)


@pytest.mark.parametrize("place", [16, 22, 26, 34, 38, 42, 50])
def test_a_flipped_bit_is_noticed(place: int) -> None:
    """A datagram with a damaged header or payload is no datagram."""
    frame = bytearray(packets.udp(ME, YOU, DATAGRAM))
    frame[place] ^= 4
    assert packets.decode(bytes(frame)) is None


def test_a_damaged_echo_is_noticed() -> None:
    """The ICMP checksum is verified too."""
    frame = bytearray(packets.echo(ME, YOU, packets.Echo(True, ME, MY_IP, YOUR_IP, 5, 6, b"abc")))
    frame[-1] ^= 1
    assert packets.decode(bytes(frame)) is None


@pytest.mark.parametrize("length", [0, 13, 14, 20, 33, 41, 45])
def test_a_truncated_frame_is_refused(length: int) -> None:
    """No cut of a frame is accepted or raises."""
    assert packets.decode(packets.udp(ME, YOU, DATAGRAM)[:length]) is None


@pytest.mark.parametrize(("flags", "is_taken"), [(0x40, True), (0x00, True), (0x20, False)])
def test_a_fragment_is_refused(flags: int, is_taken: bool) -> None:
    """Fragments are not put together here; the header checksum of each variant is right, so only the flags decide."""
    frame = bytearray(packets.udp(ME, YOU, DATAGRAM))
    total = int.from_bytes(frame[24:26]) + ((0x40 - flags) << 8)
    frame[20] = flags
    frame[24:26] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2)
    assert (packets.decode(bytes(frame)) is not None) == is_taken


def test_other_protocols_are_none() -> None:
    """What the host does not speak is None, not an error."""
    assert packets.decode(bytes(6) + bytes(6) + b"\x88\xb5" + bytes(50)) is None
