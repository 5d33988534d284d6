"""The durable record as bytes: whole, or recognised as damaged."""

from __future__ import annotations

import hashlib

import pytest

from avance.core.model import Record
from avance.wire.record import decode, encode
from avance.wire.summed import UnknownFormat
from tests.playbook import WEB, A

FULL = Record(
    7, A, peer_outdated=True, fresh=(WEB,), arbiters=("witness:w1",), boot="m-1", cure=7, split=True, quarantined=True
)


def sealed(data: str) -> bytes:
    """Return a copy with a good checksum over any content."""
    return f"{hashlib.sha256(data.encode()).hexdigest()} {data}\n".encode()


def refusal(raw: bytes) -> str:
    """Return why a copy is not believed; the empty text when it is."""
    try:
        decode(raw)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("record", [Record(), FULL])
def test_round_trip(record: Record) -> None:
    """What was written is what is read, with its sequence number."""
    assert decode(encode(record, 12)) == (12, record)


def test_every_truncation_is_recognised() -> None:
    """A copy that was torn anywhere before its end is no record."""
    whole = encode(FULL, 12)
    for end in range(len(whole) - 1):
        assert "torn" in refusal(whole[:end])


def test_every_flipped_bit_is_recognised() -> None:
    """A copy with one wrong bit anywhere in its content is no record."""
    whole = encode(FULL, 12)[:-1]
    for index in range(len(whole)):
        for bit in range(8):
            rotten = whole[:index] + bytes([whole[index] ^ 1 << bit]) + whole[index + 1 :]
            assert "rotten" in refusal(rotten), (index, bit)


@pytest.mark.parametrize("raw", [b"", b"\n", b" ", b"\0" * 512, b"\xff" * 512])
def test_blank_or_wild_bytes_are_no_record(raw: bytes) -> None:
    """Zeroed and random blocks are damaged copies, not empty records."""
    assert "rotten" in refusal(raw)


@pytest.mark.parametrize(
    "data",
    ["", "[]", "5", "[" * 100_000, '{"seq": "x"}', '{"seq": true}', '{"seq": 4}', '{"seq": 4, "schema": []}'],
    ids=["nothing", "list", "number", "deep", "no number", "no whole number", "no schema", "odd schema"],
)
def test_right_sum_over_odd_content_is_no_record(data: str) -> None:
    """The checksum says that a copy is whole, not that it is a record."""
    assert refusal(sealed(data))


def test_a_field_of_another_kind_is_no_record() -> None:
    """Nothing is converted on the way."""
    line = encode(FULL, 12).decode().partition(" ")[2].rstrip("\n")
    assert "epoch is '7'" in refusal(sealed(line.replace('"epoch": 7', '"epoch": "7"')))


def test_other_version_is_not_guessed() -> None:
    """A record of another version is not half understood, and its number says how new it is."""
    for data in ('{"schema": "avance.record/3", "seq": 5, "epoch": 9}', '{"schema": "avance.record/2", "seq": 5}'):
        with pytest.raises(UnknownFormat, match="this release knows avance") as caught:
            decode(sealed(data))
        assert caught.value.seq == 5


def test_record_of_the_earlier_release_is_read() -> None:
    """A node that is upgraded keeps its epoch; what version 1 did not know has its default."""
    old = sealed(
        '{"epoch": 7, "fresh": ["web"], "owner": "a", "peer_outdated": true, "schema": "avance.record/1", "seq": 12}'
    )
    assert decode(old) == (12, Record(7, A, peer_outdated=True, fresh=(WEB,)))
