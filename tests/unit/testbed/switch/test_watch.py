"""Tests of testbed.switch.watch: what counts as a claim of an address."""

from __future__ import annotations

import pytest

from testbed.lan import packets
from testbed.switch.watch import AddressWatch, format_mac, parse_mac

VM_MAC, VM_IP, CLIENT_MAC, CLIENT_IP = "00:16:3e:77:00:20", "10.77.0.20", "02:77:00:00:01:00", "10.77.0.100"


def seen(*frames: bytes, cut: bool = False, macs: bool = False) -> list[dict[str, object]]:
    """All events of a watch on the VM's address (or MAC) for frames at one second distance, flushed at the end."""
    events: list[dict[str, object]] = []
    watch = AddressWatch([VM_MAC] if macs else [], [] if macs else [VM_IP], events.append)
    for second, frame in enumerate(frames):
        watch.frame("a.biz0", frame, second * 10**9, cut=cut)
    watch.flush()
    return events


@pytest.mark.parametrize(
    ("frame", "how"),
    [
        (packets.arp_request(VM_MAC, VM_IP, VM_IP), "garp"),
        (packets.arp_request(VM_MAC, VM_IP, CLIENT_IP), "arp-request"),
        (packets.arp_reply(VM_MAC, VM_IP, CLIENT_MAC, CLIENT_IP), "arp-reply"),
    ],
)
def test_each_kind_of_arp_is_told_apart(frame: bytes, how: str) -> None:
    """Every ARP packet of a watched sender is a claim of its own, with the hardware address that it names."""
    events = seen(frame, frame)
    assert [event["how"] for event in events] == [how, how]
    assert events[0] == {
        "event": "claim", "ip": VM_IP, "port": "a.biz0", "t_s": 0.0, "how": how, "cut": False, "sender_mac": VM_MAC,
    }  # fmt: skip


def test_asking_for_an_address_is_not_claiming_it() -> None:
    """A client that looks for the VM does not pretend to be it."""
    assert seen(packets.arp_request(CLIENT_MAC, CLIENT_IP, VM_IP)) == []


def test_ip_traffic_from_a_watched_address_counts_as_use() -> None:
    """One claim at the first packet, then an aggregate with times and count."""
    frame = packets.udp(VM_MAC, CLIENT_MAC, packets.Udp("", VM_IP, CLIENT_IP, 7000, 40000, b"OK"))
    claim, aggregate = seen(frame, frame, frame)
    assert (claim["event"], claim["how"]) == ("claim", "frame")
    assert aggregate == {
        "event": "seen", "ip": VM_IP, "port": "a.biz0", "first_s": 0.0, "last_s": 2.0, "frames": 3, "cut": False,
    }  # fmt: skip


def test_frames_of_a_watched_mac_are_aggregated() -> None:
    """The source address of any frame counts, whatever it carries."""
    frame = packets.arp_request(VM_MAC, VM_IP, VM_IP)
    claim, aggregate = seen(frame, frame, macs=True)
    assert (claim["mac"], claim["how"]) == (VM_MAC, "garp")
    assert (aggregate["mac"], aggregate["frames"]) == (VM_MAC, 2)


def test_a_claim_behind_a_cut_says_so() -> None:
    """What a rule stopped is reported, marked: the node tried, the network did not see it."""
    events = seen(packets.arp_request(VM_MAC, VM_IP, VM_IP), cut=True, macs=True)
    assert [event["cut"] for event in events] == [True, True]


def test_a_truncated_arp_is_no_claim() -> None:
    """Frames that are too short to hold addresses are passed over."""
    assert seen(packets.arp_request(VM_MAC, VM_IP, VM_IP)[:40]) == []


def test_mac_texts_round_trip() -> None:
    """What is parsed is shown again as the same text."""
    assert format_mac(parse_mac(VM_MAC)) == VM_MAC


@pytest.mark.parametrize("text", ["", "00:16:3e:77:00", "00:16:3e:77:00:2g", "0:16:3e:77:00:20"])
def test_a_text_that_is_no_mac_is_refused(text: str) -> None:
    """A misspelt address must not watch nothing in silence."""
    with pytest.raises(ValueError, match="is not a MAC address"):
        parse_mac(text)
