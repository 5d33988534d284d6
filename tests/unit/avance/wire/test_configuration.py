"""The configuration as bytes: a person can read it, and what is torn or odd is recognised."""

from __future__ import annotations

import json

import pytest

from avance.wire.configuration import decode, encode

RAW = {"node": "a", "site": {"x": 1.5, "deep": [1, None]}, "vms": [{"name": "w\u00e9b"}]}


def test_round_trip() -> None:
    """What was given comes back, with its number; line ends behind it are no matter."""
    assert decode(encode(RAW, 7) + b"\n" * 100) == (7, RAW)
    assert decode(json.dumps(RAW).encode()) == (0, RAW)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"5", b"\xff", b"[" * 100_000, b'{"node": "a", "site": {}}'])
def test_odd_content_is_refused(data: bytes) -> None:
    """Whatever it is, there is a sentence, and no other exception."""
    with pytest.raises(ValueError, match="it is no "):
        decode(data)


@pytest.mark.parametrize("change", [{"seq": "7"}, {"seq": True}, {"seq": 8}, {"sum": 3}, {"node": "b"}])
def test_changed_content_is_refused(change: dict[str, object]) -> None:
    """Its checksum covers all of it."""
    with pytest.raises(ValueError, match="its checksum is wrong"):
        decode(json.dumps({**json.loads(encode(RAW, 7)), **change}).encode())
