"""The durable record as bytes: whole, or recognised as damaged."""

from __future__ import annotations

import hashlib

import pytest

from avance.core.model import Record
from avance.wire.record import decode, encode
from tests.playbook import WEB, A

FULL = Record(
    7, A, peer_outdated=True, fresh=(WEB,), arbiters=("witness:w1",), boot="m-1", cure=7, split=True, quarantined=True
)


def sealed(data: str) -> bytes:
    """Return a copy with a good checksum over any content."""
    return f"{hashlib.sha256(data.encode()).hexdigest()} {data}\n".encode()


@pytest.mark.parametrize("record", [Record(), FULL])
def test_round_trip(record: Record) -> None:
    """What was written is what is read, with its sequence number."""
    assert decode(encode(record, 12)) == (12, record)


def test_every_truncation_is_recognised() -> None:
    """A copy that was torn anywhere before its end is no record."""
    whole = encode(FULL, 12)
    assert [end for end in range(len(whole) - 1) if decode(whole[:end]) is not None] == []


def test_every_flipped_bit_is_recognised() -> None:
    """A copy with one wrong bit anywhere in its content is no record."""
    whole = encode(FULL, 12)[:-1]
    for index in range(len(whole)):
        for bit in range(8):
            rotten = whole[:index] + bytes([whole[index] ^ 1 << bit]) + whole[index + 1 :]
            assert decode(rotten) is None, (index, bit)


@pytest.mark.parametrize("raw", [b"", b"\n", b" ", b"\0" * 512, b"\xff" * 512])
def test_blank_or_wild_bytes_are_no_record(raw: bytes) -> None:
    """Zeroed and random blocks are damaged copies, not empty records."""
    assert decode(raw) is None


def test_other_version_is_not_guessed() -> None:
    """A record of another version is not half understood."""
    assert decode(sealed('{"schema": "avance.record/3", "epoch": 9}')) is None
    assert decode(sealed('{"schema": "avance.record/2", "seq": 4, "epoch": 9}')) is None


def test_record_of_the_earlier_release_is_read() -> None:
    """A node that is upgraded keeps its epoch; what version 1 did not know has its default."""
    old = sealed(
        '{"epoch": 7, "fresh": ["web"], "owner": "a", "peer_outdated": true, "schema": "avance.record/1", "seq": 12}'
    )
    assert decode(old) == (12, Record(7, A, peer_outdated=True, fresh=(WEB,)))
