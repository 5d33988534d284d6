"""ARP byte by byte: a probe claims nothing, and only who has an address is heard."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from avance.wire import arp

MAC = bytes.fromhex("525400770001")
ME, IT = ipaddress.IPv4Address("10.77.0.11"), ipaddress.IPv4Address("10.77.0.20")
REPLY = bytes.fromhex("525400770001 00163e770020 0806 0001 0800 06 04 0002 00163e770020 0a4d0014 525400770001 00000000")


def test_probe_is_as_rfc_5227_says() -> None:
    """A broadcast question from nobody."""
    expected = """
        ffffffffffff 525400770001 0806
        0001 0800 06 04 0001 525400770001 00000000 000000000000 0a4d0014
    """
    assert arp.question(MAC, sender=arp.NOBODY, target=IT) == bytes.fromhex(expected)


def test_answer_and_announcement_name_their_sender() -> None:
    """Who answers, or asks under an address, says that he has it; padding of short frames is passed over."""
    assert arp.parse(REPLY) == arp.Said(bytes.fromhex("00163e770020"), IT)
    assert arp.parse(REPLY + b"\0" * 18) == arp.parse(REPLY)
    assert arp.parse(arp.question(MAC, sender=ME, target=IT)) == arp.Said(MAC, ME)


def test_probe_says_nothing() -> None:
    """Somebody else's probe for the same address is no claim."""
    assert arp.parse(arp.question(MAC, sender=arp.NOBODY, target=IT)) is None


@pytest.mark.parametrize(
    "frame",
    [b"", REPLY[:41], REPLY.replace(b"\x08\x06", b"\x08\x00"), REPLY.replace(b"\x06\x04", b"\x06\x10", 1),
     REPLY[:20] + struct.pack("!H", 3) + REPLY[22:]],
    ids=["empty", "short", "not ARP", "other addresses", "other operation"],
)  # fmt: skip
def test_anything_else_is_passed_over(frame: bytes) -> None:
    """What is not an ARP question or answer for IPv4 is nothing."""
    assert arp.parse(frame) is None
